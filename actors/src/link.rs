//! The way to routers on other nodes: numbers parcels and publishes them.
//!
//! A push is a hint, so nothing is kept and nothing is sent again: a parcel that the broker did
//! not take leaves a gap in the numbers, by which the receiver learns that its users may have
//! missed something. Parcels under way are bounded; beyond that their numbers are used up and
//! they are not sent. Knows nothing of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rally_cluster::broker::{Broker, Parcel};
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
    numbers: Mutex<Outgoing>,
    under_way: AtomicUsize,
}

impl Link {
    /// Sends for a life through a broker.
    pub fn new(from: Life, broker: Arc<dyn Broker>) -> Self {
        let (numbers, under_way) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { from, broker, numbers, under_way }))
    }

    /// Publishes one envelope to another life.
    pub fn send(&self, to: Life, envelope: Envelope) {
        let inner = &self.0;
        let published = {
            // Numbered and handed over under one lock: the broker keeps the order of calls.
            let mut numbers = inner.numbers.lock();
            let number = numbers.number(to);
            if inner.under_way.fetch_add(1, Ordering::AcqRel) >= UNDER_WAY {
                inner.under_way.fetch_sub(1, Ordering::AcqRel);
                return;
            }
            inner.broker.publish(to, Parcel { from: inner.from, number, envelopes: vec![envelope] })
        };
        let inner = inner.clone();
        actix::spawn(async move {
            if let Err(error) = published.await {
                debug!(%to, %error, "a parcel was not taken");
            }
            inner.under_way.fetch_sub(1, Ordering::AcqRel);
        });
    }
}
