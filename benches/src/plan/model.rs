//! What was learnt from reports: the CPU of messages as a function of their rate, and what a
//! connection, a node and a stored message take.
//!
//! Knows nothing of what is planned with it.

use std::fmt;

use anyhow::{Result, ensure};

use super::evidence::{Evidence, Sound};
use crate::report::{median, shown};

/// How many times the highest rate of a node that was measured a plan may go without a warning. A
/// check must be as far away: nearer, a plan is right by having been made from it.
pub const BEYOND: f64 = 2.0;

/// How many times the lowest rate the highest must be: nearer ones show no power.
const APART: f64 = 1.5;

/// What nodes do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Messages a second, of all nodes together.
    pub rate: f64,
    /// Deliveries of a message.
    pub deliveries: f64,
    /// Connections to all nodes together.
    pub connections: f64,
}

/// What a report shows of messages.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Nodes that were measured together.
    pub nodes: f64,
    /// What they did.
    pub work: Work,
    /// CPU seconds a second of all of them.
    pub cores: f64,
    /// Resident KiB of all of them before a connection was opened, and at the end.
    resident_kib: (f64, f64),
}

impl Point {
    /// Takes it from a report in which messages were to be sent.
    ///
    /// # Errors
    ///
    /// There were none, or nobody looked at the server's processes.
    pub fn of(report: &Sound) -> Result<Self> {
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let work = Work {
            rate: report.median(|run| run.rate()),
            deliveries: report.median(|run| run.deliveries as f64 / run.messages as f64),
            connections: report.median(|run| run.connections as f64),
        };
        let cores = report.median(|run| run.server.cpu_ns as f64 / run.window_ns as f64);
        let name = report.label();
        ensure!(work.rate > 0.0, "the report of {name} has no acknowledged messages");
        ensure!(cores > 0.0, "the report of {name} has no CPU: nobody read it (--pid)");
        ensure!(work.deliveries > 0.0, "the report of {name} has no deliveries");
        let resident_kib = (
            report.median(|run| kib(run.server.rss_before)),
            report.median(|run| kib(run.server.rss_end)),
        );
        Ok(Self { nodes: report.nodes() as f64, work, cores, resident_kib })
    }

    /// Gives the rate of one of its nodes.
    pub fn rate_of_a_node(&self) -> f64 {
        self.work.rate / self.nodes
    }

    /// Gives what of its CPU is that of messages, for each delivery.
    fn of_one_delivery(&self, connection_cpu: f64) -> Result<f64> {
        let Work { rate, deliveries, connections } = self.work;
        let of_messages = self.cores - connections * connection_cpu;
        ensure!(
            of_messages > 0.0,
            "{} a second: {connections} connections that say nothing take more than the {:.3} cores \
             that were measured",
            shown(rate),
            self.cores
        );
        Ok(of_messages / deliveries)
    }

    /// Gives what a node takes besides its connections, in MiB: before them, or what it grew to.
    fn node_mib(&self, connection_kib: f64) -> f64 {
        let (before, end) = self.resident_kib;
        before.max(end - self.work.connections * connection_kib) / 1024.0 / self.nodes
    }
}

/// What was learnt from reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Nodes that were measured together.
    pub nodes: f64,
    /// CPU seconds a second of all of them, for messages of one delivery, as k * rate^p.
    pub k: f64,
    /// See above.
    pub p: f64,
    /// Rates of a node that it was learnt from, the lowest and the highest.
    pub rates: (f64, f64),
    /// The highest rate of a node at which it was checked and right; 0 while it was at none.
    pub checked: f64,
    /// KiB a connection.
    pub connection_kib: f64,
    /// CPU seconds a second and connection that says nothing.
    pub connection_cpu: f64,
    /// MiB a node, without its connections.
    pub node_mib: f64,
    /// Bytes that a message takes in a copy of the store.
    pub message_bytes: f64,
}

