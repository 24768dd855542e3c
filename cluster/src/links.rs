//! Numbers on what one life sends another, so that a loss shows.
//!
//! The sender counts from 1 for each receiver; the receiver expects the next number of each
//! sender. No I/O, no clock.

use std::collections::BTreeMap;

use rally_schema::Life;

/// The sender's side: the next number for each receiver.
#[derive(Debug, Default)]
pub struct Outgoing(BTreeMap<Life, u64>);

impl Outgoing {
    /// Numbers one more parcel to `to`.
    pub fn number(&mut self, to: Life) -> u64 {
        let last = self.0.entry(to).or_default();
        *last += 1;
        *last
    }

    /// Gives the last number for `to`; 0 when there is none.
    pub fn last(&self, to: Life) -> u64 {
        self.0.get(&to).copied().unwrap_or(0)
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
    /// Notes a number. A sender that was never heard begins at 1: anything else is a gap.
    pub fn hear(&mut self, from: Life, number: u64) -> Heard {
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
