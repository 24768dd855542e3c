//! `rally-bench saturate`: the highest rate at which a stated p99 holds, and what bounds it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use super::{BOTTLENECK, Outputs, once};
use crate::disk::folder;
use crate::proc::{Machine, room_for};
use crate::report::Report;
use crate::run::measured::Measured;
use crate::run::scenario::Scenario;
use crate::stop::{Stop, Stopped};
use crate::subject::{Kind, SubjectArgs};

/// Which share of what is due a server must keep up with: the rest would queue up without end.
const KEEPS_UP: f64 = 0.98;

/// A search ends when its bounds are as near as this.
const NEAR: f64 = 1.06;

/// Not below, and not above: no server is so slow, no generator so fast.
const RATES: RangeInclusive<f64> = 8.0..=500_000.0;

/// Of one core: a thread that uses more is what bounds.
const BUSY: f64 = 0.85;

/// Finds the highest rate of a scenario's sends at which a stated p99 of delivery holds.
///
/// Doubles the rate until the promise breaks, then halves the distance (by ratio) until the bounds
/// are within 6 %. Each rate is tried on a fresh server with the scenario's warm-up; it holds when
/// p99 of delivery, from the intended time, is at most `--p99-ms`, at least 98 % of the messages
/// that were due are acknowledged in time, and nothing is lost, doubled, out of order or unanswered.
///
/// `highest rate that holds`, `lowest rate that does not`: with their p99.
/// `bounded by`: what was busy at the rate that did not hold: a thread of the server, all cores,
/// the disk's syncs, or the generator itself, in which case the figure is a lower bound only and
/// the status is 3. Ctrl-C gives what was found until then, and status 130.
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
    #[arg(long, default_value_t = 100.0, value_name = "MS")]
    p99_ms: f64,
    /// Seconds that each rate is measured.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
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

/// What a rate showed.
struct Tried {
    rate: f64,
    p99_ms: f64,
    holds: bool,
    /// The generator was what is slow.
    generator: bool,
    bounds: String,
}

/// What a search has found until it ended.
#[derive(Default)]
struct Found {
    holds: Option<Tried>,
    fails: Option<Tried>,
}

/// Runs the command.
pub fn command(args: &SaturateArgs, stop: &Stop) -> Result<ExitCode> {
    let mut set = args.set.clone();
    set.push(format!("seconds={}", args.seconds));
    let scenario = Scenario::read(&args.scenario, &set)?;
    let first = scenario.send.rate;
    ensure!(first > 0.0, "{} sends at no rate: there is nothing to search", args.scenario);
    ensure!(
        RATES.contains(&first),
        "send.rate = {first}: a search begins between {} and {} a second",
        RATES.start(),
        RATES.end()
    );
    args.on.check(&args.subject)?;
    Outputs { json: args.json.as_deref(), ..Outputs::default() }.try_out()?;
    room_for(scenario.connections())?;
    let folder = folder(args.dir.as_ref())?;
    let machine = Machine::look(folder.path());
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
        let verdict = if tried.holds { "holds" } else { "does not hold" };
        eprintln!("{rate:.0}/s {verdict}: p99 {:.1} ms; {}", tried.p99_ms, tried.bounds);
        Ok(tried)
    });
    let settings = format!(
        "{}, p99 of delivery at most {} ms{}",
        args.scenario,
        args.p99_ms,
        args.on.settings(&args.subject)
    );
    let mut report = Report::new("saturate", machine, settings);
    found.enter(&mut report);
    match &ended {
        Ok(()) => found.remark(&mut report),
        Err(error) if error.is::<Stopped>() => {
            report.note("interrupted before the bounds were near")
        }
        Err(error) => report.note(format!("ended before the bounds were near: {error:#}")),
    }
    report.publish(args.json.as_deref())?;
    match ended {
        Ok(()) if found.is_of_the_generator() => Ok(ExitCode::from(BOTTLENECK)),
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Stopped>() => Ok(ExitCode::from(130)),
        Err(error) => Err(error),
    }
}

