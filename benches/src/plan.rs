//! `rally-bench plan`: how many nodes, how much store, for so many users; from what was measured.
//!
//! Knows reports (`run --json`) and arithmetic.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::report::shown;
use crate::run::document::{Document, Seen};
use crate::run::measured::Measured;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Of a prediction that is checked: beyond it the plan is not to be believed.
const ERROR: f64 = 0.2;

/// Nodes of RabbitMQ, and of Cassandra, that a cluster has at least: one of them may die, and most
/// are left.
const SERVICES: f64 = 3.0;

/// How many times the highest rate that the plan was made from a rate must be to check it: nearer, a
/// plan is right by having been made from it.
const BEYOND: f64 = 2.0;

/// Says what so many users need, from what was measured.
///
/// Takes reports of `run --json` of one server: `pairs` at two rates or more, and `idle`. From them
/// it learns the CPU of messages as a function of their rate, the memory and CPU of a connection,
/// and the bytes that a message takes in the store. The CPU of messages is taken as k * rate^p, by
/// least squares on logarithms: syncs and writes are shared by more messages at higher rates, so p
/// is below 1. What a message takes is taken to grow with its deliveries: a user of D devices has
/// his messages delivered to D of the receiver and D - 1 others of his own.
///
/// `--check` compares what the plan says of a report's rate with what that measured, and ends with
/// status 2 when it is wrong by more than 20 %. It takes reports that the plan was not made from, at
/// twice their highest rate or more.
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
    /// Bytes that a message takes in a copy of the store, where no report says that: those of a
    /// cluster do not.
    #[arg(long, value_name = "BYTES")]
    message_bytes: Option<f64>,
}

impl PlanArgs {
    /// Refuses what cannot be meant.
    fn check(&self) -> Result<()> {
        let is_some = |value: f64| value > 0.0 && value.is_finite();
        let is_one = |value: f64| value >= 1.0 && value.is_finite();
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        let (share, some) = ("a share, above 0 and up to 1", "more than 0");
        let per_day = self.msgs_per_user_day;
        let bytes = self.message_bytes.unwrap_or(1.0);
        for (flag, value, is_good, wanted) in [
            ("users", self.users as f64, self.users > 0, some),
            ("msgs-per-user-day", per_day, is_some(per_day), some),
            ("peak", self.peak, is_one(self.peak), "the busiest hour has the average at least"),
            ("online", self.online, is_share(self.online), share),
            ("devices", self.devices, is_one(self.devices), "who is connected has one at least"),
            ("cores", self.cores, is_some(self.cores), some),
            ("memory", self.memory, is_some(self.memory), some),
            ("used", self.used, is_share(self.used), share),
            ("days", self.days, is_some(self.days), some),
            ("copies", self.copies, is_one(self.copies), "the store has one at least"),
            ("message-bytes", bytes, is_some(bytes), some),
        ] {
            ensure!(is_good, "--{flag} {value}: {wanted}");
        }
        Ok(())
    }

    /// Gives to how many devices a message is delivered.
    fn deliveries(&self) -> f64 {
        2.0 * self.devices - 1.0
    }
}

