//! Looks after all sessions of one thread: pings them, ends the silent, has them catch up, and tells
//! whoever is not listened to that the node lives.
//!
//! One timer for everybody. A session's own timer could not judge it: a session that is
//! stuck would not run it. Its mailbox holds nothing but the timer. At a tick only those are looked at
//! for whom something is due, and those who are not listened to: of many idle sessions hardly any.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext as _, Context};
use bytes::Bytes;
use rally_cluster::planted::{self, Fault};
use rally_schema::ServerFrame;
use rally_schema::frame::{BeatReply, ByeReason};
use slab::Slab;

use crate::io::{AllUnheard, Io, Unheard};
use crate::node::Node;
use crate::session::{End, Session, SyncNow};
use crate::settings::Settings;
use crate::wire;

/// How often it is looked whether anything is due; also how late a ping or an end may be.
const TICK: Duration = Duration::from_millis(500);

/// How often who is not listened to hears a beat: a beat of his own waits unread, and a client gives
/// a node up that leaves one unanswered for some seconds.
const UNASKED_BEAT_MS: u64 = 2_000;

struct Entry {
    io: Rc<Io>,
    addr: Addr<Session>,
    ping_at_ms: u64,
    sync_at_ms: u64,
    /// When it was last not listened to.
    excused_ms: u64,
    /// When the first of these is to be looked at: what says another time is of who had the key before.
    due_ms: u64,
}

impl Entry {
    /// Excuses who may speak and is not listened to: he is not silent, and hears a beat now and then,
    /// unless he has not read what he was told before. So is he who has much to read and reads on.
    /// Tells whether he is still not listened to.
    fn excuse(&mut self, unheard: &mut Unheard, now: u64, beat: &Bytes) -> bool {
        let drained = self.io.drained();
        if std::mem::replace(&mut unheard.drained, drained) != drained && self.io.is_congested() {
            self.excused_ms = now;
        }
        if !self.io.is_paused() {
            unheard.beat_at_ms = None;
            return !self.io.hears();
        }
        self.excused_ms = now;
        if now >= *unheard.beat_at_ms.get_or_insert(now + UNASKED_BEAT_MS) {
            unheard.beat_at_ms = Some(now + UNASKED_BEAT_MS);
            if self.io.waiting() == 0 {
                self.io.answer(beat.clone());
            }
        }
        true
    }

    /// Gives when he will have been silent for too long, unless he is heard or excused before.
    fn silent_at_ms(&self, settings: &Settings) -> u64 {
        self.io.heard_ms.get().max(self.excused_ms) + settings.silence_ms + 1
    }

    /// States when it is to be looked at next, after `now`.
    fn plan(&mut self, now: u64, settings: &Settings) {
        let first_ms = self.silent_at_ms(settings).min(self.ping_at_ms).min(self.sync_at_ms);
        // What could not be done is tried again at the next tick.
        self.due_ms = if first_ms > now { first_ms } else { now + TICK.as_millis() as u64 };
    }

    /// Does what is due.
    fn look(&mut self, key: u32, now: u64, settings: &Settings) {
        let is_silent = now >= self.silent_at_ms(settings) && !planted::on(Fault::SilenceEndless);
        if is_silent || (now >= self.ping_at_ms && self.io.ping().is_err()) {
            let _ = self.addr.try_send(End { reason: ByeReason::Silent, after_ms: Some(0) });
        } else {
            if now >= self.ping_at_ms {
                self.ping_at_ms = now + settings.ping_interval_ms;
            }
            if now >= self.sync_at_ms && self.addr.try_send(SyncNow).is_ok() {
                let number = now.wrapping_add(key.into());
                self.sync_at_ms = now + jittered(number, settings.sync_interval_ms);
            }
        }
        self.plan(now, settings);
    }
}

