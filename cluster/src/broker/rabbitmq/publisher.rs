//! Publishes: one task, one connection, one channel, so that the order of calls is that on the
//! wire.
//!
//! Every parcel is published `mandatory` and with a confirm. What waits for the task is bounded
//! in number and, with what waits for its confirm, in bytes; beyond that it is refused. When the
//! connection is lost, all of it is answered at once and forgotten.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, Event};
use parking_lot::Mutex;
use rally_schema::Life;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::super::{Confirmation, PublishError, wire};
use super::attempts::Attempts;
use super::connection::{self, ConnectError, Open, Over};
use super::{AmqpUrl, Options};

/// How often a connection is looked at while nothing happens on it.
const LOOK: Duration = Duration::from_secs(1);

/// How those who publish reach the task, while there is a connection.
pub(super) struct Line {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    waiting: usize,
    bytes: Arc<Semaphore>,
}

/// One parcel to be published.
pub(super) struct Order {
    to: Life,
    payload: Vec<u8>,
    told: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

impl Line {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            orders: Mutex::default(),
            waiting: usize::from(options.unconfirmed_parcels).max(1),
            bytes: Arc::new(Semaphore::new(options.unconfirmed_bytes as usize)),
        }
    }

    /// Lets parcels in from now on.
    pub(super) fn begin(&self) -> mpsc::Receiver<Order> {
        let (give, orders) = mpsc::channel(self.waiting);
        *self.orders.lock() = Some(give);
        orders
    }

    /// Lets none in, as long as there is no connection.
    fn end(&self) {
        *self.orders.lock() = None;
    }

    /// Hands a parcel to the task. Encodes it only if there is a connection.
    pub(super) fn publish(&self, to: Life, encode: impl FnOnce() -> Vec<u8>) -> Confirmation {
        let answer = |error| Box::pin(ready(Err(error)));
        // The order of calls is that in which the lock is had.
        let orders = self.orders.lock();
        let Some(orders) = orders.as_ref() else {
            return answer(PublishError::Unknown("RabbitMQ is out of reach".to_owned()));
        };
        let payload = encode();
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let Ok(room) = self.bytes.clone().try_acquire_many_owned(bytes) else {
            return answer(PublishError::Refused(to));
        };
        let (told, telling) = oneshot::channel();
        match orders.try_send(Order { to, payload, told, _room: room }) {
            Ok(()) => Box::pin(async move { telling.await.unwrap_or_else(|_| Err(lost())) }),
            Err(mpsc::error::TrySendError::Full(_)) => answer(PublishError::Refused(to)),
            Err(mpsc::error::TrySendError::Closed(_)) => answer(lost()),
        }
    }
}

fn lost() -> PublishError {
    PublishError::Unknown("the connection to RabbitMQ was lost".to_owned())
}

/// A connection for publishing.
pub(super) struct Connected {
    connection: Connection,
    channel: Channel,
    over: Over,
    url: AmqpUrl,
    since: Instant,
}

/// Asks the next RabbitMQ for a connection for publishing.
async fn connect(options: &Options, attempts: &mut Attempts) -> Result<Connected, ConnectError> {
    let url = attempts.next().await;
    let confirms =
        async |channel: Channel| channel.confirm_select(ConfirmSelectOptions::default()).await;
    let Open { connection, channel, prepared: (), over } =
        connection::connect(options, &url, "publishes", confirms).await?;
    Ok(Connected { connection, channel, over, url, since: Instant::now() })
}

/// Makes the first connection; asks each RabbitMQ once.
pub(super) async fn connect_first(
    options: &Options,
    attempts: &mut Attempts,
) -> Result<Connected, ConnectError> {
    let mut errors = Vec::new();
    while errors.len() < options.urls.len() {
        match connect(options, attempts).await {
            Ok(connected) => return Ok(connected),
            Err(error) => errors.push(error),
        }
    }
    match errors.pop() {
        Some(only) if errors.is_empty() => Err(only),
        last => Err(ConnectError::Each(errors.into_iter().chain(last).collect())),
    }
}

