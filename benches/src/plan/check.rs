//! Whether a model says what was measured, far from what it was learnt from.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::model::{BEYOND, Model, Point};
use crate::report::shown;

/// Which share of what was measured a model may be wrong by: beyond it the plan is not to be believed.
const ERROR: f64 = 0.2;

/// Refuses to check a plan by what it was made from, under whatever name.
pub fn is_other(check: &Path, from: &[PathBuf]) -> Result<()> {
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

/// A model beside what was measured.
#[derive(Debug)]
pub struct Checked {
    point: Point,
    /// How many cores the model says.
    said: f64,
    /// How many times the highest rate that it was learnt from this one is.
    times: f64,
}

impl Checked {
    /// Compares a model with a report that it was not learnt from.
    ///
    /// # Errors
    ///
    /// The report is too near to those for that to show anything.
    pub fn of(model: &Model, point: Point) -> Result<Self> {
        let (rate, highest) = (point.rate_of_a_node(), model.rates.1);
        ensure!(
            rate >= BEYOND * highest,
            "--check of a report at {} a second and node: from {} on, {BEYOND} times the highest that \
             the plan was made from, it shows whether that holds",
            shown(rate),
            shown(BEYOND * highest)
        );
        let said = model.cores_of(point.nodes, &point.work);
        Ok(Self { point, said, times: rate / highest })
    }

    /// Gives the rate of one of the nodes.
    pub fn rate_of_a_node(&self) -> f64 {
        self.point.rate_of_a_node()
    }

    /// Tells whether the model is near enough.
    pub fn is_right(&self) -> bool {
        self.error().abs() <= ERROR
    }

    /// Gives by which share of what was measured it is wrong.
    fn error(&self) -> f64 {
        self.said / self.point.cores - 1.0
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "checked at {} a second and node, {:.1} times the highest it was made from: {:.3} cores \
             said, {:.3} measured, {:+.0} %{}",
            shown(self.rate_of_a_node()),
            self.times,
            self.said,
            self.point.cores,
            self.error() * 100.0,
            if self.is_right() { "" } else { ": WRONG" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::tests::{report, reports};
    use super::super::evidence::{Evidence, Sound};
    use super::*;

    fn model() -> Model {
        Model::learn(&Evidence::of(&reports(), "rally").unwrap(), None).unwrap()
    }

    fn point(rate: u64, cores: f64, nodes: usize) -> Point {
        let mut report = report(rate, cores);
        report.subjects[0].nodes = Some(nodes);
        Point::of(&Sound::of(&report, "rally").unwrap()).unwrap()
    }

    /// CPU is as the root of the rate there: 0.2 cores at 2,000 a second.
    #[test]
    fn a_plan_is_checked_far_from_what_it_was_made_from() {
        let right = Checked::of(&model(), point(8_000, 0.4, 1)).unwrap();
        assert!(right.is_right() && right.error().abs() < 1e-6);
        assert!(right.to_string().contains("4.0 times") && !right.to_string().contains("WRONG"));
        for (cores, is_right) in [(0.34, true), (0.33, false), (0.49, true), (0.51, false)] {
            let checked = Checked::of(&model(), point(8_000, cores, 1)).unwrap();
            assert_eq!(checked.is_right(), is_right, "{checked}");
            assert_eq!(checked.to_string().contains("WRONG"), !is_right);
        }
        let error = Checked::of(&model(), point(3_000, 0.4, 1)).unwrap_err().to_string();
        assert!(error.contains("3000") && error.contains("4000"), "{error}");
    }

    #[test]
    fn a_report_of_several_nodes_checks_a_plan_by_the_rate_of_each() {
        let two = Checked::of(&model(), point(16_000, 0.8, 2)).unwrap();
        assert!(two.error().abs() < 1e-6, "{two}");
        let error = Checked::of(&model(), point(7_000, 0.8, 2)).unwrap_err().to_string();
        assert!(error.contains("3500 a second and node"), "{error}");
    }

    #[test]
    fn connections_count_in_a_check_too() {
        let reports = [report(0, 0.1), report(500, 0.2), report(2_000, 0.3)];
        let model = Model::learn(&Evidence::of(&reports, "rally").unwrap(), None).unwrap();
        let checked = Checked::of(&model, point(8_000, 0.5, 1)).unwrap();
        assert!(checked.error().abs() < 1e-6, "{checked}");
    }

    #[test]
    fn what_a_plan_was_made_from_does_not_check_it() {
        let folder = tempfile::tempdir().unwrap();
        let [one, copy, other] = ["one", "copy", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&copy, "1").unwrap();
        std::fs::write(&other, "2").unwrap();
        let error = is_other(&copy, &[other.clone(), one.clone()]).unwrap_err().to_string();
        assert!(error.contains("/copy") && error.contains("/one"), "{error}");
        is_other(&other, &[one]).unwrap();
    }
}
