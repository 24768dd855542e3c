//! `rally-bench`: drives a server over real sockets and reports what a message, a connection
//! and a page cost, against what the kernel itself asks for the same work.
//!
//! A client like any other: knows the server by its protocol, its flags and `/proc`.

// A load generator lives by the machine's clock; the one clock type is for what a simulation runs.
#![allow(clippy::disallowed_methods, reason = "it measures by the machine's own clock")]

mod across;
mod bare;
mod child;
mod commits;
mod crowd;
mod dice;
mod disk;
mod fleet;
mod generator;
mod http;
mod idle;
mod judges;
mod kernel;
mod ledger;
mod load;
mod message;
mod pages;
mod people;
mod proc;
mod report;
mod schedule;
mod scrape;
mod server;
mod stop;
mod talk;
mod verify;
mod ws;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::stop::Stop;

#[derive(Debug, Parser)]
#[command(name = "rally-bench", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Kernel(kernel::KernelArgs),
    Message(message::MessageArgs),
    Across(across::AcrossArgs),
    Idle(idle::IdleArgs),
    Pages(pages::PagesArgs),
    Verify(verify::VerifyArgs),
    Judge(verify::JudgeArgs),
    Judges(judges::JudgesArgs),
    /// The child of `kernel`: the bare loop itself.
    #[command(hide = true)]
    BareMessages {
        /// To which file it appends.
        file: PathBuf,
    },
    /// The child of `idle`: pings every connection.
    #[command(hide = true)]
    BarePings {
        /// Milliseconds between two pings of one connection.
        interval_ms: u64,
        /// Milliseconds between two turns of the sweep.
        tick_ms: u64,
    },
    /// Becomes a program that ends when the caller does.
    #[command(hide = true)]
    Leashed {
        /// Which program.
        program: PathBuf,
        /// With which arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    run(&Cli::parse().command).unwrap_or_else(|error| failed(&error, 1))
}

/// Says why there is no result.
fn failed(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("rally-bench: {error:#}");
    ExitCode::from(status)
}

fn run(command: &Command) -> Result<ExitCode> {
    let clean = match command {
        Command::Verify(args) => {
            let stop = Stop::on_signals().map_err(anyhow::Error::from);
            let verdict = stop.and_then(|stop| verify::command(args, &stop));
            return Ok(verdict.unwrap_or_else(|error| failed(&error, 2)));
        }
        Command::Judge(args) => {
            return Ok(verify::judge(args).unwrap_or_else(|error| failed(&error, 2)));
        }
        Command::BareMessages { file } => bare::messages(file).map(|()| true),
        Command::BarePings { interval_ms, tick_ms } => {
            let ms = Duration::from_millis;
            bare::pings(ms(*interval_ms), ms(*tick_ms)).map(|()| true)
        }
        Command::Leashed { program, arguments } => {
            match child::become_leashed(program, arguments)? {}
        }
        Command::Kernel(args) => kernel::command(args, &Stop::on_signals()?),
        Command::Message(args) => message::command(args, &Stop::on_signals()?),
        Command::Across(args) => across::command(args, &Stop::on_signals()?),
        Command::Idle(args) => idle::command(args, &Stop::on_signals()?),
        Command::Judges(args) => judges::command(args, &Stop::on_signals()?),
        Command::Pages(args) => pages::command(args, &Stop::on_signals()?),
    }?;
    // The report says which promise about messages was broken.
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