/// What was learnt from reports.
struct Model {
    /// CPU seconds a second, of messages of one delivery, as k * rate^p.
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

/// What a report shows of messages.
#[derive(Debug, Clone, Copy)]
struct Point {
    rate: f64,
    cores: f64,
    /// Deliveries of a message.
    deliveries: f64,
}

impl Point {
    /// Takes it from a report in which messages were to be sent.
    fn of(report: &Document, on: &str) -> Result<Self> {
        let runs = &seen(report, on)?.runs;
        let of = |of: &dyn Fn(&Measured) -> f64| median(runs.iter().map(of).collect());
        let point = Self {
            rate: of(&|run| run.messages as f64 / (run.window_ns as f64 / 1e9)),
            cores: of(&|run| run.server.cpu_ns as f64 / run.window_ns as f64),
            deliveries: of(&|run| run.deliveries as f64 / run.messages as f64),
        };
        let name = &report.name;
        ensure!(point.rate > 0.0, "a report of {name} has no acknowledged messages of {on}");
        ensure!(point.cores > 0.0, "a report of {name} has no CPU of {on}: nobody read it (--pid)");
        ensure!(point.deliveries > 0.0, "a report of {name} has no deliveries of {on}");
        Ok(point)
    }
}

/// Tells whether a report is of connections that say nothing.
fn is_idle(report: &Document) -> bool {
    report.scenario.send.rate == 0.0 && !report.scenario.is_closed()
}

impl Model {
    fn of(reports: &[Document], on: &str, message_bytes: Option<f64>) -> Result<Self> {
        let mut points = Vec::new();
        let mut idle = None;
        let mut bytes: Vec<f64> = message_bytes.into_iter().collect();
        for report in reports {
            let seen = seen(report, on)?;
            if is_idle(report) {
                idle = Some(seen);
            } else {
                points.push(Point::of(report, on)?);
            }
            if message_bytes.is_some() {
                continue;
            }
            bytes.extend(seen.runs.iter().filter_map(|run| {
                let data = run.server.data_bytes? as f64;
                (run.balance.acked > 0).then(|| data / run.balance.acked as f64)
            }));
        }
        let idle = idle.context("no report of `run idle`: what a connection takes is not known")?;
        ensure!(
            idle.runs.iter().all(|run| run.server.is_known()),
            "the report of `run idle` has no memory of {on}: nobody read it (--pid)"
        );
        ensure!(
            !bytes.is_empty(),
            "no report of {on} says what a message takes in the store: give --message-bytes"
        );
        let of_one = |point: &Point| (point.rate, point.cores / point.deliveries);
        let (k, p) = fit(&points.iter().map(of_one).collect::<Vec<_>>())?;
        let rates = points.iter().map(|point| point.rate);
        let of_idle = |of: &dyn Fn(&Measured) -> f64| median(idle.runs.iter().map(of).collect());
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

    /// Says how many cores messages of a rate take, each delivered so often.
    fn cores(&self, rate: f64, deliveries: f64) -> f64 {
        deliveries * self.k * rate.powf(self.p)
    }

    /// Compares it with a report that it was not made from; gives by which share it is wrong.
    fn error_at(&self, point: Point) -> Result<f64> {
        ensure!(
            point.rate >= BEYOND * self.rates.1,
            "--check of a report at {} a second: from {} on, {BEYOND} times the highest that the plan \
             was made from, it shows whether that holds",
            shown(point.rate),
            shown(BEYOND * self.rates.1)
        );
        Ok(self.cores(point.rate, point.deliveries) / point.cores - 1.0)
    }
}

fn seen<'a>(report: &'a Document, on: &str) -> Result<&'a Seen> {
    let found = report.subjects.iter().find(|seen| seen.name == on);
    found.with_context(|| format!("a report of {} has nothing about {on}", report.name))
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
    args.check()?;
    let read = |paths: &[PathBuf]| {
        paths.iter().map(|path| Document::read(path)).collect::<Result<Vec<_>>>()
    };
    let reports = read(&args.reports)?;
    args.check.iter().try_for_each(|check| is_other(check, &args.reports))?;
    let model = Model::of(&reports, &args.on, args.message_bytes)?;
    println!(
        "measured: messages take, for each delivery, {:.2e} * rate^{:.2} cores ({} to {} a second), a connection {} KiB \
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
        let point = Point::of(report, &args.on)?;
        let error = model.error_at(point)?;
        let Point { rate, cores, deliveries } = point;
        right &= error.abs() <= ERROR;
        println!(
            "checked at {} a second, {:.1} times the highest it was made from: {:.3} cores said, \
             {cores:.3} measured, {:+.0} %{}",
            shown(rate),
            rate / model.rates.1,
            model.cores(rate, deliveries),
            error * 100.0,
            if error.abs() <= ERROR { "" } else { ": WRONG" }
        );
    }
    plan(args, &model);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Refuses to check a plan by what it was made from, under whatever name.
fn is_other(check: &Path, from: &[PathBuf]) -> Result<()> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let checked = read(check)?;
    for path in from {
        ensure!(
            read(path)? != checked,
            "--check {}: the plan is made from it (--from {})",
            check.display(),
            path.display()
        );
    }
    Ok(())
}

