//! `rally-bench`: drives a server over real sockets and reports what a message, a connection
//! and a page cost, against what the kernel itself asks for the same work.
//!
//! A client like any other: knows the server by its protocol, its flags and `/proc`.

// A load generator lives by the machine's clock; the one clock type is for what a simulation runs.
#![allow(clippy::disallowed_methods, reason = "it measures by the machine's own clock")]

mod bare;
mod child;
mod commits;
mod crowd;
mod date;
mod dice;
mod disk;
mod family;
mod fleet;
mod http;
mod judges;
mod out;
mod pages;
mod peer;
mod people;
mod plan;
mod proc;
mod report;
mod run;
mod scrape;
mod server;
mod stop;
mod storage;
mod subject;
mod usage;
mod verify;
mod version;
mod wire;
mod ws;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::people::Cost;
use crate::stop::Stop;
use crate::usage::Usage;
use crate::version::VERSION;

#[derive(Debug, Parser)]
#[command(name = "rally-bench", version = VERSION.as_str(), about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Floor(run::FloorArgs),
    Saturate(run::saturate::SaturateArgs),
    /// Prints accounts for `rally-server users import`, for `run --attach`: all with one password.
    Accounts {
        /// How many.
        users: usize,
        /// The number of the first.
        #[arg(default_value_t = 0)]
        first: usize,
        /// Have their password cost what a server's own hashes cost, for scenarios with log-ins.
        /// Without, it costs as little as it can.
        #[arg(long)]
        usual_cost: bool,
    },
    /// Prints the scenarios that are built in, as files to begin with.
    Scenarios,
    Compare(run::compare::CompareArgs),
    Plan(plan::PlanArgs),
    Add(run::compare::AddArgs),
    Show(run::compare::ShowArgs),
    Pages(pages::PagesArgs),
    Storage(storage::StorageArgs),
    Verify(verify::VerifyArgs),
    Judge(verify::JudgeArgs),
    Judges(judges::JudgesArgs),
    /// The floor: the bare loop itself.
    #[command(hide = true)]
    BareMessages {
        /// To which file it appends.
        file: PathBuf,
        /// Connections of each user, who come one user after the other.
        devices: usize,
        /// Leaves out the fdatasync.
        #[arg(long)]
        no_sync: bool,
    },
    /// The same, which commits to a database.
    #[command(hide = true)]
    BareCommits {
        /// Where Cassandra is.
        cassandra: String,
        /// In which keyspace.
        keyspace: String,
        /// Bytes of a text.
        text_bytes: usize,
    },
    /// The floor of connections that say nothing: pings each.
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
    match Cli::try_parse() {
        Ok(cli) => run(&cli.command).unwrap_or_else(|error| {
            let status = if error.is::<Usage>() { usage::STATUS } else { 1 };
            failed(&error, status)
        }),
        Err(said) => {
            // To whom it cannot be said, the status says it.
            let _ = said.print();
            unparsed(&said)
        }
    }
}

/// Gives the status of a command line that names no command to run: help that was asked for is no
/// error.
fn unparsed(said: &clap::Error) -> ExitCode {
    if said.use_stderr() { ExitCode::from(usage::STATUS) } else { ExitCode::SUCCESS }
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
        Command::BareMessages { file, devices, no_sync } => {
            bare::messages(file, *devices, !no_sync).map(|()| true)
        }
        Command::BareCommits { cassandra, keyspace, text_bytes } => {
            commits::serve(cassandra, keyspace, *text_bytes).map(|()| true)
        }
        Command::BarePings { interval_ms, tick_ms } => {
            let ms = Duration::from_millis;
            bare::pings(ms(*interval_ms), ms(*tick_ms)).map(|()| true)
        }
        Command::Leashed { program, arguments } => {
            match child::become_leashed(program, arguments)? {}
        }
        Command::Plan(args) => return plan::command(args),
        Command::Compare(args) => return run::compare::compare(args),
        Command::Add(args) => return run::compare::add(args),
        Command::Show(args) => return run::compare::show(args),
        Command::Accounts { users, first, usual_cost } => {
            let cost = if *usual_cost { Cost::Usual } else { Cost::Least };
            people::print(*first, *users, cost).map(|()| true)
        }
        Command::Scenarios => {
            let mut all = run::scenario::BUILT_IN.iter();
            all.try_for_each(|(name, text)| out::say(format_args!("# {name}.toml\n{text}")))
                .map(|()| true)
        }
        Command::Floor(args) => return run::floor(args, &Stop::on_signals()?),
        Command::Saturate(args) => return run::saturate::command(args, &Stop::on_signals()?),
        Command::Run(args) => return run::command(args, &Stop::on_signals()?),
        Command::Judges(args) => judges::command(args, &Stop::on_signals()?),
        Command::Pages(args) => pages::command(args, &Stop::on_signals()?),
        Command::Storage(args) => storage::command(args, &Stop::on_signals()?),
    }?;
    // The report says which promise about messages was broken.
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_does_not_end_as_a_broken_promise_does() {
        let status = |line: &[&str]| {
            let line = ["rally-bench"].iter().chain(line);
            format!("{:?}", unparsed(&Cli::try_parse_from(line).unwrap_err()))
        };
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        for wrong in [&["run"][..], &["run", "pairs", "--speed=1"], &["fly"], &[]] {
            assert_eq!(status(wrong), code(usage::STATUS), "{wrong:?}");
        }
        for asked in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "add"]] {
            assert_eq!(status(asked), code(0), "{asked:?}");
        }
    }
}
