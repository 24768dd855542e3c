//! Nodes of one cluster: processes, each with addresses and a name that it keeps.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use uuid::Uuid;

use super::harness::Server;

/// A cluster of its own: nobody else's keyspace, exchange or gossip.
pub struct Nodes {
    servers: Vec<Server>,
    addresses: Vec<SocketAddr>,
    home: tempfile::TempDir,
}

impl Nodes {
    /// Starts so many nodes and waits until each is ready.
    pub fn start(count: usize) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let cluster = &name[..20];
        let addresses: Vec<SocketAddr> = (0..count).map(|_| free_tcp()).collect();
        let gossip: Vec<SocketAddr> = (0..count).map(|_| free_udp()).collect();
        let home = tempfile::tempdir().unwrap();
        let servers = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..count)
                .map(|index| {
                    let flags = flags(cluster, index, addresses[index], &gossip);
                    let home = home.path().join(format!("node{index}"));
                    let address = addresses[index];
                    scope.spawn(move || {
                        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                        Server::at(address, &home, &flags)
                    })
                })
                .collect();
            starting.into_iter().map(|server| server.join().unwrap()).collect()
        });
        Self { servers, addresses, home }
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Where all nodes are, dead or alive.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The name of a node.
    pub fn life(&self, index: usize) -> String {
        format!("node{index}")
    }

    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    pub fn restart(&mut self, index: usize) {
        self.servers[index].restart();
    }

    pub fn assert_no_panic(&self) {
        self.servers.iter().for_each(Server::assert_no_panic);
        assert!(self.home.path().exists(), "the nodes' folder outlives them");
    }
}

fn flags(cluster: &str, index: usize, address: SocketAddr, gossip: &[SocketAddr]) -> Vec<String> {
    let named = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let amqp = named("RALLY_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672/%2f");
    let cassandra = named("RALLY_TEST_CASSANDRA", "127.0.0.1:9042");
    let replication = named("RALLY_TEST_CASSANDRA_RF", "1");
    let seeds: Vec<String> = gossip.iter().map(SocketAddr::to_string).collect();
    vec![
        format!("--node=node{index}"),
        format!("--cluster={cluster}"),
        format!("--public-url=http://{address}"),
        "--store=cassandra".to_owned(),
        format!("--cassandra={cassandra}"),
        format!("--cassandra-keyspace={cluster}"),
        format!("--cassandra-replication={replication}"),
        "--broker=rabbitmq".to_owned(),
        format!("--amqp-url={amqp}"),
        format!("--gossip-listen={}", gossip[index]),
        format!("--seeds={}", seeds.join(",")),
        "--rate-sends-per-second=1000000".to_owned(),
        "--rate-sends-burst=1000000".to_owned(),
        "--rate-frames-per-second=1000000".to_owned(),
        "--rate-frames-burst=1000000".to_owned(),
    ]
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
