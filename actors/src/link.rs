//! The way to routers on other nodes: gathers envelopes, numbers parcels, and publishes them.
//!
//! Confirmations are the clock: an envelope goes at once when no parcel to its life is under
//! way; while one is, envelopes gather, and go together when it is confirmed or when they fill a
//! parcel. So a thin link adds no delay, and a busy one publishes once a round trip.
//!
//! A push is a hint, so nothing is sent again: what the broker did not take, and what found no
//! room here, leaves a gap in the numbers, by which the receiver learns that its users may have
//! missed something. So that the last one is missed too, a link that has fallen idle tells its
//! number by an empty parcel, until the last number is confirmed. Of a life that has no queue any
//! more nothing is kept. Knows nothing of sessions.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use actix::{Addr, WeakAddr};
use parking_lot::Mutex;
use rally_cluster::broker::{Broker, Parcel, PublishError};
use rally_cluster::clock::Clock;
use rally_cluster::links::Outgoing;
use rally_schema::{Envelope, Life};
use tracing::debug;

use crate::gossip::{Gossip, Returned};
use crate::metrics::{LinkMetrics, count};

/// Envelopes that fill a parcel.
const PARCEL_ENVELOPES: usize = 256;

/// Bytes that fill a parcel; the last envelope may go beyond.
const PARCEL_BYTES: usize = 64 * 1024;

/// Parcels to one life that wait for their confirmation. As many more envelopes as fill a parcel
/// may gather; beyond that their numbers are used up and they are not sent.
const UNDER_WAY: usize = 8;

/// What a node sends to others. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    from: Life,
    broker: Arc<dyn Broker>,
    clock: Clock,
    metrics: LinkMetrics,
    links: Mutex<Links>,
    /// Told who has no queue; weak, because it holds the node, which holds this.
    gossip: OnceLock<WeakAddr<Gossip>>,
}

#[derive(Default)]
struct Links {
    numbers: Outgoing,
    lines: BTreeMap<Life, Line>,
}

/// What is kept of one receiver.
#[derive(Default)]
struct Line {
    gathered: Vec<Envelope>,
    bytes: usize,
    under_way: usize,
    /// It may not know the last number.
    untold: bool,
}

impl Line {
    fn is_full(&self) -> bool {
        self.gathered.len() >= PARCEL_ENVELOPES || self.bytes >= PARCEL_BYTES
    }

    fn gather(&mut self, envelope: Envelope) {
        self.bytes += bytes(&envelope);
        self.gathered.push(envelope);
    }

    /// Takes what has gathered, if it is to go now.
    fn due(&mut self) -> Option<Vec<Envelope>> {
        let may = self.under_way == 0 || (self.is_full() && self.under_way < UNDER_WAY);
        if !may || self.gathered.is_empty() {
            return None;
        }
        self.bytes = 0;
        Some(std::mem::take(&mut self.gathered))
    }
}

/// Estimates how long an envelope is on the wire.
fn bytes(envelope: &Envelope) -> usize {
    const SMALL: usize = 64;
    match envelope {
        Envelope::Push(pushed) => 2 * SMALL + pushed.frame.len(),
        Envelope::Doubt { users, .. } => SMALL + users.len() * SMALL,
        Envelope::Map { lives } => SMALL + lives.len() * SMALL,
        Envelope::Attach { .. }
        | Envelope::Attached { .. }
        | Envelope::Detach { .. }
        | Envelope::Watch { .. }
        | Envelope::Watching { .. }
        | Envelope::Unwatch { .. }
        | Envelope::Presence { .. }
        | Envelope::LoggedOut { .. }
        | Envelope::Ping {}
        | Envelope::Pong {}
        | Envelope::Ask { .. }
        | Envelope::Vouch { .. }
        | Envelope::Unknown => SMALL,
    }
}

