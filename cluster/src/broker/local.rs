//! The broker of nodes that share a process: a bounded queue a life.
//!
//! Serves a node of its own, and tests with several. Knows nothing of what parcels carry.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use parking_lot::Mutex;
use rally_schema::Life;
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

use super::{Arrivals, Broker, Confirmation, Parcel, PublishError};

/// Queues by life; clones share them.
#[derive(Clone)]
pub struct LocalBroker {
    queues: Arc<Mutex<HashMap<Life, Sender<Parcel>>>>,
    capacity: usize,
}

impl LocalBroker {
    /// Makes a broker whose queues hold so many parcels each, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { queues: Arc::default(), capacity: capacity.max(1) }
    }

    fn put(&self, to: Life, parcel: Parcel) -> Result<(), PublishError> {
        let mut queues = self.queues.lock();
        let queue = queues.get(&to).ok_or(PublishError::Returned(to))?;
        queue.try_send(parcel).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Refused(to),
            TrySendError::Closed(_) => {
                queues.remove(&to);
                PublishError::Returned(to)
            }
        })
    }
}

impl Broker for LocalBroker {
    fn open(&self, life: Life) -> Arrivals {
        let (sender, mut receiver) = channel(self.capacity);
        self.queues.lock().insert(life, sender);
        poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        Box::pin(std::future::ready(self.put(to, parcel)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{CAPACITY, Fixture};
    use super::*;

    impl Fixture for LocalBroker {
        type Broker = Self;

        async fn empty() -> Self {
            Self::new(CAPACITY)
        }

        fn broker(&self) -> &Self {
            self
        }
    }

    broker_conformance!(LocalBroker);
}
