//! The broker of nodes that share a process: a bounded queue a life.
//!
//! Serves a node of its own, and tests with several, which may cut it off. Knows nothing of what
//! parcels carry.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use rally_schema::Life;

use super::{Arrival, Arrivals, Broker, Confirmation, Parcel, PublishError};

/// Queues by life; clones share them.
#[derive(Clone)]
pub struct LocalBroker {
    state: Arc<Mutex<State>>,
    capacity: usize,
}

#[derive(Default)]
struct State {
    queues: HashMap<Life, Queue>,
    cut: bool,
    opened: u64,
}

struct Queue {
    /// Tells a queue from one that was opened later for the same life.
    number: u64,
    waiting: VecDeque<Arrival>,
    receiver: Option<Waker>,
}

impl Queue {
    fn put(&mut self, arrival: Arrival) {
        self.waiting.push_back(arrival);
        if let Some(receiver) = self.receiver.take() {
            receiver.wake();
        }
    }
}

impl LocalBroker {
    /// Makes a broker whose queues hold so many parcels each, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { state: Arc::default(), capacity: capacity.max(1) }
    }

    /// Puts the broker out of everybody's reach: what waits is lost, and nothing can be
    /// published until [`heal`](Self::heal).
    pub fn cut(&self) {
        let mut state = self.state.lock();
        state.cut = true;
        state.queues.values_mut().for_each(|queue| queue.waiting.clear());
    }

    /// Ends a cut: every queue begins anew.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.cut = false;
        state.queues.values_mut().for_each(|queue| queue.put(Arrival::Reopened));
    }

    fn put(&self, to: Life, parcel: Parcel) -> Result<(), PublishError> {
        let mut state = self.state.lock();
        if state.cut {
            return Err(PublishError::Unknown("the broker is cut off".to_owned()));
        }
        let queue = state.queues.get_mut(&to).ok_or(PublishError::Returned(to))?;
        if queue.waiting.len() >= self.capacity {
            return Err(PublishError::Refused(to));
        }
        queue.put(Arrival::Parcel(parcel));
        Ok(())
    }
}

impl Broker for LocalBroker {
    fn open(&self, life: Life) -> Arrivals {
        let mut state = self.state.lock();
        state.opened += 1;
        let number = state.opened;
        let queue = Queue { number, waiting: VecDeque::new(), receiver: None };
        let former = state.queues.insert(life, queue);
        // It ends when it looks.
        former.and_then(|former| former.receiver).into_iter().for_each(Waker::wake);
        Receiver { state: self.state.clone(), life, number }.boxed()
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        Box::pin(std::future::ready(self.put(to, parcel)))
    }
}

struct Receiver {
    state: Arc<Mutex<State>>,
    life: Life,
    number: u64,
}

impl Stream for Receiver {
    type Item = Arrival;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        let mut state = self.state.lock();
        let queue = state.queues.get_mut(&self.life).filter(|queue| queue.number == self.number);
        let Some(queue) = queue else { return Poll::Ready(None) };
        match queue.waiting.pop_front() {
            Some(arrival) => Poll::Ready(Some(arrival)),
            None => {
                queue.receiver = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.queues.get(&self.life).is_some_and(|queue| queue.number == self.number) {
            state.queues.remove(&self.life);
        }
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

        async fn cut(&self) {
            Self::cut(self);
        }

        async fn heal(&self) {
            Self::heal(self);
        }
    }

    broker_conformance!(LocalBroker);
}
