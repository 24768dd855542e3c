//! `rally-bench run`: a scenario, on one or several servers, with everything that was seen.

mod book;
pub mod compare;
mod connections;
pub mod differences;
pub mod document;
mod doing;
mod engine;
mod figures;
pub mod measured;
mod metrics;
mod page;
mod progress;
mod ratio;
mod readings;
pub mod saturate;
pub mod scenario;
mod sum;
mod timetable;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use clap::builder::ArgPredicate;

use crate::disk::{bytes_of, folder, fsync_ns};
use crate::proc::{Machine, room_for};
use crate::run::document::{Document, Seen};
use crate::run::engine::Engine;
use crate::run::measured::{Measured, Spans};
use crate::run::scenario::Scenario;
use crate::stop::{Stop, Stopped};
use crate::subject::{Kind, Subject, SubjectArgs};
use crate::usage::Usage;

/// Ends a run in which a message was lost, doubled, out of order or never answered, or another
/// promise broken.
const BROKEN: u8 = 2;

/// Ends a run of which the generator was the bottleneck: its figures are not the server's.
const BOTTLENECK: u8 = 3;

/// Ends what was stopped by Ctrl-C.
const STOPPED: u8 = 130;

/// How often the disk is asked before each run what a sync takes.
const FSYNCS: u32 = 100;

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
/// `slow readers' ack`, `slow readers' delivered`: those of users who are asked to read slowly, whose
/// own delay is in them; they are in no other row.
/// `reconnect`: from when a connection was dropped until it had caught up; `log-in`: the same of one
/// that came back with a log-in of its own; `all back`: of all that were dropped at once, the last.
/// `memory a connection`: resident memory with all open, and at the end, less that with none,
/// divided by their number.
/// `messages a second`: those acknowledged in the measured seconds.
/// `CPU a delivery`: as CPU a message, divided by deliveries: where people have several devices.
/// `CPU a connection`: where nothing is sent, CPU divided by the connections, each second.
/// `opening all`: until all connections were open, with their log-ins, before anything was measured.
/// `bytes stored a message`: what the store's folder gained in the run, after a clean end, divided by
/// the messages acknowledged.
/// `fsync`: one append of 300 bytes with fdatasync, measured alone on the same disk before each run.
/// `server:` its own histograms over the measured seconds, of all of its nodes together; with
/// --attach, of the node that was named.
/// `generator CPU a message`: what this program itself took.
/// `machine:` how many cores were busy over the measured seconds, with whatever; how many had
/// nothing to do but to wait for a disk; and how many the machine below gave to somebody else.
/// `generator lag`: how late messages left. When that or the generator's own CPU is what was slow,
/// the report says so and ends with status 3. When its lag is over a third of what is reported of
/// delivery, or in a closed loop it wanted a core most of the time, a note says so.
/// Every message is accounted for: lost, doubled, out of order and unanswered are always in the
/// report, and end it with status 2; so do clients that never came back, and questions that nobody
/// answered, as when the server dies. The floor and the bare commits are yardsticks, which keep
/// nothing for who is away: what they lose is in the report, and decides no status. Ctrl-C gives the
/// report of what was seen until then, and status 130 where it would not be 2; what is still owed
/// then breaks nothing. A run that fails ends it with status 1, after the report of those before it.
/// What a timetable has besides messages is left out where the client that is drawn for it is away,
/// reads slowly, or has talked to nobody yet; how much was is a note.
/// A command line that is not understood, or asks for what cannot be, ends with status 64.
///
/// Accounts have a password that costs as little to check as it can; where a scenario has log-ins,
/// what a server's own cost (argon2id with 19 MiB and two passes). Those of the peer cost what
/// `cargo xtask peers up --scrypt-cost` says.
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
    /// Which servers, one after the other in each run; with --attach, that one alone.
    #[arg(
        long = "on",
        value_enum,
        value_delimiter = ',',
        default_value = "rally,floor",
        default_value_if("attach", ArgPredicate::IsPresent, "rally")
    )]
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

    /// Refuses servers that cannot be what the command line or the scenario wants of them.
    fn check_subjects(&self, scenario: &Scenario) -> Result<()> {
        ensure!(
            self.subject.begin_at.is_none() || self.runs == 1,
            "--begin-at is one moment, --runs {} are several: set --runs 1",
            self.runs
        );
        for (nth, kind) in self.on.iter().enumerate() {
            let name = kind.name();
            ensure!(!self.on[..nth].contains(kind), "--on names {name} twice: --runs repeats it");
            kind.check(&self.subject, scenario)?;
        }
        Ok(())
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
    let scenario = args.scenario().map_err(Usage::from)?;
    args.check_subjects(&scenario).map_err(Usage::from)?;
    room_for(scenario.connections())?;
    let outputs = Outputs {
        json: args.json.as_deref(),
        html: args.html.as_deref(),
        hdr: args.hdr.as_deref(),
    };
    outputs.try_out()?;
    let folder = folder(args.dir.as_ref())?;
    let mut failed = None;
    let mut document = Document::new(&args.scenario, &scenario, Machine::look(folder.path()));
    document.notes.extend(args.subject.notes());
    'runs: for number in 1..=args.runs {
        for kind in &args.on {
            eprintln!("run {number} of {}: {} on {}", args.runs, args.scenario, kind.name());
            let folder = folder.path().join(format!("{}-{number}", kind.name()));
            match seen(*kind, &args.subject, &scenario, &folder, stop) {
                Ok(seen) => document.enter(seen),
                Err(error) if error.is::<Stopped>() => {}
                Err(error) => {
                    let name = kind.name();
                    document.notes.push(format!("run {number} of {name} failed: {error:#}"));
                    failed = Some(error);
                    break 'runs;
                }
            }
            if stop.asked() {
                document.notes.push(format!("interrupted in run {number} of {}", args.runs));
                break 'runs;
            }
        }
    }
    match failed {
        // What is finished took minutes: it is published whatever became of the rest.
        Some(error) if !document.subjects.is_empty() => {
            publish(&document, &outputs)?;
            // The error is a note in it, and what was broken before is graver.
            if document.is_clean() { Err(error) } else { Ok(status(&document, stop.asked())) }
        }
        Some(error) => Err(error),
        None => publish(&document, &outputs).map(|()| status(&document, stop.asked())),
    }
}

