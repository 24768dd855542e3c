//! The broker of a simulated cluster: one queue a life, and a way there that loses and delays.
//!
//! Keeps what the trait promises and no more: what one life publishes to another arrives in its
//! order, at most once unless doubled by a fault, and what is lost was never confirmed; but for a
//! restart, which loses every queue and what was under way, a life that loses its connection, and
//! with it its queue, and one that dies, and with it what it had not confirmed yet. As in a cluster
//! of brokers, a queue that began anew is not known to all who publish at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use parking_lot::Mutex;
use rally_cluster::broker::{Arrival, Arrivals, Broker, Confirmation, Parcel, PublishError};
use rally_schema::{Life, NodeId};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};

use crate::world::World;

/// Parcels that one queue holds.
pub const QUEUE: usize = 64;

/// Where all nodes publish; clones share it.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    world: World,
    state: Mutex<State>,
    published: Notify,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<Life, Queue>,
    /// When the last parcel of a link arrives: the next one comes no earlier.
    last: BTreeMap<(Life, Life), Instant>,
    /// How often the broker started anew; what was under way before is lost.
    restarts: u64,
    down: bool,
    /// Who published last.
    publisher: Option<NodeId>,
    /// The most parcels that waited in one queue.
    most: usize,
}

/// How long it may take at most until a queue that began anew is known everywhere.
pub const SPREADS_MS: u64 = 400;

/// What waits for one life.
#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    /// Whether it is gone with its life's connection: what is published to it comes back.
    lost: bool,
    /// Whether it began anew, and its life has not been told.
    reopened: bool,
    consumer: Option<Waker>,
    /// When it is known everywhere.
    known_at: Option<Instant>,
}

impl Queue {
    fn begin_anew(&mut self, world: &World) {
        (self.lost, self.reopened) = (false, true);
        let spreads = Duration::from_millis(world.below(SPREADS_MS));
        self.known_at = Some(Instant::now() + spreads);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.wake();
        }
    }
}

impl Exchange {
    /// Makes one without queues.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Inner { world, state: Mutex::default(), published: Notify::new() }))
    }

    /// Gives a life its connection.
    pub fn connect(&self, life: Life) -> SimBroker {
        SimBroker { exchange: self.clone(), life }
    }

    /// Takes a queue away, as when its life dies.
    pub fn close(&self, life: Life) {
        if let Some(mut queue) = self.0.state.lock().queues.remove(&life) {
            queue.wake();
        }
    }

    /// Takes the queue of a life that lives away, with what is in it, as when it has lost its
    /// connection.
    pub fn lose(&self, life: Life) {
        if let Some(queue) = self.0.state.lock().queues.get_mut(&life) {
            queue.parcels.clear();
            queue.lost = true;
        }
    }

    /// Has the queue of a life that lost it begin anew, once its connection is back.
    pub fn reopen(&self, life: Life) {
        let mut state = self.0.state.lock();
        if let Some(queue) = state.queues.get_mut(&life).filter(|queue| queue.lost) {
            queue.begin_anew(&self.0.world);
        }
    }

    /// Goes down: every queue is lost, and so is what was under way. Comes back by [`Self::rise`].
    pub fn fall(&self) {
        let mut state = self.0.state.lock();
        state.restarts += 1;
        state.down = true;
        state.queues.values_mut().for_each(|queue| queue.parcels.clear());
    }

    /// Comes back, with queues that are empty; each consumer has its own again.
    pub fn rise(&self) {
        let mut state = self.0.state.lock();
        state.down = false;
        state
            .queues
            .values_mut()
            .filter(|queue| !queue.lost)
            .for_each(|queue| queue.begin_anew(&self.0.world));
    }

    /// Waits until a node publishes something.
    pub async fn published(&self, by: NodeId) {
        loop {
            self.0.published.notified().await;
            if self.0.state.lock().publisher == Some(by) {
                return;
            }
        }
    }

    /// Gives the most parcels that waited in one queue.
    pub fn most(&self) -> usize {
        self.0.state.lock().most
    }

    fn restarts(&self) -> u64 {
        self.0.state.lock().restarts
    }

    fn is_down(&self) -> bool {
        self.0.state.lock().down
    }

    fn put(&self, to: Life, parcel: Parcel) -> Result<(), PublishError> {
        let mut state = self.0.state.lock();
        let queue = state.queues.get_mut(&to).filter(|queue| !queue.lost);
        let queue = queue.ok_or(PublishError::Returned(to))?;
        if queue.known_at.is_some_and(|at| Instant::now() < at) {
            // Known to this publisher, not known, or taken for the one that is gone.
            match self.0.world.below(3) {
                0 => {}
                1 => return Err(PublishError::Returned(to)),
                _ => return Ok(()),
            }
        }
        if queue.parcels.len() >= QUEUE {
            return Err(PublishError::Refused(to));
        }
        queue.parcels.push_back(parcel);
        queue.wake();
        let waiting = queue.parcels.len();
        state.most = state.most.max(waiting);
        Ok(())
    }

    fn poll(&self, life: Life, cx: &Context<'_>) -> Poll<Option<Arrival>> {
        let mut state = self.0.state.lock();
        let Some(queue) = state.queues.get_mut(&life) else { return Poll::Ready(None) };
        if std::mem::take(&mut queue.reopened) {
            return Poll::Ready(Some(Arrival::Reopened));
        }
        match queue.parcels.pop_front() {
            Some(parcel) => Poll::Ready(Some(Arrival::Parcel(parcel))),
            None => {
                queue.consumer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Draws when a parcel of this link arrives.
    fn due(&self, from: Life, to: Life) -> Instant {
        let world = &self.0.world;
        let late = world.happens(|weather| weather.parcel_late);
        let ms = if late { world.below(2_000) } else { world.below(4) };
        let due = Instant::now() + Duration::from_millis(world.in_bursts(ms));
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
        self.exchange.0.state.lock().queues.insert(life, Queue::default());
        let exchange = self.exchange.clone();
        poll_fn(move |cx| exchange.poll(life, cx)).boxed()
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        let world = &self.exchange.0.world;
        let unconfirmed = || PublishError::Unknown("nothing was heard in time".to_owned());
        let cut = !world.reaches_broker(self.life.node) || !world.reaches_broker(to.node);
        let gone = world.is_dead(self.life) || cut || self.exchange.is_down();
        if gone || world.happens(|weather| weather.parcel_lost) {
            return Box::pin(std::future::ready(Err(unconfirmed())));
        }
        let doubled = world.happens(|weather| weather.parcel_doubled);
        let silent = world.happens(|weather| weather.parcel_unconfirmed);
        let due = self.exchange.due(self.life, to);
        let exchange = self.exchange.clone();
        let restarts = exchange.restarts();
        exchange.0.state.lock().publisher = Some(self.life.node);
        exchange.0.published.notify_waiters();
        let (tell, told) = tokio::sync::oneshot::channel();
        // Under way already, whether anybody waits for the confirmation or not. Who dies takes along
        // what had not left it.
        tokio::task::spawn_local(async move {
            sleep_until(due).await;
            if exchange.restarts() != restarts {
                let _ = tell.send(Err(unconfirmed()));
                return;
            }
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
