//! One watched user: what is known of him, and who wants to know it here.

use std::collections::BTreeSet;

use actix::Addr;
use rally_cluster::leases::Tenure;
use rally_cluster::presence::Seen;
use rally_cluster::store::PresenceRow;
use rally_schema::UserId;
use rally_schema::frame::{Presence, ServerFrame};

use crate::push::Push;
use crate::session::Session;

/// A session that watches.
pub(super) struct Watcher {
    /// The session's number.
    pub(super) number: u64,
    /// Who watches.
    pub(super) user: UserId,
    /// Whether he has a conversation with the watched one.
    pub(super) acquainted: bool,
    /// Whether he may know; `None` until it was read.
    pub(super) may_know: Option<bool>,
    /// Where pushes go.
    pub(super) session: Addr<Session>,
    /// What he was told last.
    pub(super) told: Option<Seen>,
}

/// A user that is watched here.
pub(super) struct Watched {
    /// By whom.
    pub(super) watchers: Vec<Watcher>,
    /// What edges wrote of him, as read last.
    pub(super) rows: Vec<PresenceRow>,
    /// What this one writes of him, which the store may not have yet.
    pub(super) own: Option<PresenceRow>,
    /// The lease by which his home tells this node when to read again.
    pub(super) tenure: Tenure,
}

impl Watched {
    /// Lets `watcher` watch, in the place of what the same session watched before.
    pub(super) fn join(&mut self, watcher: Watcher) {
        self.leave(watcher.number);
        self.watchers.push(watcher);
    }

    /// Ends what a session watches.
    pub(super) fn leave(&mut self, number: u64) {
        self.watchers.retain(|watcher| watcher.number != number);
    }

    /// Takes over what was read: the rows, and which of the users that were asked about may know.
    /// Who came meanwhile is read about next, and told nothing until then.
    pub(super) fn learn(
        &mut self,
        rows: Vec<PresenceRow>,
        asked: &BTreeSet<UserId>,
        allowed: &BTreeSet<UserId>,
    ) {
        self.rows = rows;
        self.keep_own();
        for watcher in self.watchers.iter_mut().filter(|watcher| asked.contains(&watcher.user)) {
            watcher.may_know = Some(watcher.acquainted && allowed.contains(&watcher.user));
        }
    }

    /// Takes over what this node is about to write.
    pub(super) fn write(&mut self, own: PresenceRow) {
        self.own = Some(own);
        self.keep_own();
    }

    fn keep_own(&mut self) {
        if let Some(own) = self.own {
            self.rows.retain(|row| row.life != own.life);
            self.rows.push(own);
        }
    }

    /// Tells every watcher what is news to him. Who may not know it sees what he would see of
    /// somebody who was never there; whose mailbox has no room is told the next time.
    pub(super) fn tell(&mut self, user: UserId, seen: Seen) {
        let frame = |Seen { online, last_seen }: Seen| {
            Push::passing(&ServerFrame::from(Presence { user, online, last_seen }))
        };
        let (mut open, mut hidden) = (None, None);
        for watcher in &mut self.watchers {
            let (shown, push) = match watcher.may_know {
                None => continue,
                Some(true) => (seen, &mut open),
                Some(false) => (Seen::default(), &mut hidden),
            };
            if watcher.told != Some(shown) {
                let push = push.get_or_insert_with(|| frame(shown)).clone();
                if watcher.session.try_send(push).is_ok() {
                    watcher.told = Some(shown);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::{AsyncContext as _, Context};
    use rally_schema::Life;

    use super::*;

    #[test]
    fn who_came_while_it_was_read_is_told_nothing_before_he_is_asked_about() {
        let [ana, cid] = ["ana", "cid"].map(|name| name.parse::<UserId>().unwrap());
        let watcher = |number, user| {
            let (acquainted, may_know, told) = (true, None, None);
            let session = Context::<Session>::new().address();
            Watcher { number, user, acquainted, may_know, session, told }
        };
        let here = Life { node: "here".parse().unwrap(), generation: 1 };
        let (rows, own, tenure) = (Vec::new(), None, Tenure::new(here, here));
        let mut watched = Watched { watchers: vec![watcher(1, ana)], rows, own, tenure };
        let known = |watched: &Watched| -> Vec<Option<bool>> {
            watched.watchers.iter().map(|watcher| watcher.may_know).collect()
        };
        watched.join(watcher(2, cid));
        watched.learn(Vec::new(), &[ana].into(), &[ana].into());
        assert_eq!(known(&watched), [Some(true), None]);
        watched.learn(Vec::new(), &[ana, cid].into(), &[ana].into());
        assert_eq!(known(&watched), [Some(true), Some(false)]);
    }
}
