//! The broker on RabbitMQ, judged by the suite of all brokers over connections that are cut.
//!
//! `RALLY_TEST_AMQP` names the RabbitMQ; without it one on this machine is taken. Each test has
//! an exchange of its own, and a proxy of its own before the broker.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rally_cluster::broker::conformance::{CAPACITY, Fixture};
use rally_cluster::broker::rabbitmq::{AmqpUrl, ConnectError, Options, RabbitBroker};
use rally_cluster::broker_conformance;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

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
    let host = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    (url, host)
}

struct OnRabbitMq {
    broker: RabbitBroker,
    proxy: Proxy,
}

impl Fixture for OnRabbitMq {
    type Broker = RabbitBroker;

    async fn empty() -> Self {
        let (url, host) = rabbitmq();
        let proxy = Proxy::start(host.clone()).await;
        let url: AmqpUrl = url.replace(&host, &proxy.address.to_string()).parse().unwrap();
        let broker = RabbitBroker::connect(Options {
            exchange: format!("rally.test.{}", Uuid::new_v4()),
            queue_parcels: CAPACITY as u32,
            prefetch: 4,
            reconnect_most: Duration::from_millis(500),
            ..Options::new(url)
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

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_without_its_password() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: AmqpUrl = format!("amqp://rally:s3cret@{address}/%2f").parse().unwrap();
    let Err(error) = RabbitBroker::connect(Options::new(url)).await else { panic!("connected") };
    let said = error.to_string();
    assert!(said.contains(&address.to_string()) && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_in_the_stated_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://rally:s3cret@{}/%2f", listener.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(300);
    let options = Options { connect_timeout, ..Options::new(url.parse().unwrap()) };
    let tried = tokio::time::timeout(Duration::from_secs(20), RabbitBroker::connect(options));
    let Err(error) = tried.await.expect("it gives up") else { panic!("connected") };
    assert!(matches!(error, ConnectError::Silent { after_ms: 300, .. }), "{error}");
    // And nothing of the attempt stays behind.
    let (mut socket, _) = listener.accept().await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), async {
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.map(|_| heard)
    });
    assert_eq!(closed.await.expect("it is closed").unwrap(), b"AMQP\0\0\x09\x01");
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask services up"]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let (_, host) = rabbitmq();
    let url: AmqpUrl = format!("amqp://guest:s3cret@{host}/%2f").parse().unwrap();
    let Err(error) = RabbitBroker::connect(Options::new(url)).await else { panic!("connected") };
    let said = error.to_string();
    assert!(said.contains("ACCESS") && !said.contains("s3cret"), "{said}");
}
