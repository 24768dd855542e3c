//! `rally-bench saturate`: the highest rate at which a stated p99 holds, and what bounds it.

mod judge;
mod search;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use self::judge::judge;
use self::search::{Found, RATES, search};
use super::{BOTTLENECK, BROKEN, Outputs, STOPPED, once};
use crate::disk::folder;
use crate::proc::{Machine, room_for};
use crate::report::{Report, shown};
use crate::run::scenario::Scenario;
use crate::stop::{Stop, Stopped};
use crate::subject::{Kind, SubjectArgs};

/// Seconds that each rate is measured, unless somebody wants other ones.
const SECONDS: u64 = 8;

/// Finds the highest rate of a scenario's sends at which a stated p99 of delivery holds.
///
/// Doubles the rate until the promise breaks, then halves the distance (by ratio) until the bounds
/// are within 6 %. Each rate is tried on a fresh server with the scenario's warm-up; it holds when
/// p99 of delivery, from the intended time, is at most `--p99-ms`, at least 98 % of the messages
/// that were due are acknowledged in time, and nothing is lost, doubled, out of order or unanswered.
///
/// `highest rate that holds`, `lowest rate that does not`: with their p99, and why it does not.
/// `bounded by`: what was busy at the rate that did not hold: a thread of the server, all cores
/// (whoever fills them, databases and brokers, too), the disk's syncs, or the generator itself, in
/// which case the figure is a lower bound only and the status is 3. Status 2 says that something was
/// lost, doubled or out of order at some rate; a message that too much load leaves unanswered is no
/// reason for it. Ctrl-C gives what was found until then, and status 130 where it would not be 2.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SaturateArgs {
    /// Which scenario; its own rate is where the search begins.
    #[arg(default_value = "pairs")]
    scenario: String,
    /// Sets a key of the scenario, as in `--set users=400`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What p99 of delivery must not exceed.
    #[arg(long, default_value = "100", value_name = "MS", value_parser = milliseconds)]
    p99_ms: f64,
    /// Seconds that each rate is measured: the same as --set seconds=N. [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: Option<u64>,
    /// Which server.
    #[arg(long = "on", value_enum, default_value_t = Kind::Rally)]
    on: Kind,
    /// Where temporary data is written: it must lie on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let read = text.parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms > 0.0);
    read.ok_or_else(|| "a number of milliseconds, above 0".to_owned())
}

impl SaturateArgs {
    /// Gives what is set of the scenario; of two settings of one key the later one holds.
    fn set(&self) -> Vec<String> {
        let is_seconds =
            |set: &String| set.split('=').next().is_some_and(|key| key.trim() == "seconds");
        let others = (!self.set.iter().any(is_seconds)).then_some(SECONDS);
        let seconds = self.seconds.or(others).map(|seconds| format!("seconds={seconds}"));
        self.set.iter().cloned().chain(seconds).collect()
    }

    /// Says in a line with what it was searched.
    fn settings(&self) -> String {
        format!(
            "{}, {}, p99 of delivery at most {} ms{}",
            self.scenario,
            self.set().join(", "),
            self.p99_ms,
            self.on.settings(&self.subject)
        )
    }
}

