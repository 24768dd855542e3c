//! `cargo xtask simulate`: clusters under faults, seed by seed, judged by the promises.

use std::process::ExitCode;

use crate::call;
use crate::checkout::Checkout;

/// Run simulated clusters under faults, and judge what their users saw.
///
/// Each seed is a run of its own: three nodes, six users with two devices each, 200 wishes, and
/// four kinds of fault. A breach names the promise, the values, and the command that replays it.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,

    /// The first seed: 1, or one that is drawn with `--minutes`
    #[arg(long)]
    seed: Option<u64>,

    /// Go on for so long, and stop at the first seed that breaks a promise
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,

    /// Plant a fault of `cluster/src/planted.rs`, which the judges should find
    #[arg(long)]
    plant: Option<String>,

    /// Print every frame and fault
    #[arg(long)]
    trace: bool,
}

/// Builds the simulation and runs the seeds.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let mut simulation = call::cargo(checkout.root());
    simulation.args(["run", "--quiet"]).args(BUILD).arg("--");
    match args.minutes {
        Some(minutes) => simulation.arg(format!("--minutes={minutes}")),
        None => simulation.arg(format!("--seeds={}", args.seeds)),
    };
    simulation.args(args.seed.map(|seed| format!("--seed={seed}")));
    simulation.args(args.plant.as_ref().map(|fault| format!("--plant={fault}")));
    if args.trace {
        simulation.arg("--trace");
    }
    call::run(&mut simulation)?;
    Ok(ExitCode::SUCCESS)
}

/// How the simulation is built. Always with faults that can be planted, which are off until one is
/// named: then one build serves the runs and the test that plants. It costs no other step a build:
/// the simulation's tokio has a clock that can be paused, so nothing above it is shared anyway.
pub const BUILD: [&str; 5] =
    ["--release", "--package", "rally-simulation", "--features", "planted"];
