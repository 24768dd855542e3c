//! What goes wrong in one run: some kinds of fault, each at a moment of its own.

use std::collections::BTreeSet;
use std::rc::Rc;

use rally_actors::Settings;
use rally_proof::Span;
use rally_schema::UserId;

use crate::blocks;
use crate::line::{Line, Surroundings};
use crate::node::SimNode;
use crate::world::Weather;

/// How often it is looked, ten times a second, whether somebody waits for a node that stands still.
const PATIENCE: u32 = 40;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Parcels are lost, late, doubled, unconfirmed.
    Parcels,
    /// Writes time out: done, not done, or done later; reads fail.
    Store,
    /// A node dies without a word, and starts again.
    Crash,
    /// A node stands still, and goes on.
    Pause,
    /// A node does not reach the broker.
    OffBroker,
    /// One node does not hear another's gossip, or none hears any.
    Gossip,
    /// A node's wall clock is wrong.
    Skew,
    /// Every socket of a node breaks.
    Sockets,
    /// A device is without a network.
    Offline,
    /// A device's storage is cleared.
    Cleared,
    /// The broker dies and starts again: every queue and what was under way is lost.
    BrokerRestart,
    /// Mailboxes hold next to nothing all the time, and for a while parcels come in bursts.
    FullMailboxes,
    /// A device does not read what it is sent.
    Slow,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Parcels,
        Self::Store,
        Self::Crash,
        Self::Pause,
        Self::OffBroker,
        Self::Gossip,
        Self::Skew,
        Self::Sockets,
        Self::Offline,
        Self::Cleared,
        Self::BrokerRestart,
        Self::FullMailboxes,
        Self::Slow,
    ];
}

/// Lets one fault happen, from its beginning to its end.
pub async fn happen(
    kind: Kind,
    around: &Rc<Surroundings>,
    lines: &[Rc<Line>],
    settings: &Settings,
) {
    let world = &around.world;
    let node = &around.nodes[world.below(around.nodes.len() as u64) as usize];
    let other = &around.nodes[world.below(around.nodes.len() as u64) as usize];
    let line = &lines[world.below(lines.len() as u64) as usize];
    let device = line.phone.borrow().device;
    let about = format!("{kind:?} (of {}, {}, {device})", node.name, other.name);
    around.trace(&"fault", || format!("begins: {about}"));
    let from_ms = world.now_ms();
    match kind {
        Kind::Parcels => {
            world.change_weather(|weather| {
                *weather = Weather {
                    parcel_lost: 60,
                    parcel_unconfirmed: 60,
                    parcel_doubled: 40,
                    parcel_late: 60,
                    ..*weather
                };
            });
            world.delay(5_000, 20_000).await;
            world.change_weather(|weather| {
                *weather = Weather {
                    parcel_lost: 0,
                    parcel_unconfirmed: 0,
                    parcel_doubled: 0,
                    parcel_late: 0,
                    ..*weather
                };
            });
        }
        Kind::Store => {
            // Now and then, or so often that nodes give up and say `unknown`.
            let often = if world.below(2) == 0 { 60 } else { 250 };
            world.change_weather(|weather| {
                *weather = Weather {
                    write_lost: often,
                    write_unconfirmed: often,
                    write_late: if around.grudges { 0 } else { often },
                    read_failed: 60,
                    ..*weather
                };
            });
            world.delay(2_500, 10_000).await;
            // Who waits for an answer goes, and comes back when what he sent is too old to be
            // stored as it was: it is stamped anew, whether it surfaces or not.
            let waits = |line: &&Rc<Line>| line.phone.borrow().wants().is_some();
            let waiting: Vec<&Rc<Line>> = lines.iter().filter(waits).collect();
            waiting.iter().for_each(|line| line.set_online(false));
            world.delay(8_000, 12_000).await;
            waiting.iter().for_each(|line| line.set_online(true));
            world.change_weather(|weather| {
                *weather = Weather {
                    write_lost: 0,
                    write_unconfirmed: 0,
                    write_late: 0,
                    read_failed: 0,
                    ..*weather
                };
            });
        }
        Kind::Crash => {
            node.kill();
            world.delay(500, 15_000).await;
            if !node.is_up() {
                node.start(settings.clone()).await;
                around.cuts.borrow_mut().births_ms.push(world.now_ms());
            }
        }
        Kind::Pause => {
            let from_ms = world.now_ms();
            node.set_paused(true);
            // Often for as long that others give it up, and not so long that its clients go.
            let most_ms = if world.below(3) == 0 { 40_000 } else { 14_000 };
            if around.grudges {
                world.delay(200, 1_500).await;
                leave(node, around, lines).await;
            }
            world.delay(500, most_ms).await;
            // Now and then the whole machine slept.
            if world.below(4) == 0 {
                node.machine.slept(world.now_ms() - from_ms);
            }
            node.set_paused(false);
        }
        Kind::OffBroker => {
            node.set_off_broker(true, world.below(2) == 0);
            world.delay(500, 15_000).await;
            node.set_off_broker(false, false);
        }
        Kind::Gossip => {
            let all = world.below(3) == 0;
            for a in &around.nodes {
                for b in around.nodes.iter().filter(|b| b.name != a.name) {
                    world.set_deaf(
                        a.name,
                        b.name,
                        all || (a.name, b.name) == (node.name, other.name),
                    );
                }
            }
            world.delay(2_000, 20_000).await;
            for a in &around.nodes {
                around.nodes.iter().for_each(|b| world.set_deaf(a.name, b.name, false));
            }
        }
        Kind::Skew => {
            // Every other time far ahead, at once: as if somebody had set it.
            node.machine.set_skew(match world.below(2) {
                0 => world.below(7_000) as i64 - 3_500,
                _ => 10_000 + world.below(80_000) as i64,
            });
            world.delay(5_000, 20_000).await;
            node.machine.set_skew(0);
        }
        Kind::Sockets => node.break_sockets(),
        Kind::Offline => {
            // Every other time with all devices of its user, so that nobody holds him online.
            let whole = world.below(2) == 0;
            let goes = |other: &&Rc<Line>| {
                let other = other.phone.borrow().device;
                other == device || (whole && other.user == device.user)
            };
            let going: Vec<&Rc<Line>> = lines.iter().filter(goes).collect();
            // Every other time nobody closes the socket.
            let silently = world.below(2) == 0;
            going.iter().for_each(|line| match silently {
                true => line.vanish(),
                false => line.set_online(false),
            });
            world.delay(500, 60_000).await;
            going.iter().for_each(|line| line.set_online(true));
        }
        Kind::Cleared => {
            line.forget(around);
            world.delay(10, 3_000).await;
            line.set_online(true);
        }
        Kind::BrokerRestart => {
            around.exchange.fall();
            world.delay(50, 3_000).await;
            around.exchange.rise();
        }
        Kind::FullMailboxes => {
            world.change_weather(|weather| weather.burst_ms = 400);
            world.delay(5_000, 20_000).await;
            world.change_weather(|weather| weather.burst_ms = 0);
        }
        Kind::Slow => {
            line.set_reads(false, around);
            world.delay(3_000, 40_000).await;
            line.set_reads(true, around);
        }
    }
    let span = Span { from_ms, to_ms: world.now_ms() };
    match kind {
        Kind::Gossip => around.cuts.borrow_mut().gossip.push(span),
        Kind::Parcels => around.cuts.borrow_mut().broker.push(span),
        // Nothing can be told meanwhile, or what is to be told not be read.
        Kind::OffBroker | Kind::BrokerRestart | Kind::Pause | Kind::Store => {
            around.stalls.borrow_mut().push(span);
        }
        _ => {}
    }
    around.trace(&"fault", || format!("ends: {about}"));
}

