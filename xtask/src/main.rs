//! The commands that README names: `cargo xtask run`, `cargo xtask test` and others.
//!
//! One file a command, and beside them what several commands share. Knows nothing of
//! what Rally does: only how it is built, checked and started.

#![allow(clippy::disallowed_methods, reason = "tells how long a step took; no part of a node")]

mod call;
mod checkout;
mod client;
mod cluster;
mod debian;
mod generate;
mod instructions;
mod licences;
mod need;
mod night;
mod peers;
mod process;
mod python;
mod run;
mod secret;
mod service;
mod services;
mod simulate;
mod stamp;
mod step;
mod steps;
mod summary;
mod test;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use checkout::Checkout;

/// Builds, checks and starts Rally.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Test(test::Args),
    Gen(generate::Args),
    Services(services::Args),
    Peers(peers::Args),
    Cluster(cluster::Args),
    Simulate(simulate::Args),
    Night(night::Args),
    Instructions(instructions::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli.command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let checkout = Checkout::find()?;
    match command {
        Command::Run(args) => run::run(&checkout, args),
        Command::Test(args) => test::run(&checkout, &args),
        Command::Gen(args) => generate::run(&checkout, &args),
        Command::Cluster(args) => cluster::run(&checkout, args),
        Command::Peers(args) => peers::run(&checkout, args),
        Command::Services(args) => services::run(&checkout, args),
        Command::Simulate(args) => simulate::run(&checkout, &args),
        Command::Night(args) => night::run(&checkout, &args),
        Command::Instructions(args) => instructions::run(&checkout, &args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
