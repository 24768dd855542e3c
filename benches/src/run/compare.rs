//! `rally-bench compare`: two reports, figure by figure, and whether they differ by more than runs
//! of one do; `add`, which makes one of several; `show`, which shows one again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::report::{Figure, shown};
use crate::run::document::Document;
use crate::run::page;
use crate::run::{Outputs, publish};

/// The 97.5th percentile of Student's t for 1 to 10 degrees of freedom; beyond that, the last.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// Compares two reports: B as a multiple of A.
///
/// `ratio`: the geometric mean of B's runs by that of A's; there is none where a run has 0.
/// `95 %`: where the ratio lies in 95 of 100 such pairs of reports, by Welch's t-test on the
/// logarithms of the runs' values. It takes two runs of each at least, and values that are not all
/// alike: else the runs do not show how far they vary. With few runs it is wide.
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
    for said in differences(&a, &b)? {
        println!("note: {said}");
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
        println!("{}", line(wide, one, other));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says which settings of two reports differ, and what else but their figures.
fn differences(a: &Document, b: &Document) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let (one, other) = (settings(a)?, settings(b)?);
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let [one, other] = [&one, &other].map(|of| of.get(key).map_or("nothing", String::as_str));
        if one != other {
            all.push(format!("{key} differs: {one} and {other}"));
        }
    }
    Ok(all)
}

/// Gives what a report was made with, by its name.
fn settings(document: &Document) -> Result<BTreeMap<String, String>> {
    let machine = &document.machine;
    let mut all = BTreeMap::new();
    for (what, value) in [
        ("the processor", &machine.cpu),
        ("the kernel", &machine.kernel),
        ("the file system", &machine.filesystem),
        ("the version of rally-bench", &document.version),
    ] {
        all.insert(what.to_owned(), value.clone());
    }
    all.insert("the number of cores".to_owned(), machine.cores.to_string());
    for seen in &document.subjects {
        all.insert(format!("the version of {}", seen.name), seen.version.clone());
        let settings = seen.settings.trim_start_matches(", ");
        if !settings.is_empty() {
            all.insert(format!("what is set of {}", seen.name), settings.to_owned());
        }
    }
    let mut scenario = serde_json::to_value(&document.scenario)?;
    // A sentence about it is no setting.
    scenario.as_object_mut().map(|keys| keys.remove("about"));
    flatten("", &scenario, &mut all);
    Ok(all)
}

/// Enters values by their dotted names, as `--set` has them.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let Value::Object(keys) = value else {
        into.insert(name.to_owned(), value.to_string());
        return;
    };
    for (key, value) in keys {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        flatten(&name, value, into);
    }
}

/// Shows a figure of both.
fn line(wide: usize, one: &Figure, other: &Figure) -> String {
    let median = |figure: &Figure| figure.median().map_or("-".to_owned(), shown);
    let ratio = Ratio::of(&one.values, &other.values);
    let (mean, range, differs) = match ratio {
        None => ("-".to_owned(), "a run has 0".to_owned(), false),
        Some(Ratio { mean, range: Range::OneRun }) => {
            (format!("{mean:.2}"), "one run".to_owned(), false)
        }
        Some(Ratio { mean, range: Range::AllAlike }) => {
            (format!("{mean:.2}"), "all alike".to_owned(), false)
        }
        Some(ratio @ Ratio { mean, range: Range::Of(low, high) }) => {
            (format!("{mean:.2}"), format!("{low:.2} to {high:.2}"), ratio.differs())
        }
    };
    let text = format!(
        "{:wide$}  {:>10}  {:>10}  {mean:>6}  {range:>15}  {}",
        one.name,
        median(one),
        median(other),
        if differs { "differs" } else { "" }
    );
    text.trim_end().to_owned()
}

/// Runs `add`.
pub fn add(args: &AddArgs) -> Result<ExitCode> {
    let mut documents = args.reports.iter().map(|path| Document::read(path));
    let Some(first) = documents.next() else { return Ok(ExitCode::SUCCESS) };
    let mut sum = first?;
    for document in documents {
        sum.add(&document?)?;
    }
    let (json, html) = (args.json.as_deref(), args.html.as_deref());
    publish(&sum, &Outputs { json, html, hdr: None })
}

/// Runs `show`.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let document = Document::read(&args.report)?;
    if let Some(path) = &args.svg {
        page::picture(&document, path)?;
    }
    publish(&document, &Outputs { html: args.html.as_deref(), ..Outputs::default() })
}

/// How much more one is than another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    mean: f64,
    range: Range,
}

/// Where a ratio lies in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Range {
    /// Between these.
    Of(f64, f64),
    /// Not known: one of both has one run only.
    OneRun,
    /// Not known: the runs of each are alike to the last digit, as those of a coarse clock.
    AllAlike,
}

