//! `rally-bench compare`: two reports, figure by figure, and whether they differ by more than runs
//! of one do; `add`, which makes one of several; `show`, which shows one again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::report::{Figure, shown};
use crate::run::document::Document;
use crate::run::page;
use crate::run::publish;

/// The 97.5th percentile of Student's t for 1 to 10 degrees of freedom; beyond that, the last.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// Compares two reports: B as a multiple of A.
///
/// `ratio`: the geometric mean of B's runs by that of A's.
/// `95 %`: where the ratio lies in 95 of 100 such pairs of reports, by Welch's t-test on the
/// logarithms of the runs' values. It takes two runs of each at least; with few runs it is wide.
/// `differs`: whether that excludes 1. A figure for which it does not may still differ: by less
/// than these runs can show.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CompareArgs {
    /// What is compared with.
    a: PathBuf,
    /// What is compared.
    b: PathBuf,
}

/// Adds up what several processes saw of one server in the same time.
///
/// Counts and histograms are exact sums, so percentiles are those of all messages; the server's
/// own figures are taken from the report that saw most of it.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AddArgs {
    /// The reports.
    #[arg(required = true, num_args = 2..)]
    reports: Vec<PathBuf>,
    /// Also write the sum as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write it as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Shows a report again.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which.
    report: PathBuf,
    /// Also write it as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write its first plot alone, as a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs `compare`.
pub fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let (a, b) = (Document::read(&args.a)?, Document::read(&args.b)?);
    if a.scenario != b.scenario {
        println!("note: the scenarios differ");
    }
    for (what, one, other) in [
        ("processor", &a.machine.cpu, &b.machine.cpu),
        ("kernel", &a.machine.kernel, &b.machine.kernel),
        ("version", &a.version, &b.version),
    ] {
        if one != other {
            println!("note: the {what} differs: {one} and {other}");
        }
    }
    let (a, b) = (a.table(), b.table());
    let pairs: Vec<(&Figure, &Figure)> = a
        .figures
        .iter()
        .filter_map(|one| Some((one, b.figures.iter().find(|other| other.name == one.name)?)))
        .collect();
    ensure!(!pairs.is_empty(), "the reports have no figure in common");
    let wide = pairs.iter().map(|(one, _)| one.name.len()).max().unwrap_or(0);
    println!("{:wide$}  {:>10}  {:>10}  {:>6}  {:>15}", "figure", "A", "B", "ratio", "95 %");
    for (one, other) in pairs {
        let Some(ratio) = Ratio::of(&one.values, &other.values) else { continue };
        let median = |figure: &Figure| figure.median().map_or("-".to_owned(), shown);
        let range = ratio
            .range
            .map_or("one run".to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
        println!(
            "{:wide$}  {:>10}  {:>10}  {:>6.2}  {range:>15}  {}",
            one.name,
            median(one),
            median(other),
            ratio.mean,
            if ratio.differs() { "differs" } else { "" }
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `add`.
pub fn add(args: &AddArgs) -> Result<ExitCode> {
    let mut documents = args.reports.iter().map(|path| Document::read(path));
    let Some(first) = documents.next() else { return Ok(ExitCode::SUCCESS) };
    let mut sum = first?;
    for document in documents {
        sum.add(&document?)?;
    }
    publish(&sum, args.json.as_deref(), args.html.as_deref())
}

/// Runs `show`.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let document = Document::read(&args.report)?;
    if let Some(path) = &args.svg {
        page::picture(&document, path)?;
    }
    publish(&document, None, args.html.as_deref())
}

/// How much more one is than another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    mean: f64,
    /// Where it lies in 95 of 100 cases; nothing where there is one run only.
    range: Option<(f64, f64)>,
}

impl Ratio {
    /// Compares values of runs, if all of them are above 0.
    fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let (a, b) = (Logs::of(a)?, Logs::of(b)?);
        let difference = b.mean - a.mean;
        let (va, vb) = (a.variance / a.count, b.variance / b.count);
        let range = (a.count > 1.0 && b.count > 1.0).then(|| {
            // Welch and Satterthwaite's degrees of freedom.
            let freedom = match va + vb {
                0.0 => 1.0,
                sum => sum * sum / (va * va / (a.count - 1.0) + vb * vb / (b.count - 1.0)),
            };
            let nth = (freedom.floor() as usize).clamp(1, STUDENT.len());
            let half = STUDENT[nth - 1] * (va + vb).sqrt();
            ((difference - half).exp(), (difference + half).exp())
        });
        Some(Self { mean: difference.exp(), range })
    }

    fn differs(&self) -> bool {
        self.range.is_some_and(|(low, high)| low > 1.0 || high < 1.0)
    }
}

/// The logarithms of some values.
struct Logs {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Logs {
    fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| *value <= 0.0) {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value.ln() - mean).powi(2)).sum();
        Some(Self { count, mean, variance: squares / (count - 1.0).max(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_much_differs_and_noise_does_not() {
        let twice = Ratio::of(&[10.0, 11.0, 9.0], &[20.0, 22.0, 18.0]).unwrap();
        assert!((1.99..2.01).contains(&twice.mean) && twice.differs(), "{twice:?}");
        let noise = Ratio::of(&[10.0, 14.0, 8.0], &[11.0, 9.0, 13.0]).unwrap();
        assert!(!noise.differs(), "{noise:?}");
        let (low, high) = noise.range.unwrap();
        assert!(low < noise.mean && noise.mean < high);
    }

    #[test]
    fn one_run_says_nothing_about_others() {
        let one = Ratio::of(&[10.0], &[30.0, 30.0]).unwrap();
        assert!((2.99..3.01).contains(&one.mean) && one.range.is_none() && !one.differs());
        assert_eq!(Ratio::of(&[0.0], &[1.0]), None);
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }

    /// Worked out by hand: logs 0, 1, 2 against 1, 2, 3 differ by 1, each with variance 1; Welch
    /// has 4 degrees of freedom, so half of the range is 2.776 times the root of 2/3.
    #[test]
    fn the_range_is_that_of_welch_s_test() {
        let e = |powers: [f64; 3]| powers.map(f64::exp);
        let ratio = Ratio::of(&e([0.0, 1.0, 2.0]), &e([1.0, 2.0, 3.0])).unwrap();
        let half = 2.776 * (2.0f64 / 3.0).sqrt();
        let (low, high) = ratio.range.unwrap();
        assert!((low.ln() - (1.0 - half)).abs() < 1e-9 && (high.ln() - (1.0 + half)).abs() < 1e-9);
    }
}
