//! Whole nodes in one process under simulated time: many seeds, each a cluster with faults.
//!
//! `rally-simulation --seeds N` runs seeds on every processor, one a thread, judges each by the
//! promises, and ends with status 1 when one is broken, naming the command that replays it;
//! `--minutes N` goes on until the time is over, from a seed of its own, and stops at the first.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use rally_cluster::planted::Fault;
use rally_simulation::run::{self, Outcome, Size};
use rally_simulation::sum::Sum;

/// Simulates clusters under faults, and judges what their users saw.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100, conflicts_with = "minutes")]
    seeds: u64,
    /// The first seed; alone with `--seeds 1` it replays one run. Drawn with `--minutes`.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on for so long, and stops at the first seed that breaks a promise.
    #[arg(long)]
    minutes: Option<u64>,
    /// Prints every frame and fault, a line each.
    #[arg(long)]
    trace: bool,
    /// Plants a fault (see `cluster/src/planted.rs`), which the judges should find.
    #[arg(long)]
    plant: Option<String>,
    /// Runs at once; as many as there are processors when left out.
    #[arg(long)]
    jobs: Option<usize>,
}

/// Broken seeds after which nothing more is run.
const ENOUGH: usize = 5;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let plant = args.plant.as_deref().map(fault).transpose()?;
    let first = args.seed.unwrap_or(if args.minutes.is_some() { draw() } else { 1 });
    let (end, enough) = match args.minutes {
        Some(minutes) => {
            println!("{minutes} minutes from seed {first} on");
            (u64::MAX, 1)
        }
        None => (first.saturating_add(args.seeds), ENOUGH),
    };
    let over = args.minutes.map(|minutes| stopwatch(Duration::from_secs(minutes * 60)));
    let jobs = args.jobs.or(std::thread::available_parallelism().map(usize::from).ok());
    let (next, sum) = (AtomicU64::new(first), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(1) {
            scope.spawn(|| {
                while sum.lock().is_ok_and(|sum| sum.broken.len() < enough)
                    && !over.as_ref().is_some_and(|over| over())
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = planting(plant, || run::run(seed, Size::default(), args.trace));
                    let found = judged(seed, plant, &outcome);
                    let Ok(mut sum) = sum.lock() else { break };
                    sum.add(&outcome, found);
                }
            });
        }
    });
    let sum = sum.into_inner().ok().context("a run panicked: its seed is above")?;
    println!("{sum}");
    Ok(if sum.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives what tells whether the time is over: real time, which no run ever sees.
#[allow(clippy::disallowed_methods, reason = "how long to go on is asked in real time")]
fn stopwatch(after: Duration) -> impl Fn() -> bool {
    let begun = std::time::Instant::now();
    move || begun.elapsed() >= after
}

/// Draws a first seed that leaves room for all that follow.
fn draw() -> u64 {
    u64::from(rand::random::<u32>()) << 16
}

fn fault(name: &str) -> anyhow::Result<Fault> {
    let fault = name.parse()?;
    if !rally_cluster::planted::POSSIBLE {
        bail!("no fault can be planted into this build: it needs the feature `planted`");
    }
    Ok(fault)
}

#[cfg(feature = "planted")]
fn planting<T>(fault: Option<Fault>, f: impl FnOnce() -> T) -> T {
    rally_cluster::planted::with(fault, f)
}

#[cfg(not(feature = "planted"))]
fn planting<T>(_: Option<Fault>, f: impl FnOnce() -> T) -> T {
    f()
}

/// Gives what is wrong with a run, each with the command that replays it.
fn judged(seed: u64, plant: Option<Fault>, outcome: &Outcome) -> Vec<String> {
    let breaches = outcome.breaches().into_iter().map(|breach| breach.to_string());
    let outlived = outcome.outlived.iter().map(|what| format!("a log-in outlived its end: {what}"));
    let all = outcome.history.restless.clone().into_iter().chain(outlived).chain(breaches);
    let planted = plant.map(|fault| format!(" --plant {fault:?}")).unwrap_or_default();
    let replay = format!("cargo xtask simulate --seeds 1 --seed {seed}{planted} --trace");
    all.map(|what| format!("seed {seed} ({:?}): {what}\n    replay: {replay}", outcome.kinds))
        .collect()
}
