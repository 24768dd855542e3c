//! `rally-bench compare`: two reports, figure by figure, and whether they differ by more than runs
//! of one do; `add`, which makes one of several; `show`, which shows one again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::out::say;
use crate::report::{Figure, shown};
use crate::run::differences::{of_circumstances, of_scenarios};
use crate::run::document::Document;
use crate::run::page;
use crate::run::ratio::{Range, Ratio};
use crate::run::{Outputs, publish, status};

/// Compares two reports: B as a multiple of A.
///
/// `ratio`: the geometric mean of B's runs by that of A's; there is none where a run has 0.
/// `95 %`: where the ratio lies in 95 of 100 such pairs of reports, by Welch's t-test on the
/// logarithms of the runs' values. It takes two runs of each at least, and values that are not all
/// alike: else the runs do not show how far they vary. With few runs it is wide.
/// `only A`, `only B`: the other report has no such figure.
/// `differs`: whether that excludes 1. A figure for which it does not may still differ: by less
/// than these runs can show.
/// `note`: what was not made alike, and reports that were broken, cut short or bounded by the generator.
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
/// CPU is taken from the report that saw most of it, its memory from before the first generator's
/// connections to the most with everybody's. Seconds are added by the clock. Reports whose measured
/// times are not the same to 95 % are refused: `run --begin-at` has generators begin together.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AddArgs {
    /// One report.
    first: PathBuf,
    /// The others.
    #[arg(required = true)]
    others: Vec<PathBuf>,
    /// Also write the sum as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write it as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write its histograms to this folder, as HdrHistogram's tools read them.
    #[arg(long, value_name = "DIR")]
    hdr: Option<PathBuf>,
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
    /// Also write its histograms to this folder, as HdrHistogram's tools read them.
    #[arg(long, value_name = "DIR")]
    hdr: Option<PathBuf>,
}

/// Runs `compare`.
pub fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let (a, b) = (Document::read(&args.a)?, Document::read(&args.b)?);
    say(compared(&a, &b)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives all that is said of two reports.
fn compared(a: &Document, b: &Document) -> Result<String> {
    let mut lines = Vec::new();
    for (name, report) in [("A", a), ("B", b)] {
        lines.extend(report.doubts().into_iter().map(|said| format!("note: {name}: {said}")));
    }
    let differences = of_scenarios(a, b).into_iter().chain(of_circumstances(a, b));
    lines.extend(differences.map(|difference| format!("note: {}", difference.said)));
    let (a, b) = (a.table().figures, b.table().figures);
    let pairs: Vec<(&Figure, &Figure)> =
        a.iter().filter_map(|one| Some((one, find(&b, &one.name)?))).collect();
    ensure!(!pairs.is_empty(), "the reports have no figure in common");
    let wide = a.iter().chain(&b).map(|figure| figure.name.len()).max().unwrap_or(0);
    lines.push(row(wide, ["figure", "A", "B", "ratio", "95 %"], ""));
    lines.extend(pairs.iter().map(|(one, other)| line(wide, one, other)));
    let alone = |figure: &&Figure, others: &[Figure]| find(others, &figure.name).is_none();
    let of_a = a.iter().filter(|figure| alone(figure, &b));
    let of_b = b.iter().filter(|figure| alone(figure, &a));
    lines.extend(of_a.map(|one| row(wide, [&one.name, &median(one), "-", "-", "only A"], "")));
    lines.extend(of_b.map(|one| row(wide, [&one.name, "-", &median(one), "-", "only B"], "")));
    Ok(lines.join("\n"))
}

fn find<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.name == name)
}

fn median(figure: &Figure) -> String {
    figure.median().map_or("-".to_owned(), shown)
}

fn row(wide: usize, cells: [&str; 5], verdict: &str) -> String {
    let [name, a, b, ratio, range] = cells;
    let text = format!("{name:wide$}  {a:>10}  {b:>10}  {ratio:>6}  {range:>15}  {verdict}");
    text.trim_end().to_owned()
}