/// Where a report is written besides the terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outputs<'a> {
    /// As JSON, to this file.
    pub json: Option<&'a Path>,
    /// As a page, to this file.
    pub html: Option<&'a Path>,
    /// Its histograms, to this folder.
    pub hdr: Option<&'a Path>,
}

impl Outputs<'_> {
    /// Tells whether all of them can be written, before minutes are spent on what goes there. What a
    /// file holds stays until then.
    ///
    /// # Errors
    ///
    /// One of them cannot.
    pub fn try_out(&self) -> Result<()> {
        for path in self.json.iter().chain(&self.html) {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.with_context(|| format!("writing {}", path.display()))?;
        }
        let Some(folder) = self.hdr else { return Ok(()) };
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let tried = tempfile::tempfile_in(folder);
        tried.map(drop).with_context(|| format!("writing to {}", folder.display()))
    }

    /// Writes each of them, whatever becomes of the others.
    ///
    /// # Errors
    ///
    /// The first that could not be written.
    fn write(&self, document: &Document) -> Result<()> {
        let json = self.json.map_or(Ok(()), |path| document.write(path));
        let html = self.html.map_or(Ok(()), |path| page::write(document, path));
        let hdr = self.hdr.map_or(Ok(()), |folder| document.write_histograms(folder));
        json.and(html).and(hdr)
    }
}

