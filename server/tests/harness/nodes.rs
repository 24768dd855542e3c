//! Nodes of one cluster, as server processes over the RabbitMQ and Cassandra of this machine.
//!
//! `cargo xtask services up` starts those. Each cluster has a name of its own; the keyspace is
//! that of all tests, so that it is made once.

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Server, eventually};

/// Users that are on every demo node.
const DEMO: [&str; 5] = ["rafa", "roger", "carlos", "novak", "andy"];

/// What opens `/admin` on these nodes.
pub const TOKEN: &str = "a-token-of-the-operator";

/// A cluster of two.
pub struct Two {
    /// The one that was first.
    pub a: Server,
    /// The one that met it.
    pub b: Server,
    /// Where they keep what is theirs.
    pub home: TempDir,
}

impl Two {
    /// Starts two nodes with further flags, and waits until each sends users to both. Clients are
    /// placed in turn, so that a test has them where it wants.
    pub async fn start(flags: &[&str]) -> Self {
        let cluster = format!("--cluster=t{}", Uuid::new_v4().simple());
        let home = tempfile::tempdir().unwrap();
        let (to_a, to_b) = (free_udp(), free_udp());
        let node = |name: &str, gossip: &str| {
            let listen = free_tcp();
            let own = [
                cluster.clone(),
                format!("--admin-token={TOKEN}"),
                format!("--node={name}"),
                format!("--public-url=http://{listen}"),
                format!("--gossip-listen={gossip}"),
                // The first one's own address: it waits for nobody.
                format!("--seeds={to_a}"),
                "--store=cassandra".to_owned(),
                "--cassandra-keyspace=rally_server_tests".to_owned(),
                "--cassandra-replication=1".to_owned(),
                "--broker=rabbitmq".to_owned(),
                "--placement=round-robin".to_owned(),
            ];
            let all: Vec<&str> =
                own.iter().map(|flag| &**flag).chain(flags.iter().copied()).collect();
            let started = Server::try_at(&listen, &home.path().join(name), &all);
            started.unwrap_or_else(|refused| panic!("{refused:?}"))
        };
        let a = node("node-a", &to_a);
        let b = node("node-b", &to_b);
        let two = Self { a, b, home };
        for asked in [&two.a, &two.b] {
            eventually("each node sends users to both", async || {
                let place = admin(asked, "/admin/place/rafa").await;
                let candidates = place["candidates"].as_array().unwrap();
                let fit = candidates.iter().filter(|one| one["passed"].is_null());
                fit.count() == 2
            })
            .await;
        }
        two
    }

    /// Gives the users that are at home on a node.
    pub async fn at_home(&self, node: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        for user in DEMO {
            let place = admin(&self.a, &format!("/admin/place/{user}")).await;
            if place["home"].as_str().unwrap().starts_with(&format!("{node}@")) {
                found.push(user);
            }
        }
        found
    }
}

/// Asks a node as its operator.
pub async fn admin(node: &Server, path: &str) -> Value {
    let answer = node.get(path, Some(TOKEN)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Names a port that was free a moment ago.
fn free_tcp() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn free_udp() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
