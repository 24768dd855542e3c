//! What a run ends in: figures of several runs as median and spread, for people and for programs.
//!
//! Knows nothing of how a figure was taken.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::date::{now_ms, rfc3339};
use crate::out::say;
use crate::proc::Machine;
use crate::version::VERSION;

/// Makes a histogram of nanoseconds up to an hour, exact to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are constant and valid")
}

/// Gives what is reported of a histogram of nanoseconds, each with its name: in milliseconds.
pub fn quantiles_ms(spans: &Histogram<u64>) -> [(&'static str, f64); 4] {
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)]
        .map(|(name, quantile)| (name, spans.value_at_quantile(quantile) as f64 / 1e6))
}

/// Gives the middle value; of two middle values their mean; nothing of no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// One figure, with its value in every run.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is; one of the names that `--help` explains.
    pub name: String,
    /// In what it is counted.
    pub unit: &'static str,
    /// One value a run, in the order of the runs.
    pub values: Vec<f64>,
    /// What the median must not exceed, if something was promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

impl Figure {
    /// Gives the median of its values.
    pub fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    /// Tells whether the promise was kept, if there is one and something was measured.
    pub fn kept(&self) -> Option<bool> {
        Some(self.median()? <= self.at_most?)
    }
}

/// Everything a command reports.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which command.
    pub command: &'static str,
    /// Of which version of this program.
    pub version: &'static str,
    /// When it was begun, as RFC 3339 has it; nothing where an older report did not say so.
    pub date: Option<String>,
    /// On what machine.
    pub machine: Machine,
    /// With which settings, as one line.
    pub settings: String,
    /// The figures, in the order in which people want them.
    pub figures: Vec<Figure>,
    /// What a reader must know besides: losses, interruptions.
    pub notes: Vec<String>,
}

impl Report {
    /// Begins an empty report, now.
    pub fn new(command: &'static str, machine: Machine, settings: String) -> Self {
        let date = Some(rfc3339(now_ms()));
        let (version, figures, notes) = (VERSION.as_str(), Vec::new(), Vec::new());
        Self { command, version, date, machine, settings, figures, notes }
    }

    /// Adds one run's value of a figure; what is not finite is none, and JSON has no word for it.
    pub fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        if !value.is_finite() {
            return;
        }
        let name = name.into();
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => {
                self.figures.push(Figure { name, unit, values: vec![value], at_most: None });
            }
        }
    }

    /// Adds p50, p90, p99 and the largest of a histogram of nanoseconds, in milliseconds.
    pub fn add_latency(&mut self, name: &str, spans: &Histogram<u64>) {
        if spans.is_empty() {
            return;
        }
        for (suffix, ms) in quantiles_ms(spans) {
            self.add(format!("{name} {suffix}"), "ms", ms);
        }
    }

    /// States what a figure's median must not exceed.
    pub fn promise(&mut self, name: &str, at_most: f64) {
        if let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) {
            figure.at_most = Some(at_most);
        }
    }

    /// Gives a figure's median.
    #[cfg(test)]
    pub fn median(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.median()
    }

    /// Adds a remark.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Writes the table that people read.
    pub fn table(&self) -> String {
        let m = &self.machine;
        let mut out = format!(
            "rally-bench {}: {}\n{}{} cores of {}, {} MiB, kernel {}, data on {}, load before {:.2}\n\n",
            self.command,
            self.settings,
            self.date.as_ref().map(|date| format!("{date}, ")).unwrap_or_default(),
            m.cores,
            m.cpu,
            m.memory_mib,
            m.kernel,
            m.filesystem,
            m.load_before
        );
        let wide = self.figures.iter().map(|f| f.name.len()).max().unwrap_or(6).max(6);
        line(&mut out, wide, ["figure", "median", "unit", "min..max", "runs", "at most", ""]);
        for figure in &self.figures {
            let Some(median) = figure.median() else { continue };
            let (min, max) = figure
                .values
                .iter()
                .fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(*v), max.max(*v)));
            line(
                &mut out,
                wide,
                [
                    &figure.name,
                    &shown(median),
                    figure.unit,
                    &format!("{}..{}", shown(min), shown(max)),
                    &figure.values.len().to_string(),
                    &figure.at_most.map(shown).unwrap_or_default(),
                    match figure.kept() {
                        Some(true) => "kept",
                        Some(false) => "MISSED",
                        None => "",
                    },
                ],
            );
        }
        for note in &self.notes {
            out.push_str("\nnote: ");
            out.push_str(note);
        }
        out.push('\n');
        out
    }

    /// Prints the table, and writes the same as JSON if a file was named.
    pub fn publish(&self, json: Option<&Path>) -> Result<()> {
        say(format_args!("\n{}", self.table()))?;
        let Some(path) = json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn line(out: &mut String, wide: usize, cells: [&str; 7]) {
    let [name, median, unit, spread, runs, at_most, verdict] = cells;
    let text = format!(
        "{name:wide$}  {median:>9} {unit:6}  {spread:>19}  {runs:>4}  {at_most:>8}  {verdict}"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

/// Shows a number with as many digits as are worth reading.
pub fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: &[f64]) -> Report {
        let mut report = Report::new("test", Machine::look(Path::new("/")), "rate 1".to_owned());
        for value in values {
            report.add("cpu", "µs", *value);
        }
        report
    }

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        assert_eq!(report(&[9.0, 1.0, 2.0]).median("cpu"), Some(2.0));
        assert_eq!(report(&[4.0, 1.0, 2.0, 9.0]).median("cpu"), Some(3.0));
        assert_eq!(report(&[]).median("cpu"), None);
        assert_eq!((median(&[2.0, 1.0]), median(&[])), (Some(1.5), None));
        assert_eq!(report(&[f64::INFINITY, 3.0, f64::NAN]).median("cpu"), Some(3.0));
    }

    #[test]
    fn a_missed_promise_is_called_missed() {
        let mut report = report(&[1.0, 3.0, 2.0]);
        report.promise("cpu", 2.0);
        assert!(report.table().contains("kept"));
        report.promise("cpu", 1.9);
        let table = report.table();
        assert!(table.contains("MISSED") && table.contains("1.00..3.00"), "{table}");
    }

    #[test]
    fn a_histogram_is_shown_in_milliseconds() {
        let mut spans = histogram();
        (1..=100u64).for_each(|ms| spans.record(ms * 1_000_000).unwrap());
        let mut report = report(&[]);
        report.add_latency("ack", &spans);
        assert!((49.0..52.0).contains(&report.median("ack p50").unwrap()));
        assert!((98.0..101.0).contains(&report.median("ack p99").unwrap()));
        // A server that stood still for five minutes.
        spans.saturating_record(300_000_000_000);
        let [.., (_, longest_ms)] = quantiles_ms(&spans);
        assert!((299_000.0..301_000.0).contains(&longest_ms), "{longest_ms}");
        report.add_latency("nothing", &histogram());
        assert_eq!(report.median("nothing p50"), None);
    }
}
