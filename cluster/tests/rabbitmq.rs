//! The broker on RabbitMQ, judged by the suite of all brokers over connections that are cut.
//!
//! `RALLY_TEST_AMQP` names the RabbitMQ, the first where it names several; without it one on this
//! machine is taken. Each test has
//! an exchange of its own, and a proxy of its own before the broker.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use rally_cluster::broker::conformance::{CAPACITY, Fixture};
use rally_cluster::broker::rabbitmq::{AmqpUrls, ConnectError, Options, RabbitBroker};
use rally_cluster::broker::{Arrival, Arrivals, Broker as _, Parcel};
use rally_cluster::broker_conformance;
use rally_schema::Life;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A way to the broker that can be cut.
struct Proxy {
    address: SocketAddr,
    open: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl Proxy {
    async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Some(JoinSet::new())));
        let connections = open.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let target = target.clone();
                // While it is cut, who comes is sent away.
                if let Some(connections) = connections.lock().as_mut() {
                    connections.spawn(carry(near, target));
                }
            }
        });
        Self { address, open }
    }

    fn cut(&self) {
        // Dropping the tasks closes both ends of each connection.
        *self.open.lock() = None;
    }

    fn heal(&self) {
        *self.open.lock() = Some(JoinSet::new());
    }
}

async fn carry(mut near: TcpStream, target: String) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

/// The RabbitMQ to test against: its URL, and the host and port in it.
fn rabbitmq() -> (String, String) {
    let url = std::env::var("RALLY_TEST_AMQP")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned());
    let url = url.split(',').next().unwrap().to_owned();
    let host = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    (url, host)
}

/// Options for an exchange of one's own, with addresses in the place of the broker's.
fn options(addresses: &[SocketAddr]) -> Options {
    let (url, host) = rabbitmq();
    let urls: Vec<String> =
        addresses.iter().map(|address| url.replace(&host, &address.to_string())).collect();
    let urls: AmqpUrls = urls.join(",").parse().unwrap();
    let exchange = format!("rally.test.{}", Uuid::new_v4());
    Options { exchange, reconnect_most: Duration::from_millis(500), ..Options::new(urls) }
}

struct OnRabbitMq {
    broker: RabbitBroker,
    proxy: Proxy,
}

impl Fixture for OnRabbitMq {
    type Broker = RabbitBroker;

    async fn empty() -> Self {
        let proxy = Proxy::start(rabbitmq().1).await;
        let broker = RabbitBroker::connect(Options {
            queue_parcels: CAPACITY as u32,
            prefetch: 4,
            ..options(&[proxy.address])
        });
        Self { broker: broker.await.unwrap(), proxy }
    }

    fn broker(&self) -> &RabbitBroker {
        &self.broker
    }

    async fn cut(&self) {
        self.proxy.cut();
    }

    async fn heal(&self) {
        self.proxy.heal();
    }
}

broker_conformance!(OnRabbitMq, #[ignore = "needs RabbitMQ: cargo xtask services up"]);

/// Waits until a life's queue was opened anew.
async fn reopened(arrivals: &mut Arrivals) {
    let next = tokio::time::timeout(PATIENCE, arrivals.next()).await;
    assert!(matches!(next, Ok(Some(Arrival::Reopened))), "{next:?}");
}

/// Publishes to a life until a parcel is confirmed, and takes it.
async fn carries(broker: &RabbitBroker, life: Life, arrivals: &mut Arrivals) {
    let carried = async {
        let parcel = || Parcel { from: life, number: 1, envelopes: Vec::new() };
        while broker.publish(life, parcel()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(matches!(arrivals.next().await, Some(Arrival::Parcel(_))));
    };
    tokio::time::timeout(PATIENCE, carried).await.expect("it is carried");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask services up"]
async fn of_several_brokers_any_one_is_enough() {
    let target = rabbitmq().1;
    let (one, two) = (Proxy::start(target.clone()).await, Proxy::start(target).await);
    two.cut();
    let broker = RabbitBroker::connect(options(&[one.address, two.address])).await.unwrap();
    let life = Life { node: "node-1".parse().unwrap(), generation: 1 };
    let mut arrivals = broker.open(life);
    reopened(&mut arrivals).await;
    carries(&broker, life, &mut arrivals).await;
    for _ in 0..3 {
        for (dies, stays) in [(&one, &two), (&two, &one)] {
            stays.heal();
            dies.cut();
            reopened(&mut arrivals).await;
            carries(&broker, life, &mut arrivals).await;
        }
    }
    one.cut();
    two.cut();
    let Err(error) = RabbitBroker::connect(options(&[one.address, two.address])).await else {
        panic!("connected")
    };
    for proxy in [&one, &two] {
        assert!(error.to_string().contains(&proxy.address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_without_its_password() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls: AmqpUrls = format!("amqp://rally:s3cret@{address}/%2f").parse().unwrap();
    let Err(error) = RabbitBroker::connect(Options::new(urls)).await else { panic!("connected") };
    let said = error.to_string();
    assert!(said.contains(&address.to_string()) && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_in_the_stated_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://rally:s3cret@{}/%2f", listener.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(300);
    let options = Options { connect_timeout, ..Options::new(url.parse().unwrap()) };
    let tried = tokio::time::timeout(PATIENCE, RabbitBroker::connect(options));
    let Err(error) = tried.await.expect("it gives up") else { panic!("connected") };
    assert!(matches!(error, ConnectError::Silent { after_ms: 300, .. }), "{error}");
    // And nothing of the attempt stays behind.
    let (mut socket, _) = listener.accept().await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, async {
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.map(|_| heard)
    });
    assert_eq!(closed.await.expect("it is closed").unwrap(), b"AMQP\0\0\x09\x01");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask services up"]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let (_, host) = rabbitmq();
    let urls: AmqpUrls = format!("amqp://guest:s3cret@{host}/%2f").parse().unwrap();
    let Err(error) = RabbitBroker::connect(Options::new(urls)).await else { panic!("connected") };
    let said = error.to_string();
    assert!(said.contains("ACCESS") && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask services up"]
async fn a_connection_that_ends_while_it_is_made_fails_at_once() {
    let proxy = Proxy::start(rabbitmq().1).await;
    for nth in 0..400 {
        proxy.heal();
        let connecting = tokio::spawn(RabbitBroker::connect(options(&[proxy.address])));
        // Anywhere in the 12 ms that it takes.
        tokio::time::sleep(Duration::from_micros(nth % 200 * 60)).await;
        proxy.cut();
        let failed = connecting.await.unwrap().err();
        assert!(!matches!(failed, Some(ConnectError::Silent { .. })), "after {nth}: {failed:?}");
    }
}
