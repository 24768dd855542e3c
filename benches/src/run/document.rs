//! The report of `run`: everything that was counted, with what, on what, and the figures that
//! follow from it.
//!
//! Written as JSON that later versions read again; shown as a table, and as a page (`page.rs`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde::{Deserialize, Serialize};

use crate::proc::Machine;
use crate::report::Report;
use crate::run::measured::Measured;
use crate::run::scenario::Scenario;

/// The version of the format: another one is not read.
const FORMAT: u32 = 1;

/// How many times the floor a message may take, between two nodes, and a connection that says
/// nothing.
const TIMES_FLOOR: f64 = 2.0;
const CLUSTER_TIMES_FLOOR: f64 = 4.0;
const IDLE_TIMES_FLOOR: f64 = 1.5;

/// KiB of memory that a connection may take that says nothing.
const IDLE_KIB: f64 = 5.0;

/// A report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    format: u32,
    /// The version of this program.
    pub version: String,
    /// The name of the scenario or its file.
    pub name: String,
    /// What was done.
    pub scenario: Scenario,
    /// On what machine.
    pub machine: Machine,
    /// What was measured, in the order in which each run took place.
    pub subjects: Vec<Seen>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

/// What was seen of one server, run by run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// What is not as installed.
    pub settings: String,
    /// One after the other.
    pub runs: Vec<Measured>,
}

impl Document {
    /// Begins an empty report.
    pub fn new(name: &str, scenario: &Scenario, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            scenario: scenario.clone(),
            machine,
            subjects: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads one that was written before.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let reading = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(reading)?;
        let Head { format } = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of `run`", path.display()))?;
        ensure!(
            format == FORMAT,
            "{} has format {format}: this program reads {FORMAT}",
            path.display()
        );
        serde_json::from_str(&text).with_context(reading)
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Enters what a run of a server showed.
    pub fn enter(&mut self, seen: Seen) {
        match self.subjects.iter_mut().find(|known| known.name == seen.name) {
            Some(known) => known.runs.extend(seen.runs),
            None => self.subjects.push(seen),
        }
    }

    /// Writes its histograms as HdrHistogram's tools read them: a file for each server and what was
    /// timed, an interval for each run, in nanoseconds.
    pub fn write_histograms(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for seen in &self.subjects {
            let mut names: Vec<&String> =
                seen.runs.iter().flat_map(|run| run.spans.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let path = folder.join(format!("{}-{name}.hlog", seen.name));
                let writing = || format!("writing {}", path.display());
                let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
                let mut begin = Duration::ZERO;
                let mut builder = IntervalLogWriterBuilder::new();
                builder.add_comment(&format!("{} {name}, nanoseconds", self.name));
                let mut writer = builder.begin_log_with(&mut log, &mut serializer)?;
                for run in &seen.runs {
                    let long = Duration::from_nanos(run.window_ns);
                    if let Some(spans) = run.spans.get(name) {
                        let written = writer.write_histogram(&spans.0, begin, long, None);
                        written.map_err(|error| anyhow!("{}: {error:?}", writing()))?;
                    }
                    begin += long;
                }
                std::fs::write(&path, log).with_context(writing)?;
            }
        }
        Ok(())
    }

    /// Adds what another process saw, run by run.
    ///
    /// # Errors
    ///
    /// The other is of another scenario, other servers, or another number of runs.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        ensure!(self.scenario == other.scenario, "they are of different scenarios");
        ensure!(self.subjects.len() == other.subjects.len(), "they are of different servers");
        for (seen, more) in self.subjects.iter_mut().zip(&other.subjects) {
            ensure!(seen.name == more.name, "one is of {}, one of {}", seen.name, more.name);
            ensure!(seen.runs.len() == more.runs.len(), "they have different numbers of runs");
            seen.runs.iter_mut().zip(&more.runs).try_for_each(|(sum, more)| sum.add(more))?;
        }
        self.notes.extend(other.notes.iter().cloned());
        Ok(())
    }

    /// Tells whether every message was accounted for in every run.
    pub fn is_clean(&self) -> bool {
        self.subjects.iter().flat_map(|seen| &seen.runs).all(Measured::is_clean)
    }

    /// Says where the generator was what is slow.
    pub fn bottlenecks(&self) -> Vec<String> {
        let of = |seen: &Seen| {
            let name = seen.name.clone();
            let said = seen.runs.iter().filter_map(Measured::bottleneck);
            said.map(move |said| format!("{name}: {said}")).collect::<Vec<_>>()
        };
        self.subjects.iter().flat_map(of).collect()
    }

