//! The broker of a simulated cluster: one queue a life, and a way there that loses and delays.
//!
//! Keeps what the trait promises and no more: what one life publishes to another arrives in its
//! order, at most once unless doubled by a fault, and what is lost was never confirmed, but for
//! what was in a queue whose life lost its connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use parking_lot::Mutex;
use rally_cluster::broker::{Arrival, Arrivals, Broker, Confirmation, Parcel, PublishError};
use rally_schema::Life;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

use crate::world::World;

/// Parcels that one queue holds.
const QUEUE: usize = 64;

/// Where all nodes publish; clones share it.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    world: World,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<Life, mpsc::Sender<Parcel>>,
    /// Where each life is told of a queue that begins anew.
    openings: BTreeMap<Life, mpsc::UnboundedSender<mpsc::Receiver<Parcel>>>,
    /// When the last parcel of a link arrives: the next one comes no earlier.
    last: BTreeMap<(Life, Life), Instant>,
}

impl Exchange {
    /// Makes one without queues.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Inner { world, state: Mutex::default() }))
    }

    /// Gives a life its connection.
    pub fn connect(&self, life: Life) -> SimBroker {
        SimBroker { exchange: self.clone(), life }
    }

    /// Takes a queue away, as when its life dies.
    pub fn close(&self, life: Life) {
        let mut state = self.0.state.lock();
        state.queues.remove(&life);
        state.openings.remove(&life);
    }

    /// Takes the queue of a life that lives away, with what is in it, as when it has lost its
    /// connection: what is published to it comes back.
    pub fn lose(&self, life: Life) {
        self.0.state.lock().queues.remove(&life);
    }

    /// Has the queue of a life that lost it begin anew, once its connection is back.
    pub fn reopen(&self, life: Life) {
        let mut state = self.0.state.lock();
        if state.queues.contains_key(&life) {
            return;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        if state.openings.get(&life).is_some_and(|opening| opening.send(receiver).is_ok()) {
            state.queues.insert(life, sender);
        }
    }

    fn put(&self, to: Life, parcel: Parcel) -> Result<(), PublishError> {
        let state = self.0.state.lock();
        let queue = state.queues.get(&to).ok_or(PublishError::Returned(to))?;
        queue.try_send(parcel).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Refused(to),
            mpsc::error::TrySendError::Closed(_) => PublishError::Returned(to),
        })
    }

    /// Draws when a parcel of this link arrives.
    fn due(&self, from: Life, to: Life) -> Instant {
        let world = &self.0.world;
        let late = world.happens(|weather| weather.parcel_late);
        let ms = if late { world.below(2_000) } else { world.below(4) };
        let due = Instant::now() + Duration::from_millis(ms);
        let mut state = self.0.state.lock();
        let last = state.last.entry((from, to)).or_insert(due);
        *last = due.max(*last);
        *last
    }
}

/// One life's connection.
pub struct SimBroker {
    exchange: Exchange,
    life: Life,
}

impl Broker for SimBroker {
    fn open(&self, life: Life) -> Arrivals {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let (opening, mut openings) = mpsc::unbounded_channel();
        let mut state = self.exchange.0.state.lock();
        state.queues.insert(life, sender);
        state.openings.insert(life, opening);
        drop(state);
        poll_fn(move |cx| {
            // Looked at first: what was in the former queue is lost.
            if let Poll::Ready(Some(new)) = openings.poll_recv(cx) {
                receiver = new;
                return Poll::Ready(Some(Arrival::Reopened));
            }
            match receiver.poll_recv(cx) {
                Poll::Ready(Some(parcel)) => Poll::Ready(Some(Arrival::Parcel(parcel))),
                // Closed: it may begin anew.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .boxed()
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        let world = &self.exchange.0.world;
        let unconfirmed = || PublishError::Unknown("nothing was heard in time".to_owned());
        let cut = !world.reaches_broker(self.life.node) || !world.reaches_broker(to.node);
        if world.is_dead(self.life) || cut || world.happens(|weather| weather.parcel_lost) {
            return Box::pin(std::future::ready(Err(unconfirmed())));
        }
        let doubled = world.happens(|weather| weather.parcel_doubled);
        let silent = world.happens(|weather| weather.parcel_unconfirmed);
        let due = self.exchange.due(self.life, to);
        let exchange = self.exchange.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        // Under way already, whether anybody waits for the confirmation or not.
        tokio::task::spawn_local(async move {
            sleep_until(due).await;
            let put = exchange.put(to, parcel.clone());
            if doubled {
                let _ = exchange.put(to, parcel);
            }
            let _ = tell.send(if silent { Err(unconfirmed()) } else { put });
        });
        Box::pin(async move {
            told.await.unwrap_or_else(|_| Err(PublishError::Unknown("it is gone".to_owned())))
        })
    }
}