/// Prints what so many users need.
fn plan(args: &PlanArgs, model: &Model) {
    let users = args.users as f64;
    let average = users * args.msgs_per_user_day / DAY_S;
    let rate = average * args.peak;
    let connections = users * args.online * args.devices;
    // Each node has its own share of messages, and shares less with others than one alone would.
    let of_nodes = |nodes: f64| {
        nodes * model.cores(rate / nodes, args.deliveries()) + connections * model.connection_cpu
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
                nodes,
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
        shown(rate * args.devices)
    );
    println!(
        "services: {SERVICES} nodes of RabbitMQ, {} of Cassandra",
        SERVICES.max(args.copies).ceil()
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
        format!(
            "every receiver is connected: a message has {} deliveries, and takes so many times the CPU \
             of one",
            shown(args.deliveries())
        ),
        format!(
            "{SERVICES} nodes of RabbitMQ and of Cassandra each, or as many of Cassandra as there are \
             copies: one may die, and most are left; what they can take was not measured"
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
    use crate::proc::Machine;
    use crate::run::scenario::Scenario;

    #[test]
    fn a_power_law_is_found_again() {
        let law = |rate: f64| (rate, 0.002 * rate.powf(0.6));
        let (k, p) = fit(&[law(500.0), law(1_000.0), law(4_000.0)]).unwrap();
        assert!((k - 0.002).abs() < 1e-9 && (p - 0.6).abs() < 1e-9);
    }

    /// A report of runs of one second, each message delivered so often.
    fn report(rate: u64, cores: f64, deliveries: u64) -> Document {
        let mut scenario = Scenario::default();
        scenario.send.rate = rate as f64;
        let mut document = Document::new("pairs", &scenario, Machine::look(Path::new("/")));
        let mut run = Measured {
            messages: rate,
            deliveries: rate * deliveries,
            connections: 100,
            window_ns: 1_000_000_000,
            ..Measured::default()
        };
        run.balance.acked = rate;
        run.server.cpu_ns = (cores * 1e9) as u64;
        run.server.rss_end = 100 << 20;
        run.server.data_bytes = Some(rate * 400);
        let (name, text) = ("rally".to_owned(), String::new());
        document.enter(Seen { name, version: text.clone(), settings: text, runs: vec![run] });
        document
    }

    fn model() -> Model {
        let reports = [report(0, 0.01, 0), report(500, 0.1, 1), report(2_000, 0.2, 1)];
        Model::of(&reports, "rally", None).unwrap()
    }

    fn args(more: &[&str]) -> PlanArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: PlanArgs,
        }
        let line = ["plan", "--from=a.json"].into_iter().chain(more.iter().copied());
        clap::Parser::try_parse_from(line).map(|line: Line| line.args).unwrap()
    }

    #[test]
    fn more_devices_take_more_cpu() {
        let model = model();
        assert_eq!(
            (args(&["--devices=1"]).deliveries(), args(&["--devices=3"]).deliveries()),
            (1.0, 5.0)
        );
        assert!((model.cores(500.0, 1.0) - 0.1).abs() < 1e-6);
        assert!((model.cores(500.0, 5.0) - 0.5).abs() < 1e-6);
        // Reports of several devices say the same of one delivery.
        let reports = [report(0, 0.01, 0), report(500, 0.5, 5), report(2_000, 1.0, 5)];
        let of_five = Model::of(&reports, "rally", None).unwrap();
        assert!((of_five.cores(500.0, 1.0) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn nonsense_is_refused_by_its_flag_and_value() {
        args(&[]).check().unwrap();
        for bad in [
            "--used=0",
            "--used=1.5",
            "--cores=0",
            "--online=2",
            "--users=0",
            "--memory=nan",
            "--devices=0.5",
            "--peak=0",
            "--copies=0",
            "--days=0",
            "--msgs-per-user-day=0",
            "--message-bytes=0",
        ] {
            let error = args(&[bad]).check().unwrap_err().to_string();
            assert!(error.to_lowercase().starts_with(&bad.replace('=', " ")), "{bad}: {error}");
        }
    }

    #[test]
    fn a_report_that_does_not_say_what_is_asked_of_it_is_refused() {
        let refused = |change: &dyn Fn(&mut Measured)| {
            let mut reports = [report(0, 0.01, 0), report(500, 0.1, 1), report(2_000, 0.2, 1)];
            let runs = reports.iter_mut().flat_map(|report| &mut report.subjects[0].runs);
            runs.for_each(change);
            Model::of(&reports, "rally", None).err().unwrap().to_string()
        };
        assert!(refused(&|run| run.messages = 0).contains("no acknowledged messages"));
        assert!(refused(&|run| run.server.cpu_ns = 0).contains("no CPU"));
        assert!(refused(&|run| run.server.data_bytes = None).contains("--message-bytes"));
    }

    #[test]
    fn a_plan_is_checked_far_from_what_it_was_made_from() {
        let model = model();
        let at = |rate: u64, cores| Point::of(&report(rate, cores, 1), "rally").unwrap();
        assert!(model.error_at(at(8_000, 0.4)).unwrap().abs() < 1e-6);
        let error = model.error_at(at(3_000, 0.4)).unwrap_err().to_string();
        assert!(error.contains("3000") && error.contains("4000"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let [one, copy, other] = ["one", "copy", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&copy, "1").unwrap();
        std::fs::write(&other, "2").unwrap();
        let error = is_other(&copy, &[other.clone(), one.clone()]).unwrap_err().to_string();
        assert!(error.contains("/copy") && error.contains("/one"), "{error}");
        is_other(&other, &[one]).unwrap();
    }

    #[test]
    fn one_rate_is_too_few() {
        assert!(fit(&[(500.0, 0.1), (500.0, 0.11)]).is_err());
        assert!(fit(&[]).is_err());
    }
}
