//! `cargo xtask services`: the servers that a cluster stands on, as plain processes on loopback.
//!
//! RabbitMQ from Debian, Cassandra from its jars; `rabbitmq.rs` and `cassandra.rs` know how each
//! is installed, set up and started. Each node lives in a folder of its own under
//! `.rally/services/` of the checkout and is called like it.

mod cassandra;
mod rabbitmq;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::checkout::Checkout;
use crate::process::Signal;
use crate::service::{STOP, Service};

/// Install and run RabbitMQ and Cassandra for a cluster.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Start what does not run yet, and say where it answers
    Up(Up),
    /// Show what runs
    Status,
    /// Stop everything
    Down {
        /// Delete the data too
        #[arg(long)]
        wipe: bool,
    },
    /// End one service at once (SIGKILL), as a crash would
    Kill {
        /// A name that `status` shows
        name: String,
    },
    /// Have one service stand still (SIGSTOP): it keeps its connections and answers nothing
    Pause {
        /// A name that `status` shows
        name: String,
    },
    /// Have a paused service go on (SIGCONT)
    Resume {
        /// A name that `status` shows
        name: String,
    },
    /// Ask a node of RabbitMQ by its own tool, as in `rabbitmqctl rabbitmq-1 list_queues`
    Rabbitmqctl {
        /// A name that `status` shows
        name: String,
        /// What `rabbitmqctl` is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Start one service again with its data; one that runs is stopped first
    Restart {
        /// A name that `status` shows
        name: String,
    },
}

/// What to start.
#[derive(Clone, clap::Args)]
pub struct Up {
    /// Nodes of RabbitMQ
    #[arg(long, default_value = "1", value_parser = ["0", "1", "3"])]
    rabbitmq: String,

    /// Nodes of Cassandra
    #[arg(long, default_value = "1", value_parser = ["0", "1", "3"])]
    cassandra: String,

    /// Start Cassandra in half the time and let it run slower: for tests, not for measurements
    #[arg(long)]
    quick: bool,
}

impl Up {
    /// What tests need, started soonest.
    pub fn for_tests() -> Self {
        Self { rabbitmq: "3".to_owned(), cassandra: "1".to_owned(), quick: true }
    }

    /// The same at full speed: every row has one copy, and what is measured is not the start.
    pub fn one() -> Self {
        Self { quick: false, ..Self::for_tests() }
    }

    /// Three of each: every row has three copies.
    pub fn three() -> Self {
        Self { rabbitmq: "3".to_owned(), cassandra: "3".to_owned(), quick: false }
    }

    /// Where the nodes of Cassandra take connections, as `rally-server` is told it.
    pub fn cassandras(&self) -> String {
        cassandra::places(self.counts().1.max(1))
    }

    /// Where the nodes of RabbitMQ take connections, as `rally-server` is told it.
    pub fn amqp_urls(&self) -> String {
        // Where none is to be started, somebody else's is used.
        rabbitmq::urls(self.counts().0.max(1))
    }

    /// How many nodes of RabbitMQ, and of Cassandra.
    fn counts(&self) -> (u8, u8) {
        let count = |text: &str| text.parse().expect("the command line takes only numbers");
        (count(&self.rabbitmq), count(&self.cassandra))
    }

    /// On how many nodes of Cassandra a row can be kept.
    pub fn copies(&self) -> &str {
        &self.cassandra
    }
}

