//! What is done to the cluster meanwhile: commands, one plan after the other.
//!
//! Without hooks the commands are those of a checkout's own cluster (`cargo xtask cluster up`).
//! Everything else is an operator's: a command that breaks something, and one that mends it.

use std::process::{Command, Stdio};
use std::time::Duration;

use actix_rt::time::sleep;
use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use rally_proof::Span;

use super::line::Record;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// A node dies, and is started again.
    KillNode,
    /// A node stands still, and goes on.
    PauseNode,
    /// A broker dies, and is started again.
    KillBroker,
    /// A node of the store dies, and is started again.
    KillStore,
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

/// Reads `kill-node=COMMAND` or `kill-node=COMMAND;;COMMAND`, the second of which mends it.
pub fn hook(text: &str) -> Result<Hook, String> {
    let bad = || format!("{text:?}: write FAULT=COMMAND;;COMMAND, the second of which mends it");
    let (name, commands) = text.split_once('=').ok_or_else(bad)?;
    let fault = Fault::from_str(name, false)?;
    let (breaks, mends) = commands.split_once(";;").unwrap_or((commands, ""));
    let (breaks, mends) = (breaks.trim().to_owned(), mends.trim().to_owned());
    if breaks.is_empty() { Err(bad()) } else { Ok(Hook { fault, breaks, mends }) }
}

impl Fault {
    /// How long it lasts until it is mended.
    fn lasts(self) -> Duration {
        match self {
            Self::KillNode | Self::KillBroker => Duration::from_secs(4),
            // Long enough to be given up, and short enough for a run of a minute.
            Self::PauseNode => Duration::from_secs(8),
            Self::KillStore => Duration::from_secs(10),
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

/// Does one after the other, with some calm before each; gives when something was broken.
pub async fn run(
    faults: &[Fault],
    hooks: &[Hook],
    counts: Counts,
    calm: Duration,
    record: &Record,
) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for (nth, fault) in faults.iter().enumerate() {
        sleep(calm).await;
        let own = hooks.iter().find(|hook| hook.fault == *fault).cloned();
        let hook = own.unwrap_or_else(|| fault.usual());
        let of = match fault {
            Fault::KillBroker => counts.brokers,
            Fault::KillStore => counts.stores,
            Fault::KillNode | Fault::PauseNode | Fault::RestartAll => counts.nodes,
        };
        ensure!(of > 0, "{fault:?} has nothing to befall");
        let victims = match fault {
            Fault::RestartAll => 1..=of,
            _ => nth % of + 1..=nth % of + 1,
        };
        let from_ms = record.now_ms();
        for victim in victims {
            command(&hook.breaks, victim).await?;
            sleep(fault.lasts()).await;
            command(&hook.mends, victim).await?;
        }
        spans.push(Span { from_ms, to_ms: record.now_ms() });
    }
    sleep(calm).await;
    Ok(spans)
}

/// Runs a command, and waits for it.
async fn command(text: &str, victim: usize) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let text = text.replace("{n}", &victim.to_string());
    println!("$ {text}");
    let run = text.clone();
    let output = actix_rt::task::spawn_blocking(move || {
        Command::new("sh").args(["-c", &run]).stdin(Stdio::null()).output()
    });
    let output = output.await?.with_context(|| format!("running {text}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{text} ended with {}: {}", output.status, said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_names_a_fault_and_what_breaks_and_mends_it() {
        let read = hook("kill-node=ssh n{n} reboot ;; sleep 30").unwrap();
        assert_eq!((read.fault, &*read.mends), (Fault::KillNode, "sleep 30"));
        assert_eq!(read.breaks, "ssh n{n} reboot");
        assert_eq!(hook("pause-node=x").unwrap().mends, "");
        for bad in ["", "kill-node", "kill-node=", "kill-all=x"] {
            assert!(hook(bad).is_err(), "{bad}");
        }
    }
}