impl Ratio {
    /// Compares values of runs, if all of them are above 0.
    fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let (a, b) = (Logs::of(a)?, Logs::of(b)?);
        let difference = b.mean - a.mean;
        let (va, vb) = (a.variance / a.count, b.variance / b.count);
        let range = if a.count < 2.0 || b.count < 2.0 {
            Range::OneRun
        } else if va + vb == 0.0 {
            Range::AllAlike
        } else {
            // Welch and Satterthwaite's degrees of freedom.
            let sum = va + vb;
            let freedom = sum * sum / (va * va / (a.count - 1.0) + vb * vb / (b.count - 1.0));
            let nth = (freedom.floor() as usize).clamp(1, STUDENT.len());
            let half = STUDENT[nth - 1] * sum.sqrt();
            Range::Of((difference - half).exp(), (difference + half).exp())
        };
        Some(Self { mean: difference.exp(), range })
    }

    fn differs(&self) -> bool {
        matches!(self.range, Range::Of(low, high) if low > 1.0 || high < 1.0)
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
    use std::path::Path;

    use super::*;
    use crate::proc::Machine;
    use crate::run::document::Seen;
    use crate::run::scenario::Scenario;

    #[test]
    fn twice_as_much_differs_and_noise_does_not() {
        let twice = Ratio::of(&[10.0, 11.0, 9.0], &[20.0, 22.0, 18.0]).unwrap();
        assert!((1.99..2.01).contains(&twice.mean) && twice.differs(), "{twice:?}");
        let noise = Ratio::of(&[10.0, 14.0, 8.0], &[11.0, 9.0, 13.0]).unwrap();
        assert!(!noise.differs(), "{noise:?}");
        let Range::Of(low, high) = noise.range else { panic!("{noise:?}") };
        assert!(low < noise.mean && noise.mean < high);
    }

    #[test]
    fn one_run_says_nothing_about_others() {
        let one = Ratio::of(&[10.0], &[30.0, 30.0]).unwrap();
        assert!((2.99..3.01).contains(&one.mean) && one.range == Range::OneRun && !one.differs());
        assert_eq!(Ratio::of(&[0.0], &[1.0]), None);
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }

    #[test]
    fn runs_that_are_all_alike_do_not_show_how_far_they_vary() {
        let alike = Ratio::of(&[10.0, 10.0], &[10.1, 10.1]).unwrap();
        assert!(alike.range == Range::AllAlike && !alike.differs(), "{alike:?}");
    }

    #[test]
    fn a_figure_of_nothing_is_shown() {
        let figure = |values: &[f64]| Figure {
            name: "lag".to_owned(),
            unit: "ms",
            values: values.to_vec(),
            at_most: None,
        };
        let said = line(5, &figure(&[0.0, 2.0, 4.0]), &figure(&[1.0, 3.0, 5.0]));
        assert!(said.contains("2.00") && said.ends_with("a run has 0"), "{said}");
    }

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let document = |rate: f64, settings: &str| {
            let mut scenario = Scenario { about: settings.to_owned(), ..Scenario::default() };
            scenario.send.rate = rate;
            let machine = Machine::look(Path::new("/"));
            let mut document = Document::new("pairs", &scenario, machine);
            let (name, version) = ("rally".to_owned(), "1".to_owned());
            let settings = settings.to_owned();
            document.enter(Seen { name, version, settings, runs: Vec::new() });
            document
        };
        let one = document(500.0, "");
        assert!(differences(&one, &one).unwrap().is_empty());
        let said = differences(&one, &document(2_000.0, ", without fsync")).unwrap();
        assert_eq!(
            said,
            [
                "send.rate differs: 500.0 and 2000.0",
                "what is set of rally differs: nothing and without fsync"
            ]
        );
    }

    /// Worked out by hand: logs 0, 1, 2 against 1, 2, 3 differ by 1, each with variance 1; Welch
    /// has 4 degrees of freedom, so half of the range is 2.776 times the root of 2/3.
    #[test]
    fn the_range_is_that_of_welch_s_test() {
        let e = |powers: [f64; 3]| powers.map(f64::exp);
        let ratio = Ratio::of(&e([0.0, 1.0, 2.0]), &e([1.0, 2.0, 3.0])).unwrap();
        let half = 2.776 * (2.0f64 / 3.0).sqrt();
        let Range::Of(low, high) = ratio.range else { panic!("{ratio:?}") };
        assert!((low.ln() - (1.0 - half)).abs() < 1e-9 && (high.ln() - (1.0 + half)).abs() < 1e-9);
    }
}