impl Model {
    /// Learns from reports; what a message takes in the store only where that is not given.
    ///
    /// # Errors
    ///
    /// They do not say what is asked of them.
    pub fn learn(evidence: &Evidence, message_bytes: Option<f64>) -> Result<Self> {
        let (connection_kib, connection_cpu) = of_a_connection(&evidence.idle)?;
        let points = evidence.messages.iter().map(Point::of).collect::<Result<Vec<_>>>()?;
        let of_one = |point: &Point| Ok((point.work.rate, point.of_one_delivery(connection_cpu)?));
        let (k, p) = fit(&points.iter().map(of_one).collect::<Result<Vec<_>>>()?)?;
        let rates = points.iter().map(Point::rate_of_a_node);
        let node_mib = points.iter().map(|point| point.node_mib(connection_kib));
        Ok(Self {
            nodes: evidence.idle.nodes() as f64,
            k,
            p,
            rates: (rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max)),
            checked: 0.0,
            connection_kib,
            connection_cpu,
            node_mib: node_mib.fold(0.0, f64::max),
            message_bytes: message_bytes.map_or_else(|| of_a_message(&evidence.messages), Ok)?,
        })
    }

    /// Says how many cores some nodes take for some work. Each of them has its share of the messages,
    /// and what it shares among fewer of them costs each more.
    pub fn cores_of(&self, nodes: f64, work: &Work) -> f64 {
        let groups = nodes / self.nodes;
        let of_a_group = self.k * (work.rate / groups).powf(self.p);
        groups * of_a_group * work.deliveries + work.connections * self.connection_cpu
    }

    /// Remembers that it was right at a rate of a node.
    pub fn was_right_at(&mut self, rate: f64) {
        self.checked = self.checked.max(rate);
    }

    /// Gives the highest rate of a node at which it was measured, or checked and right.
    pub fn known_up_to(&self) -> f64 {
        self.checked.max(self.rates.1)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "measured, nodes together: {}; messages take, for each delivery, {:.2e} * rate^{:.2} cores ({} to {} a \
             second and node), a connection {} KiB and {} µs/s, a node itself {} MiB, a message {} \
             bytes in the store",
            self.nodes,
            self.k,
            self.p,
            shown(self.rates.0),
            shown(self.rates.1),
            shown(self.connection_kib),
            shown(self.connection_cpu * 1e6),
            shown(self.node_mib),
            shown(self.message_bytes)
        )
    }
}

/// Gives what a connection takes that says nothing: KiB, and CPU seconds a second.
fn of_a_connection(idle: &Sound) -> Result<(f64, f64)> {
    let name = idle.label();
    ensure!(
        idle.runs().iter().all(|run| run.server.is_known()),
        "the report of {name} has no CPU and memory: nobody read them (--pid)"
    );
    let kib = idle.median(|run| {
        let bytes = run.server.rss_end.saturating_sub(run.server.rss_before);
        bytes as f64 / 1024.0 / run.connections as f64
    });
    let cpu =
        idle.median(|run| run.server.cpu_ns as f64 / run.window_ns as f64 / run.connections as f64);
    ensure!(
        kib.is_finite() && kib > 0.0 && cpu.is_finite(),
        "the report of {name}: a connection takes {kib} KiB and {cpu} cores: that cannot be"
    );
    Ok((kib, cpu))
}

/// Gives how many bytes a message takes in the store.
fn of_a_message(reports: &[Sound]) -> Result<f64> {
    let runs = reports.iter().flat_map(Sound::runs).filter(|run| run.balance.acked > 0);
    let bytes: Vec<f64> = runs
        .filter_map(|run| Some(run.server.data_bytes? as f64 / run.balance.acked as f64))
        .collect();
    median(&bytes).ok_or_else(|| {
        anyhow::anyhow!("no report says what a message takes in the store: give --message-bytes")
    })
}

/// Fits cores = k * rate^p by least squares on logarithms.
///
/// # Errors
///
/// The rates are too near to each other, or the power is none that sharing could have.
fn fit(points: &[(f64, f64)]) -> Result<(f64, f64)> {
    ensure!(!points.is_empty(), "no report of messages: give `run pairs` at two rates at least");
    let lowest = points.iter().map(|point| point.0).fold(f64::MAX, f64::min);
    let highest = points.iter().map(|point| point.0).fold(0.0, f64::max);
    ensure!(
        highest / lowest >= APART,
        "reports from {} to {} messages a second: the highest rate must be {APART} times the lowest \
         at least",
        shown(lowest),
        shown(highest)
    );
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let spread: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
    let p = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum::<f64>() / spread;
    ensure!(
        p > 0.0 && p <= 1.0,
        "the CPU of messages grows as rate^{p:.2}: above 0 and up to 1 can be, so the reports do not \
         belong together"
    );
    Ok(((y - p * x).exp(), p))
}

#[cfg(test)]
mod tests {
    use super::super::evidence::tests::{report, reports};
    use super::*;
    use crate::run::document::Document;
    use crate::run::measured::Measured;

    fn learn(reports: &[Document]) -> Result<Model> {
        Model::learn(&Evidence::of(reports, "rally")?, None)
    }

    fn change(reports: &mut [Document], change: impl FnMut(&mut Measured)) {
        reports.iter_mut().flat_map(|report| &mut report.subjects[0].runs).for_each(change);
    }

    fn work(rate: f64, deliveries: f64, connections: f64) -> Work {
        Work { rate, deliveries, connections }
    }

    fn is_near(one: f64, other: f64) -> bool {
        (one / other - 1.0).abs() < 1e-6
    }

    #[test]
    fn a_power_law_is_found_again() {
        let law = |rate: f64| (rate, 0.002 * rate.powf(0.6));
        let (k, p) = fit(&[law(500.0), law(1_000.0), law(4_000.0)]).unwrap();
        assert!((k - 0.002).abs() < 1e-9 && (p - 0.6).abs() < 1e-9);
    }