/// Runs the command.
pub fn command(args: &SaturateArgs, stop: &Stop) -> Result<ExitCode> {
    let scenario = Scenario::read(&args.scenario, &args.set())?;
    let first = scenario.send.rate;
    ensure!(first > 0.0, "{} sends at no rate: there is nothing to search", args.scenario);
    ensure!(
        RATES.contains(&first),
        "send.rate = {first}: a search begins between {} and {} a second",
        RATES.start(),
        RATES.end()
    );
    args.on.check(&args.subject, &scenario)?;
    ensure!(args.subject.begin_at.is_none(), "--begin-at is one moment, a search has several runs");
    Outputs { json: args.json.as_deref(), ..Outputs::default() }.try_out()?;
    room_for(scenario.connections())?;
    let folder = folder(args.dir.as_ref())?;
    let mut report = Report::new("saturate", Machine::look(folder.path()), args.settings());
    args.subject.notes().into_iter().for_each(|note| report.note(note));
    report.note(format!("{}: {}", args.on.name(), args.on.version(&args.subject)?));
    let mut number = 0;
    let (found, ended) = search(first, |rate| {
        stop.check()?;
        number += 1;
        let mut scenario = scenario.clone();
        scenario.send.rate = rate;
        let folder = folder.path().join(format!("{number}"));
        let run = once(args.on, &args.subject, &scenario, &folder, stop)?;
        stop.check()?;
        let tried = judge(rate, &run, args.p99_ms);
        let (rate, p99_ms, bounds) = (shown(rate), tried.p99_ms, &tried.bounds);
        match tried.holds() {
            true => eprintln!("{rate}/s holds: p99 {p99_ms:.1} ms; {bounds}"),
            false => eprintln!("{rate}/s does not hold: {}; {bounds}", tried.misses.join("; ")),
        }
        Ok(tried)
    });
    found.report(&mut report);
    match &ended {
        Ok(()) => found.remark(&mut report),
        Err(error) if error.is::<Stopped>() => {
            report.note("interrupted before the bounds were near")
        }
        Err(error) => report.note(format!("ended before the bounds were near: {error:#}")),
    }
    report.publish(args.json.as_deref())?;
    match ended {
        Err(error) if !error.is::<Stopped>() => Err(error),
        ended => Ok(status(&found, ended.is_err())),
    }
}

/// Gives the status of a search that ended by itself or was stopped: the gravest first.
fn status(found: &Found, stopped: bool) -> ExitCode {
    if !found.broken.is_empty() {
        ExitCode::from(BROKEN)
    } else if stopped {
        ExitCode::from(STOPPED)
    } else if found.is_of_the_generator() {
        ExitCode::from(BOTTLENECK)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::search::Tried;
    use super::search::tests::tried;
    use super::*;

    fn args(more: &[&str]) -> Result<SaturateArgs, clap::Error> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: SaturateArgs,
        }
        let line = ["saturate"].into_iter().chain(more.iter().copied());
        clap::Parser::try_parse_from(line).map(|line: Line| line.args)
    }

    #[test]
    fn seconds_that_are_set_hold_and_stand_in_the_report() {
        let seconds = |more: &[&str]| {
            let args = args(more).unwrap();
            let scenario = Scenario::read(&args.scenario, &args.set()).unwrap();
            assert!(args.settings().contains(&format!("seconds={}", scenario.seconds)));
            scenario.seconds
        };
        assert_eq!(seconds(&[]), SECONDS);
        assert_eq!(seconds(&["--set=seconds=30"]), 30);
        assert!(!args(&["--set=seconds=30"]).unwrap().settings().contains("seconds=8"));
        assert_eq!(seconds(&["--set=seconds=30", "--seconds=12"]), 12);
        let said = args(&["--set=users=400"]).unwrap().settings();
        assert!(said.contains("users=400") && said.contains("at most 100 ms"), "{said}");
    }

    #[test]
    fn a_promise_that_cannot_be_kept_or_broken_is_refused() {
        assert_eq!(args(&["--p99-ms=2.5"]).unwrap().p99_ms, 2.5);
        for bad in ["nan", "inf", "0", "-1", "soon"] {
            let error = args(&[&format!("--p99-ms={bad}")]).unwrap_err().to_string();
            assert!(error.contains("--p99-ms") && error.contains("milliseconds"), "{error}");
        }
    }

    #[test]
    fn what_was_broken_is_graver_than_a_slow_generator() {
        let status = |found: &Found, stopped| format!("{:?}", status(found, stopped));
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        let generator = Tried { generator: true, ..tried(100.0, false) };
        let mut found = Found { fails: Some(generator), ..Found::default() };
        assert_eq!(status(&Found::default(), false), code(0));
        assert_eq!(status(&found, false), code(BOTTLENECK));
        assert_eq!(status(&found, true), code(STOPPED));
        found.broken.push("100/s: lost 1".to_owned());
        assert_eq!(status(&found, false), code(BROKEN));
        assert_eq!(status(&found, true), code(BROKEN));
    }
}
