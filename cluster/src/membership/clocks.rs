//! How far this node's clock is from what the others' show.
//!
//! That nothing is missed rests on the clocks of ready nodes lying close together, so a node
//! whose clock is off must not be ready. A card says its node's time when it was written and
//! arrives later, so it shows too little; of the last few the largest is nearest. Who was paused
//! hears nobody at first, and then what was written meanwhile: what was known before still counts
//! then. No I/O.

use std::collections::{BTreeMap, VecDeque};

use rally_schema::Life;

use super::Card;

/// Cards of one life that are remembered; with one a second, a quarter of a minute.
const CARDS: usize = 16;

/// For how long it is remembered how far the clock of a life was that is not heard.
const SILENT_MS: u64 = 60_000;

/// The clocks of the lives that are heard.
#[derive(Debug, Default)]
pub struct Clocks(BTreeMap<Life, Seen>);

#[derive(Debug, Default)]
struct Seen {
    told_ms: u64,
    ahead_ms: VecDeque<i64>,
    /// When it was last heard, by this node's clock, and whether it still is.
    heard_ms: u64,
    is_heard: bool,
}

impl Seen {
    fn nearest(&self) -> Option<i64> {
        self.ahead_ms.iter().filter(|_| self.is_heard).max().copied()
    }
}

impl Clocks {
    /// Takes over the cards that are heard at `now_ms` of this node's clock.
    pub fn hear(&mut self, me: Life, cards: &[Card], now_ms: u64) {
        self.0.values_mut().for_each(|seen| seen.is_heard = false);
        for card in cards.iter().filter(|card| card.life != me) {
            let seen = self.0.entry(card.life).or_default();
            (seen.is_heard, seen.heard_ms) = (true, now_ms);
            if seen.told_ms != card.clock_ms {
                seen.told_ms = card.clock_ms;
                seen.ahead_ms.truncate(CARDS - 1);
                seen.ahead_ms.push_front(card.clock_ms as i64 - now_ms as i64);
            }
        }
        self.0.retain(|_, seen| seen.is_heard || now_ms < seen.heard_ms + SILENT_MS);
    }

    /// Gives how far each is ahead of this node's, as far as is known.
    pub fn ahead_ms(&self) -> BTreeMap<Life, i64> {
        self.0.iter().filter_map(|(life, seen)| Some((*life, seen.nearest()?))).collect()
    }

    /// Forgets how far they were from a clock that has stepped since; what they say next counts.
    pub fn begin_anew(&mut self) {
        self.0.values_mut().for_each(|seen| seen.ahead_ms.clear());
    }

    /// Gives how far the median of the others is ahead of this node's clock; `None` while none of
    /// them has said anything.
    pub fn others_ahead_ms(&self) -> Option<i64> {
        median(self.0.values().filter_map(Seen::nearest).collect())
    }

    /// Gives how far the median of all clocks, this one's among them, is ahead of this one.
    pub fn median_ahead_ms(&self) -> i64 {
        median(self.0.values().filter_map(Seen::nearest).chain([0]).collect()).unwrap_or(0)
    }
}

fn median(mut all: Vec<i64>) -> Option<i64> {
    all.sort_unstable();
    let upper = *all.get(all.len() / 2)?;
    Some((all[(all.len() - 1) / 2] + upper) / 2)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::roles::Roles;

    fn life(node: &str) -> Life {
        Life { node: node.parse().unwrap(), generation: 1 }
    }

    fn card(node: &str, clock_ms: u64) -> Card {
        let (address, version) = (String::new(), String::new());
        let (status, roles) = (Status::Ready, Roles::all());
        Card { life: life(node), status, address, roles, version, sessions: 0, most: 9, clock_ms }
    }

    fn ahead(others: &[u64]) -> i64 {
        let mut clocks = Clocks::default();
        let named = others.iter().zip(["b", "c", "d"]);
        let cards: Vec<Card> = named.map(|(clock_ms, node)| card(node, *clock_ms)).collect();
        clocks.hear(life("a"), &cards, 100_000);
        clocks.median_ahead_ms()
    }

    #[test]
    fn a_clock_is_compared_with_the_middle_of_all() {
        assert_eq!(ahead(&[]), 0);
        assert_eq!(ahead(&[104_000]), 2_000, "of two neither is right");
        assert_eq!(ahead(&[160_000, 160_000]), 60_000, "this one is off");
        assert_eq!(ahead(&[100_000, 160_000]), 0, "that one is off");
    }

    #[test]
    fn a_card_that_was_long_on_its_way_does_not_count_against_its_clock() {
        let mut clocks = Clocks::default();
        for (clock_ms, now_ms) in [(100_000, 103_000), (104_000, 104_050), (105_000, 107_000)] {
            clocks.hear(life("a"), &[card("a", 1), card("b", clock_ms)], now_ms);
        }
        assert_eq!(clocks.median_ahead_ms(), -25);
        clocks.hear(life("a"), &[card("b", 105_000)], 200_000);
        assert_eq!(clocks.median_ahead_ms(), -25, "an old card says nothing new");
    }

    #[test]
    fn after_a_step_only_what_is_said_anew_counts() {
        let mut clocks = Clocks::default();
        clocks.hear(life("a"), &[card("b", 100_000)], 100_000);
        clocks.begin_anew();
        clocks.hear(life("a"), &[card("b", 100_000)], 100_500);
        assert_eq!(clocks.others_ahead_ms(), None);
        clocks.hear(life("a"), &[card("b", 161_000)], 101_000);
        assert_eq!(clocks.others_ahead_ms(), Some(60_000));
    }

    #[test]
    fn a_clock_that_is_heard_no_more_does_not_count() {
        let mut clocks = Clocks::default();
        clocks.hear(life("a"), &[card("b", 160_000), card("c", 160_000)], 100_000);
        clocks.hear(life("a"), &[], 101_000);
        assert_eq!((clocks.others_ahead_ms(), clocks.median_ahead_ms()), (None, 0));
        assert!(clocks.ahead_ms().is_empty());
        clocks.hear(life("a"), &[], 100_000 + SILENT_MS);
        assert!(clocks.0.is_empty(), "it is not kept for ever");
    }

    #[test]
    fn what_was_written_during_a_pause_does_not_count_against_the_others() {
        let mut clocks = Clocks::default();
        clocks.hear(life("a"), &[card("b", 100_000), card("c", 100_000)], 100_010);
        clocks.hear(life("a"), &[], 108_000);
        clocks.hear(life("a"), &[card("b", 101_000), card("c", 101_000)], 108_010);
        assert_eq!(clocks.others_ahead_ms(), Some(-10));
    }
}
