//! Nodes of one cluster, as server processes over the RabbitMQ and Cassandra of this machine.
//!
//! `cargo xtask services up` starts those. Each cluster has a name of its own; the keyspace is
//! that of all tests, so that it is made once.

use std::net::{TcpListener, UdpSocket};

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Server, eventually, http};

/// Users that are on every demo node.
const DEMO: [&str; 5] = ["rafa", "roger", "carlos", "novak", "andy"];

/// A cluster of two.
pub struct Two {
    /// The one that was first.
    pub a: Server,
    /// The one that met it.
    pub b: Server,
    _home: TempDir,
}

impl Two {
    /// Starts two nodes with further flags, and waits until each sends users to the other.
    pub async fn start(flags: &[&str]) -> Self {
        let cluster = format!("--cluster=t{}", Uuid::new_v4().simple());
        let home = tempfile::tempdir().unwrap();
        let (to_a, to_b) = (free_udp(), free_udp());
        let node = |name: &str, gossip: &str| {
            let listen = free_tcp();
            let own = [
                cluster.clone(),
                format!("--node={name}"),
                format!("--public-url=http://{listen}"),
                format!("--gossip-listen={gossip}"),
                // The first one's own address: it waits for nobody.
                format!("--seeds={to_a}"),
                "--store=cassandra".to_owned(),
                "--cassandra-keyspace=rally_server_tests".to_owned(),
                "--cassandra-replication=1".to_owned(),
                "--broker=rabbitmq".to_owned(),
            ];
            let all: Vec<&str> =
                own.iter().map(|flag| &**flag).chain(flags.iter().copied()).collect();
            let started = Server::try_at(&listen, &home.path().join(name), &all);
            started.unwrap_or_else(|refused| panic!("{refused:?}"))
        };
        let a = node("node-a", &to_a);
        let b = node("node-b", &to_b);
        let two = Self { a, b, _home: home };
        for (at, other) in [(&two.a, "node-b"), (&two.b, "node-a")] {
            let met = async || two.user_at(at, other).await.is_some();
            eventually("each node sends users to the other", met).await;
        }
        two
    }

    /// Gives users that are at home on the first node and on the second.
    pub async fn apart(&self) -> (&'static str, &'static str) {
        let at_a = self.user_at(&self.a, "node-a").await.expect("one of five is at home here");
        let at_b = self.user_at(&self.a, "node-b").await.expect("one of five is at home there");
        (at_a, at_b)
    }

    /// Gives a user whom `asked` places on a node.
    async fn user_at(&self, asked: &Server, node: &str) -> Option<&'static str> {
        for user in DEMO {
            let token = http::log_in(asked.address, user).await;
            let client = json!({"client": Uuid::new_v4()});
            let place = http::post(asked.address, "/api/discover", Some(&token), client).await;
            if place["node"] == node {
                return Some(user);
            }
        }
        None
    }
}

/// Names a port that was free a moment ago.
fn free_tcp() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn free_udp() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
