//! The figures of a report: what follows from what was counted, as a table, and what is promised of
//! them.

use crate::proc::Processors;
use crate::report::{Report, quantiles_ms};
use crate::run::document::Document;
use crate::run::measured::Measured;
use crate::run::scenario::{Scenario, TEXT_BYTES};

/// How many times the floor a message may take, between two nodes, and a connection that says
/// nothing.
const TIMES_FLOOR: f64 = 2.0;
const CLUSTER_TIMES_FLOOR: f64 = 4.0;
const IDLE_TIMES_FLOOR: f64 = 1.5;

/// KiB of memory that a connection may take that says nothing.
const IDLE_KIB: f64 = 5.0;

impl Document {
    /// Gives its figures as a table, a value a run.
    pub fn table(&self) -> Report {
        let Scenario { users, devices, seconds, warmup_s, .. } = &self.scenario;
        let settings = format!(
            "{}: {users} users, {devices} devices each, {warmup_s} + {seconds} s{}",
            self.name,
            self.subjects.iter().map(|seen| seen.settings.as_str()).collect::<String>()
        );
        let mut report = Report::new("run", self.machine.clone(), settings);
        report.date.clone_from(&self.date);
        for seen in &self.subjects {
            for run in &seen.runs {
                for (name, unit, value) in figures(run, self.scenario.sends_nothing()) {
                    report.add(format!("{} {name}", seen.name), unit, value);
                }
                report.note(format!("{}: {}", seen.name, run.balance.line()));
                if run.interrupted || run.shortened {
                    report.note(format!("{}: the run was cut short", seen.name));
                }
                // A yardstick promises nothing.
                let broken = if seen.is_yardstick() { "" } else { "BROKEN: " };
                for owed in run.owed() {
                    report.note(format!("{}: {broken}{owed}", seen.name));
                }
                if run.ended > 0 {
                    report.note(format!("{}: {} connections ended unasked", seen.name, run.ended));
                }
                if !run.server.is_known() && !run.server.ended {
                    report
                        .note(format!("{}: nobody's CPU and memory were read (--pid)", seen.name));
                }
                for error in &run.errors {
                    report.note(format!("{}: {error}", seen.name));
                }
                for (what, count) in &run.skipped {
                    let done = run.done.get(what).copied().unwrap_or(0);
                    let due = done + count;
                    report.note(format!(
                        "{}: {count} of {due} {what} were left out: their clients were away, slow, or \
                         had nobody to talk to",
                        seen.name
                    ));
                }
                for (what, count) in &run.unsupported {
                    report.note(format!("{} has no {what} ({count} asked for)", seen.name));
                }
            }
        }
        self.ratios(&mut report);
        self.promises(&mut report);
        self.notes.iter().for_each(|note| report.note(note.clone()));
        for said in self.bottlenecks() {
            report.note(format!("THE GENERATOR WAS THE BOTTLENECK: {said}"));
        }
        self.blurs().into_iter().for_each(|said| report.note(said));
        if let Some(said) = self.other_texts() {
            report.note(said);
        }
        report
    }

    /// States what Rally's figures are held to, where what was done is what that was stated for: plain
    /// messages, and connections that say nothing. The floor of several nodes is one that does not sync:
    /// they write to a database, and not to a disk of their own.
    fn promises(&self, report: &mut Report) {
        let floor = self.subjects.iter().find(|seen| seen.name == "floor");
        let syncs = floor.is_some_and(|floor| floor.settings.is_empty());
        if self.scenario.says_nothing() {
            report.promise("rally times the floor", IDLE_TIMES_FLOOR);
            report.promise("rally memory a connection, open", IDLE_KIB);
            report.promise("rally memory a connection, end", IDLE_KIB);
        } else if self.scenario.is_plain() && syncs {
            report.promise("rally times the floor", TIMES_FLOOR);
        } else if self.scenario.is_plain() {
            report.promise("cluster times the floor", CLUSTER_TIMES_FLOOR);
        }
    }

    /// Says that the floor does less than servers, or more, where texts are not as long as its records
    /// are made for.
    fn other_texts(&self) -> Option<String> {
        let bytes = self.scenario.send.text_bytes;
        let has_floor = self.subjects.iter().any(|seen| seen.name == "floor");
        let is_other = has_floor && bytes != TEXT_BYTES && !self.scenario.sends_nothing();
        is_other.then(|| {
            format!(
                "texts of {bytes} bytes: the floor reads and writes as much as for {TEXT_BYTES}, whatever \
                 they are"
            )
        })
    }

