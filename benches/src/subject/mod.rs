//! What is measured: a server that is started for a run, and ended after it.
//!
//! One way to start each, so that the same scenario can be run on any of them.

mod cluster;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rally_schema::UserId;

use crate::child::Child;
use crate::family::Family;
use crate::http::Http;
use crate::peer::Peer;
use crate::people::{Account, Cost, user};
use crate::proc::Pid;
use crate::run::scenario::Scenario;
use crate::server::{RAISED, Server, ServerArgs};
use crate::stop::Stop;
use crate::version::VERSION;
use crate::wire::Wire;
use crate::wire::bare::Bare;
use crate::wire::rally::Rally;
use crate::wire::socketio::{Crowd, SocketIo};

/// Milliseconds between two pings of a connection, and between two looks of the sweeper: Rally's
/// own, for the bare loop that pings.
const PINGS: [&str; 2] = ["10000", "500"];

/// Which kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// This one: one node, with its own store
    Rally,
    /// Two nodes of it, over Cassandra and RabbitMQ; those who write to each other are at home on
    /// different ones
    Cluster,
    /// The kernel's own price: a bare epoll loop on plain TCP that reads, writes and syncs as many
    /// bytes, and does nothing else
    Floor,
    /// The chat service that people write at home: Socket.IO, and an INSERT into PostgreSQL before
    /// the acknowledgement (`cargo xtask peers up socketio`)
    Socketio,
    /// The same as the floor with a commit on Cassandra in place of the sync, by the driver that nodes use
    Commits,
}

/// Which servers, and how they are started.
#[derive(Debug, Clone, Args)]
pub struct SubjectArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Where Cassandra is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9042")]
    pub cassandra: String,
    /// In which keyspace; made when it is missing, and kept.
    #[arg(long, value_name = "NAME", default_value = "rally_bench")]
    pub keyspace: String,
    /// Where RabbitMQ is.
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub amqp_url: String,
    /// What `cargo xtask peers up` wrote of a peer.
    #[arg(long, value_name = "FILE", default_value = "target/xtask/peers/socketio.json")]
    pub peer: PathBuf,
    /// Where a server of Rally listens that runs already, on this machine: none is started. It needs
    /// the accounts of `rally-bench accounts` (with --usual-cost where the scenario has log-ins), and
    /// limits that are wide enough. For several generators at once; `add` makes one report of theirs.
    #[arg(long, value_name = "HOST:PORT", value_parser = on_this_machine)]
    pub attach: Option<SocketAddr>,
    /// With --attach: the first of its users that this generator acts for.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "attach")]
    pub first_user: usize,
    /// With --attach: its process, whose CPU and memory are read; repeated, one for each of its nodes.
    #[arg(long = "pid", value_name = "PID", requires = "attach")]
    pub pids: Vec<u32>,
    /// With --attach: begins to measure at this moment, in seconds since 1970, and with the ramp and the
    /// warm-up as long before it. Several generators that are told the same measure the same time. All
    /// connections must be open by then: else the run fails. For one run.
    #[arg(long, value_name = "UNIX_SECONDS", requires = "attach")]
    pub begin_at: Option<u64>,
}

fn on_this_machine(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => {
            Err("an address of this machine, as in 127.0.0.1:8080: load goes nowhere else"
                .to_owned())
        }
    }
}

impl SubjectArgs {
    /// Says what a reader of the report must know of how servers were started.
    pub fn notes(&self) -> Vec<String> {
        let raised: Vec<&str> = RAISED.iter().map(|flag| flag.trim_start_matches("--")).collect();
        match self.attach {
            Some(address) if self.pids.len() > 1 => vec![
                format!("the server at {address} was running already"),
                format!("`server:` has what {address} measured, of {} nodes", self.pids.len()),
            ],
            Some(address) => vec![format!("the server at {address} was running already")],
            None => vec![format!("limits raised for the generator: {}", raised.join(", "))],
        }
    }
}

