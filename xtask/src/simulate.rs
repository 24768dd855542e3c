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

    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print every frame and fault
    #[arg(long)]
    trace: bool,
}

/// Builds the simulation and runs the seeds.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let mut simulation = call::cargo(checkout.root());
    simulation.args(["run", "--quiet", "--release", "--package", "rally-simulation", "--"]);
    simulation.arg(format!("--seeds={}", args.seeds)).arg(format!("--seed={}", args.seed));
    if args.trace {
        simulation.arg("--trace");
    }
    call::run(&mut simulation)?;
    Ok(ExitCode::SUCCESS)
}
