//! Numbers on what one life sends another, so that a loss shows.
//!
//! The sender counts from 1 for each receiver; the receiver expects the next number of each
//! sender. No I/O, no clock.

use std::collections::BTreeMap;

use rally_schema::Life;

/// The sender's side: the next number for each receiver.
///
/// The numbers to one life never go back, also when it was forgotten meanwhile: after something
/// was forgotten, who is sent to for the first time begins above all numbers that were, and
/// takes that for a gap.
#[derive(Debug, Default)]
pub struct Outgoing {
    last: BTreeMap<Life, u64>,
    /// No number that was forgotten is higher.
    forgotten: u64,
}

impl Outgoing {
    /// Numbers one more parcel to `to`.
    pub fn number(&mut self, to: Life) -> u64 {
        let last = self.last.entry(to).or_insert(self.forgotten);
        *last += 1;
        *last
    }

    /// Gives the last number for `to`; 0 when there is none.
    pub fn last(&self, to: Life) -> u64 {
        self.last.get(&to).copied().unwrap_or(0)
    }

    /// Keeps nothing of `to` any longer.
    pub fn forget(&mut self, to: Life) {
        let last = self.last.remove(&to).unwrap_or(0);
        self.forgotten = self.forgotten.max(last);
    }

    /// Tells whether nothing is kept of anybody.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

/// What a number says about what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing is missing.
    Next,
    /// Something before it never came.
    Gap,
    /// It came before.
    Again,
}

/// The receiver's side: the last number of each sender.
#[derive(Debug, Default)]
pub struct Incoming(BTreeMap<Life, u64>);

impl Incoming {
    /// Notes a number. A sender that was never heard begins at 1: anything else is a gap. Of the
    /// former lives of a sender's node nothing is kept.
    pub fn hear(&mut self, from: Life, number: u64) -> Heard {
        if !self.0.contains_key(&from) {
            self.0.retain(|life, _| life.node != from.node || life.generation > from.generation);
        }
        let last = self.0.entry(from).or_default();
        let heard = match number {
            old if old <= *last => return Heard::Again,
            next if next == *last + 1 => Heard::Next,
            _ => Heard::Gap,
        };
        *last = number;
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(generation: u64) -> Life {
        Life { node: "ana".parse().unwrap(), generation }
    }

    #[test]
    fn each_receiver_is_counted_alone() {
        let mut outgoing = Outgoing::default();
        assert_eq!([1, 1, 2].map(|g| outgoing.number(life(g))), [1, 2, 1]);
    }

    #[test]
    fn a_life_that_was_forgotten_is_never_told_a_number_again() {
        let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
        for number in 1..=3 {
            assert_eq!(outgoing.number(life(1)), number);
            incoming.hear(life(9), number);
        }
        outgoing.number(life(2));
        outgoing.forget(life(1));
        outgoing.forget(life(2));
        assert!(outgoing.is_empty());
        assert_eq!(incoming.hear(life(9), outgoing.number(life(1))), Heard::Next);
        assert_eq!(Incoming::default().hear(life(9), outgoing.number(life(3))), Heard::Gap);
    }

    #[test]
    fn nothing_is_kept_of_the_former_lives_of_a_node() {
        let mut incoming = Incoming::default();
        for generation in 1..=50 {
            assert_eq!(incoming.hear(life(generation), 1), Heard::Next);
        }
        assert_eq!(incoming.0.len(), 1);
        assert_eq!(incoming.hear(life(49), 2), Heard::Gap, "a late parcel is doubt, not silence");
    }

    #[test]
    fn a_number_left_out_is_a_gap_once() {
        let mut incoming = Incoming::default();
        let heard = [1, 2, 4, 5, 5, 3].map(|number| incoming.hear(life(1), number));
        use Heard::{Again, Gap, Next};
        assert_eq!(heard, [Next, Next, Gap, Next, Again, Again]);
    }

    #[test]
    fn a_sender_of_whom_the_beginning_was_missed_shows_a_gap() {
        assert_eq!(Incoming::default().hear(life(1), 3), Heard::Gap);
        let mut incoming = Incoming::default();
        incoming.hear(life(1), 1);
        assert_eq!(incoming.hear(life(2), 1), Heard::Next, "another life begins anew");
    }
}
