//! The end of `cargo xtask test`: a table for a person, and one last line for a machine.

use std::fmt;
use std::time::Duration;

/// How a step ended, as the table shows it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// It found something wrong, or could not be made to run.
    Failed(String),
    /// It was not run, for this reason.
    Skipped(String),
}

/// One line of the table.
pub struct Line {
    pub step: &'static str,
    pub verdict: Verdict,
    pub took: Duration,
}

/// What all steps gave.
#[derive(Default)]
pub struct Summary {
    lines: Vec<Line>,
}

impl Summary {
    /// Adds how one more step ended.
    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Whether the step `name` was run before and did not pass.
    pub fn lacks(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.step == name && line.verdict != Verdict::Passed)
    }

    /// Whether any step failed.
    pub fn failed(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_))) > 0
    }

    fn count(&self, which: fn(&Verdict) -> bool) -> usize {
        self.lines.iter().filter(|line| which(&line.verdict)).count()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match &self.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("FAILED", Some(why)),
            Verdict::Skipped(why) => ("skipped", Some(why)),
        };
        write!(f, "{:<16} {word:<7} {:>7.1}", self.step, self.took.as_secs_f64())?;
        // A reason may have several lines (a difference, a list): they were shown above.
        match why.and_then(|why| why.lines().next()) {
            Some(why) => write!(f, "  {why}"),
            None => Ok(()),
        }
    }
}

/// Ends with `N passed, N failed` alone on the last line; what was skipped counts as neither.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:<7} {:>7}", "step", "result", "seconds")?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let passed = self.count(|verdict| *verdict == Verdict::Passed);
        let failed = self.count(|verdict| matches!(verdict, Verdict::Failed(_)));
        write!(f, "\n{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: &'static str, verdict: Verdict, millis: u64) -> Line {
        Line { step, verdict, took: Duration::from_millis(millis) }
    }

    #[test]
    fn the_table_lines_up_and_the_last_line_counts() {
        let mut summary = Summary::default();
        summary.add(line("format", Verdict::Passed, 840));
        summary.add(line("lints", Verdict::Failed("clippy failed\nin detail".into()), 41_000));
        summary.add(line("advisories", Verdict::Skipped("no network".into()), 0));
        let expected = "\
step             result  seconds
format           passed      0.8
lints            FAILED     41.0  clippy failed
advisories       skipped     0.0  no network

1 passed, 1 failed";
        assert_eq!(summary.to_string(), expected);
        assert!(summary.failed());
    }

    #[test]
    fn only_a_step_that_ran_and_did_not_pass_is_lacking() {
        let mut summary = Summary::default();
        summary.add(line("good", Verdict::Passed, 0));
        summary.add(line("absent", Verdict::Skipped("no tool".into()), 0));
        assert!(!summary.lacks("good"));
        assert!(summary.lacks("absent"));
        assert!(!summary.lacks("never heard of"));
        assert!(!summary.failed());
    }
}
