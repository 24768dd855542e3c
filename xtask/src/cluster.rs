//! `cargo xtask cluster`: nodes of Rally over the services, as plain processes on loopback.
//!
//! Node I listens on 127.0.0.1:8080+I and gossips on UDP port 7946+I. Each has a folder under
//! `.rally/cluster/` of the checkout with its settings and its log; all else is in the services.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::checkout::Checkout;
use crate::process::{Process, Signal};
use crate::run::build;
use crate::{call, services};

/// Nodes that a cluster of this command may have.
const MOST: u8 = 9;

/// How long a node may take until it is ready: the first waits for seeds that are not there yet.
const START: Duration = Duration::from_secs(120);

/// How long a node may take to send its sessions away and end.
const STOP: Duration = Duration::from_secs(30);

const HTTP: u16 = 8_080;
const GOSSIP: u16 = 7_946;

/// Run several nodes over RabbitMQ and Cassandra.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Build, start what does not run yet, services included, and say where the nodes answer
    Up(Nodes),
    /// Show what runs
    Status,
    /// Stop the nodes; the services stay
    Down,
    /// End a node at once (SIGKILL), as a crash would
    Kill {
        /// Which, from 1
        node: u8,
    },
    /// Have a node stand still (SIGSTOP)
    Pause {
        /// Which, from 1
        node: u8,
    },
    /// Have a paused node go on (SIGCONT)
    Resume {
        /// Which, from 1
        node: u8,
    },
    /// Start a node again as it was started; one that runs is told to leave first (SIGTERM)
    Restart {
        /// Which, from 1
        node: u8,
    },
}

/// What to start.
#[derive(clap::Args)]
struct Nodes {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST)))]
    nodes: u8,

    #[command(flatten)]
    services: services::Up,

    /// Further flags for every rally-server (see `rally-server --help`)
    #[arg(last = true, value_name = "FLAGS")]
    server: Vec<OsString>,
}

/// Runs the command.
pub fn run(checkout: &Checkout, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        What::Up(up) => start_all(checkout, &up)?,
        What::Status => status(checkout),
        What::Down => stop_all(checkout)?,
        What::Kill { node } => process(checkout, node).kill()?,
        What::Pause { node } => process(checkout, node).signal(Signal::STOP)?,
        What::Resume { node } => process(checkout, node).signal(Signal::CONT)?,
        What::Restart { node } => {
            process(checkout, node).stop(STOP)?;
            let begun = Instant::now();
            start(checkout, node)?;
            wait(checkout, node, begun)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has three nodes for as long as something runs; gives what that gave.
pub fn with_three<R>(
    checkout: &Checkout,
    services: services::Up,
    flags: &[&str],
    run: impl FnOnce(&[String]) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    let up = Nodes { nodes: 3, services, server: flags.iter().map(OsString::from).collect() };
    let urls: Vec<String> =
        (1..=up.nodes).map(|node| format!("http://{}", address(node))).collect();
    let given = start_all(checkout, &up).and_then(|()| run(&urls));
    stop_all(checkout)?;
    given
}

/// What a node holds, and which process it is: another one has begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Which, from 1.
    pub node: u8,
    /// Its process.
    pub pid: i32,
    /// What of it is in memory (VmRSS), in KiB.
    pub kib: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{} ({}) {} MiB", self.node, self.pid, self.kib / 1_024)
    }
}

/// Looks at the memory of all nodes that run.
pub fn memory(checkout: &Checkout) -> Vec<Memory> {
    let look = |node| {
        let pid = process(checkout, node).pid()?.as_raw_nonzero().get();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib = line.split_whitespace().next()?.parse().ok()?;
        Some(Memory { node, pid, kib })
    };
    (1..=MOST).filter_map(look).collect()
}

fn stop_all(checkout: &Checkout) -> anyhow::Result<()> {
    (1..=MOST).try_for_each(|node| process(checkout, node).stop(STOP))
}

