//! What is done to the cluster meanwhile: commands, one fault after the other.
//!
//! Without hooks the commands are those of a checkout's own cluster (`cargo xtask cluster up`).
//! Everything else is an operator's: a command that breaks something, and one that mends it. What
//! was broken is mended, also when the run is stopped.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use actix_rt::time::{sleep, timeout};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use rally_proof::Span;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::process::{Child, Command};

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
    /// acknowledged messages by it, unless it syncs before it acknowledges: Cassandra with `commitlog_sync:
    /// group`, or `batch`.
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

/// Why faults cannot be done as they were asked for.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// A hook is not of the form that it should have.
    #[error(
        "{0:?}: write FAULT=COMMAND;;COMMAND, the second of which mends it, or restart-all=COMMAND"
    )]
    Form(String),
    /// A hook names a fault that there is not.
    #[error("{0:?} is no fault: there are {all}", all = Fault::all())]
    Unknown(String),
    /// Two hooks are for one fault.
    #[error("--hook {0} comes twice")]
    Twice(Fault),
    /// A hook is for a fault that is not done: perhaps another one was meant, and would be done by
    /// other commands.
    #[error("--hook {0}, and --faults does not name {0}")]
    Idle(Fault),
    /// A fault has nothing to befall.
    #[error("--faults: {0} has nothing to befall: say how many there are")]
    NoVictim(Fault),
}

/// Reads `kill-node=COMMAND;;COMMAND`, the second of which mends it, or `restart-all=COMMAND`.
pub fn hook(text: &str) -> Result<Hook, FaultError> {
    let bad = || FaultError::Form(text.to_owned());
    let (name, commands) = text.split_once('=').ok_or_else(bad)?;
    let known = Fault::from_str(name, false);
    let fault = known.map_err(|_| FaultError::Unknown(name.to_owned()))?;
    let (breaks, mends) = commands.split_once(";;").unwrap_or((commands, ""));
    let (breaks, mends) = (breaks.trim().to_owned(), mends.trim().to_owned());
    let is_whole = !breaks.is_empty() && (fault == Fault::RestartAll) == mends.is_empty();
    if is_whole { Ok(Hook { fault, breaks, mends }) } else { Err(bad()) }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is hidden").get_name())
    }
}

impl Fault {
    fn all() -> String {
        Self::value_variants().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

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
#[derive(Debug)]
pub struct Plan(Vec<(Hook, Vec<usize>)>);

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// When something was broken.
    pub spans: Vec<Span>,
    /// Why not all that was planned could be done.
    pub failed: Option<anyhow::Error>,
}

impl Plan {
    /// Plans faults, each to the next of those that it may befall.
    ///
    /// # Errors
    ///
    /// A fault has nothing to befall, or a hook is for none of the faults, or for one that has one.
    pub fn new(faults: &[Fault], hooks: &[Hook], counts: Counts) -> Result<Self, FaultError> {
        for (place, Hook { fault, .. }) in hooks.iter().enumerate() {
            if hooks[..place].iter().any(|before| before.fault == *fault) {
                return Err(FaultError::Twice(*fault));
            }
            if !faults.contains(fault) {
                return Err(FaultError::Idle(*fault));
            }
        }
        let plan = |(place, fault): (usize, &Fault)| {
            let nth = faults[..place].iter().filter(|before| *before == fault).count();
            let own = hooks.iter().find(|hook| hook.fault == *fault).cloned();
            let of = match fault {
                Fault::KillBroker => counts.brokers,
                Fault::KillStore | Fault::PauseStore => counts.stores,
                Fault::KillNode | Fault::PauseNode | Fault::RestartAll => counts.nodes,
            };
            if of == 0 {
                return Err(FaultError::NoVictim(*fault));
            }
            let victims = match fault {
                Fault::RestartAll => (1..=of).collect(),
                _ => vec![nth % of + 1],
            };
            Ok((own.unwrap_or_else(|| fault.usual()), victims))
        };
        faults.iter().enumerate().map(plan).collect::<Result<_, _>>().map(Self)
    }