impl Link {
    /// Sends for a life through a broker.
    pub fn new(from: Life, broker: Arc<dyn Broker>, clock: Clock, metrics: LinkMetrics) -> Self {
        let (links, gossip) = (Mutex::default(), OnceLock::new());
        Self(Arc::new(Inner { from, broker, clock, metrics, links, gossip }))
    }

    /// Tells from now on who has no queue.
    pub fn tell_returns(&self, gossip: &Addr<Gossip>) {
        let _ = self.0.gossip.set(gossip.downgrade());
    }

    /// Sends one envelope to another life, at once or as soon as its turn comes.
    pub fn send(&self, to: Life, envelope: Envelope) {
        let mut links = self.0.links.lock();
        let line = links.lines.entry(to).or_default();
        line.untold = true;
        if line.is_full() {
            links.numbers.number(to);
            self.0.metrics.dropped.inc();
            return;
        }
        line.gather(envelope);
        if let Some(envelopes) = line.due() {
            self.publish(&mut links, to, envelopes);
        }
    }

    /// Tells the lives that something was sent to how far the numbers are; to be called about
    /// once a second.
    pub fn tell_numbers(&self) {
        let mut links = self.0.links.lock();
        let idle = |line: &Line| line.untold && line.under_way == 0;
        let told: Vec<Life> =
            links.lines.iter().filter(|(_, line)| idle(line)).map(|(to, _)| *to).collect();
        told.into_iter().for_each(|to| self.publish(&mut links, to, Vec::new()));
    }

    /// Tells whether every life knows how far its numbers are: of what was sent to it nothing can be
    /// lost any more without being seen.
    pub fn is_told(&self) -> bool {
        let links = self.0.links.lock();
        links.lines.values().all(|line| !line.untold && line.under_way == 0)
    }

    /// Numbers a parcel and hands it over, both under the one lock: the broker keeps the order
    /// of calls.
    fn publish(&self, links: &mut Links, to: Life, envelopes: Vec<Envelope>) {
        let Inner { from, broker, clock, metrics, .. } = &*self.0;
        links.lines.entry(to).or_default().under_way += 1;
        let number = links.numbers.number(to);
        metrics.parcels.inc();
        metrics.parcel_envelopes.observe(envelopes.len() as f64);
        let published = broker.publish(to, Parcel { from: *from, number, envelopes });
        let (link, begun_us) = (self.clone(), clock.monotonic_us());
        actix::spawn(async move {
            let answer = published.await;
            let took_us = link.0.clock.monotonic_us().saturating_sub(begun_us);
            link.0.metrics.confirm_seconds.observe(took_us as f64 / 1e6);
            link.settle(to, number, answer);
        });
    }

    fn settle(&self, to: Life, number: u64, answer: Result<(), PublishError>) {
        let outcome = match &answer {
            Ok(()) => "confirmed",
            Err(PublishError::Returned(_)) => "returned",
            Err(PublishError::Refused(_)) => "refused",
            Err(PublishError::Unknown(_)) => "unknown",
        };
        count(&self.0.metrics.answers, outcome);
        if outcome == "returned"
            && let Some(gossip) = self.0.gossip.get().and_then(WeakAddr::upgrade)
        {
            // Finds no room: the next one will.
            let _ = gossip.try_send(Returned { to });
        }
        let mut links = self.0.links.lock();
        let is_last = links.numbers.last(to) == number;
        let Some(line) = links.lines.get_mut(&to) else { return };
        line.under_way -= 1;
        // All before it is told by its number, unless more was sent meanwhile.
        line.untold &= !(is_last && answer.is_ok());
        if let Some(envelopes) = line.due() {
            self.publish(&mut links, to, envelopes);
            return;
        }
        match answer {
            Ok(()) => {}
            // It is over, or has lost its queue and knows that it must catch up.
            Err(PublishError::Returned(_)) if is_last && line.under_way == 0 => {
                links.lines.remove(&to);
                links.numbers.forget(to);
            }
            Err(error) => debug!(%to, %error, "a parcel was not taken"),
        }
    }
}
