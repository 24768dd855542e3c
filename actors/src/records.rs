//! What is written about nodes in the store: of this one that it lives, of others the verdicts.
//!
//! Every node writes the verdicts that it comes to; writes about one life meet by their times, so
//! it does not matter how many do. A write that failed is made again a little later. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use rally_cluster::membership::Status;
use rally_cluster::membership::roster::{Member, Standing};
use rally_cluster::store::{NodeRow, NodeStatus};
use rally_schema::Life;

/// How often a node writes that it lives.
const HEARTBEAT_MS: u64 = 10_000;

/// How long after a write that failed the next one is made.
const AGAIN_MS: u64 = 2_000;

/// What this node has written, and what it is writing.
#[derive(Debug)]
pub struct Records {
    me: Life,
    written: BTreeMap<Life, NodeStatus>,
    beat_ms: u64,
    writing: bool,
    /// Nothing is written before, because a write failed.
    not_before_ms: u64,
}

impl Records {
    /// Begins with nothing written.
    pub fn new(me: Life) -> Self {
        Self { me, written: BTreeMap::new(), beat_ms: 0, writing: false, not_before_ms: 0 }
    }

    /// Gives a row that is to be written at `now_ms` of the clock, unless one is being written, or
    /// was not a moment ago.
    pub fn due(&mut self, members: &[Member], now_ms: u64) -> Option<NodeRow> {
        if self.writing || now_ms < self.not_before_ms {
            return None;
        }
        let known: BTreeSet<Life> = members.iter().map(|member| member.card.life).collect();
        if let Some(life) = self.written.keys().find(|life| !known.contains(life)).copied() {
            // Long over, or followed by another life of its node: forgotten by the roster.
            self.writing = true;
            let (address, status_ms) = (String::new(), now_ms);
            let status = NodeStatus::Deleted;
            return Some(NodeRow { life, address, status, status_ms, heartbeat_ms: 0 });
        }
        let row = members.iter().map(|member| row(member, now_ms)).find(|row| {
            let beats = row.life == self.me && now_ms >= self.beat_ms + HEARTBEAT_MS;
            beats || self.written.get(&row.life) != Some(&row.status)
        })?;
        self.writing = true;
        Some(row)
    }

    /// Takes over what became of a write, at `now_ms` of the clock.
    pub fn done(&mut self, row: &NodeRow, written: bool, now_ms: u64) {
        self.writing = false;
        match (written, row.status) {
            (false, _) => self.not_before_ms = now_ms + AGAIN_MS,
            (true, NodeStatus::Deleted) => drop(self.written.remove(&row.life)),
            (true, status) => {
                self.written.insert(row.life, status);
                if row.life == self.me {
                    self.beat_ms = row.heartbeat_ms;
                }
            }
        }
    }
}

fn row(member: &Member, now_ms: u64) -> NodeRow {
    let card = &member.card;
    let status = match (member.standing, card.status) {
        (Standing::Live, Status::Starting) => NodeStatus::Starting,
        (Standing::Live, Status::Ready) => NodeStatus::Ready,
        (Standing::Live, Status::Draining) => NodeStatus::Draining,
        (Standing::Suspect { .. }, _) => NodeStatus::Suspect,
        (Standing::Offline { .. }, _) => NodeStatus::Offline,
    };
    NodeRow {
        life: card.life,
        address: card.address.clone(),
        status,
        status_ms: now_ms,
        heartbeat_ms: card.clock_ms,
    }
}

#[cfg(test)]
mod tests {
    use rally_cluster::membership::Card;
    use rally_cluster::roles::Roles;

    use super::*;

    fn life(node: &str) -> Life {
        Life { node: node.parse().unwrap(), generation: 1 }
    }

    fn member(node: &str, standing: Standing, clock_ms: u64) -> Member {
        let (address, version, status) = (String::new(), String::new(), Status::Ready);
        let (life, roles) = (life(node), Roles::all());
        let card = Card { life, status, address, roles, version, sessions: 0, most: 9, clock_ms };
        Member { standing, ..Member::new(card, 0) }
    }

    /// Writes all that is due, and gives the names and statuses.
    fn write(records: &mut Records, members: &[Member], now_ms: u64) -> Vec<(String, NodeStatus)> {
        let next = || {
            let row = records.due(members, now_ms)?;
            assert_eq!(records.due(members, now_ms), None, "one at a time");
            records.done(&row, true, now_ms);
            Some((row.life.node.to_string(), row.status))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_node_writes_that_it_lives_and_what_became_of_others() {
        let mut records = Records::new(life("a"));
        let mut members = vec![
            member("a", Standing::Live, 1_000),
            member("b", Standing::Suspect { sign_ms: 0, pinged_ms: 0 }, 500),
        ];
        let named = |name: &str, status| (name.to_owned(), status);
        let first = [named("a", NodeStatus::Ready), named("b", NodeStatus::Suspect)];
        assert_eq!(write(&mut records, &members, 1_000), first);
        assert_eq!(write(&mut records, &members, 10_999), []);
        members[1].standing = Standing::Offline { since_ms: 0, pinged_ms: 0 };
        assert_eq!(write(&mut records, &members, 10_999), [named("b", NodeStatus::Offline)]);
        members[0].card.clock_ms = 11_000;
        assert_eq!(write(&mut records, &members, 11_000), [named("a", NodeStatus::Ready)]);
        members.pop();
        assert_eq!(write(&mut records, &members, 11_000), [named("b", NodeStatus::Deleted)]);
        assert_eq!(write(&mut records, &members, 11_000), []);
    }

    #[test]
    fn what_was_not_written_is_due_again() {
        let (mut records, members) =
            (Records::new(life("a")), [member("a", Standing::Live, 1_000)]);
        let row = records.due(&members, 1_000).unwrap();
        records.done(&row, false, 1_000);
        assert_eq!(records.due(&members, 1_000), None, "not at once");
        let again = NodeRow { status_ms: 1_000 + AGAIN_MS, ..row };
        assert_eq!(records.due(&members, 1_000 + AGAIN_MS), Some(again));
    }
}