impl Found {
    /// Enters the bounds as far as there are any.
    fn enter(&self, report: &mut Report) {
        if let Some(tried) = &self.holds {
            report.add("highest rate that holds", "/s", tried.rate);
            report.add("p99 there", "ms", tried.p99_ms);
        }
        if let Some(tried) = &self.fails {
            report.add("lowest rate that does not", "/s", tried.rate);
            report.add("p99 at that", "ms", tried.p99_ms);
            report.note(format!("bounded by: {}", tried.bounds));
        }
    }

    /// Says what a search that went to its end has not found.
    fn remark(&self, report: &mut Report) {
        if self.holds.is_none() {
            report.note("no rate holds, not even the lowest that was tried");
        }
        if self.fails.is_none() {
            report.note(format!(
                "every rate holds that was tried: the search ends at {} a second",
                RATES.end()
            ));
        }
        if self.is_of_the_generator() {
            report.note("THE GENERATOR WAS THE BOTTLENECK: the server may hold more");
        }
    }

    fn is_of_the_generator(&self) -> bool {
        self.fails.as_ref().is_some_and(|tried| tried.generator)
    }
}

/// Finds the highest rate that holds and the lowest that does not; what it has of them also when a
/// rate cannot be tried, and why that was.
fn search(first: f64, mut try_rate: impl FnMut(f64) -> Result<Tried>) -> (Found, Result<()>) {
    let mut found = Found::default();
    let mut rate = first;
    while RATES.contains(&rate) {
        let tried = match try_rate(rate) {
            Ok(tried) => tried,
            Err(error) => return (found, Err(error)),
        };
        let side = if tried.holds { &mut found.holds } else { &mut found.fails };
        *side = Some(tried);
        rate = match (&found.holds, &found.fails) {
            (Some(low), Some(high)) if high.rate / low.rate <= NEAR => break,
            (Some(low), Some(high)) => (low.rate * high.rate).sqrt().round(),
            (Some(low), None) => low.rate * 2.0,
            (None, Some(high)) => high.rate / 2.0,
            (None, None) => break,
        };
    }
    (found, Ok(()))
}

/// Judges a rate by its run.
fn judge(rate: f64, run: &Measured, at_most_ms: f64) -> Tried {
    let p99 = run.spans.get("delivered").map(|spans| spans.0.value_at_quantile(0.99) as f64 / 1e6);
    let p99_ms = p99.unwrap_or(f64::INFINITY);
    let keeps_up = p99_ms <= at_most_ms && {
        // What was sent last may be under way for as long as that when the measured time ends.
        let window_ms = run.window_ns.max(1) as f64 / 1e6;
        let under_way = (run.due as f64 * p99_ms / window_ms).ceil();
        run.messages as f64 + under_way >= run.due as f64 * KEEPS_UP
    };
    let mut bounds = bounds(run);
    if !run.is_clean() {
        bounds = format!("{}; {bounds}", run.balance.line());
    }
    let generator = run.bottleneck().is_some();
    Tried { rate, p99_ms, holds: keeps_up && run.is_clean(), generator, bounds }
}

