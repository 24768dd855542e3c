//! Whole nodes in one process under simulated time: many seeds, each a cluster with faults.
//!
//! `rally-simulation --seeds N` runs seeds one after the other on every processor, judges each by
//! the promises, and ends with status 1 at the first breach, naming the command that replays it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use rally_proof::judge;
use rally_simulation::run::{self, Outcome, Size};

/// Simulates clusters under faults, and judges what their users saw.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; alone with `--seeds 1` it replays one run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints every frame and fault, a line each.
    #[arg(long)]
    trace: bool,
    /// Runs at once; as many as there are processors when left out.
    #[arg(long)]
    jobs: Option<usize>,
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    wrote: usize,
    acked: usize,
    appeared: usize,
    faults: u64,
    broken: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let jobs = args.jobs.or(std::thread::available_parallelism().map(usize::from).ok());
    let (next, sum) = (AtomicU64::new(args.seed), Mutex::new(Sum::default()));
    let end = args.seed.saturating_add(args.seeds);
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(1) {
            scope.spawn(|| {
                while sum.lock().is_ok_and(|sum| sum.broken.len() < 5) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = run::run(seed, Size::default(), args.trace);
                    let Ok(mut sum) = sum.lock() else { break };
                    add(&mut sum, seed, &outcome);
                }
            });
        }
    });
    let Ok(sum) = sum.into_inner() else { return ExitCode::FAILURE };
    println!(
        "{} runs: {} messages written, {} acknowledged, {} shown; {} small faults; {} broken",
        sum.runs,
        sum.wrote,
        sum.acked,
        sum.appeared,
        sum.faults,
        sum.broken.len()
    );
    for broken in &sum.broken {
        println!("{broken}");
    }
    if sum.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add(sum: &mut Sum, seed: u64, outcome: &Outcome) {
    let Outcome { history, kinds, faults, restless } = outcome;
    let (wrote, acked, appeared) = run::counts(history);
    sum.runs += 1;
    sum.wrote += wrote;
    sum.acked += acked;
    sum.appeared += appeared;
    sum.faults += faults;
    let breaches = judge(history).into_iter().map(|breach| breach.to_string());
    for what in restless.clone().into_iter().chain(breaches) {
        let replay = format!("cargo xtask simulate --seeds 1 --seed {seed} --trace");
        sum.broken.push(format!("seed {seed} ({kinds:?}): {what}\n    replay: {replay}"));
    }
}