fn start_all(checkout: &Checkout, up: &Nodes) -> anyhow::Result<()> {
    build(checkout)?;
    services::start(checkout, &up.services)?;
    let begun = Instant::now();
    for node in 1..=up.nodes {
        match process(checkout, node).pid() {
            Some(_) => println!("node-{node}: runs already"),
            None => {
                set_up(checkout, node, up)?;
                start(checkout, node)?;
            }
        }
    }
    (1..=up.nodes).try_for_each(|node| wait(checkout, node, begun))
}

/// Writes the settings of a node, which it is started with now and again.
fn set_up(checkout: &Checkout, node: u8, up: &Nodes) -> anyhow::Result<()> {
    let gossip = |node: u8| format!("127.0.0.1:{}", GOSSIP + u16::from(node));
    let seeds: Vec<String> = (1..=up.nodes).map(|node| format!("{:?}", gossip(node))).collect();
    let (seeds, own, copies) = (seeds.join(", "), gossip(node), up.services.copies());
    let amqp_urls = up.services.amqp_urls();
    let settings = format!(
        "node = \"node-{node}\"
listen = \"{0}\"
public_url = \"http://{0}\"
demo = true
store = \"cassandra\"
cassandra_replication = {copies}
broker = \"rabbitmq\"
amqp_url = \"{amqp_urls}\"
gossip_listen = \"{own}\"
seeds = [{seeds}]
",
        address(node)
    );
    let process = process(checkout, node);
    fs::create_dir_all(process.home())?;
    fs::write(process.home().join("rally.toml"), settings)?;
    let flags: Vec<&str> = up.server.iter().filter_map(|flag| flag.to_str()).collect();
    Ok(fs::write(process.home().join("flags"), flags.join("\n"))?)
}

fn start(checkout: &Checkout, node: u8) -> anyhow::Result<()> {
    let process = process(checkout, node);
    if open(address(node)) {
        bail!("node-{node}: something else listens on {}: stop that first", address(node));
    }
    let flags = fs::read_to_string(process.home().join("flags"))
        .with_context(|| format!("node-{node} was never started: cargo xtask cluster up"))?;
    println!("node-{node}: starting, log in {}", process.log().display());
    let mut server = call::program(checkout.server(), checkout.root());
    process.start(server.args(["--config", "rally.toml"]).args(flags.lines()))
}

fn wait(checkout: &Checkout, node: u8, begun: Instant) -> anyhow::Result<()> {
    process(checkout, node).wait(START, || is_ready(node))?;
    println!(
        "node-{node}: ready on http://{} ({:.1} s)",
        address(node),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn status(checkout: &Checkout) {
    let known = |node: &u8| process(checkout, *node).home().exists();
    if !(1..=MOST).any(|node| known(&node)) {
        println!("nothing was started: cargo xtask cluster up");
    }
    for node in (1..=MOST).filter(known) {
        let state = match process(checkout, node).pid() {
            Some(pid) if is_ready(node) => format!("ready, process {}", pid.as_raw_nonzero()),
            Some(pid) => format!("not ready, process {}", pid.as_raw_nonzero()),
            None => "down".to_owned(),
        };
        println!("node-{node}  http://{}  {state}", address(node));
    }
}

/// Asks as a supervisor would.
fn is_ready(node: u8) -> bool {
    use std::io::{Read as _, Write as _};
    let ask = || -> anyhow::Result<bool> {
        let patience = Some(Duration::from_secs(2));
        let mut socket = TcpStream::connect_timeout(&address(node), Duration::from_millis(500))?;
        socket.set_read_timeout(patience)?;
        let request = "GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes())?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).context("no answer")?;
        Ok(answer.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

fn address(node: u8) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, HTTP + u16::from(node)).into()
}

fn process(checkout: &Checkout, node: u8) -> Process {
    Process::of(home(checkout).join(format!("node-{node}")))
}

fn home(checkout: &Checkout) -> PathBuf {
    checkout.root().join(".rally/cluster")
}