#[derive(Default)]
struct Sessions {
    entries: Slab<Entry>,
    /// When which key is due, the first on top. A key of a session that left stays until then: a ping
    /// interval at most.
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

/// The sessions of one thread.
#[derive(Default)]
pub struct Sweep {
    sessions: RefCell<Sessions>,
    unheard: AllUnheard,
}

impl Sweep {
    /// Adds a session; gives the key with which it leaves.
    pub fn join(&self, node: &Node, number: u64, io: Rc<Io>, addr: Addr<Session>) -> u32 {
        let now = node.clock.monotonic_ms();
        let settings = &node.settings;
        let mut entry = Entry {
            io,
            addr,
            // Spread evenly, or all who came together would be pinged together for ever.
            ping_at_ms: now + spread(number, settings.ping_interval_ms),
            sync_at_ms: now + jittered(number, settings.sync_interval_ms),
            excused_ms: now,
            due_ms: 0,
        };
        entry.plan(now, settings);
        let Sessions { entries, due } = &mut *self.sessions.borrow_mut();
        let slot = entries.vacant_entry();
        let key = slot.key() as u32;
        entry.io.note_in(self.unheard.clone(), key);
        due.push(Reverse((entry.due_ms, key)));
        slot.insert(entry);
        key
    }

    /// Gives the most bytes that waited for one of these sessions when a push joined others.
    pub fn most_pushed(&self) -> usize {
        let sessions = self.sessions.borrow();
        sessions.entries.iter().map(|(_, entry)| entry.io.most_pushed()).max().unwrap_or(0)
    }

    /// Removes a session.
    pub fn leave(&self, key: u32) {
        self.sessions.borrow_mut().entries.try_remove(key as usize);
    }

    /// Excuses those who are not listened to, then does what is due.
    fn tick(&self, now: u64, beat: &Bytes, settings: &Settings) {
        let Sessions { entries, due } = &mut *self.sessions.borrow_mut();
        self.unheard.borrow_mut().retain_mut(|unheard| {
            let entry = entries.get_mut(unheard.key as usize);
            entry.is_some_and(|entry| entry.excuse(unheard, now, beat))
        });
        while let Some(mut first) = due.peek_mut()
            && first.0.0 <= now
        {
            let Reverse((due_ms, key)) = *first;
            match entries.get_mut(key as usize).filter(|entry| entry.due_ms == due_ms) {
                Some(entry) => {
                    entry.look(key, now, settings);
                    *first = Reverse((entry.due_ms, key));
                }
                None => drop(PeekMut::pop(first)),
            }
        }
    }
}

/// Gives a place in an interval that is the same for the same number, and even over many:
/// multiples of the golden ratio modulo one (Knuth, volume 3, section 6.4).
fn spread(number: u64, interval_ms: u64) -> u64 {
    let fraction = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (fraction * interval_ms) >> 32
}

/// Gives an interval within a fifth of the stated one.
pub(crate) fn jittered(number: u64, interval_ms: u64) -> u64 {
    interval_ms - interval_ms / 5 + spread(number, interval_ms * 2 / 5)
}

/// The sweeper of one thread.
pub struct Sweeper {
    node: Arc<Node>,
    sweep: Rc<Sweep>,
}

impl Sweeper {
    /// Looks after the sessions in `sweep`.
    pub fn new(node: Arc<Node>, sweep: Rc<Sweep>) -> Self {
        Self { node, sweep }
    }

    fn tick(&self) {
        let node = &self.node;
        let beat = BeatReply { now: node.clock.now_ms(), unasked: true };
        let beat = wire::text(ServerFrame::from(beat).encode());
        self.sweep.tick(node.clock.monotonic_ms(), &beat, &node.settings);
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |sweeper, _| sweeper.tick());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_of_many_sessions_are_spread_over_the_interval() {
        let mut slots = [0; 10];
        for number in 0..10_000 {
            slots[(spread(number, 1_000) / 100) as usize] += 1;
        }
        assert!(slots.iter().all(|n| (900..1_100).contains(n)), "{slots:?}");
    }
}
