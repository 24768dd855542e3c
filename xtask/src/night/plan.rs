//! Which faults befall a cluster while it is checked from outside, in an order that a seed draws.
//!
//! Knows kinds only: whom each befalls the checker says, one after the other.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::iter::repeat_n;
use std::time::Duration;

/// What ends no node.
const OFTEN: [&str; 4] = ["kill-broker", "kill-store", "pause-node", "pause-store"];

/// One fault in so many kills a node, and one restarts all.
const PER_KILL: usize = 15;
const PER_RESTART: usize = 90;

/// About how long a fault lasts on two cores, with the calm before it and until it is mended: 180 took
/// 6,814 s.
const FAULT: Duration = Duration::from_secs(38);

/// Fewer would leave some kind out.
const LEAST: usize = 8;

/// Draws a seed.
pub fn seed() -> u64 {
    // The standard library draws its keys, and has no other way to ask for a number by chance.
    RandomState::new().build_hasher().finish() >> 32
}

/// Draws faults for so much time.
///
/// Nodes are killed and restarted in the first third only. At half of the time those that began
/// anew have what they work with; from then on memory that grows has half of the time to show it.
pub fn draw(seed: u64, time: Duration) -> Vec<&'static str> {
    let count = LEAST.max((time.as_secs() / FAULT.as_secs()) as usize);
    let mut dice = Dice(seed);
    let mut first: Vec<&str> = repeat_n("kill-node", count.div_ceil(PER_KILL))
        .chain(repeat_n("restart-all", count.div_ceil(PER_RESTART)))
        .collect();
    let mut often: Vec<&str> = OFTEN.into_iter().cycle().take(count - first.len()).collect();
    dice.shuffle(&mut often);
    let later = often.split_off((count / 3).saturating_sub(first.len()));
    first.append(&mut often);
    dice.shuffle(&mut first);
    first.extend(later);
    first
}

/// Numbers that look random and are the same for one seed (Steele's SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % n as u64) as usize
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn ends_a_node(fault: &&str) -> bool {
        ["kill-node", "restart-all"].contains(fault)
    }

    #[test]
    fn every_kind_is_drawn_however_short_the_time() {
        for (seed, minutes) in (0..50).zip([0, 1, 4, 10, 60].into_iter().cycle()) {
            let drawn = draw(seed, Duration::from_secs(60 * minutes));
            for kind in OFTEN.iter().chain(&["kill-node", "restart-all"]) {
                assert!(drawn.contains(kind), "{kind} of {drawn:?}");
            }
        }
    }

    #[test]
    fn nodes_are_ended_as_often_as_is_said_and_in_the_first_third() {
        let drawn = draw(7, HOUR);
        let count = |kind| drawn.iter().filter(|fault| **fault == kind).count();
        assert_eq!((drawn.len(), count("kill-node"), count("restart-all")), (94, 7, 2));
        assert!(OFTEN.iter().all(|kind| (21..=22).contains(&count(kind))), "{drawn:?}");
        for (seed, seconds) in (0..100).zip((0..3_600).step_by(37)) {
            let drawn = draw(seed, Duration::from_secs(seconds));
            let last = drawn.iter().rposition(ends_a_node).expect("some node is ended");
            assert!(last < drawn.len() / 3, "place {last} of {}: {drawn:?}", drawn.len());
        }
    }

    #[test]
    fn a_seed_draws_one_order_and_another_one_another() {
        assert_eq!(draw(1, HOUR), draw(1, HOUR));
        assert_ne!(draw(1, HOUR), draw(2, HOUR));
        assert_ne!(seed(), seed());
        let drawn = draw(1, HOUR);
        let (early, late) = drawn.split_at(drawn.len() / 3);
        let is_cycle = |part: &[&str]| part.windows(5).all(|five| five[0] == five[4]);
        assert!(!is_cycle(early) && !is_cycle(late), "{drawn:?}");
    }
}
