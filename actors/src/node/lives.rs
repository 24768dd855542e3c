//! What a node knows of the lives in its cluster, its own among them: how they stand, when they were
//! last heard, and where pages reach them.
//!
//! Gossip and the store bring it; nobody is told anything from here but the presence watch, that
//! who lives has changed.

use std::collections::{BTreeMap, BTreeSet};

use rally_cluster::membership::roster::{Member, REMEMBER_MS, Standing};
use rally_cluster::planted::{self, Fault};
use rally_cluster::presence::{self, Seen};
use rally_cluster::roles::Role;
use rally_cluster::store::{NodeRow, NodeStatus, PresenceRow};
use rally_schema::{Life, UserId};

use super::Node;
use crate::presence_watch::LivesChanged;
use crate::standings::{self, Members};

/// How long a heartbeat in the store says that its life is living: two, and some more.
const RECORD_MS: u64 = 25_000;

/// Puts rows in the order of their lives.
pub(super) fn by_life(rows: Vec<NodeRow>) -> BTreeMap<Life, NodeRow> {
    rows.into_iter().map(|row| (row.life, row)).collect()
}

impl Node {
    /// Gives how every life stands: the others as gossip saw them last, this one as it is.
    pub fn members(&self) -> Vec<Member> {
        let known = self.members.read();
        let others = known.iter().filter(|(life, _)| **life != self.life);
        let mut members: Vec<Member> = others.map(|(_, member)| member.clone()).collect();
        let now_ms = self.clock.monotonic_ms();
        let own = Member::new(self.card(), now_ms);
        members.push(Member { since_ms: self.began_ms, ..own });
        members
    }

    /// Takes over how every life stands.
    pub(crate) fn set_members(&self, members: Members) {
        let living = |members: &Members| -> Vec<Life> {
            // Only those have sessions whose presence hangs on it.
            let chats = |m: &&Member| m.card.roles.has(Role::Chat);
            let lives = |m: &&Member| !m.standing.is_over();
            members.values().filter(chats).filter(lives).map(|m| m.card.life).collect()
        };
        let now = living(&members);
        let (before, died) = {
            let mut known = self.members.write();
            standings::observe(&self.metrics, self.clock.now_ms(), &known, &members);
            let died = standings::has_died(&known, &members);
            (living(&std::mem::replace(&mut *known, members)), died)
        };
        // It may have acknowledged what it had not yet told.
        if died && !planted::on(Fault::DeathUnheard) {
            self.routers.doubt_all();
        }
        if now != before {
            self.lives_changed();
        }
    }

    pub(super) fn lives_changed(&self) {
        let sent = self.presence.send(LivesChanged);
        actix::spawn(async move {
            let _ = sent.await;
        });
    }

    fn standing(&self, life: Life) -> Option<(Standing, u64)> {
        let members = self.members.read();
        let member = members.get(&life)?;
        Some((member.standing, member.card.clock_ms))
    }

    /// Gives what is known here of a user's presence: of this node from its routers, of others
    /// from the rows that they wrote.
    pub fn seen(&self, user: UserId, rows: &[PresenceRow]) -> Seen {
        let here = self.routers.is_online(user);
        let is_living = |life| if life == self.life { here } else { self.is_living(life) };
        match here {
            true => Seen { online: true, last_seen: None },
            false => presence::fold(rows, is_living, |life| self.ended_ms(life)),
        }
    }

    fn record(&self, life: Life) -> Option<NodeRow> {
        self.records.read().get(&life).cloned()
    }

    /// Takes over what the store knows of nodes.
    pub(crate) fn set_records(&self, records: Vec<NodeRow>) {
        *self.records.write() = by_life(records);
    }

    /// Tells whether a life is, as far as is known, not over. This one is living. Of one whose
    /// gossip never came here the store is asked.
    pub fn is_living(&self, life: Life) -> bool {
        // The store may not know yet that this node's former life is over.
        if life.node == self.life.node {
            return life == self.life;
        }
        if let Some((standing, _)) = self.standing(life) {
            return !matches!(standing, Standing::Offline { .. });
        }
        let writes = |row: NodeRow| {
            let over = matches!(row.status, NodeStatus::Offline | NodeStatus::Deleted);
            !over && self.clock.now_ms() < row.heartbeat_ms + RECORD_MS
        };
        self.record(life).is_some_and(writes)
    }

    /// Gives when a life that is over was last heard, by its own clock; 0 when that is not known.
    pub fn ended_ms(&self, life: Life) -> u64 {
        let heard = self.standing(life).map(|(_, clock_ms)| clock_ms);
        heard.or_else(|| self.record(life).map(|row| row.heartbeat_ms)).unwrap_or(0)
    }

    /// Tells whether a life has been over for so long that no session of it can be left: should
    /// it only have been paused, its clients have gone elsewhere.
    pub fn is_long_over(&self, life: Life) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let over_ms = match self.standing(life) {
            _ if life.node == self.life.node => return life.generation < self.life.generation,
            Some((Standing::Offline { since_ms, .. }, _)) => now_ms.saturating_sub(since_ms),
            Some(_) => 0,
            // Nobody has heard it since this life began: it may be new, and its gossip cut off.
            None => match self.record(life) {
                Some(row) => {
                    let silent_ms = self.clock.now_ms().saturating_sub(row.heartbeat_ms);
                    silent_ms.min(now_ms.saturating_sub(self.began_ms))
                }
                None => 0,
            },
        };
        over_ms > 2 * self.settings.silence_ms
    }

    /// Gives the addresses of living processes, whatever they do: each serves pages.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses_where(|_| true)
    }

    /// Gives the addresses of living processes that have a role.
    pub fn addresses_of(&self, role: Role) -> Vec<String> {
        self.addresses_where(|member| member.card.roles.has(role))
    }

    /// Gives the addresses of which pages may be open: of every process that is known, and lives or
    /// lived not long ago. A page outlives the process that served it, and goes on with another one.
    pub fn page_origins(&self) -> Vec<String> {
        let (records, members) = (self.records.read(), self.members.read());
        let oldest_ms = self.clock.now_ms().saturating_sub(REMEMBER_MS);
        let lately =
            |row: &&NodeRow| row.status != NodeStatus::Deleted && row.heartbeat_ms >= oldest_ms;
        let past = records.values().filter(lately).map(|row| &row.address);
        let known = members.values().map(|member| &member.card.address);
        let all: BTreeSet<&String> = past.chain(known).chain([&self.address]).collect();
        all.into_iter().filter(|one| !one.is_empty()).cloned().collect()
    }

    fn addresses_where(&self, wanted: impl Fn(&Member) -> bool) -> Vec<String> {
        let lives = |member: &Member| member.standing == Standing::Live;
        let living = self.members().into_iter().filter(|m| lives(m) && wanted(m));
        living.map(|member| member.card.address).filter(|address| !address.is_empty()).collect()
    }

    /// Takes over how far the others' clocks are ahead of this one.
    pub(crate) fn set_clocks(&self, ahead_ms: BTreeMap<Life, i64>, median_ahead_ms: i64) {
        self.metrics.cluster.clock_offset.set(-median_ahead_ms as f64 / 1e3);
        *self.clocks.write() = ahead_ms;
    }

    /// Gives how far the clocks of other lives are ahead of this one, in milliseconds.
    pub fn clocks(&self) -> BTreeMap<Life, i64> {
        self.clocks.read().clone()
    }
}
