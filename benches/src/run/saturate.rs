//! `rally-bench saturate`: the highest rate at which a stated p99 holds, and what bounds it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use super::once;
use crate::disk::folder;
use crate::proc::{Machine, room_for};
use crate::report::Report;
use crate::run::measured::Measured;
use crate::run::scenario::Scenario;
use crate::stop::{Stop, Stopped};
use crate::subject::{Kind, SubjectArgs};

/// Which share of its rate a server must keep up with: the rest would queue up without end.
const KEEPS_UP: f64 = 0.98;

/// A search ends when its bounds are as near as this.
const NEAR: f64 = 1.06;

/// Of one core: a thread that uses more is what bounds.
const BUSY: f64 = 0.85;

/// Finds the highest rate of a scenario's sends at which a stated p99 of delivery holds.
///
/// Doubles the rate until the promise breaks, then halves the distance (by ratio) until the bounds
/// are within 6 %. Each rate is tried on a fresh server with the scenario's warm-up; it holds when
/// p99 of delivery, from the intended time, is at most `--p99-ms`, at least 98 % of the messages
/// are acknowledged in time, and nothing is lost, doubled or out of order.
///
/// `highest rate that holds`, `lowest rate that does not`: with their p99.
/// `bounded by`: what was busy at the rate that did not hold: a thread of the server, all cores,
/// the disk's syncs, or the generator itself, in which case the figure is a lower bound only.
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
    bounds: String,
}

/// Runs the command.
pub fn command(args: &SaturateArgs, stop: &Stop) -> Result<ExitCode> {
    let mut set = args.set.clone();
    set.push(format!("seconds={}", args.seconds));
    let scenario = Scenario::read(&args.scenario, &set)?;
    ensure!(
        scenario.send.rate > 0.0,
        "{} sends at no rate: there is nothing to search",
        args.scenario
    );
    room_for(scenario.connections())?;
    let folder = folder(args.dir.as_ref())?;
    let machine = Machine::look(folder.path());
    let mut number = 0;
    let search = search(scenario.send.rate, |rate| {
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
    let (holds, fails) = match search {
        Ok(found) => found,
        Err(error) if error.is::<Stopped>() => return Ok(ExitCode::from(130)),
        Err(error) => return Err(error),
    };
    let settings = format!(
        "{}, p99 of delivery at most {} ms{}",
        args.scenario,
        args.p99_ms,
        args.on.settings(&args.subject)
    );
    let mut report = Report::new("saturate", machine, settings);
    if let Some(tried) = holds {
        report.add("highest rate that holds", "/s", tried.rate);
        report.add("p99 there", "ms", tried.p99_ms);
    } else {
        report.note("no rate holds, not even the lowest that was tried");
    }
    if let Some(tried) = fails {
        report.add("lowest rate that does not", "/s", tried.rate);
        report.add("p99 at that", "ms", tried.p99_ms);
        report.note(format!("bounded by: {}", tried.bounds));
    }
    report.publish(args.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Finds the highest rate that holds and the lowest that does not.
fn search(
    first: f64,
    mut try_rate: impl FnMut(f64) -> Result<Tried>,
) -> Result<(Option<Tried>, Option<Tried>)> {
    /// Not below, and not above: no server is so slow, no generator so fast.
    const RATES: std::ops::RangeInclusive<f64> = 8.0..=500_000.0;
    let (mut holds, mut fails): (Option<Tried>, Option<Tried>) = (None, None);
    let mut rate = first;
    while RATES.contains(&rate) {
        let tried = try_rate(rate)?;
        let side = if tried.holds { &mut holds } else { &mut fails };
        *side = Some(tried);
        rate = match (&holds, &fails) {
            (Some(low), Some(high)) if high.rate / low.rate <= NEAR => break,
            (Some(low), Some(high)) => (low.rate * high.rate).sqrt().round(),
            (Some(low), None) => low.rate * 2.0,
            (None, Some(high)) => high.rate / 2.0,
            (None, None) => break,
        };
    }
    Ok((holds, fails))
}

/// Judges a rate by its run.
fn judge(rate: f64, run: &Measured, at_most_ms: f64) -> Tried {
    let p99 = run.spans.get("delivered").map(|spans| spans.0.value_at_quantile(0.99) as f64 / 1e6);
    let p99_ms = p99.unwrap_or(f64::INFINITY);
    let got = run.messages as f64 / (run.window_ns as f64 / 1e9);
    let holds = p99_ms <= at_most_ms && got >= rate * KEEPS_UP && run.is_clean();
    let mut bounds = bounds(run);
    if !run.is_clean() {
        bounds = format!("{}; {bounds}", run.balance.line());
    }
    Tried { rate, p99_ms, holds, bounds }
}

/// Names what was busy.
fn bounds(run: &Measured) -> String {
    if let Some(said) = run.bottleneck() {
        return format!("the generator: {said}");
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
            Ok(Tried { rate, p99_ms: 1.0, holds: rate <= limit, bounds: String::new() })
        };
        let (holds, fails) = search(first, tried).unwrap();
        (holds.map(|t| t.rate), fails.map(|t| t.rate), times)
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
        let mut run = Measured { messages: 1_000, window_ns: 1_000_000_000, ..Measured::default() };
        let spans = run.spans.entry("delivered".to_owned()).or_default();
        spans.0.record(5_000_000).unwrap();
        assert!(judge(1_000.0, &run, 10.0).holds && !judge(1_000.0, &run, 4.0).holds);
        assert!(!judge(1_100.0, &run, 10.0).holds);
        run.server.threads_ns.insert("commits".to_owned(), 900_000_000);
        assert!(judge(1_100.0, &run, 10.0).bounds.contains("commits: 90 %"));
        run.balance.lost = 1;
        assert!(!judge(1_000.0, &run, 10.0).holds);
    }
}