    /// Does all of it, with some calm before each and after the last. Stopped, or when a command
    /// fails, it mends what is broken and does no more.
    pub async fn run(&self, calm: Duration, record: &Record, stop: &Stop) -> Done {
        let mut spans = Vec::new();
        for (nth, (hook, victims)) in self.0.iter().enumerate() {
            pause(calm, stop).await;
            for victim in victims {
                if stop.asked() {
                    return Done { spans, failed: None };
                }
                tell(&format!("fault {} of {}: {} {victim}", nth + 1, self.0.len(), hook.fault));
                let from_ms = record.now_ms();
                let broken = command(&hook.breaks, *victim).await;
                if broken.is_ok() {
                    pause(hook.fault.lasts(), stop).await;
                }
                // Also when that failed: half of it may be broken.
                let mended = command(&hook.mends, *victim).await;
                spans.push(Span { from_ms, to_ms: record.now_ms() });
                if let Err(failed) = broken.and(mended) {
                    tell(&format!("no more is done to the cluster: {failed:#}"));
                    return Done { spans, failed: Some(failed) };
                }
            }
        }
        pause(calm, stop).await;
        Done { spans, failed: None }
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
    let Ok(ended) = timeout(PATIENCE, child.wait()).await else {
        end_all(&child);
        bail!("{text} took more than {PATIENCE:?}");
    };
    let status = ended?;
    if !status.success() {
        let mut words = Vec::new();
        said.rewind()?;
        said.read_to_end(&mut words)?;
        bail!("{text} ended with {status}: {}", String::from_utf8_lossy(&words).trim());
    }
    Ok(())
}

/// Ends a command with all that it started: it must not break anything while that is mended.
fn end_all(child: &Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id as i32));
    // What ended by itself meanwhile is no trouble.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Counts = Counts { nodes: 3, brokers: 2, stores: 0 };

    #[test]
    fn each_fault_befalls_one_after_the_other() {
        let faults = [Fault::KillNode, Fault::KillBroker].repeat(4);
        let plan = Plan::new(&faults, &[], THREE).unwrap();
        let victims = |fault| {
            let of = plan.0.iter().filter(move |(hook, _)| hook.fault == fault);
            of.flat_map(|(_, victims)| victims.clone()).collect::<Vec<_>>()
        };
        assert_eq!(victims(Fault::KillNode), [1, 2, 3, 1]);
        assert_eq!(victims(Fault::KillBroker), [1, 2, 1, 2]);
        let all = Plan::new(&[Fault::RestartAll], &[], THREE).unwrap();
        assert_eq!(all.0[0].1, [1, 2, 3]);
        let none = Plan::new(&[Fault::KillStore], &[], THREE).unwrap_err();
        assert_eq!(none, FaultError::NoVictim(Fault::KillStore));
        assert!(none.to_string().contains("kill-store"), "as it is written: {none}");
    }

    #[test]
    fn a_hook_names_a_fault_and_what_breaks_and_mends_it() {
        let read = hook("kill-node=ssh n{n} reboot ;; sleep 30").unwrap();
        assert_eq!((read.fault, &*read.mends), (Fault::KillNode, "sleep 30"));
        assert_eq!(read.breaks, "ssh n{n} reboot");
        assert_eq!(hook("restart-all=x").unwrap().mends, "");
        for bad in
            ["", "kill-node", "kill-node=", "kill-node=x", "kill-node=;;x", "restart-all=x;;y"]
        {
            let refused = hook(bad).unwrap_err();
            assert_eq!(refused, FaultError::Form(bad.to_owned()));
            assert!(refused.to_string().contains(&format!("{bad:?}")), "{refused}");
        }
    }