impl Kind {
    /// Names it, as reports do.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rally => "rally",
            Self::Cluster => "cluster",
            Self::Floor => "floor",
            Self::Socketio => "socketio",
            Self::Commits => "commits",
        }
    }

    /// Tells whether it can be what the command line wants of it.
    ///
    /// # Errors
    ///
    /// It would start servers of its own though one is named that runs, or it has no such users.
    pub fn check(self, args: &SubjectArgs, scenario: &Scenario) -> Result<()> {
        ensure!(
            self != Self::Commits || scenario.devices == 1,
            "--on commits, devices = {}: it knows one connection of each user; leave it out, or set \
             devices=1",
            scenario.devices
        );
        let Some(address) = args.attach else { return Ok(()) };
        let ServerArgs { server, no_sync, server_flags } = &args.server;
        ensure!(
            server.is_none() && !no_sync && server_flags.is_empty(),
            "--attach {address}: it runs already: leave out --server, --no-sync and --server-flag"
        );
        if self == Self::Rally {
            return Ok(());
        }
        bail!(
            "--on {} --attach {address}: it is started anew for each run; of nodes that run already, \
             name one, with --on rally and a --pid for each",
            self.name()
        )
    }

    /// Says how many nodes of it are measured together.
    pub fn nodes(self, args: &SubjectArgs) -> usize {
        match self {
            Self::Rally if args.attach.is_some() => args.pids.len().max(1),
            Self::Cluster => cluster::NODES,
            Self::Rally | Self::Floor | Self::Socketio | Self::Commits => 1,
        }
    }

    /// Says what of it is not as installed.
    pub fn settings(self, args: &SubjectArgs) -> String {
        match self {
            Self::Rally | Self::Cluster => args.server.line(),
            Self::Floor if args.server.no_sync => ", without fsync".to_owned(),
            Self::Floor | Self::Socketio | Self::Commits => String::new(),
        }
    }

    /// Says which version of it is measured.
    pub fn version(self, args: &SubjectArgs) -> Result<String> {
        match self {
            Self::Rally if let Some(address) = args.attach => {
                Ok(described(address).unwrap_or_else(|| "unknown".to_owned()))
            }
            Self::Rally | Self::Cluster => args.server.version(),
            Self::Socketio => Ok(Peer::read(&args.peer)?.version),
            Self::Floor | Self::Commits => Ok(VERSION.clone()),
        }
    }

    /// Starts it in a folder of its own, for a scenario.
    pub fn start(
        self,
        args: &SubjectArgs,
        folder: &Path,
        scenario: &Scenario,
        stop: &Stop,
    ) -> Result<Subject> {
        match self {
            Self::Rally if let Some(address) = args.attach => {
                let users = (args.first_user..args.first_user + scenario.users).map(user);
                let wire = Rally::new(address, scenario, users.collect());
                let families = args.pids.iter().map(|pid| Family(Pid(*pid))).collect();
                Ok(Subject {
                    probe: Probe { families, metrics_at: nodes_of(address) },
                    begin_at_s: args.begin_at,
                    ..Subject::of(Vec::new(), Box::new(wire))
                })
            }
            Self::Rally => {
                let users: Vec<UserId> = (0..scenario.users).map(user).collect();
                let cost = Cost::of(scenario);
                let accounts: Vec<Account> =
                    users.iter().map(|user| Account::of(*user, cost)).collect();
                Server::import(&args.server, folder, &accounts)?;
                let server = Server::start(&args.server, folder)?;
                let wire = Rally::new(server.address, scenario, users);
                Ok(Subject::of(vec![server], Box::new(wire)))
            }
            Self::Cluster => cluster::start(args, folder, scenario, stop),
            Self::Floor => {
                let pings = scenario.sends_nothing();
                fs::create_dir_all(folder)
                    .with_context(|| format!("making {}", folder.display()))?;
                let file = folder.join("records");
                let file = file.to_str().context("the data folder's name is no UTF-8")?;
                let devices = scenario.devices.to_string();
                let mut arguments = match pings {
                    true => vec!["bare-pings", PINGS[0], PINGS[1]],
                    false => vec!["bare-messages", file, &devices],
                };
                if args.server.no_sync && !pings {
                    arguments.push("--no-sync");
                }
                bare(&arguments, scenario, pings)
            }
            Self::Socketio => {
                let peer = Peer::read(&args.peer)?;
                let crowd = Crowd::of(scenario)?;
                crowd.register(peer.address)?;
                let wire = SocketIo::new(peer.address, crowd);
                let probe = Probe { families: peer.services, metrics_at: Vec::new() };
                Ok(Subject { probe, ..Subject::of(Vec::new(), Box::new(wire)) })
            }
            Self::Commits => {
                let text_bytes = scenario.send.text_bytes.to_string();
                let at = ["bare-commits", &args.cassandra, &args.keyspace, &text_bytes];
                bare(&at, scenario, false)
            }
        }
    }
}

