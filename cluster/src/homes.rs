//! Which life every user is at home in: rendezvous hashing over those that are ready.
//!
//! Nobody keeps a directory of users. Each node works the home out from the lives that it sees,
//! so two that see the same agree, and when one goes or comes only its own share of the users
//! moves. Two that see different ones both push, which does no harm. No I/O, no clock.

use rally_schema::{Life, UserId};

/// The lives that are ready, as one node sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Homes(Vec<(u64, Life)>);

impl Homes {
    /// Makes the map of these lives. Of two lives of one node the later one counts.
    pub fn of(lives: impl IntoIterator<Item = Life>) -> Self {
        let mut all: Vec<(u64, Life)> =
            lives.into_iter().map(|life| (hash(life.node.as_str().as_bytes()), life)).collect();
        all.sort_by_key(|(_, life)| (life.node, std::cmp::Reverse(life.generation)));
        all.dedup_by_key(|(_, life)| life.node);
        Self(all)
    }

    /// Gives the life that a user is at home in; `None` when there is none at all.
    ///
    /// The largest score wins (Thaler and Ravishankar, 1998). The node's name is hashed and not
    /// its generation: a node that starts again gets its users back.
    pub fn home(&self, user: UserId) -> Option<Life> {
        if let [(_, only)] = self.0[..] {
            return Some(only);
        }
        let score = scores(user);
        self.0.iter().max_by_key(|(node, _)| score(*node)).map(|(_, life)| *life)
    }

    /// Gives all lives, the user's home first, and after each the one that would be it without
    /// those before.
    pub fn ranked(&self, user: UserId) -> Vec<Life> {
        let score = scores(user);
        let mut all = self.0.clone();
        all.sort_by_key(|(node, _)| std::cmp::Reverse(score(*node)));
        all.into_iter().map(|(_, life)| life).collect()
    }

    /// Gives the lives that are on the map.
    pub fn lives(&self) -> impl Iterator<Item = Life> + '_ {
        self.0.iter().map(|(_, life)| *life)
    }
}

/// One node's map in the place of the one that it had before, as far as that is known.
#[derive(Debug, Clone)]
pub struct NewMap {
    /// None when it is not known.
    pub before: Option<Homes>,
    /// Where the node sends from now on.
    pub after: Homes,
}

impl NewMap {
    /// Tells whether the node takes a user to be at home in this life from now on, and may have
    /// sent elsewhere until then.
    pub fn brings(&self, user: UserId, here: Life) -> bool {
        let here = |homes: &Homes| homes.home(user) == Some(here);
        here(&self.after) && !self.before.as_ref().is_some_and(here)
    }
}

/// Gives what a user's score of a node is, from the hash of its name.
fn scores(user: UserId) -> impl Fn(u64) -> u64 {
    let user = hash(user.as_str().as_bytes()).rotate_left(32);
    move |node| mix(node ^ user)
}

/// FNV-1a, then mixed: the same on every node of every version.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finaliser of splitmix64: each bit of the input changes half of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn life(node: &str, generation: u64) -> Life {
        Life { node: node.parse().unwrap(), generation }
    }

    fn users() -> impl Iterator<Item = UserId> {
        (0..10_000).map(|n| format!("user{n}").parse().unwrap())
    }

    fn nodes(count: usize) -> Vec<Life> {
        (0..count).map(|n| life(&format!("node{n}"), 7)).collect()
    }

    #[test]
    fn the_order_in_which_nodes_were_seen_does_not_matter() {
        let (there, mut back) = (nodes(5), nodes(5));
        back.reverse();
        assert_eq!(Homes::of(there), Homes::of(back));
    }

    #[test]
    fn users_are_spread_evenly() {
        let homes = Homes::of(nodes(5));
        let mut counts = BTreeMap::<Life, usize>::new();
        users().for_each(|user| *counts.entry(homes.home(user).unwrap()).or_default() += 1);
        assert_eq!(counts.len(), 5);
        assert!(counts.values().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn when_a_node_goes_only_its_own_users_move() {
        let (before, after) = (Homes::of(nodes(5)), Homes::of(nodes(4)));
        let gone = life("node4", 7);
        for user in users() {
            let home = before.home(user).unwrap();
            assert!(home == gone || after.home(user) == Some(home), "{user} moved");
        }
    }

    #[test]
    fn a_node_that_comes_takes_its_share_and_nobody_else_moves() {
        let (before, after) = (Homes::of(nodes(4)), Homes::of(nodes(5)));
        let come = life("node4", 7);
        let moved = users().filter(|user| before.home(*user) != after.home(*user));
        let moved: Vec<UserId> = moved.collect();
        assert!(moved.iter().all(|user| after.home(*user) == Some(come)));
        assert!((1_800..2_200).contains(&moved.len()), "{} of 10,000 moved", moved.len());
    }

    #[test]
    fn a_node_that_starts_again_gets_its_users_back() {
        let before = Homes::of(nodes(3));
        let after = Homes::of(nodes(3).into_iter().chain([life("node1", 9)]));
        for user in users() {
            let (home, then) = (before.home(user).unwrap(), after.home(user).unwrap());
            assert_eq!(home.node, then.node);
            assert_eq!(then.generation, if then.node == life("node1", 0).node { 9 } else { 7 });
        }
    }

    #[test]
    fn whoever_is_next_would_be_home_without_those_before() {
        let homes = Homes::of(nodes(5));
        for user in users().take(100) {
            let ranked = homes.ranked(user);
            for (at, next) in ranked.iter().enumerate() {
                let rest = Homes::of(ranked[at..].iter().copied());
                assert_eq!(rest.home(user), Some(*next));
            }
        }
    }

    #[test]
    fn a_new_map_brings_to_a_node_whom_its_sender_did_not_send_there() {
        let (few, all, last) = (Homes::of(nodes(2)), Homes::of(nodes(3)), life("node2", 7));
        let at_last = |homes: &Homes| -> usize {
            users().filter(|user| homes.home(*user) == Some(last)).count()
        };
        let brought = |before: Option<&Homes>, after: &Homes| -> usize {
            let map = NewMap { before: before.cloned(), after: after.clone() };
            users().filter(|user| map.brings(*user, last)).count()
        };
        assert_eq!(brought(Some(&few), &all), at_last(&all));
        assert_eq!(brought(None, &all), at_last(&all), "what is not known may have been elsewhere");
        assert_eq!([brought(Some(&all), &all), brought(Some(&all), &few)], [0; 2]);
    }

    #[test]
    fn nobody_is_at_home_where_there_is_no_node() {
        assert_eq!(Homes::default().home("ana".parse().unwrap()), None);
    }
}