    /// Gives its figures as a table, a value a run.
    pub fn table(&self) -> Report {
        let Scenario { users, devices, seconds, warmup_s, .. } = &self.scenario;
        let settings = format!(
            "{}: {users} users, {devices} devices each, {warmup_s} + {seconds} s{}",
            self.name,
            self.subjects.iter().map(|seen| seen.settings.as_str()).collect::<String>()
        );
        let mut report = Report::new("run", self.machine.clone(), settings);
        for seen in &self.subjects {
            for run in &seen.runs {
                for (name, unit, value) in figures(run) {
                    report.add(format!("{} {name}", seen.name), unit, value);
                }
                report.note(format!("{}: {}", seen.name, run.balance.line()));
                for owed in run.owed() {
                    report.note(format!("{}: BROKEN: {owed}", seen.name));
                }
                if !run.server.is_known() {
                    report
                        .note(format!("{}: nobody's CPU and memory were read (--pid)", seen.name));
                }
                for error in &run.errors {
                    report.note(format!("{}: {error}", seen.name));
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
        report
    }

    /// States what Rally's figures are held to.
    fn promises(&self, report: &mut Report) {
        let says_nothing = self.scenario.send.rate == 0.0 && !self.scenario.is_closed();
        let times = if says_nothing { IDLE_TIMES_FLOOR } else { TIMES_FLOOR };
        report.promise("rally times the floor", times);
        report.promise("cluster times the floor", CLUSTER_TIMES_FLOOR);
        if says_nothing {
            report.promise("rally memory a connection, open", IDLE_KIB);
            report.promise("rally memory a connection, end", IDLE_KIB);
        }
    }

    /// Adds how many times the floor each server took, run by run.
    fn ratios(&self, report: &mut Report) {
        let Some(floor) = self.subjects.iter().find(|seen| seen.name == "floor") else { return };
        for seen in self.subjects.iter().filter(|seen| seen.name != "floor") {
            for (run, floor) in seen.runs.iter().zip(&floor.runs) {
                let (Some(one), Some(bare)) = (price(run), price(floor)) else { continue };
                report.add(format!("{} times the floor", seen.name), "", one / bare);
            }
        }
    }
}

/// Gives what is compared: CPU a message, or where none is sent a connection and second. Nothing
/// where nobody's processes were looked at.
fn price(run: &Measured) -> Option<f64> {
    if !run.server.is_known() {
        return None;
    }
    let us = run.server.cpu_ns as f64 / 1e3;
    let seconds = run.window_ns as f64 / 1e9;
    match run.messages {
        0 => Some(us / run.connections as f64 / seconds).filter(|us| us.is_finite()),
        messages => Some(us / messages as f64),
    }
}

/// Gives the figures of a run, in the order in which people want them. What each means is said by
/// `rally-bench run --help`.
pub fn figures(run: &Measured) -> Vec<(String, &'static str, f64)> {
    let mut all: Vec<(String, &'static str, f64)> = Vec::new();
    let mut add = |name: &str, unit, value: f64| all.push((name.to_owned(), unit, value));
    let per = |ns: u64, count: u64| ns as f64 / 1e3 / count.max(1) as f64;
    let kib = |bytes: u64| bytes as f64 / 1024.0 / run.connections.max(1) as f64;
    let server = &run.server;
    if run.messages > 0 {
        add("messages a second", "/s", run.messages as f64 / (run.window_ns as f64 / 1e9));
        if let Some(us) = price(run) {
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
    } else if let Some(us) = price(run) {
        add("CPU a connection", "µs/s", us);
    }
    for (name, spans) in &run.spans {
        if name == "lag" {
            continue;
        }
        for (suffix, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            let ms = spans.0.value_at_quantile(quantile) as f64 / 1e6;
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
    if run.messages > 0 {
        add("generator CPU a message", "µs", per(run.own_cpu_ns, run.messages));
    }
    if let Some(lag) = run.spans.get("lag") {
        add("generator lag p99", "ms", lag.0.value_at_quantile(0.99) as f64 / 1e6);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_us: u64, messages: u64) -> Measured {
        let mut run =
            Measured { messages, window_ns: 1_000_000_000, connections: 2, ..Measured::default() };
        run.server.cpu_ns = cpu_us * 1_000 * messages;
        run
    }

    fn seen(name: &str, run: Measured) -> Seen {
        let (settings, version) = (String::new(), "1".to_owned());
        Seen { name: name.to_owned(), version, settings, runs: vec![run] }
    }

    #[test]
    fn histograms_are_written_as_others_read_them() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let folder = tempfile::tempdir().unwrap();
        let mut document = document();
        for run in &mut document.subjects[0].runs {
            run.spans.entry("ack".to_owned()).or_default().0.record(5_000).unwrap();
        }
        document.write_histograms(folder.path()).unwrap();
        let log = std::fs::read(folder.path().join("rally-ack.hlog")).unwrap();
        let entries = IntervalLogIterator::new(&log).map(Result::unwrap);
        let runs = entries.filter(|entry| matches!(entry, LogEntry::Interval(_))).count();
        assert_eq!(runs, 3);
    }

    fn document() -> Document {
        let machine = Machine::look(Path::new("/"));
        let mut document = Document::new("pairs", &Scenario::default(), machine);
        for (rally, floor) in [(60, 30), (80, 20), (50, 50)] {
            document.enter(seen("rally", measured(rally, 100)));
            document.enter(seen("floor", measured(floor, 100)));
        }
        document
    }

    #[test]
    fn the_price_is_compared_with_the_floor_s_of_the_same_run() {
        let table = document().table();
        assert_eq!(table.median("rally CPU a message"), Some(60.0));
        assert_eq!(table.median("rally times the floor"), Some(2.0));
        assert_eq!(table.median("floor times the floor"), None);
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
    fn what_a_server_owed_is_in_the_report_and_makes_it_unclean() {
        let mut document = document();
        assert!(document.is_clean());
        document.subjects[0].runs[1].balance.unanswered = 7;
        assert!(!document.is_clean());
        assert!(document.table().table().contains("BROKEN: 7 messages"));
    }

    #[test]
    fn a_report_is_read_again_and_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        document().write(&path).unwrap();
        let read = Document::read(&path).unwrap();
        assert_eq!(read.table().median("rally times the floor"), Some(2.0));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"format\": 1", "\"format\": 9", 1)).unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("format 9"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("no report"));
    }

    #[test]
    fn only_reports_of_one_scenario_add_up() {
        let mut sum = document();
        sum.add(&document()).unwrap();
        assert_eq!(sum.subjects[0].runs[0].messages, 200);
        let mut other = document();
        other.scenario.users = 4;
        assert!(sum.add(&other).is_err());
    }
}