    /// Adds how many times the floor each server took, run by run.
    fn ratios(&self, report: &mut Report) {
        let Some(floor) = self.subjects.iter().find(|seen| seen.name == "floor") else { return };
        for seen in self.subjects.iter().filter(|seen| seen.name != "floor") {
            for (run, floor) in seen.runs.iter().zip(&floor.runs) {
                let quiet = self.scenario.sends_nothing();
                let (Some(one), Some(bare)) = (price(run, quiet), price(floor, quiet)) else {
                    continue;
                };
                report.add(format!("{} times the floor", seen.name), "", one / bare);
            }
        }
    }
}

/// Gives what is compared: CPU a message, or in a quiet scenario, in which none is sent, a connection
/// and second. Nothing where nobody's processes were looked at, or no message was acknowledged.
fn price(run: &Measured, quiet: bool) -> Option<f64> {
    if !run.server.is_known() {
        return None;
    }
    let us = run.server.cpu_ns as f64 / 1e3;
    let seconds = run.window_ns as f64 / 1e9;
    let price = match quiet {
        true => us / run.connections as f64 / seconds,
        false => us / run.messages as f64,
    };
    Some(price).filter(|us| us.is_finite())
}

/// Gives the figures of a run, in which messages are sent unless it is quiet, in the order in which
/// people want them. What each means is said by
/// `rally-bench run --help`.
fn figures(run: &Measured, quiet: bool) -> Vec<(String, &'static str, f64)> {
    let mut all: Vec<(String, &'static str, f64)> = Vec::new();
    let mut add = |name: &str, unit, value: f64| all.push((name.to_owned(), unit, value));
    let per = |ns: u64, count: u64| ns as f64 / 1e3 / count.max(1) as f64;
    let kib = |bytes: u64| bytes as f64 / 1024.0 / run.connections.max(1) as f64;
    let server = &run.server;
    if run.messages > 0 {
        add("messages a second", "/s", run.rate());
        if let Some(us) = price(run, quiet) {
            add("CPU a message", "µs", us);
        }
        for (thread, ns) in server.threads_ns.iter().filter(|_| server.threads_ns.len() > 1) {
            if per(*ns, run.messages) >= 0.1 {
                add(&format!("CPU a message, {thread}"), "µs", per(*ns, run.messages));
            }
        }
        if run.deliveries > run.messages && server.is_known() {
            add("CPU a delivery", "µs", per(server.cpu_ns, run.deliveries));
        }
    } else if let Some(us) = price(run, quiet).filter(|_| quiet) {
        add("CPU a connection", "µs/s", us);
    }
    for (name, spans) in &run.spans {
        if name == "lag" {
            continue;
        }
        for (suffix, ms) in quantiles_ms(&spans.0) {
            add(&format!("{name} {suffix}"), "ms", ms);
        }
    }
    if let Some(ns) = run.all_back_ns {
        add("all back", "s", ns as f64 / 1e9);
    }
    add("opening all", "s", run.opening_ns as f64 / 1e9);
    for (when, bytes) in [("open", server.rss_open), ("end", server.rss_end)] {
        if server.is_known() {
            let kib = kib(bytes.saturating_sub(server.rss_before));
            add(&format!("memory a connection, {when}"), "KiB", kib);
        }
    }
    if let Some(bytes) = server.data_bytes.filter(|_| run.balance.acked > 0) {
        add("bytes stored a message", "B", bytes as f64 / run.balance.acked as f64);
    }
    for (name, value) in &server.metrics {
        add(name, "ms", *value);
    }
    if let Some(processors) = run.processors {
        let Processors { busy_ns, iowait_ns, stolen_ns, .. } = processors;
        for (what, ns) in
            [("busy", busy_ns), ("waiting for a disk", iowait_ns), ("stolen", stolen_ns)]
        {
            add(&format!("machine: {what}"), "cores", ns as f64 / run.window_ns as f64);
        }
    }
    if run.messages > 0 {
        add("generator CPU a message", "µs", per(run.own_cpu_ns, run.messages));
    }
    if let Some(ns) = run.lag_ns() {
        add("generator lag p99", "ms", ns as f64 / 1e6);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::document::tests::document;

    #[test]
    fn the_price_is_compared_with_the_floor_s_of_the_same_run() {
        let mut document = document();
        document.scenario.send.rate = 500.0;
        let table = document.table();
        assert_eq!(table.median("rally CPU a message"), Some(60.0));
        assert_eq!(table.median("rally times the floor"), Some(2.0));
        assert_eq!(table.median("floor times the floor"), None);
    }

    #[test]
    fn a_server_that_acknowledged_nothing_has_no_price_and_is_not_compared() {
        let mut document = document();
        document.scenario.send.rate = 500.0;
        document.subjects[0].runs.iter_mut().for_each(|run| run.messages = 0);
        let table = document.table();
        for figure in ["CPU a message", "CPU a connection", "times the floor"] {
            assert_eq!(table.median(&format!("rally {figure}")), None, "{figure}");
        }
    }

    #[test]
    fn of_processes_that_nobody_looked_at_nothing_is_said_nor_promised() {
        let mut document = document();
        document.subjects[0].runs.iter_mut().for_each(|run| run.server.cpu_ns = 0);
        let table = document.table();
        for figure in ["CPU a message", "times the floor", "memory a connection, open"] {
            assert_eq!(table.median(&format!("rally {figure}")), None, "{figure}");
        }
        assert!(table.median("floor CPU a message").is_some());
        assert!(table.figures.iter().all(|figure| figure.at_most.is_none()));
        assert!(table.table().contains("(--pid)"));
    }

    #[test]
    fn connections_that_say_nothing_are_promised_less_than_messages() {
        let promised = |set: fn(&mut Scenario)| {
            let mut document = document();
            set(&mut document.scenario);
            let table = document.table();
            let found = table.figures.iter().find(|figure| figure.name == "rally times the floor");
            found.unwrap().at_most
        };
        assert_eq!(promised(|_| {}), Some(IDLE_TIMES_FLOOR));
        assert_eq!(promised(|scenario| scenario.send.rate = 1.0), Some(TIMES_FLOOR));
        assert_eq!(promised(|scenario| scenario.logins = 1.0), None, "no floor logs anybody in");
    }

    #[test]
    fn nothing_is_promised_of_work_that_it_was_not_stated_for() {
        let promised = |name: &str, settings: &str, set: fn(&mut Scenario)| {
            let mut document = document();
            document.scenario.send.rate = 500.0;
            set(&mut document.scenario);
            name.clone_into(&mut document.subjects[0].name);
            settings.clone_into(&mut document.subjects[1].settings);
            let figures = document.table().figures;
            figures
                .into_iter()
                .find(|figure| figure.name.ends_with("times the floor"))
                .unwrap()
                .at_most
        };
        assert_eq!(promised("rally", "", |_| {}), Some(TIMES_FLOOR));
        assert_eq!(promised("rally", ", without fsync", |_| {}), None);
        assert_eq!(promised("rally", "", |scenario| scenario.reconnects = 1.0), None);
        assert_eq!(promised("rally", "", |scenario| scenario.devices = 3), None);
        assert_eq!(promised("cluster", "", |_| {}), None, "it syncs nothing");
        assert_eq!(promised("cluster", ", without fsync", |_| {}), Some(CLUSTER_TIMES_FLOOR));
        assert_eq!(promised("cluster", "", |scenario| scenario.send.rate = 0.0), None);
    }

    #[test]
    fn texts_that_the_floor_does_not_write_are_told_of() {
        let mut document = document();
        document.scenario.send.rate = 500.0;
        assert!(!document.table().table().contains("texts of"));
        document.scenario.send.text_bytes = 300;
        assert!(document.table().table().contains("texts of 300 bytes"));
        document.subjects.truncate(1);
        assert!(!document.table().table().contains("texts of"), "there is no floor");
    }

    #[test]
    fn what_the_machine_did_is_in_the_report() {
        let mut document = document();
        let processors =
            Processors { count: 2, busy_ns: 1_500_000_000, iowait_ns: 0, stolen_ns: 250_000_000 };
        document.subjects[0].runs.iter_mut().for_each(|run| run.processors = Some(processors));
        let table = document.table();
        assert_eq!(table.median("rally machine: busy"), Some(1.5));
        assert_eq!(table.median("rally machine: stolen"), Some(0.25));
        assert_eq!(table.median("floor machine: busy"), None, "nobody looked");
    }
}