/// Runs the command.
pub fn run(checkout: &Checkout, args: Args) -> anyhow::Result<ExitCode> {
    let home = home(checkout);
    match args.command {
        What::Up(up) => start(checkout, &up)?,
        What::Status => status(checkout)?,
        What::Down { wipe } => stop(checkout, wipe)?,
        What::Kill { name } => named(checkout, &name)?.process.kill()?,
        What::Pause { name } => named(checkout, &name)?.process.signal(Signal::STOP)?,
        What::Resume { name } => named(checkout, &name)?.process.signal(Signal::CONT)?,
        What::Rabbitmqctl { name, arguments } => match parse(&name) {
            Some(("rabbitmq", index)) => rabbitmq::ask(&home, index, &arguments)?,
            _ => bail!("{name:?} is no node of RabbitMQ: `cargo xtask services status` shows them"),
        },
        What::Restart { name } => {
            let mut service = named(checkout, &name)?;
            service.process.stop(STOP)?;
            if name.starts_with("rabbitmq") {
                rabbitmq::start_epmd(&home)?;
            }
            service.start_again()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops everything, and deletes its data if that is wanted.
pub fn stop(checkout: &Checkout, wipe: bool) -> anyhow::Result<()> {
    let home = home(checkout);
    for service in all(checkout)? {
        println!("{}: stopping", service.process.name());
        service.process.stop(STOP)?;
    }
    rabbitmq::stop_epmd(&home)?;
    if wipe && home.exists() {
        fs::remove_dir_all(&home)?;
        println!("data deleted");
    }
    Ok(())
}

/// Starts all that `up` names, and waits until it answers.
pub fn start(checkout: &Checkout, up: &Up) -> anyhow::Result<()> {
    let home = home(checkout);
    let (rabbits, cassandras) = up.counts();
    if rabbits > 0 {
        rabbitmq::install()?;
        rabbitmq::set_up(&home, rabbits)?;
        rabbitmq::start_epmd(&home)?;
    }
    if cassandras > 0 {
        cassandra::install(checkout)?;
        cassandra::set_up(&home, cassandras, up.quick)?;
    }
    let mut services = Vec::new();
    for index in 1..=rabbits {
        services.push(rabbitmq::service(&home, index));
    }
    for index in 1..=cassandras {
        services.push(cassandra::service(checkout, &home, index)?);
    }
    let begun = Instant::now();
    services.iter_mut().try_for_each(Service::start)?;
    services.iter().try_for_each(|service| service.wait(begun))?;
    if rabbits > 1 {
        rabbitmq::await_cluster(&home, rabbits)?;
    }
    if cassandras > 1 {
        cassandra::await_ring(checkout, &home, cassandras)?;
    }
    Ok(())
}

fn status(checkout: &Checkout) -> anyhow::Result<()> {
    let services = all(checkout)?;
    if services.is_empty() {
        println!("nothing was started: cargo xtask services up");
    }
    for service in services {
        println!("{service}");
    }
    Ok(())
}

/// Gives every service that was ever set up here.
fn all(checkout: &Checkout) -> anyhow::Result<Vec<Service>> {
    let Ok(entries) = fs::read_dir(home(checkout)) else { return Ok(Vec::new()) };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| parse(name).is_some())
        .collect();
    names.sort_unstable();
    names.iter().map(|name| named(checkout, name)).collect()
}

fn named(checkout: &Checkout, name: &str) -> anyhow::Result<Service> {
    let home = home(checkout);
    let (kind, index) = parse(name).filter(|_| home.join(name).exists()).with_context(|| {
        format!("no service is named {name:?}: `cargo xtask services status` shows the names")
    })?;
    match kind {
        "rabbitmq" => Ok(rabbitmq::service(&home, index)),
        _ => cassandra::service(checkout, &home, index),
    }
}

/// Takes `rabbitmq-1` apart.
fn parse(name: &str) -> Option<(&str, u8)> {
    let (kind, index) = name.split_once('-')?;
    let index = index.parse().ok().filter(|index| (1..=3).contains(index))?;
    ["rabbitmq", "cassandra"].contains(&kind).then_some((kind, index))
}

/// Refuses another number of nodes than the data was made with.
fn keep_count(home: &std::path::Path, kind: &str, count: u8) -> anyhow::Result<()> {
    fs::create_dir_all(home)?;
    let file = home.join(format!("{kind}.nodes"));
    match fs::read_to_string(&file) {
        Ok(made) if made.trim() != count.to_string() => bail!(
            "the data of {kind} was made with {} nodes, not {count}: `cargo xtask services down \
             --wipe` deletes it",
            made.trim()
        ),
        _ => Ok(fs::write(&file, count.to_string())?),
    }
}

/// Where the first node of Cassandra keeps its tables.
pub fn cassandra_data(checkout: &Checkout) -> PathBuf {
    cassandra::data(&home(checkout), 1)
}

fn home(checkout: &Checkout) -> PathBuf {
    checkout.root().join(".rally/services")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_services_are_names() {
        assert_eq!(parse("rabbitmq-1"), Some(("rabbitmq", 1)));
        assert_eq!(parse("cassandra-3"), Some(("cassandra", 3)));
        for other in ["rabbitmq", "rabbitmq-4", "postgres-1", "rabbitmq.nodes", "epmd"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn data_of_one_node_is_not_taken_for_a_cluster() {
        let folder = tempfile::tempdir().unwrap();
        keep_count(folder.path(), "cassandra", 1).unwrap();
        keep_count(folder.path(), "cassandra", 1).unwrap();
        let error = keep_count(folder.path(), "cassandra", 3).unwrap_err().to_string();
        assert!(error.contains("made with 1 nodes, not 3"), "{error}");
    }
}
