//! Processes of one cluster over a real RabbitMQ and a real Cassandra.
//!
//! `RALLY_TEST_AMQP` and `RALLY_TEST_CASSANDRA` name them; without, those on this machine are
//! taken. Each cluster has a name of its own and users of its own; the keyspace is common to all,
//! and stays.

use std::net::SocketAddr;

use tempfile::TempDir;
use uuid::Uuid;

use super::client::Client;
use super::relay::{self, Cut};
use super::{Server, http, ports};

/// Processes that know each other.
pub struct Cluster {
    servers: Vec<(String, Server)>,
    /// What tells this cluster, and its users, from all others.
    mark: String,
    home: TempDir,
    /// Where each listens for gossip, and the one to which no way leads.
    gossip: Vec<SocketAddr>,
    cut: Cut,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Person {
    /// His name, which nobody else has.
    pub name: String,
    /// His log-in.
    pub token: String,
}

impl Cluster {
    /// Starts a process for each list of roles, and returns when all are ready.
    pub fn start(roles: &[&str]) -> Self {
        Self::with_flags(roles, &["--demo=false"])
    }

    /// The same, with further flags for each.
    pub fn with_flags(roles: &[&str], further: &[&str]) -> Self {
        Self::over(roles, further, |gossip, _| gossip)
    }

    /// The same, with ways for gossip that can be cut.
    pub fn behind_relays(roles: &[&str], further: &[&str]) -> Self {
        Self::over(roles, further, relay::before)
    }

    fn over(
        roles: &[&str],
        further: &[&str],
        reached_at: impl Fn(SocketAddr, &Cut) -> SocketAddr,
    ) -> Self {
        let mark = Uuid::new_v4().simple().to_string()[..10].to_owned();
        let home = tempfile::tempdir().unwrap();
        let places: Vec<(SocketAddr, SocketAddr)> =
            roles.iter().map(|_| (ports::free(), ports::free())).collect();
        let (gossip, cut): (Vec<SocketAddr>, _) =
            (places.iter().map(|(_, gossip)| *gossip).collect(), Cut::default());
        let reached: Vec<String> =
            gossip.iter().map(|node| reached_at(*node, &cut).to_string()).collect();
        let stores = std::env::var("RALLY_TEST_CASSANDRA");
        let copies = stores.map_or(1, |places| places.split(',').count());
        let flags = |index: usize, roles: &str| {
            let (listen, gossip_listen) = places[index];
            let mut flags = vec![
                format!("--node=node-{index}"),
                format!("--roles={roles}"),
                format!("--public-url=http://{listen}"),
                format!("--gossip-listen={gossip_listen}"),
                format!("--gossip-address={}", reached[index]),
                format!("--seeds={}", reached.join(",")),
                format!("--cluster={}", name(&mark)),
                "--store=cassandra".to_owned(),
                format!("--cassandra-keyspace=rally_server_tests_{copies}"),
                format!("--cassandra-replication={copies}"),
                "--broker=rabbitmq".to_owned(),
            ];
            flags.extend(further.iter().map(|flag| (*flag).to_owned()));
            for (variable, flag) in
                [("RALLY_TEST_AMQP", "--amqp-url="), ("RALLY_TEST_CASSANDRA", "--cassandra=")]
            {
                if !further.iter().any(|further| further.starts_with(flag)) {
                    flags.extend(std::env::var(variable).map(|value| format!("{flag}{value}")));
                }
            }
            flags
        };
        // Side by side: a process waits until it hears another one.
        let servers = std::thread::scope(|scope| {
            let start = |(index, roles): (usize, &&str)| {
                let listen = places[index].0.to_string();
                let home = home.path().join(format!("node-{index}"));
                let flags = flags(index, roles);
                scope.spawn(move || {
                    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                    Server::try_at(&listen, &home, &flags)
                })
            };
            let starting: Vec<_> = roles.iter().enumerate().map(start).collect();
            let started = starting.into_iter().zip(roles).map(|(starting, roles)| {
                let server = starting.join().unwrap();
                (roles.to_string(), server.unwrap_or_else(|refused| panic!("{refused:?}")))
            });
            started.collect()
        });
        Self { servers, mark, home, gossip, cut }
    }

    /// Gives what the nodes call their cluster.
    pub fn name(&self) -> String {
        name(&self.mark)
    }

    /// Cuts all ways for gossip to and from a node, counted from 0, or opens them again.
    pub fn cut_gossip(&self, index: usize, cut: bool) {
        *self.cut.lock().unwrap() = cut.then_some(self.gossip[index]);
    }

    /// Sums a metric up over all processes.
    pub async fn sum(&self, metric: &str) -> f64 {
        let mut all = 0.0;
        for (_, server) in &self.servers {
            all += server.metric(metric).await;
        }
        all
    }

    /// Gives the first process with exactly these roles.
    pub fn with(&self, roles: &str) -> &Server {
        &self.servers.iter().find(|(known, _)| known == roles).unwrap().1
    }

    /// Gives all processes, with their roles.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Server)> {
        self.servers.iter().map(|(roles, server)| (&**roles, server))
    }

    /// Gives the process that was named so at the start, counted from 0.
    pub fn nth(&mut self, index: usize) -> &mut Server {
        &mut self.servers[index].1
    }

    /// Gives where all processes are, dead or alive.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|(_, server)| server.address).collect()
    }

    /// Takes the processes apart, and where they keep what is theirs.
    pub fn into_servers(self) -> (Vec<Server>, TempDir) {
        (self.servers.into_iter().map(|(_, server)| server).collect(), self.home)
    }

    /// Tells all to leave, and gives their exit codes.
    pub fn leave(mut self) -> Vec<Option<i32>> {
        self.servers.iter_mut().map(|(_, server)| server.terminate()).collect()
    }

    /// Ends the first process with exactly these roles, without a word.
    pub fn kill(&mut self, roles: &str) {
        let (_, server) = self.servers.iter_mut().find(|(known, _)| known == roles).unwrap();
        server.kill();
    }

    /// Ends the process that listens on an address, without a word.
    pub fn kill_at(&mut self, address: SocketAddr) {
        let (_, server) = self.servers.iter_mut().find(|(_, one)| one.address == address).unwrap();
        server.kill();
    }

    /// Makes an account at a process, and logs in there.
    pub async fn person(&self, name: &str, at: &Server) -> Person {
        let name = format!("{name}.{}", self.mark);
        let token = http::register(at.address, &name).await;
        Person { name, token }
    }

    /// Connects a new client where a process with discovery sends it.
    pub async fn join(&self, person: &Person, discovery: &Server) -> Client {
        let Person { name, token } = person.clone();
        let client = Uuid::new_v4().into();
        let mut joined = Client::arrive(&[discovery.address], &name, token, client, None).await;
        joined.caught_up().await;
        joined
    }
}

fn name(mark: &str) -> String {
    format!("roles_{mark}")
}
