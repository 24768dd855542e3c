//! The way to routers on other nodes: numbers parcels and publishes them.
//!
//! A push is a hint, so nothing is kept and nothing is sent again: a parcel that the broker did
//! not take leaves a gap in the numbers, by which the receiver learns that its users may have
//! missed something. So that the last one is missed too, a link that has fallen idle tells its
//! number by an empty parcel, until one is confirmed. Parcels under way are bounded; beyond that
//! their numbers are used up and they are not sent. Knows nothing of sessions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rally_cluster::broker::{Broker, Parcel, PublishError};
use rally_cluster::links::Outgoing;
use rally_schema::{Envelope, Life};
use tracing::debug;

/// Parcels that wait for their confirmation.
const UNDER_WAY: usize = 4_096;

/// What a node sends to others. Clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    from: Life,
    broker: Arc<dyn Broker>,
    links: Mutex<Links>,
    under_way: AtomicUsize,
}

#[derive(Default)]
struct Links {
    numbers: Outgoing,
    /// Lives that may not know the last number.
    untold: BTreeSet<Life>,
}

impl Link {
    /// Sends for a life through a broker.
    pub fn new(from: Life, broker: Arc<dyn Broker>) -> Self {
        let (links, under_way) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { from, broker, links, under_way }))
    }

    /// Publishes one envelope to another life.
    pub fn send(&self, to: Life, envelope: Envelope) {
        self.publish(to, vec![envelope]);
    }

    /// Tells the lives that something was sent to how far the numbers are; to be called about
    /// once a second.
    pub fn tell_numbers(&self) {
        let untold = self.0.links.lock().untold.clone();
        untold.into_iter().for_each(|to| self.publish(to, Vec::new()));
    }

    fn publish(&self, to: Life, envelopes: Vec<Envelope>) {
        let inner = &self.0;
        let tells = envelopes.is_empty();
        let (number, published) = {
            // Numbered and handed over under one lock: the broker keeps the order of calls.
            let mut links = inner.links.lock();
            let number = links.numbers.number(to);
            links.untold.insert(to);
            if inner.under_way.fetch_add(1, Ordering::AcqRel) >= UNDER_WAY {
                inner.under_way.fetch_sub(1, Ordering::AcqRel);
                return;
            }
            let parcel = Parcel { from: inner.from, number, envelopes };
            (number, inner.broker.publish(to, parcel))
        };
        let inner = inner.clone();
        actix::spawn(async move {
            let published = published.await;
            inner.under_way.fetch_sub(1, Ordering::AcqRel);
            let mut links = inner.links.lock();
            match published {
                // All before it was told by its number, unless more was sent meanwhile.
                Ok(()) if tells && links.numbers.last(to) == number => {
                    links.untold.remove(&to);
                }
                Ok(()) => {}
                Err(PublishError::Returned(_)) => {
                    // It is gone, and lives never come back.
                    links.untold.remove(&to);
                }
                Err(error) => debug!(%to, %error, "a parcel was not taken"),
            }
        });
    }
}
