//! RabbitMQ as Debian packages it, run by whoever calls: not the system's service.
//!
//! Node I takes AMQP on 127.0.0.1:5671+I and shows Prometheus on 15691+I. Everything that listens
//! does so on loopback, its distribution and its name server included.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::keep_count;
use crate::process::Process;
use crate::service::{STOP, Service, open};
use crate::{call, debian, secret};

/// The programs themselves: the wrappers on the search path insist on a user of their own.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

const AMQP: u16 = 5_672;
const PROMETHEUS: u16 = 15_692;
const DISTRIBUTION: u16 = 24_672;
const NAMES: u16 = 14_369;

/// Installs the package where it is missing.
pub fn install() -> anyhow::Result<()> {
    if Path::new(PROGRAMS).join("rabbitmq-server").exists() {
        return Ok(());
    }
    println!("rabbitmq: installing");
    debian::install(&["rabbitmq-server"]).context("no RabbitMQ found")
}

/// Writes what nodes 1 to `count` need to start.
pub fn set_up(home: &Path, count: u8) -> anyhow::Result<()> {
    keep_count(home, "rabbitmq", count)?;
    // By it nodes of one cluster know each other.
    secret::keep(&home.join(".erlang.cookie"))?;
    for index in 1..=count {
        let node = node_home(home, index);
        fs::create_dir_all(&node)?;
        fs::write(node.join("rabbitmq.conf"), configuration(index, count))?;
        fs::write(node.join("enabled_plugins"), "[rabbitmq_prometheus].\n")?;
    }
    Ok(())
}

fn configuration(index: u8, count: u8) -> String {
    let offset = u16::from(index) - 1;
    let mut text = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         prometheus.tcp.ip = 127.0.0.1\n\
         prometheus.tcp.port = {}\n\
         vm_memory_high_watermark.absolute = 512MB\n\
         disk_free_limit.absolute = 64MB\n",
        AMQP + offset,
        PROMETHEUS + offset,
    );
    if count > 1 {
        text += "cluster_name = rally\n\
                 cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_partition_handling = pause_minority\n";
        for peer in 1..=count {
            let name = node_name(peer);
            writeln!(text, "cluster_formation.classic_config.nodes.{peer} = {name}")
                .expect("a string takes what is written to it");
        }
    }
    text
}

/// Where nodes 1 to `count` take connections.
pub fn urls(count: u8) -> String {
    let url = |index: u8| {
        let port = AMQP + u16::from(index) - 1;
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    };
    (1..=count).map(url).collect::<Vec<_>>().join(",")
}

/// Gives node `index` as it was set up.
pub fn service(home: &Path, index: u8) -> Service {
    let node = node_home(home, index);
    let offset = u16::from(index) - 1;
    let mut command = program(home, "rabbitmq-server");
    command
        .env("RABBITMQ_NODENAME", node_name(index))
        .env("RABBITMQ_DIST_PORT", (DISTRIBUTION + offset).to_string())
        .env("RABBITMQ_MNESIA_BASE", node.join("data"))
        .env("RABBITMQ_LOG_BASE", node.join("logs"))
        .env("RABBITMQ_PID_FILE", node.join("beam.pid"))
        .env("RABBITMQ_CONFIG_FILE", node.join("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", node.join("enabled_plugins"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", node.join("generated"))
        .env("RABBITMQ_SCHEMA_DIR", node.join("schema"))
        .env("RABBITMQ_FEATURE_FLAGS_FILE", node.join("feature_flags"))
        .env("ERL_CRASH_DUMP", node.join("crash.dump"))
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
        );
    let answers = SocketAddr::from((Ipv4Addr::LOCALHOST, AMQP + offset));
    Service { process: Process::of(node), answers, command }
}

/// Starts the name server of Erlang nodes; one for all, apart from any of the system's.
pub fn start_epmd(home: &Path) -> anyhow::Result<()> {
    let epmd = epmd(home);
    if epmd.pid().is_none() {
        let (port, at) = (NAMES.to_string(), (Ipv4Addr::LOCALHOST, NAMES).into());
        if open(at) {
            bail!(
                "epmd: something else listens on {at}, as services of another checkout do: stop that first"
            );
        }
        let mut command = call::program("epmd", home);
        epmd.start(command.args(["-address", "127.0.0.1", "-port", &port]))?;
        epmd.wait(Duration::from_secs(10), || open(at))?;
    }
    Ok(())
}

/// Stops it.
pub fn stop_epmd(home: &Path) -> anyhow::Result<()> {
    epmd(home).stop(STOP)
}

/// Waits until all nodes are one cluster.
pub fn await_cluster(home: &Path, count: u8) -> anyhow::Result<()> {
    ask(home, 1, &["await_online_nodes", &count.to_string(), "-t", "60"])
}

/// Tells a node something by RabbitMQ's own tool.
pub fn ask<S: AsRef<OsStr>>(home: &Path, index: u8, arguments: &[S]) -> anyhow::Result<()> {
    let mut tool = program(home, "rabbitmqctl");
    call::run(tool.args(["-q", "-n", &node_name(index)]).args(arguments))
}

fn epmd(home: &Path) -> Process {
    Process::of(home.join("epmd"))
}

fn node_home(home: &Path, index: u8) -> PathBuf {
    home.join(format!("rabbitmq-{index}"))
}

fn node_name(index: u8) -> String {
    format!("rally-rabbitmq-{index}@localhost")
}

fn program(home: &Path, name: &str) -> Command {
    let mut command = call::program(Path::new(PROGRAMS).join(name), home);
    command
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", NAMES.to_string())
        // What a system's own RabbitMQ is told is not meant for this one.
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    command
}
