//! Receives for one life: its queue, over one connection after the other.
//!
//! Parcels are acknowledged, many at once, when they have been handed over: so RabbitMQ hands
//! out no more than the prefetch ahead of a node that is behind, and its queue fills up and
//! refuses, where without acknowledgements it would push everything into this process. What is
//! acknowledged late costs nothing: no parcel is ever delivered a second time, because the queue
//! is gone with the connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use rally_schema::Life;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::super::{Arrival, wire};
use super::Options;
use super::attempts::Attempts;
use super::connection::{self, Open};

/// Arrivals that are handed over and not taken yet.
pub(super) const HANDED: usize = 8;

/// How often what is left is acknowledged, and the connection looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Receives until nobody takes what arrives.
pub(super) async fn run(options: Arc<Options>, life: Life, arrivals: mpsc::Sender<Arrival>) {
    let receiving = receive(&options, life, &arrivals);
    tokio::select! {
        // Dropping the connection closes it, and with it the queue.
        () = arrivals.closed() => {}
        () = receiving => {}
    }
}

async fn receive(options: &Arc<Options>, life: Life, arrivals: &mpsc::Sender<Arrival>) {
    let mut attempts = Attempts::new(options.clone());
    let mut openings = 0;
    loop {
        let url = attempts.next().await;
        let declare = async |channel: Channel| declare(options, life, openings, &channel).await;
        let error = match connection::connect(options, &url, &life.to_string(), declare).await {
            // All of it is held: the queue is gone with the connection.
            Ok(open) => {
                if openings > 0 {
                    info!(address = %url, purpose = "receive", "RabbitMQ is back");
                }
                openings += 1;
                let since = Instant::now();
                // Before anything of the new queue. Of the first one too: what was sent to this
                // life until now came back.
                let _ = arrivals.send(Arrival::Reopened).await;
                let Open { connection, channel: _channel, prepared: consumer, over } = open;
                let error = tokio::select! {
                    error = take(options, &connection, consumer, arrivals) => error,
                    error = over => error.to_string(),
                };
                attempts.lasted(since.elapsed());
                error
            }
            Err(error) => error.to_string(),
        };
        warn!(address = %url, %error, purpose = "receive", "RabbitMQ is out of reach");
    }
}

/// Declares the queue of a life and begins to consume from it.
async fn declare(
    options: &Options,
    life: Life,
    openings: u64,
    channel: &Channel,
) -> lapin::Result<Consumer> {
    // A connection that RabbitMQ does not know to be lost yet holds its queue: the next one has
    // another name, and the same key.
    let queue = format!("{}.{life}.{openings}", options.exchange);
    let queue: lapin::types::ShortString = queue.into();
    let declare = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let mut bounds = FieldTable::default();
    bounds.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    bounds.insert("x-max-length".into(), AMQPValue::LongLongInt(options.queue_parcels.into()));
    bounds.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(options.queue_bytes.into()));
    channel.queue_declare(queue.clone(), declare, bounds).await?;
    channel.basic_qos(options.prefetch.max(1), BasicQosOptions::default()).await?;
    let consume = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let consumer = channel.basic_consume(queue.clone(), "".into(), consume, FieldTable::default());
    let consumer = consumer.await?;
    // Last: from now on parcels come in.
    let (exchange, key) = (options.exchange.as_str().into(), life.to_string().into());
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue, exchange, key, bind, none).await?;
    Ok(consumer)
}

/// Hands over what arrives until the connection is lost, and says why it was.
async fn take(
    options: &Options,
    connection: &Connection,
    mut consumer: Consumer,
    arrivals: &mpsc::Sender<Arrival>,
) -> String {
    let many = u32::from(options.prefetch / 4).max(1);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unacknowledged = Unacknowledged::default();
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = consumer.next() => delivery,
            _ = looks.tick() => {
                if !connection.status().connected() {
                    return "it was closed".to_owned();
                }
                if let Err(error) = unacknowledged.acknowledge().await {
                    return error.to_string();
                }
                continue;
            }
        };
        match delivery {
            Some(Ok(delivery)) => {
                // `run` ends when nobody takes it.
                let _ = arrivals.send(read(&delivery)).await;
                unacknowledged.add(delivery);
                if unacknowledged.count >= many
                    && let Err(error) = unacknowledged.acknowledge().await
                {
                    return error.to_string();
                }
            }
            Some(Err(error)) => return error.to_string(),
            None => return "RabbitMQ ended the consumer".to_owned(),
        }
    }
}

fn read(delivery: &Delivery) -> Arrival {
    match wire::decode(&delivery.data) {
        Ok(parcel) => Arrival::Parcel(parcel),
        Err(error) => {
            let from = error.from().map(|from| from.to_string());
            warn!(%error, from, "a parcel cannot be read");
            Arrival::Unreadable
        }
    }
}

/// What was handed over and is not acknowledged yet.
#[derive(Default)]
struct Unacknowledged {
    last: Option<Delivery>,
    count: u32,
}

impl Unacknowledged {
    fn add(&mut self, mut delivery: Delivery) {
        delivery.data = Vec::new();
        self.last = Some(delivery);
        self.count += 1;
    }

    async fn acknowledge(&mut self) -> lapin::Result<()> {
        self.count = 0;
        match self.last.take() {
            Some(last) => {
                last.acker.ack(BasicAckOptions { multiple: true }).map(|done| done.map(drop)).await
            }
            None => Ok(()),
        }
    }
}
