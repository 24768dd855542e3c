//! `rally-bench plan`: how many nodes, how much store, for so many users; from what was measured.
//!
//! Knows reports (`run --json`) and arithmetic.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::report::shown;
use crate::run::document::{Document, Seen};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Of a prediction that is checked: beyond it the plan is not to be believed.
const ERROR: f64 = 0.2;

/// Says what so many users need, from what was measured.
///
/// Takes reports of `run --json` of one server: `pairs` at two rates or more, and `idle`. From them
/// it learns the CPU of messages as a function of their rate, the memory and CPU of a connection,
/// and the bytes that a message takes in the store. The CPU of messages is taken as k * rate^p, by
/// least squares on logarithms: syncs and writes are shared by more messages at higher rates, so p
/// is below 1.
///
/// `--check` compares what the plan says of a report's rate with what that measured, and ends with
/// status 2 when it is wrong by more than 20 %.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PlanArgs {
    /// Reports that the plan is made from.
    #[arg(long = "from", required = true, value_delimiter = ',', value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// Which server of the reports.
    #[arg(long, default_value = "rally")]
    on: String,
    /// Reports that it is compared with.
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    check: Vec<PathBuf>,
    /// Users who have an account.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Messages that each of them writes a day.
    #[arg(long, default_value_t = 50.0, value_name = "M")]
    msgs_per_user_day: f64,
    /// How many times the day's average the busiest hour has.
    #[arg(long, default_value_t = 4.0)]
    peak: f64,
    /// Share of the users who are connected then, from 0 to 1.
    #[arg(long, default_value_t = 0.5)]
    online: f64,
    /// Devices of each of them.
    #[arg(long, default_value_t = 2.0)]
    devices: f64,
    /// Cores of a node.
    #[arg(long, default_value_t = 2.0)]
    cores: f64,
    /// Memory of a node in GiB.
    #[arg(long, default_value_t = 4.0, value_name = "GIB")]
    memory: f64,
    /// Share of a node that may be used at the peak, from 0 to 1: the rest is for storms and for
    /// the clients of a node that dies.
    #[arg(long, default_value_t = 0.5)]
    used: f64,
    /// Days that messages are kept.
    #[arg(long, default_value_t = 365.0)]
    days: f64,
    /// Copies that the store keeps.
    #[arg(long, default_value_t = 1.0)]
    copies: f64,
}

/// What was learnt from reports.
struct Model {
    /// CPU seconds a second, as k * rate^p.
    k: f64,
    p: f64,
    /// Rates that it was learnt from, the lowest and the highest.
    rates: (f64, f64),
    /// KiB a connection.
    connection_kib: f64,
    /// CPU seconds a second and connection that says nothing.
    connection_cpu: f64,
    /// Bytes that a message takes in the store.
    message_bytes: f64,
}

impl Model {
    fn of(reports: &[Document], on: &str) -> Result<Self> {
        let mut points = Vec::new();
        let mut idle = None;
        let mut bytes = Vec::new();
        for report in reports {
            let seen = seen(report, on)?;
            match point(seen) {
                Some(point) => points.push(point),
                None => idle = Some(seen),
            }
            bytes.extend(seen.runs.iter().filter_map(|run| {
                let data = run.server.data_bytes? as f64;
                (run.balance.acked > 0).then(|| data / run.balance.acked as f64)
            }));
        }
        let idle = idle.context("no report of `run idle`: what a connection takes is not known")?;
        let (k, p) = fit(&points)?;
        let rates = points.iter().map(|(rate, _)| *rate);
        let of_idle = |of: &dyn Fn(&crate::run::measured::Measured) -> f64| {
            median(idle.runs.iter().map(of).collect())
        };
        Ok(Self {
            k,
            p,
            rates: (rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max)),
            connection_kib: of_idle(&|run| {
                let bytes = run.server.rss_end.saturating_sub(run.server.rss_before);
                bytes as f64 / 1024.0 / run.connections as f64
            }),
            connection_cpu: of_idle(&|run| {
                run.server.cpu_ns as f64 / run.window_ns as f64 / run.connections as f64
            }),
            message_bytes: median(bytes),
        })
    }

    /// Says how many cores messages of a rate take.
    fn cores(&self, rate: f64) -> f64 {
        self.k * rate.powf(self.p)
    }
}

fn seen<'a>(report: &'a Document, on: &str) -> Result<&'a Seen> {
    let found = report.subjects.iter().find(|seen| seen.name == on);
    found.with_context(|| format!("a report of {} has nothing about {on}", report.name))
}

