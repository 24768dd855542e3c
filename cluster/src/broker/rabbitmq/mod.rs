//! The broker on RabbitMQ: one direct exchange a cluster, one queue a life.
//!
//! Nothing is durable: what is carried are hints, and a queue dies with its life's connection.
//! Publishing and receiving have a connection each, because RabbitMQ blocks those that publish
//! when it is short of memory. `publisher.rs` and `receiver.rs` keep them, for ever, at whichever
//! broker of a RabbitMQ cluster answers (`attempts.rs`). While the
//! publishing one is lost, nothing is kept: what was under way may have arrived or not.
//!
//! The library below logs what is returned to it, with its payload, under the target `lapin`:
//! whoever sets up logs must silence that target. Nothing of it is needed: what it could say is
//! in this module's own lines.

mod attempts;
mod connection;
mod publisher;
mod receiver;
mod url;

use std::sync::Arc;
use std::time::Duration;

use rally_schema::Life;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Arrivals, Broker, Confirmation, Parcel, wire};
use attempts::Attempts;
pub use connection::ConnectError;
pub use url::{AmqpUrl, AmqpUrls, UrlError};

/// How a node uses a RabbitMQ.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is: at least one address, and all of them of the same RabbitMQ cluster.
    pub urls: AmqpUrls,
    /// The exchange, and the beginning of every queue's name; by default `rally`. Clusters that
    /// share a RabbitMQ must differ in it, say `rally.<cluster>`.
    pub exchange: String,
    /// Parcels that a life's queue holds before it refuses; by default 10,000.
    pub queue_parcels: u32,
    /// Bytes that a life's queue holds before it refuses; by default 64 MiB.
    pub queue_bytes: u32,
    /// Parcels that RabbitMQ hands to a node ahead of what the node has taken in; by default 256.
    /// With the largest parcel it bounds the memory of a node that is behind.
    pub prefetch: u16,
    /// Parcels that this node publishes without having their confirmations; by default 1,024.
    /// As many again may wait to be published; beyond that they are refused.
    pub unconfirmed_parcels: u16,
    /// Bytes of parcels that wait to be published or confirmed; by default 16 MiB. Beyond that
    /// parcels are refused.
    pub unconfirmed_bytes: u32,
    /// How often the connections show that they live; by default 5 s. One from which nothing
    /// came for twice as long is lost.
    pub heartbeat: Duration,
    /// How long making a connection at one address may take; by default 10 s.
    pub connect_timeout: Duration,
    /// How long a publisher waits for any confirmation before it takes its connection for lost;
    /// by default 10 s.
    pub confirm_timeout: Duration,
    /// The longest wait after every address was tried for a lost connection; by default 5 s. The
    /// waits are drawn between nothing and a limit that doubles from 100 ms to this.
    pub reconnect_most: Duration,
}

impl Options {
    /// Gives the defaults for a RabbitMQ.
    pub fn new(urls: AmqpUrls) -> Self {
        Self {
            urls,
            exchange: "rally".to_owned(),
            queue_parcels: 10_000,
            queue_bytes: 64 * 1024 * 1024,
            prefetch: 256,
            unconfirmed_parcels: 1_024,
            unconfirmed_bytes: 16 * 1024 * 1024,
            heartbeat: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(10),
            reconnect_most: Duration::from_secs(5),
        }
    }
}

/// A node's way to a RabbitMQ. Its connections end when it, and what was opened, is dropped.
pub struct RabbitBroker {
    options: Arc<Options>,
    line: Arc<publisher::Line>,
    publishing: AbortHandle,
}

impl RabbitBroker {
    /// Connects, and from then on connects again whenever it must. Fails when the first connection
    /// is had at no address. What it starts runs on the current tokio runtime.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let urls = options.urls.in_own_order();
        let options = Arc::new(Options { urls, ..options });
        let line = Arc::new(publisher::Line::new(&options));
        let mut attempts = Attempts::new(options.clone());
        let first = publisher::connect_first(&options, &mut attempts).await?;
        let orders = line.begin();
        let run = publisher::run(options.clone(), line.clone(), attempts, first, orders);
        let publishing = tokio::spawn(run).abort_handle();
        Ok(Self { options, line, publishing })
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        self.publishing.abort();
    }
}

impl Broker for RabbitBroker {
    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    /// Must be called on a tokio runtime.
    fn open(&self, life: Life) -> Arrivals {
        let (give, mut arrivals) = mpsc::channel(receiver::HANDED);
        tokio::spawn(receiver::run(self.options.clone(), life, give));
        Box::pin(futures_util::stream::poll_fn(move |cx| arrivals.poll_recv(cx)))
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        self.line.publish(to, || wire::encode(&parcel))
    }
}
