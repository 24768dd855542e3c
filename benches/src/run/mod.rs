//! `rally-bench run`: a scenario, on one or several servers, with everything that was seen.

mod book;
pub mod compare;
mod connections;
pub mod document;
mod engine;
pub mod measured;
mod page;
mod progress;
mod readings;
pub mod saturate;
pub mod scenario;
mod timetable;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::disk::{bytes_of, folder, fsync_ns};
use crate::proc::{Machine, room_for};
use crate::run::document::{Document, Seen};
use crate::run::engine::Engine;
use crate::run::measured::{Measured, Spans};
use crate::run::scenario::Scenario;
use crate::scrape::Scrape;
use crate::stop::{Stop, Stopped};
use crate::subject::{Kind, Subject, SubjectArgs};

/// Ends a run in which a message was lost, doubled, out of order, or another promise broken.
const BROKEN: u8 = 2;

/// Ends a run of which the generator was the bottleneck: its figures are not the server's.
const BOTTLENECK: u8 = 3;

/// How often the disk is asked before each run what a sync takes.
const FSYNCS: u32 = 100;

/// What of the server's own histograms is reported, and under which name.
const METRICS: [(&str, &str); 3] = [
    ("rally_commit_seconds", "server: commit"),
    ("rally_delivery_seconds", "server: delivery"),
    ("rally_fsync_seconds", "server: fsync"),
];

/// Runs a scenario, and reports what it cost and how long everything took.
///
/// SCENARIO is a file, or one of: pairs, devices, inbox-storm, reconnect-storm, idle, mixed,
/// slow-readers, login-storm. `rally-bench scenarios` prints them.
///
/// An open loop (send.rate) keeps its timetable whatever the answers do, and every time counts from
/// when a message was *to be* sent: a server that stalls for a second shows as late for a second's
/// messages, not for one. A closed loop (send.in_flight) sends the next message of a user when one
/// is answered, and shows how many there are a second.
///
/// `CPU a message`: user and system time of the server's processes over the measured seconds,
/// divided by the messages acknowledged in them; then by thread.
/// `times the floor`: that, divided by what the bare loop took in the same run.
/// `ack`, `delivered`, `history`: from the intended time; of all devices, all deliveries.
/// `reconnect`: from when a connection was dropped until it had caught up; `all back`: of all that
/// were dropped at once, the last.
/// `memory a connection`: resident memory with all open, and at the end, less that with none,
/// divided by their number.
/// `fsync`: one append of 300 bytes with fdatasync, measured alone on the same disk before each run.
/// `server:` its own histograms over the run.
/// `generator lag`: how late messages left. When that or the generator's own CPU is what was slow,
/// the report says so and ends with status 3.
/// Every message is accounted for: lost, doubled and out of order are always in the report, and
/// end it with status 2. Ctrl-C gives the report of what was seen until then.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// Which scenario.
    scenario: String,
    /// Sets a key of the scenario, as in `--set send.rate=500`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The same as --set send.rate=N.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// The same as --set users=N.
    #[arg(long, value_name = "N")]
    users: Option<usize>,
    /// The same as --set seconds=N.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Which servers, one after the other in each run.
    #[arg(long = "on", value_enum, value_delimiter = ',', default_value = "rally,floor")]
    on: Vec<Kind>,
    /// Runs, of which the median and the spread are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where temporary data is written: it must lie on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write it as a page with plots, that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write its histograms to this folder, as HdrHistogram's tools read them.
    #[arg(long, value_name = "DIR")]
    hdr: Option<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
}

impl RunArgs {
    fn scenario(&self) -> Result<Scenario> {
        let mut set = self.set.clone();
        set.extend(self.rate.map(|n| format!("send.rate={n}")));
        set.extend(self.users.map(|n| format!("users={n}")));
        set.extend(self.seconds.map(|n| format!("seconds={n}")));
        Scenario::read(&self.scenario, &set)
    }
}

/// The kernel's own price of a message: `run pairs --on floor`.
///
/// A bare epoll loop on plain TCP, in a process of its own: reads 180 bytes, appends 300 to a
/// file with one fdatasync a turn of the loop, writes 60 to the sender and 200 to the peer. For
/// scale, 98, 46 and 26 µs at 500, 2,000 and 5,000 messages a second on a small virtual machine.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct FloorArgs {
    /// Messages a second.
    #[arg(long, default_value_t = 2000, value_name = "N")]
    rate: u32,
    /// Runs, of which the median and the spread are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where temporary data is written: it must lie on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
}

