//! What a message costs the server, beside the kernel's own price in the same run.
//!
//! Puts together the server, the crowd and the generator; knows no figure's meaning beyond
//! its name.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use rally_schema::UserId;

use crate::crowd::Crowd;
use crate::generator::{self, Outcome};
use crate::kernel::{self, add, add_fsync};
use crate::load::Load;
use crate::people::{Account, Door, Login, user};
use crate::proc::Machine;
use crate::report::Report;
use crate::server::{Server, ServerArgs};
use crate::stop::{Stop, runs};
use crate::talk::Talk;

/// How many times the kernel's own price a message may cost.
const TIMES_KERNEL: f64 = 2.5;

/// Measures what a message costs the server: received, stored, acknowledged, delivered to one device.
///
/// Each run starts a fresh server, drives it, and drives the bare loop of `kernel` with the same
/// schedule.
///
/// `server CPU a message`: user and system time of the server's process over the measured
/// window, divided by the messages acknowledged in it; then the same by thread.
/// `times the kernel's price`: that, divided by the kernel's of the same run.
/// `server ack`, `server delivered`: from the intended time of sending.
/// `two fsyncs and 1 ms`: what p50 of delivery is held to.
/// A run in which a message was lost, doubled or out of order says so and ends with status 2.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct MessageArgs {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    server: ServerArgs,
    /// Bytes of a text.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    text_bytes: u32,
    /// Has receivers answer `delivered`, as browsers do; the kernel's price has no such work in it.
    #[arg(long)]
    marks: bool,
    /// Leaves out the bare loop.
    #[arg(long)]
    no_kernel: bool,
}

/// Runs the command.
pub fn command(args: &MessageArgs, stop: &Stop) -> Result<bool> {
    let load = &args.load;
    let folder = load.folder()?;
    let marks = if args.marks { ", delivered marks" } else { "" };
    let settings = format!("{load}, {}-byte text{marks}{}", args.text_bytes, args.server.line());
    let mut report = Report::new("message", Machine::look(folder.path()), settings);
    let clean = runs(&mut report, load.runs, stop, |report, number| {
        eprintln!("run {number} of {}: {load}", load.runs);
        let fsync_ms = add_fsync(report, folder.path())?;
        let served = serve(args, &folder.path().join(format!("run-{number}")), stop)?;
        add(report, "server", &served);
        report.add("two fsyncs and 1 ms", "ms", 2.0 * fsync_ms + 1.0);
        if !args.no_kernel && !stop.asked() {
            let bare = kernel::price(load, folder.path(), stop)?;
            report.add("kernel CPU a message", "µs", bare.server_us());
            report.add("times the kernel's price", "", served.server_us() / bare.server_us());
        }
        Ok(served.balance.is_clean())
    })?;
    report.promise("times the kernel's price", TIMES_KERNEL);
    if let Some(at_most) = report.median("two fsyncs and 1 ms") {
        report.promise("server delivered p50", at_most);
    }
    report.publish(load.json.as_deref())?;
    Ok(clean)
}

/// Drives a fresh server once.
fn serve(args: &MessageArgs, folder: &Path, stop: &Stop) -> Result<Outcome> {
    let load = &args.load;
    let users: Vec<UserId> = (0..load.users).map(user).collect();
    let accounts: Vec<Account> = users.iter().copied().map(Account::of).collect();
    Server::import(&args.server, folder, &accounts)?;
    let server = Server::start(&args.server, folder)?;
    let logins = log_in(&server, &users, stop)?;
    let mut crowd = Crowd::before(server.address)?;
    crowd.open(&logins, stop)?;
    let mut talk = Talk::of(&mut crowd, 1, users, args.text_bytes as usize, args.marks);
    let outcome = generator::run(&mut talk, &load.schedule(), load.users, &[server.pid()], stop);
    drop(crowd);
    server.end()?;
    std::fs::remove_dir_all(folder)?;
    outcome
}

/// Logs everybody in.
pub fn log_in(server: &Server, users: &[UserId], stop: &Stop) -> Result<Vec<Login>> {
    let mut door = Door::of(server.address)?;
    let mut logins = Vec::with_capacity(users.len());
    for user in users {
        stop.check()?;
        logins.push(door.log_in(*user)?);
    }
    Ok(logins)
}