/// Publishes for ever, over one connection after the other.
pub(super) async fn run(
    options: Arc<Options>,
    line: Arc<Line>,
    mut attempts: Attempts,
    first: Connected,
    first_orders: mpsc::Receiver<Order>,
) {
    let (mut connected, mut orders) = (first, first_orders);
    loop {
        let (url, since) = (connected.url.clone(), connected.since);
        let error = serve(&options, connected, orders).await;
        line.end();
        warn!(address = %url, %error, purpose = "publish", "RabbitMQ is out of reach");
        attempts.lasted(since.elapsed());
        connected = loop {
            match connect(&options, &mut attempts).await {
                Ok(connected) => break connected,
                Err(error) => warn!(%error, purpose = "publish", "RabbitMQ is out of reach"),
            }
        };
        orders = line.begin();
        info!(address = %connected.url, purpose = "publish", "RabbitMQ is back");
    }
}

/// What became of an order.
struct Done {
    id: u64,
    order: Order,
    confirmed: lapin::Result<lapin::Confirmation>,
}

type Publishing = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Publishes until the connection is lost, and says why it was.
async fn serve(
    options: &Options,
    Connected { connection, channel, mut over, .. }: Connected,
    mut orders: mpsc::Receiver<Order>,
) -> String {
    let most = usize::from(options.unconfirmed_parcels).max(1);
    let mut under_way = FuturesUnordered::<Publishing>::new();
    let mut events = pin!(connection.events_listener());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last_id, mut heard) = (0, Instant::now());
    let mut returned = HashSet::new();
    loop {
        let mut done = Vec::new();
        tokio::select! {
            biased;
            Some(one) = under_way.next() => done.push(one),
            Some(event) = events.next() => match event {
                Event::Error(error) => return error.to_string(),
                _ => continue,
            },
            error = &mut over => return error.to_string(),
            Some(order) = orders.recv(), if under_way.len() < most => {
                if under_way.is_empty() {
                    heard = Instant::now();
                }
                last_id += 1;
                let mut publishing = publish(&options.exchange, &channel, last_id, order);
                // Its place on the wire is taken by the first poll.
                match (&mut publishing).now_or_never() {
                    Some(one) => done.push(one),
                    None => under_way.push(publishing),
                }
            }
            _ = looks.tick() => {
                if !connection.status().connected() {
                    return "it was closed".to_owned();
                }
                if !under_way.is_empty() && heard.elapsed() > options.confirm_timeout {
                    return format!("nothing was confirmed for {:?}", options.confirm_timeout);
                }
                continue;
            }
        }
        // All that are done are looked at before any is answered: a message that was returned is
        // attached by the library below to whichever confirm comes next, its own at the latest.
        while let Some(Some(one)) = under_way.next().now_or_never() {
            done.push(one);
        }
        if !done.is_empty() {
            heard = Instant::now();
            if let Err(error) = settle(done, &mut returned) {
                return error;
            }
        }
    }
}

fn publish(exchange: &str, channel: &Channel, id: u64, order: Order) -> Publishing {
    let (exchange, channel) = (exchange.into(), channel.clone());
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default()
        .with_content_type(wire::CONTENT_TYPE.into())
        .with_message_id(id.to_string().into())
        // Not persistent.
        .with_delivery_mode(1);
    Box::pin(async move {
        let key = order.to.to_string().into();
        let sent = channel.basic_publish(exchange, key, options, &order.payload, properties).await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        Done { id, order, confirmed }
    })
}

/// Answers what is done; fails when one of it shows that the connection is lost.
fn settle(mut done: Vec<Done>, returned: &mut HashSet<u64>) -> Result<(), String> {
    for one in &mut done {
        if let Ok(lapin::Confirmation::Ack(message) | lapin::Confirmation::Nack(message)) =
            &mut one.confirmed
        {
            let message = message.take();
            let id = message.as_ref().and_then(|message| message.properties.message_id().as_ref());
            returned.extend(id.and_then(|id| id.as_str().parse::<u64>().ok()));
        }
    }
    let mut failed = Ok(());
    for Done { id, order, confirmed } in done {
        let answer = match confirmed {
            _ if returned.remove(&id) => Err(PublishError::Returned(order.to)),
            Ok(lapin::Confirmation::Ack(_)) => Ok(()),
            Ok(lapin::Confirmation::Nack(_)) => Err(PublishError::Refused(order.to)),
            Ok(lapin::Confirmation::NotRequested) => {
                Err(PublishError::Unknown("the channel has no confirms".to_owned()))
            }
            Err(error) => {
                failed = Err(error.to_string());
                Err(PublishError::Unknown(error.to_string()))
            }
        };
        // Whoever published it may not care.
        let _ = order.told.send(answer);
    }
    failed
}