/// Runs `floor`.
pub fn floor(args: &FloorArgs, stop: &Stop) -> Result<ExitCode> {
    let FloorArgs { rate, runs, dir, subject } = args;
    let run = RunArgs {
        scenario: "pairs".to_owned(),
        set: Vec::new(),
        rate: Some(*rate),
        users: None,
        seconds: None,
        on: vec![Kind::Floor],
        runs: *runs,
        dir: dir.clone(),
        json: None,
        html: None,
        hdr: None,
        subject: subject.clone(),
    };
    command(&run, stop)
}

/// Runs the command.
pub fn command(args: &RunArgs, stop: &Stop) -> Result<ExitCode> {
    let scenario = args.scenario()?;
    room_for(scenario.connections())?;
    let folder = folder(args.dir.as_ref())?;
    let mut document = Document::new(&args.scenario, &scenario, Machine::look(folder.path()));
    document.notes.extend(args.subject.notes());
    'runs: for number in 1..=args.runs {
        for kind in &args.on {
            eprintln!("run {number} of {}: {} on {}", args.runs, args.scenario, kind.name());
            let fsync = fsync_ns(folder.path(), FSYNCS)?;
            let folder = folder.path().join(format!("{}-{number}", kind.name()));
            match once(*kind, &args.subject, &scenario, &folder, stop) {
                Ok(mut measured) => {
                    measured.spans.insert("fsync".to_owned(), Spans(fsync));
                    document.enter(Seen {
                        name: kind.name().to_owned(),
                        version: kind.version(&args.subject)?,
                        settings: kind.settings(&args.subject),
                        runs: vec![measured],
                    });
                }
                Err(error) if error.is::<Stopped>() => {}
                Err(error) => return Err(error),
            }
            if stop.asked() {
                document.notes.push(format!("interrupted in run {number} of {}", args.runs));
                break 'runs;
            }
        }
    }
    args.hdr.as_deref().map_or(Ok(()), |folder| document.write_histograms(folder))?;
    publish(&document, args.json.as_deref(), args.html.as_deref())
}

/// Prints a report, writes what else is wanted of it, and gives the status that it ends with.
pub fn publish(document: &Document, json: Option<&Path>, html: Option<&Path>) -> Result<ExitCode> {
    document.table().publish(None)?;
    json.map_or(Ok(()), |path| document.write(path))?;
    html.map_or(Ok(()), |path| page::write(document, path))?;
    Ok(match (document.is_clean(), document.bottlenecks().is_empty()) {
        (false, _) => ExitCode::from(BROKEN),
        (true, false) => ExitCode::from(BOTTLENECK),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Starts a server, runs the scenario on it, and ends it.
fn once(
    kind: Kind,
    args: &SubjectArgs,
    scenario: &Scenario,
    folder: &Path,
    stop: &Stop,
) -> Result<Measured> {
    let mut subject = kind.start(args, folder, scenario, stop)?;
    let measured = watched(&mut subject, scenario, stop);
    subject.end()?;
    let mut measured = measured?;
    if folder.is_dir() {
        measured.server.data_bytes = Some(bytes_of(folder)?);
        std::fs::remove_dir_all(folder)?;
    }
    Ok(measured)
}

/// Runs the scenario, and reads the server's own metrics before and after.
fn watched(subject: &mut Subject, scenario: &Scenario, stop: &Stop) -> Result<Measured> {
    let before = subject.metrics()?;
    let engine = Engine::new(scenario, &mut *subject.wire, &subject.families)?;
    let mut measured = engine.run(stop)?;
    if let (Some(before), Some(after)) = (before, subject.metrics()?) {
        measured.server.metrics = gained(&before, &after);
    }
    Ok(measured)
}

fn gained(before: &Scrape, after: &Scrape) -> std::collections::BTreeMap<String, f64> {
    let took = METRICS.map(|(metric, name)| (name, after.took_since(before, metric)));
    let took = took.into_iter().filter(|(_, took)| took.count > 0.0);
    took.flat_map(|(name, took)| {
        [(format!("{name}, mean"), took.mean_ms), (format!("{name}, p99 at most"), took.p99_ms)]
    })
    .collect()
}