/// Gives the rate and the cores of a report in which messages were sent.
fn point(seen: &Seen) -> Option<(f64, f64)> {
    let window = |ns: u64| ns as f64 / 1e9;
    let rates = seen.runs.iter().map(|run| run.messages as f64 / window(run.window_ns));
    let cores = seen.runs.iter().map(|run| run.server.cpu_ns as f64 / run.window_ns as f64);
    let (rate, cores) = (median(rates.collect()), median(cores.collect()));
    (rate > 0.0).then_some((rate, cores))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Fits cores = k * rate^p by least squares on logarithms.
fn fit(points: &[(f64, f64)]) -> Result<(f64, f64)> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let spread: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
    ensure!(
        spread > 0.01,
        "reports of {} rate(s): it takes `run pairs` at two different rates at least",
        points.len().min(1)
    );
    let p = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum::<f64>() / spread;
    Ok(((y - p * x).exp(), p))
}

/// Runs the command.
pub fn command(args: &PlanArgs) -> Result<ExitCode> {
    let read = |paths: &[PathBuf]| {
        paths.iter().map(|path| Document::read(path)).collect::<Result<Vec<_>>>()
    };
    let reports = read(&args.reports)?;
    let model = Model::of(&reports, &args.on)?;
    println!(
        "measured: messages take {:.2e} * rate^{:.2} cores ({} to {} a second), a connection {} KiB \
         and {} µs/s, a message {} bytes in the store",
        model.k,
        model.p,
        shown(model.rates.0),
        shown(model.rates.1),
        shown(model.connection_kib),
        shown(model.connection_cpu * 1e6),
        shown(model.message_bytes)
    );
    let checks = read(&args.check)?;
    let mut right = true;
    for report in &checks {
        let (rate, cores) = point(seen(report, &args.on)?)
            .with_context(|| format!("no messages were sent in a report of {}", report.name))?;
        let error = model.cores(rate) / cores - 1.0;
        right &= error.abs() <= ERROR;
        println!(
            "checked at {} a second, {:.1} times the highest it was made from: {:.3} cores said, \
             {cores:.3} measured, {:+.0} %{}",
            shown(rate),
            rate / model.rates.1,
            model.cores(rate),
            error * 100.0,
            if error.abs() <= ERROR { "" } else { ": WRONG" }
        );
    }
    plan(args, &model);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Prints what so many users need.
fn plan(args: &PlanArgs, model: &Model) {
    let users = args.users as f64;
    let average = users * args.msgs_per_user_day / DAY_S;
    let rate = average * args.peak;
    let connections = users * args.online * args.devices;
    // Each node has its own share of messages, and shares less with others than one alone would.
    let of_nodes = |nodes: f64| {
        nodes * model.cores((rate / nodes).max(1e-9)) + connections * model.connection_cpu
    };
    let room = args.cores * args.used;
    let by_cpu = (1..100_000).map(f64::from).find(|nodes| of_nodes(*nodes) <= nodes * room);
    let memory_gib = connections * model.connection_kib / 1024.0 / 1024.0;
    let by_memory = (memory_gib / (args.memory * args.used)).ceil().max(1.0);
    let stored = users * args.msgs_per_user_day * args.days * model.message_bytes * args.copies;
    println!("at the peak: {} messages a second, {} connections", shown(rate), shown(connections));
    match by_cpu {
        None => println!("nodes: no number of nodes is enough"),
        Some(by_cpu) => {
            let nodes = by_cpu.max(by_memory);
            println!(
                "nodes: {} and one more, so that one may die ({by_cpu} by CPU: {:.2} cores in all; \
                 {by_memory} by memory: {memory_gib:.2} GiB)",
                shown(nodes),
                of_nodes(nodes)
            );
        }
    }
    println!(
        "store: {} GiB after {} days, {} copies; {} writes a second at the peak",
        shown(stored / f64::from(1 << 30)),
        args.days,
        args.copies,
        shown(rate)
    );
    println!(
        "broker: {} parcels a second at the peak, if every peer is at home on another node",
        shown(if by_cpu == Some(1.0) && by_memory <= 1.0 { 0.0 } else { rate * args.devices })
    );
    println!("assumed:");
    for assumed in [
        format!("the busiest hour has {} times the average of a day", args.peak),
        format!(
            "{:.0} % of users are connected then, on {} devices each",
            args.online * 100.0,
            args.devices
        ),
        format!(
            "nodes like the measured machine's, of {} cores and {} GiB, used to {:.0} % at most",
            args.cores,
            args.memory,
            args.used * 100.0
        ),
        "texts as long as those that were measured, and no receipts unless the reports had them"
            .to_owned(),
        "disks that sync as fast as the measured one".to_owned(),
    ] {
        println!("  {assumed}");
    }
    if rate > 2.0 * model.rates.1 {
        println!("  the rate is beyond twice what was measured: measure nearer to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_is_found_again() {
        let law = |rate: f64| (rate, 0.002 * rate.powf(0.6));
        let (k, p) = fit(&[law(500.0), law(1_000.0), law(4_000.0)]).unwrap();
        assert!((k - 0.002).abs() < 1e-9 && (p - 0.6).abs() < 1e-9);
    }

    #[test]
    fn one_rate_is_too_few() {
        assert!(fit(&[(500.0, 0.1), (500.0, 0.11)]).is_err());
        assert!(fit(&[]).is_err());
    }
}
