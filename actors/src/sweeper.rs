//! Looks after all sessions of one thread: pings them, ends the silent, has them catch up, and tells
//! whoever is not listened to that the node lives.
//!
//! One timer for everybody. A session's own timer could not judge it: a session that is
//! stuck would not run it. Its mailbox holds nothing but the timer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext as _, Context};
use bytes::Bytes;
use rally_cluster::planted::{self, Fault};
use rally_schema::ServerFrame;
use rally_schema::frame::{BeatReply, ByeReason};
use slab::Slab;

use crate::io::Io;
use crate::node::Node;
use crate::session::{End, Session, SyncNow};
use crate::wire;

/// How often everybody is looked at; also how late a ping or an end may be.
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
    beat_at_ms: u64,
    /// How often its peer had taken something of much when it was last looked at.
    drained: u32,
}

impl Entry {
    /// Excuses who may speak and is not listened to: he is not silent, and hears a beat now and then,
    /// unless he has not read what he was told before. So is he who has much to read and reads on.
    fn excuse(&mut self, now: u64, beat: &Bytes) {
        let drained = self.io.drained();
        if std::mem::replace(&mut self.drained, drained) != drained && self.io.is_congested() {
            self.excused_ms = now;
        }
        if !self.io.is_paused() {
            self.beat_at_ms = now + UNASKED_BEAT_MS;
            return;
        }
        self.excused_ms = now;
        if now >= self.beat_at_ms {
            self.beat_at_ms = now + UNASKED_BEAT_MS;
            if self.io.waiting() == 0 {
                self.io.answer(beat.clone());
            }
        }
    }

    /// Ends the session; one whose mailbox is full is tried again at the next tick.
    fn end(&self) {
        let _ = self.addr.try_send(End { reason: ByeReason::Silent, after_ms: Some(0) });
    }
}

/// The sessions of one thread.
#[derive(Default)]
pub struct Sweep(RefCell<Slab<Entry>>);

impl Sweep {
    /// Adds a session; gives the key with which it leaves.
    pub fn join(&self, node: &Node, number: u64, io: Rc<Io>, addr: Addr<Session>) -> usize {
        let now = node.clock.monotonic_ms();
        let settings = &node.settings;
        let entry = Entry {
            io,
            addr,
            // Spread evenly, or all who came together would be pinged together for ever.
            ping_at_ms: now + spread(number, settings.ping_interval_ms),
            sync_at_ms: now + jittered(number, settings.sync_interval_ms),
            excused_ms: now,
            beat_at_ms: now + UNASKED_BEAT_MS,
            drained: 0,
        };
        self.0.borrow_mut().insert(entry)
    }

    /// Gives the most bytes that waited for one of these sessions when a push joined others.
    pub fn most_pushed(&self) -> usize {
        self.0.borrow().iter().map(|(_, entry)| entry.io.most_pushed()).max().unwrap_or(0)
    }

    /// Removes a session.
    pub fn leave(&self, key: usize) {
        self.0.borrow_mut().try_remove(key);
    }
}

/// Gives a place in an interval that is the same for the same number, and even over many:
/// multiples of the golden ratio modulo one (Knuth, volume 3, section 6.4).
fn spread(number: u64, interval_ms: u64) -> u64 {
    let fraction = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (fraction * interval_ms) >> 32
}

/// Gives an interval within a fifth of the stated one.
fn jittered(number: u64, interval_ms: u64) -> u64 {
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
        let now = self.node.clock.monotonic_ms();
        let settings = &self.node.settings;
        let beat = BeatReply { now: self.node.clock.now_ms(), unasked: true };
        let beat = wire::text(ServerFrame::from(beat).encode());
        for (key, entry) in self.sweep.0.borrow_mut().iter_mut() {
            entry.excuse(now, &beat);
            let silent_ms = now.saturating_sub(entry.io.heard_ms.get().max(entry.excused_ms));
            if silent_ms > settings.silence_ms && !planted::on(Fault::SilenceEndless) {
                entry.end();
                continue;
            }
            if now >= entry.ping_at_ms {
                if entry.io.ping().is_err() {
                    entry.end();
                    continue;
                }
                entry.ping_at_ms = now + settings.ping_interval_ms;
            }
            if now >= entry.sync_at_ms && entry.addr.try_send(SyncNow).is_ok() {
                let number = now.wrapping_add(key as u64);
                entry.sync_at_ms = now + jittered(number, settings.sync_interval_ms);
            }
        }
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