/// Prints a report, and writes what else is wanted of it.
pub fn publish(document: &Document, outputs: &Outputs<'_>) -> Result<()> {
    document.table().publish(None)?;
    outputs.write(document)
}

/// Gives the status that a report ends with, made to the end or until Ctrl-C: the gravest first.
pub fn status(document: &Document, stopped: bool) -> ExitCode {
    if !document.is_clean() {
        ExitCode::from(BROKEN)
    } else if document.has_failed() {
        ExitCode::FAILURE
    } else if stopped {
        ExitCode::from(STOPPED)
    } else if !document.bottlenecks().is_empty() {
        ExitCode::from(BOTTLENECK)
    } else {
        ExitCode::SUCCESS
    }
}

/// Measures the disk and a server on it.
fn seen(
    kind: Kind,
    args: &SubjectArgs,
    scenario: &Scenario,
    folder: &Path,
    stop: &Stop,
) -> Result<Seen> {
    let disk = folder.parent().context("a run's folder lies in another one")?;
    let version = kind.version(args)?;
    // Where a server that runs already keeps its data is not known.
    let fsync = args.attach.is_none().then(|| fsync_ns(disk, FSYNCS)).transpose()?;
    let mut measured = once(kind, args, scenario, folder, stop)?;
    measured.spans.extend(fsync.map(|fsync| ("fsync".to_owned(), Spans(fsync))));
    let (name, settings) = (kind.name().to_owned(), kind.settings(args));
    let nodes = Some(kind.nodes(args));
    let attached = args.attach.map(|_| (args.first_user, scenario.users)).into_iter().collect();
    Ok(Seen { name, nodes, attached, version, settings, runs: vec![measured] })
}

/// Starts a server, runs the scenario on it, and ends it. What was seen of one that ended by itself is
/// seen, too.
fn once(
    kind: Kind,
    args: &SubjectArgs,
    scenario: &Scenario,
    folder: &Path,
    stop: &Stop,
) -> Result<Measured> {
    let mut subject = kind.start(args, folder, scenario, stop)?;
    // The store of a cluster lies elsewhere: its nodes' folders hold logs. Accounts are no messages.
    let has_store = kind == Kind::Rally && folder.is_dir();
    let accounts = if has_store { bytes_of(folder)? } else { 0 };
    let measured = watched(&mut subject, scenario, stop);
    let by_itself = subject.ended();
    let ended = subject.end();
    let mut measured = measured?;
    let gone = measured.server.ended.then(|| "its processes are gone".to_owned());
    if let Some(said) = by_itself?.or(gone) {
        measured.errors.push(format!("the server ended in the middle of the run: {said}"));
    } else if let Err(error) = ended {
        measured.errors.push(format!("{error:#}"));
    }
    if folder.is_dir() {
        let stored = has_store.then(|| bytes_of(folder)).transpose()?;
        measured.server.data_bytes = stored.map(|bytes| bytes.saturating_sub(accounts));
        std::fs::remove_dir_all(folder)?;
    }
    Ok(measured)
}

