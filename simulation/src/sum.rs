//! What all runs came to, in a few lines.

use std::collections::BTreeMap;
use std::fmt;

use rally_proof::{Event, History};

use crate::faults::Kind;
use crate::run::Outcome;

/// What was counted over all runs.
#[derive(Default)]
pub struct Sum {
    runs: u64,
    operations: usize,
    wrote: usize,
    acked: usize,
    unsure: usize,
    shown: usize,
    small_faults: u64,
    kinds: BTreeMap<Kind, u64>,
    catch_ups: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    logged_out: u64,
    /// What was found wrong, a broken seed each.
    pub broken: Vec<String>,
}

impl Sum {
    /// Adds a run, and what was found wrong with it.
    pub fn add(&mut self, outcome: &Outcome, found: Vec<String>) {
        let Outcome { history, kinds, faults, operations, counted, .. } = outcome;
        self.runs += 1;
        self.operations += operations;
        self.wrote += count(history, |event| matches!(event, Event::Wrote { .. }));
        self.acked += count(history, |event| matches!(event, Event::Acked { .. }));
        self.unsure += count(history, |event| matches!(event, Event::Unsure { .. }));
        self.shown += count(history, |event| matches!(event, Event::Appeared { .. }));
        self.small_faults += faults;
        for kind in kinds {
            *self.kinds.entry(*kind).or_default() += 1;
        }
        add_all(&mut self.catch_ups, &counted.catch_ups);
        add_all(&mut self.refused, &counted.pushes_refused);
        self.logged_out += counted.logged_out;
        self.broken.extend((!found.is_empty()).then(|| found.join("\n")));
    }
}

fn add_all(sums: &mut BTreeMap<&'static str, u64>, counts: &BTreeMap<&'static str, u64>) {
    for (of, count) in counts {
        *sums.entry(of).or_default() += count;
    }
}

fn count(history: &History, which: fn(&Event) -> bool) -> usize {
    history.entries.iter().filter(|entry| which(&entry.event)).count()
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, operations, wrote, acked, unsure, shown, small_faults, .. } = self;
        writeln!(f, "{runs} runs, {operations} operations")?;
        writeln!(
            f,
            "  messages: {wrote} written, {acked} acknowledged, {unsure} times unknown, \
             {shown} times shown"
        )?;
        writeln!(f, "  kinds of fault: {}; {small_faults} small faults", list(&self.kinds))?;
        writeln!(f, "  catch-ups: {}", list(&self.catch_ups))?;
        writeln!(f, "  pushes refused: {}", list(&self.refused))?;
        writeln!(f, "  sessions ended by a log-out everywhere: {}", self.logged_out)?;
        write!(f, "  {} broken", self.broken.len())?;
        self.broken.iter().try_for_each(|broken| write!(f, "\n{broken}"))
    }
}

fn list(counts: &BTreeMap<impl fmt::Debug, u64>) -> String {
    let each =
        counts.iter().map(|(of, count)| format!("{} {count}", format!("{of:?}").trim_matches('"')));
    each.collect::<Vec<_>>().join(", ")
}
