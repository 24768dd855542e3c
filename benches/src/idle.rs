//! What connections cost that say nothing: memory and CPU each, beside a bare loop that pings.
//!
//! Knows the server by its process and its protocol.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use rally_schema::UserId;
use rally_schema::frame::{Beat, ClientFrame, ServerFrame};

use crate::child::Child;
use crate::crowd::Crowd;
use crate::fleet::{Fleet, Got};
use crate::load::folder;
use crate::message::log_in;
use crate::people::{Account, user};
use crate::proc::{Machine, Pid, room_for};
use crate::report::Report;
use crate::server::{Server, ServerArgs};
use crate::stop::{Stop, runs};

/// Bytes of resident memory that an idle connection may take.
const RSS_KIB: f64 = 6.0;

/// How many times a bare loop's CPU an idle connection may take.
const TIMES_BARE: f64 = 1.5;

/// How often the server pings by default.
const PING: Duration = Duration::from_secs(10);

/// How often the server's sweeper looks by default.
const TICK: Duration = Duration::from_millis(500);

/// Measures what connections cost that say nothing.
///
/// Everybody has an account and one connection, so a session and a router each.
///
/// `memory a connection, fresh`: resident memory of the server with all connections open, less
/// what it was when all were logged in and none connected, divided by their number.
/// `memory a connection, after frames`: the same after each received a number of frames.
/// `CPU a connection`: over the idle seconds, while the server pings and clients answer.
/// `times the bare loop`: that, divided by what a bare epoll loop takes in the same run that pings
/// as many connections as often.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct IdleArgs {
    /// Connections, each of its own user.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Frames that each connection receives between the two readings of memory.
    #[arg(long, default_value_t = 100)]
    frames: usize,
    /// Idle seconds over which CPU is read.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Runs, of which the median and the spread are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where temporary data is written.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub fn command(args: &IdleArgs, stop: &Stop) -> Result<bool> {
    room_for(args.connections)?;
    let folder = folder(args.dir.as_ref())?;
    let data = folder.path().join("data");
    let users: Vec<UserId> = (0..args.connections).map(user).collect();
    let accounts: Vec<Account> = users.iter().copied().map(Account::of).collect();
    eprintln!("importing {} accounts", accounts.len());
    Server::import(&args.server, &data, &accounts)?;
    let settings = format!(
        "{} connections, {} frames each, {} idle s, {} runs{}",
        args.connections,
        args.frames,
        args.seconds,
        args.runs,
        args.server.line()
    );
    let mut report = Report::new("idle", Machine::look(folder.path()), settings);
    runs(&mut report, args.runs, stop, |report, number| {
        eprintln!("run {number} of {}", args.runs);
        let server = Server::start(&args.server, &data)?;
        let served = serve(args, &server, &users, report, stop);
        server.end()?;
        let served = served?;
        let bare = bare(args, stop)?;
        report.add("bare loop CPU a connection", "µs/s", bare);
        report.add("times the bare loop", "", served / bare);
        Ok(true)
    })?;
    report.promise("memory a connection, fresh", RSS_KIB);
    report.promise("memory a connection, after frames", RSS_KIB);
    report.promise("times the bare loop", TIMES_BARE);
    report.publish(args.json.as_deref())?;
    Ok(true)
}

/// Opens everything, reads memory, and gives the CPU of an idle connection in µs a second.
fn serve(
    args: &IdleArgs,
    server: &Server,
    users: &[UserId],
    report: &mut Report,
    stop: &Stop,
) -> Result<f64> {
    let logins = log_in(server, users, stop)?;
    let before = server.pid().rss_bytes()?;
    let mut crowd = Crowd::before(server.address)?;
    let begun = Instant::now();
    crowd.open(&logins, stop)?;
    report.add("opening all", "s", begun.elapsed().as_secs_f64());
    let kib = |bytes: u64| bytes.saturating_sub(before) as f64 / 1024.0 / users.len() as f64;
    // A moment for what the opening left over.
    rest(&mut crowd, Duration::from_secs(2), stop)?;
    report.add("memory a connection, fresh", "KiB", kib(server.pid().rss_bytes()?));
    beat(&mut crowd, users.len(), args.frames, stop)?;
    rest(&mut crowd, Duration::from_secs(2), stop)?;
    report.add("memory a connection, after frames", "KiB", kib(server.pid().rss_bytes()?));
    let us = idle(server.pid(), args, |time| rest(&mut crowd, time, stop))?;
    report.add("CPU a connection", "µs/s", us);
    Ok(us)
}

/// Answers pings for a while.
fn rest(crowd: &mut Crowd, time: Duration, stop: &Stop) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        stop.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        crowd.turn(left.min(Duration::from_millis(200)), |_, _| {})?;
    }
}

/// Has every line receive `frames` answers to `beat`.
fn beat(crowd: &mut Crowd, lines: usize, frames: usize, stop: &Stop) -> Result<()> {
    let beat = ClientFrame::from(Beat {});
    for _ in 0..frames {
        let mut answered = 0;
        for line in 0..lines {
            crowd.say(line, &beat)?;
            if line % 64 == 63 {
                crowd.turn(Duration::ZERO, |_, frame| answered += is_beat(&frame))?;
            }
        }
        while answered < lines {
            stop.check()?;
            crowd.turn(Duration::from_millis(50), |_, frame| answered += is_beat(&frame))?;
        }
    }
    Ok(())
}

fn is_beat(frame: &ServerFrame) -> usize {
    usize::from(matches!(frame, ServerFrame::Beat(_)))
}

/// Gives the CPU of a process in µs a connection and second while `rest` passes the time.
fn idle(pid: Pid, args: &IdleArgs, rest: impl FnOnce(Duration) -> Result<()>) -> Result<f64> {
    let (begun, before) = (Instant::now(), pid.cpu_ns()?);
    rest(Duration::from_secs(args.seconds))?;
    let us = (pid.cpu_ns()? - before) as f64 / 1e3;
    Ok(us / args.connections as f64 / begun.elapsed().as_secs_f64())
}

/// Gives the same of a bare loop.
fn bare(args: &IdleArgs, stop: &Stop) -> Result<f64> {
    let [ping, tick] = [PING, TICK].map(|time| time.as_millis().to_string());
    let (child, address) = Child::own(&["bare-pings", &ping, &tick])?;
    let mut fleet = Fleet::new()?;
    for _ in 0..args.connections {
        stop.check()?;
        fleet.connect(address)?;
    }
    let mut answer = |time: Duration| pong(&mut fleet, time, stop);
    answer(Duration::from_secs(2))?;
    idle(child.pid(), args, answer)
}

/// Answers the bare loop's pings with six bytes, as a masked pong has.
fn pong(fleet: &mut Fleet, time: Duration, stop: &Stop) -> Result<()> {
    const PONG: [u8; 6] = [0x8a, 0x80, 1, 2, 3, 4];
    let end = Instant::now() + time;
    let (mut ready, mut scratch) = (Vec::new(), [0; 64]);
    loop {
        stop.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        ready.clear();
        fleet.wait(left.min(Duration::from_millis(200)), &mut ready)?;
        for line in ready.drain(..) {
            if let Got::Bytes(_) = fleet.read(line, &mut scratch)? {
                fleet.write(line, &PONG)?;
            }
        }
    }
}
