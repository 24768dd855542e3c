//! What is done to the cluster meanwhile: commands, one fault after the other.
//!
//! Without hooks the commands are those of a checkout's own cluster (`cargo xtask cluster up`).
//! Everything else is an operator's: a command that breaks something, and one that mends it. What
//! was broken is mended, also when the run is stopped.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use actix_rt::time::{sleep, timeout};
use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use rally_proof::Span;

use tokio::process::Command;

use super::line::Record;
use super::tell;
use crate::stop::Stop;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked whether the run is stopped.
const LOOK: Duration = Duration::from_millis(200);

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// A node dies, and is started again.
    KillNode,
    /// A node stands still, and goes on.
    PauseNode,
    /// A broker dies, and is started again.
    KillBroker,
    /// A node of the store dies, and is started again. A store that keeps one copy of each row loses
    /// acknowledged messages by it, unless it syncs each write.
    KillStore,
    /// A node of the store stands still, so that no write is answered, and goes on.
    PauseStore,
    /// Every node is restarted, one after the other.
    RestartAll,
}

/// The commands of a fault; `{n}` is the number of what it befalls, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    fault: Fault,
    breaks: String,
    mends: String,
}

/// Reads `kill-node=COMMAND;;COMMAND`, the second of which mends it, or `restart-all=COMMAND`.
pub fn hook(text: &str) -> Result<Hook, String> {
    let bad = || format!("{text:?}: write FAULT=COMMAND;;COMMAND, the second of which mends it");
    let (name, commands) = text.split_once('=').ok_or_else(bad)?;
    let fault = Fault::from_str(name, false)?;
    let (breaks, mends) = commands.split_once(";;").unwrap_or((commands, ""));
    let (breaks, mends) = (breaks.trim().to_owned(), mends.trim().to_owned());
    let is_whole = !breaks.is_empty() && (fault == Fault::RestartAll) == mends.is_empty();
    if is_whole { Ok(Hook { fault, breaks, mends }) } else { Err(bad()) }
}

impl Fault {
    /// How long it lasts until it is mended.
    fn lasts(self) -> Duration {
        match self {
            Self::KillNode | Self::KillBroker => Duration::from_secs(4),
            // Long enough to be given up, and short enough for a run of a minute.
            Self::PauseNode => Duration::from_secs(8),
            Self::KillStore => Duration::from_secs(10),
            // Longer than a node goes on writing what is not confirmed (`commit_give_up_ms`).
            Self::PauseStore => Duration::from_secs(25),
            Self::RestartAll => Duration::ZERO,
        }
    }

    /// The commands for a checkout's own cluster.
    fn usual(self) -> Hook {
        let (breaks, mends) = match self {
            Self::KillNode => ("cluster kill {n}", "cluster restart {n}"),
            Self::PauseNode => ("cluster pause {n}", "cluster resume {n}"),
            Self::KillBroker => ("services kill rabbitmq-{n}", "services restart rabbitmq-{n}"),
            Self::KillStore => ("services kill cassandra-{n}", "services restart cassandra-{n}"),
            Self::PauseStore => ("services pause cassandra-{n}", "services resume cassandra-{n}"),
            Self::RestartAll => ("cluster restart {n}", ""),
        };
        let xtask = |what: &str| match what {
            "" => String::new(),
            what => format!("cargo xtask {what}"),
        };
        Hook { fault: self, breaks: xtask(breaks), mends: xtask(mends) }
    }
}

/// How many there are of what faults befall.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Nodes.
    pub nodes: usize,
    /// Brokers.
    pub brokers: usize,
    /// Nodes of the store.
    pub stores: usize,
}

/// What is done: which hook, to whom, one after the other.
pub struct Plan(Vec<(Fault, Hook, Vec<usize>)>);