    #[test]
    fn rates_that_are_too_near_are_refused_by_both() {
        fit(&[(500.0, 0.1), (750.0, 0.11)]).unwrap();
        for points in [&[(500.0, 0.1)][..], &[(500.0, 0.1), (740.0, 0.11), (600.0, 0.1)]] {
            let error = fit(points).unwrap_err().to_string();
            let highest = points.iter().map(|point| point.0).fold(0.0, f64::max);
            assert!(error.contains("500") && error.contains(&shown(highest)), "{error}");
        }
        assert!(fit(&[]).unwrap_err().to_string().contains("no report of messages"));
    }

    #[test]
    fn a_power_that_cannot_be_is_named() {
        fit(&[(500.0, 0.1), (1_000.0, 0.19)]).unwrap();
        for (cores, power) in [(0.05, "-1.00"), (0.4, "2.00"), (0.1, "0.00")] {
            let error = fit(&[(500.0, 0.1), (1_000.0, cores)]).unwrap_err().to_string();
            assert!(error.contains(&format!("rate^{power}")), "{error}");
        }
    }

    #[test]
    fn more_deliveries_take_more_cpu() {
        let model = learn(&reports()).unwrap();
        assert!(is_near(model.cores_of(1.0, &work(500.0, 1.0, 0.0)), 0.1));
        assert!(is_near(model.cores_of(1.0, &work(500.0, 5.0, 0.0)), 0.5));
        // Reports of several devices say the same of one delivery.
        let mut of_five = [report(0, 0.0), report(500, 0.5), report(2_000, 1.0)];
        change(&mut of_five, |run| run.deliveries *= 5);
        let model = learn(&of_five).unwrap();
        assert!(is_near(model.cores_of(1.0, &work(500.0, 1.0, 0.0)), 0.1));
    }

    #[test]
    fn what_two_nodes_took_together_is_not_what_one_takes() {
        let (one, mut two) = (learn(&reports()).unwrap(), reports());
        two.iter_mut().for_each(|report| report.subjects[0].nodes = Some(2));
        let two = learn(&two).unwrap();
        let work = work(2_000.0, 1.0, 0.0);
        assert!(is_near(one.cores_of(1.0, &work), 0.2) && is_near(two.cores_of(2.0, &work), 0.2));
        // Four nodes are two such pairs, each with half of the messages.
        let half = two.cores_of(2.0, &Work { rate: 1_000.0, ..work });
        assert!(is_near(two.cores_of(4.0, &work), 2.0 * half));
        assert_eq!((one.rates, two.rates), ((500.0, 2_000.0), (250.0, 1_000.0)));
        assert!(is_near(one.node_mib, 50.0) && is_near(two.node_mib, 25.0));
    }

    /// 100 connections that take 1 ms a second each.
    #[test]
    fn cpu_of_connections_counts_once() {
        let reports = [report(0, 0.1), report(500, 0.1 + 0.1), report(2_000, 0.1 + 0.2)];
        let model = learn(&reports).unwrap();
        assert!(is_near(model.cores_of(1.0, &work(500.0, 1.0, 0.0)), 0.1));
        assert!(is_near(model.cores_of(1.0, &work(500.0, 1.0, 100.0)), 0.2), "as was measured");
        let error = learn(&[report(0, 0.1), report(500, 0.05), report(2_000, 0.3)]).unwrap_err();
        assert!(error.to_string().contains("100 connections"), "{error}");
    }

    #[test]
    fn a_node_takes_what_it_had_before_and_grew_to_without_its_connections() {
        let mut reports = reports();
        assert!(is_near(learn(&reports).unwrap().node_mib, 50.0));
        reports[2].subjects[0].runs[0].server.rss_end += 30 << 20;
        let model = learn(&reports).unwrap();
        assert!(is_near(model.node_mib, 80.0) && is_near(model.connection_kib, 10.0));
    }

    #[test]
    fn a_report_that_does_not_say_what_is_asked_of_it_is_refused() {
        let refused = |change_one: &dyn Fn(&mut Measured)| {
            let mut reports = reports();
            change(&mut reports, change_one);
            learn(&reports).unwrap_err().to_string()
        };
        assert!(refused(&|run| run.messages = 0).contains("no acknowledged messages"));
        assert!(refused(&|run| run.server.cpu_ns = 0).contains("no CPU"));
        assert!(refused(&|run| run.server.data_bytes = None).contains("--message-bytes"));
        assert!(refused(&|run| run.server.rss_end = 1).contains("0 KiB"));
        assert!(refused(&|run| run.connections = 0).contains("cannot be"));
    }

    #[test]
    fn bytes_that_are_given_hold() {
        let evidence = Evidence::of(&reports(), "rally").unwrap();
        assert_eq!(Model::learn(&evidence, None).unwrap().message_bytes, 400.0);
        assert_eq!(Model::learn(&evidence, Some(7.0)).unwrap().message_bytes, 7.0);
    }
}