/// Shows a figure of both.
fn line(wide: usize, one: &Figure, other: &Figure) -> String {
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
    let cells = [&one.name, &*median(one), &median(other), &mean, &range];
    row(wide, cells, if differs { "differs" } else { "" })
}

/// Runs `add`.
pub fn add(args: &AddArgs) -> Result<ExitCode> {
    let mut sum = Document::read(&args.first)?;
    for path in &args.others {
        sum.add(&Document::read(path)?).with_context(|| format!("adding {}", path.display()))?;
    }
    let (json, html, hdr) = (args.json.as_deref(), args.html.as_deref(), args.hdr.as_deref());
    publish(&sum, &Outputs { json, html, hdr })?;
    Ok(status(&sum, false))
}

/// Runs `show`.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let document = Document::read(&args.report)?;
    if let Some(path) = &args.svg {
        page::picture(&document, path)?;
    }
    let (html, hdr) = (args.html.as_deref(), args.hdr.as_deref());
    publish(&document, &Outputs { json: None, html, hdr })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::proc::Machine;
    use crate::run::document::Seen;
    use crate::run::measured::Measured;
    use crate::run::scenario::Scenario;

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

    /// A report of runs with these CPU times, in seconds.
    fn document(rate: f64, name: &str, cpu_s: &[f64]) -> Document {
        let mut scenario = Scenario::default();
        scenario.send.rate = rate;
        let mut document = Document::new("pairs", &scenario, Machine::look(Path::new("/")));
        let run = |cpu_s: &f64| {
            let mut run =
                Measured { messages: 100, window_ns: 1_000_000_000, ..Measured::default() };
            run.server.cpu_ns = (cpu_s * 1e9) as u64;
            run
        };
        let runs = cpu_s.iter().map(run).collect();
        document.enter(Seen { name: name.to_owned(), runs, ..Seen::default() });
        document
    }

    #[test]
    fn histograms_of_a_report_that_is_shown_or_added_up_are_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut one = document(500.0, "rally", &[0.1]);
        one.subjects[0].runs[0].spans.entry("ack".to_owned()).or_default().0.record(5).unwrap();
        for (name, first) in [("a.json", 0), ("b.json", 10)] {
            one.subjects[0].attached = vec![(first, 10)];
            one.write(&at(name)).unwrap();
        }
        let (hdr, report) = (Some(at("shown")), at("a.json"));
        show(&ShowArgs { report, html: None, svg: None, hdr }).unwrap();
        let (first, others, hdr) = (at("a.json"), vec![at("b.json")], Some(at("added")));
        add(&AddArgs { first, others, json: None, html: None, hdr }).unwrap();
        for folder in ["shown", "added"] {
            assert!(at(folder).join("rally-ack.hlog").is_file(), "{folder}");
        }
    }

    #[test]
    fn what_makes_a_comparison_doubtful_is_said_before_the_figures() {
        let one = document(500.0, "rally", &[0.1, 0.1]);
        assert!(compared(&one, &one).unwrap().starts_with("figure"));
        let mut other = document(2_000.0, "rally", &[0.1, 0.2]);
        other.subjects[0].runs[1].balance.lost = 1;
        let said = compared(&one, &other).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "note: B: rally: 1 of 2 runs broke a promise");
        assert_eq!(lines[1], "note: send.rate differs: 500.0 and 2000.0");
        assert!(lines[2].starts_with("figure"), "{said}");
    }

    #[test]
    fn figures_that_one_report_has_alone_are_named() {
        let one = document(500.0, "rally", &[0.1]);
        let mut other = one.clone();
        other.enter(document(500.0, "floor", &[0.1]).subjects.remove(0));
        let said = compared(&one, &other).unwrap();
        let row = said.lines().find(|line| line.starts_with("floor CPU a message")).unwrap();
        let cells: Vec<&str> = row["floor CPU a message".len()..].split_whitespace().collect();
        assert_eq!(cells, ["-", "1000", "-", "only", "B"]);
        assert!(!said.contains("only A"), "{said}");
        let error = compared(&one, &document(1.0, "floor", &[0.1])).unwrap_err().to_string();
        assert!(error.contains("no figure in common"), "{error}");
    }
}
