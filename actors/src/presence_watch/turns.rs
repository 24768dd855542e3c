//! Whose presence is read or written next: one thing at a time a user, so that what is newer is
//! never overtaken by what is older.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rally_cluster::store::PresenceRow;
use rally_schema::UserId;

/// Users read at the same time: a dead node's watchers must not flood the store.
const READS: usize = 32;

/// Whose presence is to be read. Holds each user at most once.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: VecDeque<UserId>,
    asked: BTreeSet<UserId>,
    reading: BTreeSet<UserId>,
}

impl Reads {
    /// Has a user read, again if he is being read now.
    pub(super) fn ask(&mut self, user: UserId) {
        if self.asked.insert(user) {
            self.waiting.push_back(user);
        }
    }

    /// Gives a user to read now.
    pub(super) fn next(&mut self) -> Option<UserId> {
        if self.reading.len() >= READS {
            return None;
        }
        let at = self.waiting.iter().position(|user| !self.reading.contains(user))?;
        let user = self.waiting.remove(at)?;
        self.asked.remove(&user);
        self.reading.insert(user);
        Some(user)
    }

    /// Ends a read; what was asked meanwhile comes next.
    pub(super) fn done(&mut self, user: UserId) {
        self.reading.remove(&user);
    }
}

/// What is to be written. Holds of each user the row that is under way, and the newest after it.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<UserId, Option<PresenceRow>>);

impl Writes {
    /// Takes a row; tells whether it is to be written now.
    pub(super) fn ask(&mut self, row: PresenceRow) -> bool {
        match self.0.get_mut(&row.user) {
            Some(next) => {
                *next = Some(row);
                false
            }
            None => {
                self.0.insert(row.user, None);
                true
            }
        }
    }

    /// Gives what is to be written in the place of a row that could not be.
    pub(super) fn newest(&mut self, row: PresenceRow) -> PresenceRow {
        self.0.get_mut(&row.user).and_then(Option::take).unwrap_or(row)
    }

    /// Ends a write; gives what is to be written after it, which is under way then.
    pub(super) fn done(&mut self, user: UserId) -> Option<PresenceRow> {
        let next = self.0.get_mut(&user).and_then(Option::take);
        if next.is_none() {
            self.0.remove(&user);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use rally_schema::Life;

    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn nobody_is_read_twice_at_once_and_nobody_is_forgotten() {
        let (mut reads, ana, ben) = (Reads::default(), user("ana"), user("ben"));
        for user in [ana, ana, ben] {
            reads.ask(user);
        }
        assert_eq!((reads.next(), reads.next(), reads.next()), (Some(ana), Some(ben), None));
        reads.ask(ana);
        assert_eq!(reads.next(), None);
        reads.done(ana);
        assert_eq!((reads.next(), reads.next()), (Some(ana), None));
    }

    #[test]
    fn reads_at_once_are_bounded() {
        let mut reads = Reads::default();
        (0..1_000).for_each(|n| reads.ask(user(&format!("user{n}"))));
        let first: Vec<UserId> = std::iter::from_fn(|| reads.next()).collect();
        assert_eq!(first.len(), READS);
        reads.done(first[0]);
        assert_eq!(reads.next(), Some(user("user32")));
    }

    #[test]
    fn of_what_happens_during_a_write_the_last_is_written_after_it() {
        let life = Life { node: "a".parse().unwrap(), generation: 1 };
        let row =
            |last_seen| PresenceRow { user: user("ana"), life, online_since: None, last_seen };
        let mut writes = Writes::default();
        assert_eq!([1, 2, 3].map(|at| writes.ask(row(at))), [true, false, false]);
        assert_eq!(writes.done(user("ana")), Some(row(3)));
        assert!(!writes.ask(row(4)), "what came after it is under way");
        assert_eq!(writes.newest(row(3)), row(4), "should that fail, the newest is written");
        assert_eq!(writes.newest(row(4)), row(4));
        assert_eq!(writes.done(user("ana")), None);
        assert!(writes.ask(row(5)));
    }
}
