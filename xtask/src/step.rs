//! What a step of `cargo xtask test` is, and how one is run.
//!
//! Knows nothing of which steps there are.

use std::time::Instant;

use crate::checkout::Checkout;
use crate::summary::{Line, Summary, Verdict};

/// One thing that is checked.
pub struct Step {
    /// The name that `--only` takes.
    pub name: &'static str,
    /// What is checked, in a few words.
    pub about: &'static str,
    /// Earlier steps without which this one makes no sense.
    pub needs: &'static [&'static str],
    /// Does it; its output goes where ours goes. An error is a failed step.
    pub run: fn(&Checkout) -> anyhow::Result<Outcome>,
}

/// How a step that did not fail ended.
pub enum Outcome {
    /// It was checked and is right.
    Passed,
    /// It could not be checked, for a reason that is no fault of the tree.
    Skipped(String),
}

/// Runs `steps` in order. A failure holds back only what needs the failed step.
pub fn run_all(steps: &[&Step], checkout: &Checkout) -> Summary {
    let mut summary = Summary::default();
    for (index, step) in steps.iter().enumerate() {
        println!("\n== {}/{} {}: {} ==", index + 1, steps.len(), step.name, step.about);
        let begun = Instant::now();
        let verdict = match step.needs.iter().find(|need| summary.lacks(need)) {
            Some(need) => Verdict::Skipped(format!("needs {need}, which did not pass")),
            None => judge((step.run)(checkout)),
        };
        let line = Line { step: step.name, verdict, took: begun.elapsed() };
        println!("== {line}");
        summary.add(line);
    }
    summary
}

fn judge(result: anyhow::Result<Outcome>) -> Verdict {
    match result {
        Ok(Outcome::Passed) => Verdict::Passed,
        Ok(Outcome::Skipped(why)) => Verdict::Skipped(why),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(
        name: &'static str,
        needs: &'static [&'static str],
        run: fn(&Checkout) -> anyhow::Result<Outcome>,
    ) -> Step {
        Step { name, about: "a test", needs, run }
    }

    #[test]
    fn a_failed_step_holds_back_what_needs_it_and_nothing_else() {
        let steps = [
            step("bad", &[], |_| anyhow::bail!("broken")),
            step("child", &["bad"], |_| unreachable!("held back")),
            step("grandchild", &["child"], |_| unreachable!("held back")),
            step("apart", &[], |_| Ok(Outcome::Passed)),
        ];
        let checkout = Checkout::find().unwrap();
        let summary = run_all(&steps.each_ref(), &checkout).to_string();
        assert!(summary.contains("broken"), "{summary}");
        assert!(summary.contains("needs child, which did not pass"), "{summary}");
        assert!(summary.ends_with("\n1 passed, 1 failed"), "{summary}");
    }
}