/// Asks a server for what it tells every page.
fn config(server: SocketAddr) -> Option<serde_json::Value> {
    serde_json::from_str(&Http::connect(server).ok()?.get("/api/config").ok()?).ok()
}

/// Gives the version that a server names.
fn described(server: SocketAddr) -> Option<String> {
    Some(format!("rally-server {}", config(server)?["version"].as_str()?))
}

/// Gives where the nodes of a server's cluster show their figures: all, if it names them and they are
/// reached without TLS, or else the one.
fn nodes_of(server: SocketAddr) -> Vec<SocketAddr> {
    let named = config(server).and_then(|config| plain_addresses(&config["discovery"]));
    named.unwrap_or_else(|| vec![server])
}

fn plain_addresses(origins: &serde_json::Value) -> Option<Vec<SocketAddr>> {
    let plain = |origin: &serde_json::Value| origin.as_str()?.strip_prefix("http://")?.parse().ok();
    let all: Vec<SocketAddr> = origins.as_array()?.iter().map(plain).collect::<Option<_>>()?;
    (!all.is_empty()).then_some(all)
}

fn bare(arguments: &[&str], scenario: &Scenario, pings: bool) -> Result<Subject> {
    let (child, address) = Child::own(arguments)?;
    let wire = Bare::new(address, scenario, pings);
    let probe = Probe { families: vec![Family(child.pid())], metrics_at: Vec::new() };
    Ok(Subject { probe, child: Some(child), ..Subject::of(Vec::new(), Box::new(wire)) })
}

/// What of a server is read while it runs.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Its processes: the first of each that belongs to it.
    pub families: Vec<Family>,
    /// Where its nodes show their own figures.
    pub metrics_at: Vec<SocketAddr>,
}

/// A server that runs.
pub struct Subject {
    /// What of it is read.
    pub probe: Probe,
    /// How its clients speak.
    pub wire: Box<dyn Wire>,
    /// When to begin to measure, in seconds since 1970; nothing where that is as soon as possible.
    pub begin_at_s: Option<u64>,
    servers: Vec<Server>,
    child: Option<Child>,
}

impl Subject {
    /// Puts together what runs and how it is spoken to.
    fn of(servers: Vec<Server>, wire: Box<dyn Wire>) -> Self {
        let families = servers.iter().map(|server| Family(server.pid())).collect();
        let metrics_at = servers.iter().map(|server| server.address).collect();
        let probe = Probe { families, metrics_at };
        Self { probe, wire, begin_at_s: None, servers, child: None }
    }

    /// Says how the first of its processes ended that did so by itself.
    pub fn ended(&mut self) -> Result<Option<String>> {
        let own = self.servers.iter_mut().map(Server::ended);
        let statuses = own.chain(self.child.iter_mut().map(Child::ended));
        for status in statuses {
            if let Some(status) = status? {
                return Ok(Some(format!("ended by itself: {status}")));
            }
        }
        Ok(None)
    }

    /// Has it leave cleanly, and waits.
    pub fn end(self) -> Result<()> {
        self.servers.into_iter().try_for_each(Server::end)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_nodes_that_are_named_are_asked_unless_one_cannot_be() {
        let both = json!(["http://127.0.0.1:8081", "http://127.0.0.1:8082"]);
        assert_eq!(plain_addresses(&both).unwrap().len(), 2);
        for none in
            [json!([]), json!(null), json!(["http://127.0.0.1:8081", "https://chat-2.example.org"])]
        {
            assert_eq!(plain_addresses(&none), None, "{none}");
        }
    }
}