/// Runs the scenario.
fn watched(subject: &mut Subject, scenario: &Scenario, stop: &Stop) -> Result<Measured> {
    let Subject { wire, probe, begin_at_s, .. } = subject;
    Engine::new(scenario, &mut **wire, probe, *begin_at_s)?.run(stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Machine;

    fn args(more: &[&str]) -> Result<RunArgs, clap::Error> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: RunArgs,
        }
        let line = ["run", "pairs"].into_iter().chain(more.iter().copied());
        clap::Parser::try_parse_from(line).map(|line: Line| line.args)
    }

    #[test]
    fn a_server_is_named_once() {
        let check = |on: &str| args(&[on]).unwrap().check_subjects(&Scenario::default());
        check("--on=rally,floor").unwrap();
        let error = check("--on=rally,floor,rally").unwrap_err().to_string();
        assert!(error.contains("names rally twice"), "{error}");
    }

    #[test]
    fn bare_commits_have_one_connection_a_user() {
        let args = args(&["--on=commits"]).unwrap();
        let error = |devices| {
            let scenario = Scenario { devices, ..Scenario::default() };
            args.check_subjects(&scenario).err().map(|error| error.to_string())
        };
        assert_eq!(error(1), None);
        assert!(error(3).unwrap().contains("devices = 3"));
    }

    #[test]
    fn what_is_graver_decides_the_status() {
        let mut document =
            Document::new("pairs", &Scenario::default(), Machine::look(Path::new("/")));
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        let of = |document: &Document, stopped| format!("{:?}", status(document, stopped));
        for name in ["rally", "floor"] {
            let runs = vec![Measured { window_ns: 1_000_000_000, ..Measured::default() }];
            document.enter(Seen { name: name.to_owned(), runs, ..Seen::default() });
        }
        assert_eq!((of(&document, false), of(&document, true)), (code(0), code(STOPPED)));
        document.subjects[0].runs[0].own_cpu_ns = 990_000_000;
        assert_eq!((of(&document, false), of(&document, true)), (code(BOTTLENECK), code(STOPPED)));
        document.subjects[1].runs[0].errors.push("it ended".to_owned());
        assert_eq!((of(&document, false), of(&document, true)), (code(1), code(1)));
        document.subjects[0].runs[0].balance.lost = 1;
        assert_eq!((of(&document, false), of(&document, true)), (code(BROKEN), code(BROKEN)));
    }

    #[test]
    fn a_server_that_runs_already_is_the_only_one() {
        assert_eq!(args(&[]).unwrap().on, [Kind::Rally, Kind::Floor]);
        let attach = "--attach=127.0.0.1:9";
        let attached = args(&[attach, "--pid=1", "--pid=2", "--first-user=5"]).unwrap();
        attached.check_subjects(&Scenario::default()).unwrap();
        assert_eq!((attached.on, attached.subject.pids), (vec![Kind::Rally], vec![1, 2]));
        for other in ["floor", "socketio", "commits", "cluster"] {
            let on = format!("--on=rally,{other}");
            let args = args(&[attach, &on]).unwrap();
            let error = args.check_subjects(&Scenario::default()).unwrap_err().to_string();
            assert!(error.contains(other) && error.contains("127.0.0.1:9"), "{error}");
        }
        let twice = args(&[attach, "--begin-at=9", "--runs=2"]).unwrap();
        let error = twice.check_subjects(&Scenario::default()).unwrap_err().to_string();
        assert!(error.contains("--begin-at") && error.contains("--runs"), "{error}");
        for lonely in ["--pid=1", "--first-user=5", "--begin-at=9"] {
            let error = args(&[lonely]).unwrap_err().to_string();
            assert!(error.contains("--attach"), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let (there, nowhere) = (folder.path().join("a.json"), folder.path().join("no/b.html"));
        std::fs::write(&there, "of an earlier run").unwrap();
        let good = Outputs { json: Some(&there), hdr: Some(folder.path()), ..Outputs::default() };
        good.try_out().unwrap();
        assert_eq!(std::fs::read_to_string(&there).unwrap(), "of an earlier run");
        let error = Outputs { html: Some(&nowhere), ..good }.try_out().unwrap_err().to_string();
        assert!(error.contains("no/b.html"), "{error}");
        let error = Outputs { hdr: Some(&there), ..good }.try_out().unwrap_err().to_string();
        assert!(error.contains("a.json"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_keeps_nothing_else_from_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let (json, html) = (folder.path().join("no/a.json"), folder.path().join("b.html"));
        let machine = Machine::look(Path::new("/"));
        let document = Document::new("pairs", &Scenario::default(), machine);
        let outputs = Outputs { json: Some(&json), html: Some(&html), hdr: None };
        assert!(outputs.write(&document).is_err() && html.is_file());
    }
}