    #[test]
    fn a_hook_for_a_fault_that_there_is_not_is_refused_by_its_name_and_told_which_there_are() {
        let refused = hook("kill-all=x;;y").unwrap_err();
        assert_eq!(refused, FaultError::Unknown("kill-all".to_owned()));
        let told = refused.to_string();
        assert!(told.contains("\"kill-all\""), "{told}");
        for fault in Fault::value_variants() {
            let name = fault.to_string();
            assert!(told.contains(&name), "{told}");
            assert_eq!(Fault::from_str(&name, false), Ok(*fault), "as --faults reads it");
        }
    }

    #[test]
    fn a_hook_that_would_not_be_used_is_refused_rather_than_passed_over() {
        let own = |text| hook(text).unwrap();
        let faults = [Fault::KillNode, Fault::PauseNode];
        let idle = Plan::new(&faults, &[own("kill-store=x;;y")], THREE).unwrap_err();
        assert_eq!(idle, FaultError::Idle(Fault::KillStore));
        let twice = [own("kill-node=x;;y"), own("kill-node=z;;y")];
        let twice = Plan::new(&faults, &twice, THREE).unwrap_err();
        assert_eq!(twice, FaultError::Twice(Fault::KillNode));
        let plan = Plan::new(&faults, &[own("kill-node=x;;y")], THREE).unwrap();
        assert_eq!((&*plan.0[0].0.breaks, &*plan.0[0].0.mends), ("x", "y"));
        assert_eq!(plan.0[1].0, Fault::PauseNode.usual());
    }

    /// Commands that note in a file what they do to whom.
    struct Notes(tempfile::TempDir);

    impl Notes {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn plan(&self, text: &str) -> Plan {
            let note = format!("echo >> {}", self.0.path().join("notes").display());
            let hook = hook(&text.replace("note", &note)).unwrap();
            Plan::new(&[hook.fault], &[hook], THREE).unwrap()
        }

        fn taken(&self) -> Vec<String> {
            let notes = std::fs::read_to_string(self.0.path().join("notes")).unwrap_or_default();
            notes.lines().map(str::to_owned).collect()
        }
    }

    #[actix_rt::test]
    async fn faults_are_done_to_each_in_turn_and_their_time_is_noted() {
        let notes = Notes::new();
        let plan = notes.plan("restart-all=note node {n}");
        let record = Record::new();
        let spans = plan.run(Duration::ZERO, &record, &Stop::default()).await.spans;
        assert_eq!(notes.taken(), ["node 1", "node 2", "node 3"]);
        assert_eq!(spans.len(), 3);
        // What two spans share would excuse twice its time.
        assert!(spans.windows(2).all(|pair| pair[0].to_ms <= pair[1].from_ms), "{spans:?}");
        assert!(spans.last().unwrap().to_ms <= record.now_ms());
    }

    #[actix_rt::test]
    async fn what_failed_to_break_is_mended_all_the_same_and_told() {
        let notes = Notes::new();
        let plan = notes.plan("kill-node=note broken {n}; echo half >&2; false;;note mended {n}");
        let done = plan.run(Duration::ZERO, &Record::new(), &Stop::default()).await;
        assert_eq!(
            (notes.taken(), done.spans.len()),
            (vec!["broken 1".into(), "mended 1".into()], 1)
        );
        let failed = done.failed.unwrap().to_string();
        assert!(failed.contains("half"), "{failed}");
    }

    #[actix_rt::test]
    async fn stopped_it_mends_what_is_broken_and_begins_nothing() {
        let (notes, stop) = (Notes::new(), Stop::default());
        let plan = notes.plan("kill-node=note broken;;note mended");
        let record = Record::new();
        let (done, ()) = futures_util::join!(plan.run(Duration::ZERO, &record, &stop), async {
            while notes.taken().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
            stop.ask();
        });
        assert_eq!((notes.taken().len(), done.spans.len()), (2, 1), "{:?}", notes.taken());
        let spans = plan.run(Duration::ZERO, &record, &stop).await.spans;
        assert_eq!(
            (notes.taken().len(), spans.len()),
            (2, 0),
            "nothing was done, nothing is noted"
        );
    }
}
