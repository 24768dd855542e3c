//! What a run looks like while it goes on: one line in the terminal, and second by second for the
//! report.

use std::io::{IsTerminal as _, Write as _, stderr};

use hdrhistogram::Histogram;

use crate::report::histogram;
use crate::run::book::Balance;
use crate::run::measured::Second;
use crate::run::scenario::Scenario;
use crate::run::timetable::Course;

const SECOND_NS: u64 = 1_000_000_000;

/// Watches a run.
#[derive(Debug)]
pub struct Progress {
    total_s: u64,
    begin_s: u64,
    terminal: bool,
    seconds: Vec<Second>,
    /// What had been counted when the second began.
    before: Balance,
    took: Histogram<u64>,
    troubles: u64,
}

impl Progress {
    /// Begins with a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let course = Course::of(scenario);
        Self {
            total_s: course.end_ns() / SECOND_NS,
            begin_s: course.begin_ns() / SECOND_NS,
            terminal: stderr().is_terminal(),
            seconds: Vec::new(),
            before: Balance::default(),
            took: histogram(),
            troubles: 0,
        }
    }

    /// So many of all connections are open.
    pub fn opening(&self, open: usize, all: usize) {
        if self.terminal && (open == all || open.is_multiple_of(100)) {
            eprint!("\r\x1b[Kopening connections: {open} of {all}");
        }
    }

    /// Something was refused, or a connection ended unasked.
    pub fn trouble(&mut self) {
        self.troubles += 1;
    }

    /// A message came, after so long if it counts.
    pub fn delivered(&mut self, took_ns: Option<u64>) {
        if let Some(ns) = took_ns {
            self.took.saturating_record(ns);
        }
    }

    /// Ends the seconds that are over.
    pub fn tick(&mut self, now_ns: u64, balance: &Balance, open: usize) {
        if now_ns < (self.seconds.len() as u64 + 1) * SECOND_NS {
            return;
        }
        let ms = |quantile| {
            (!self.took.is_empty()).then(|| self.took.value_at_quantile(quantile) as f64 / 1e6)
        };
        let second = Second {
            sent: balance.sent - self.before.sent,
            acked: balance.acked - self.before.acked,
            delivered: balance.delivered - self.before.delivered,
            troubles: std::mem::take(&mut self.troubles),
            open: open as u64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        };
        self.took.reset();
        self.before = balance.clone();
        self.seconds.push(second);
        self.show();
    }

    fn show(&self) {
        let (Some(last), true) = (self.seconds.last(), self.terminal) else { return };
        let at_s = self.seconds.len() as u64;
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        let warms_up = if at_s <= self.begin_s { " (warming up)" } else { "" };
        let troubles: u64 = self.seconds.iter().map(|second| second.troubles).sum();
        eprint!(
            "\r\x1b[K{at_s} of {} s{warms_up} | {} sent/s, {} acked/s | delivered p50 {} p99 {} ms | \
             {} open | errors {troubles} | {} s to go",
            self.total_s,
            last.sent,
            last.acked,
            ms(last.p50_ms),
            ms(last.p99_ms),
            last.open,
            self.total_s.saturating_sub(at_s)
        );
        let _ = stderr().flush();
    }

    /// Ends the line, and gives all seconds.
    pub fn end(self) -> Vec<Second> {
        if self.terminal {
            eprintln!();
        }
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_what_happened_in_it() {
        let mut progress = Progress::of(&Scenario::default());
        let balance = |sent, acked| Balance { sent, acked, ..Balance::default() };
        progress.delivered(Some(2_000_000));
        progress.trouble();
        progress.tick(SECOND_NS - 1, &balance(3, 2), 5);
        progress.tick(SECOND_NS, &balance(4, 2), 5);
        progress.tick(2 * SECOND_NS, &balance(10, 9), 6);
        let seconds = progress.end();
        assert_eq!(seconds.iter().map(|s| (s.sent, s.acked)).collect::<Vec<_>>(), [(4, 2), (6, 7)]);
        assert_eq!((seconds[0].troubles, seconds[1].troubles, seconds[1].open), (1, 0, 6));
        assert!((1.9..2.1).contains(&seconds[0].p50_ms.unwrap()) && seconds[1].p50_ms.is_none());
    }
}