impl Plan {
    /// Plans faults, each to the next of those that it may befall.
    ///
    /// # Errors
    ///
    /// A fault has nothing to befall.
    pub fn new(faults: &[Fault], hooks: &[Hook], counts: Counts) -> Result<Self> {
        let plan = |(place, fault): (usize, &Fault)| {
            let nth = faults[..place].iter().filter(|before| *before == fault).count();
            let own = hooks.iter().find(|hook| hook.fault == *fault).cloned();
            let of = match fault {
                Fault::KillBroker => counts.brokers,
                Fault::KillStore | Fault::PauseStore => counts.stores,
                Fault::KillNode | Fault::PauseNode | Fault::RestartAll => counts.nodes,
            };
            ensure!(of > 0, "--faults: {fault:?} has nothing to befall: say how many there are");
            let victims = match fault {
                Fault::RestartAll => (1..=of).collect(),
                _ => vec![nth % of + 1],
            };
            Ok((*fault, own.unwrap_or_else(|| fault.usual()), victims))
        };
        faults.iter().enumerate().map(plan).collect::<Result<_>>().map(Self)
    }

    /// Does all of it, with some calm before each and after the last; gives when something was
    /// broken. Stopped, it mends what is broken and does no more.
    pub async fn run(&self, calm: Duration, record: &Record, stop: &Stop) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for (fault, hook, victims) in &self.0 {
            pause(calm, stop).await;
            let from_ms = record.now_ms();
            for victim in victims {
                if stop.asked() {
                    break;
                }
                command(&hook.breaks, *victim).await?;
                pause(fault.lasts(), stop).await;
                command(&hook.mends, *victim).await?;
            }
            spans.push(Span { from_ms, to_ms: record.now_ms() });
        }
        pause(calm, stop).await;
        Ok(spans)
    }
}

/// Waits, unless the run is stopped.
async fn pause(most: Duration, stop: &Stop) {
    let begun = Instant::now();
    while begun.elapsed() < most && !stop.asked() {
        sleep(LOOK.min(most)).await;
    }
}

/// Runs a command, and waits for it, though not for what it leaves behind.
async fn command(text: &str, victim: usize) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let text = text.replace("{n}", &victim.to_string());
    tell(&format!("$ {text}"));
    // Not a pipe, which whatever the command starts would keep open.
    let mut said: File = tempfile::tempfile().context("making a file for what a command says")?;
    let mut child = Command::new("sh")
        .args(["-c", &text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        // Ctrl-C is for the run, which then has it mended.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("running {text}"))?;
    let ended = timeout(PATIENCE, child.wait()).await;
    let status = ended.with_context(|| format!("{text} took more than {PATIENCE:?}"))??;
    if !status.success() {
        let mut words = String::new();
        said.rewind()?;
        said.read_to_string(&mut words)?;
        bail!("{text} ended with {status}: {}", words.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_befalls_one_after_the_other() {
        let counts = Counts { nodes: 3, brokers: 2, stores: 0 };
        let faults = [Fault::KillNode, Fault::KillBroker].repeat(4);
        let plan = Plan::new(&faults, &[], counts).unwrap();
        let victims = |fault| {
            let of = plan.0.iter().filter(move |(which, ..)| *which == fault);
            of.flat_map(|(_, _, victims)| victims.clone()).collect::<Vec<_>>()
        };
        assert_eq!(victims(Fault::KillNode), [1, 2, 3, 1]);
        assert_eq!(victims(Fault::KillBroker), [1, 2, 1, 2]);
        assert!(Plan::new(&[Fault::KillStore], &[], counts).is_err(), "there is no store");
    }

    #[test]
    fn a_hook_names_a_fault_and_what_breaks_and_mends_it() {
        let read = hook("kill-node=ssh n{n} reboot ;; sleep 30").unwrap();
        assert_eq!((read.fault, &*read.mends), (Fault::KillNode, "sleep 30"));
        assert_eq!(read.breaks, "ssh n{n} reboot");
        assert_eq!(hook("restart-all=x").unwrap().mends, "");
        for bad in ["", "kill-node", "kill-node=", "kill-node=x", "restart-all=x;;y", "kill-all=x"]
        {
            assert!(hook(bad).is_err(), "{bad}");
        }
    }
}