/// Has everybody reload who waits for an answer of a node that stands still, once somebody writes to
/// somebody else there, and those to whom they write block them for a moment. What was sent lies in the
/// socket of a node that will take it, and is sent again elsewhere.
async fn leave(node: &SimNode, around: &Rc<Surroundings>, lines: &[Rc<Line>]) {
    let waits = |line: &&Rc<Line>| line.is_at(node.name) && line.phone.borrow().wants().is_some();
    let peer = |line: &Rc<Line>| line.phone.borrow().writes_to().filter(|to| *to != line.user());
    for _ in 0..PATIENCE {
        if lines.iter().filter(waits).any(|line| peer(line).is_some()) {
            break;
        }
        around.world.delay(100, 100).await;
    }
    let waiting: Vec<&Rc<Line>> = lines.iter().filter(waits).collect();
    let pairs: BTreeSet<(UserId, UserId)> =
        waiting.iter().filter_map(|line| Some((peer(line)?, line.user()))).collect();
    for (blocks, blocked) in pairs {
        if let Some(line) = lines.iter().find(|line| line.user() == blocks) {
            blocks::begin_briefly(around, line, blocked);
        }
    }
    waiting.iter().for_each(|line| line.set_online(false));
    around.world.delay(10, 500).await;
    waiting.iter().for_each(|line| line.set_online(true));
}

/// When the ways between nodes were bad.
#[derive(Debug, Default)]
pub struct Cuts {
    gossip: Vec<Span>,
    broker: Vec<Span>,
    /// When lives began.
    births_ms: Vec<u64>,
}

impl Cuts {
    /// Gives when somebody alive could not be told from who is dead, or was never there: who is
    /// taken for that is as good as paused. Gossip and broker were bad at once, or gossip was when
    /// a life began, which knows of nobody whom it has not heard.
    pub fn mistaken(&self) -> impl Iterator<Item = Span> + '_ {
        let pairs = self.gossip.iter().flat_map(|a| self.broker.iter().map(move |b| (a, b)));
        let both = pairs.filter_map(|(a, b)| {
            let (from_ms, to_ms) = (a.from_ms.max(b.from_ms), a.to_ms.min(b.to_ms));
            (from_ms < to_ms).then_some(Span { from_ms, to_ms })
        });
        let births = self.gossip.iter().flat_map(|cut| {
            let within = |born_ms: &&u64| (cut.from_ms..cut.to_ms).contains(*born_ms);
            let born = self.births_ms.iter().filter(within);
            born.map(|born_ms| Span { from_ms: *born_ms, to_ms: cut.to_ms })
        });
        both.chain(births)
    }
}