/// Names what was busy.
fn bounds(run: &Measured) -> String {
    if let Some(said) = run.bottleneck() {
        return format!("the generator: {said}");
    }
    if !run.server.is_known() {
        return "not known: nobody's processes were looked at (--pid)".to_owned();
    }
    let window = run.window_ns.max(1) as f64;
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let all = (run.server.cpu_ns + run.own_cpu_ns) as f64 / window;
    let busiest = run.server.threads_ns.iter().max_by_key(|(_, ns)| **ns);
    if let Some((name, ns)) = busiest.filter(|(_, ns)| **ns as f64 > BUSY * window) {
        return format!("the server's {name}: {:.0} % of a core", *ns as f64 / window * 100.0);
    }
    if all > BUSY * cores {
        return format!("all {cores} cores: {all:.1} of them busy, the generator among them");
    }
    let mean = |of: &str| run.server.metrics.get(&format!("server: {of}, mean")).copied();
    match (mean("fsync"), mean("commit")) {
        (Some(fsync), Some(commit)) if fsync * 2.0 > commit => {
            format!("the disk: a sync takes {fsync:.1} ms of a commit's {commit:.1}")
        }
        (_, Some(commit)) => {
            format!("the store: a commit takes {commit:.1} ms, and no core is busy")
        }
        _ => format!("none of the cores: {all:.1} of {cores} busy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64, first: f64) -> (Option<f64>, Option<f64>, usize) {
        let mut times = 0;
        let tried = |rate| {
            times += 1;
            Ok(tried(rate, rate <= limit))
        };
        let (Found { holds, fails }, ended) = search(first, tried);
        ended.unwrap();
        (holds.map(|t| t.rate), fails.map(|t| t.rate), times)
    }

    fn tried(rate: f64, holds: bool) -> Tried {
        Tried { rate, p99_ms: 1.0, holds, generator: false, bounds: String::new() }
    }

    fn remarks(found: &Found) -> String {
        let machine = Machine::look(std::path::Path::new("/"));
        let mut report = Report::new("saturate", machine, String::new());
        found.enter(&mut report);
        found.remark(&mut report);
        report.table()
    }

    #[test]
    fn a_search_that_is_stopped_keeps_what_it_has_found() {
        let mut times = 0;
        let (found, ended) = search(100.0, |rate| {
            times += 1;
            if times > 4 { Err(Stopped.into()) } else { Ok(tried(rate, rate < 700.0)) }
        });
        assert!(ended.unwrap_err().is::<Stopped>());
        assert_eq!((found.holds.unwrap().rate, found.fails.unwrap().rate), (400.0, 800.0));
    }

    #[test]
    fn a_search_says_what_it_has_not_found() {
        let (found, _) = search(100.0, |rate| Ok(tried(rate, true)));
        assert!(remarks(&found).contains("ends at 500000 a second"), "{}", remarks(&found));
        let (found, _) = search(100.0, |rate| Ok(tried(rate, false)));
        assert!(remarks(&found).contains("no rate holds"));
        let late = |rate| Ok(Tried { generator: true, ..tried(rate, rate < 700.0) });
        let (found, _) = search(100.0, late);
        assert!(found.is_of_the_generator() && remarks(&found).contains("THE GENERATOR"));
    }

    /// Whose mean is below 1, as that of `mixed`, or that came out low by chance.
    #[test]
    fn what_was_due_is_what_counts_and_not_the_nominal_rate() {
        let mut run = kept(760, 762);
        assert!(judge(1_000.0, &run, 10.0).holds);
        run.messages = 700;
        assert!(!judge(1_000.0, &run, 10.0).holds);
        // One of a few is under way at the end.
        assert!(judge(16.0, &kept(15, 16), 10.0).holds);
        assert!(!judge(16.0, &kept(14, 16), 10.0).holds);
    }

    /// A run in which so many of those due were acknowledged in a second, and p99 is 5 ms.
    fn kept(messages: u64, due: u64) -> Measured {
        let mut run = Measured { messages, due, window_ns: 1_000_000_000, ..Measured::default() };
        let spans = run.spans.entry("delivered".to_owned()).or_default();
        spans.0.record(5_000_000).unwrap();
        run.server.rss_end = 1;
        run
    }

    #[test]
    fn a_search_closes_in_on_the_limit_from_either_side() {
        for first in [100.0, 4_000.0, 100_000.0] {
            let (holds, fails, times) = found(10_000.0, first);
            let (holds, fails) = (holds.unwrap(), fails.unwrap());
            assert!(holds <= 10_000.0 && fails > 10_000.0 && fails / holds <= NEAR);
            assert!(times < 16, "{times} runs from {first}");
        }
        assert_eq!(found(0.0, 100.0).0, None);
        assert_eq!(found(f64::INFINITY, 100.0).1, None);
    }

    #[test]
    fn a_run_that_falls_behind_or_loses_something_does_not_hold() {
        let mut run = kept(1_000, 1_000);
        assert!(judge(1_000.0, &run, 10.0).holds && !judge(1_000.0, &run, 4.0).holds);
        assert!(!judge(1_100.0, &kept(1_000, 1_100), 10.0).holds);
        run.server.threads_ns.insert("commits".to_owned(), 900_000_000);
        assert!(judge(1_100.0, &run, 10.0).bounds.contains("commits: 90 %"));
        run.balance.lost = 1;
        assert!(!judge(1_000.0, &run, 10.0).holds);
    }
}
