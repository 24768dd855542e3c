//! `cargo xtask instructions`: how many instructions each piece of the message path takes, beside
//! the figures that are kept.
//!
//! A count is the same on a busy machine as on an idle one, so that it can be a check. It is the
//! same for one compiler and one kind of processor; figures of another one are no measure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::checkout::Checkout;
use crate::step::Outcome;
use crate::{call, debian};

/// Count the instructions of each piece of the message path, and compare them with those kept.
///
/// Fails when a piece takes over 5 % more than `actors/benches/instructions.txt` says.
#[derive(clap::Args)]
pub struct Args {
    /// Keep what is counted now, as the figures to compare with
    #[arg(long)]
    accept: bool,
}

/// By how many per cent a piece may take more than is kept.
const TOLERANCE: u64 = 5;

/// What a failure says of the way out.
const ACCEPT: &str = "cargo xtask instructions --accept";

/// Counts, and compares or keeps.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let valgrind = valgrind()?;
    let now = Figures { taken_by: compiler(checkout)?, pieces: count(checkout, &valgrind)? };
    let file = checkout.root().join("actors/benches/instructions.txt");
    if args.accept {
        fs::write(&file, now.to_text()).with_context(|| format!("writing {}", file.display()))?;
        println!("kept in {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let verdict = compare(&Figures::of_text(&text)?, &now);
    println!("{}", verdict.table);
    if !verdict.faults.is_empty() {
        bail!("{}; if it is meant so: {ACCEPT}", verdict.faults.join("; "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Does so as a step, where valgrind and the kind of processor of the figures can be had.
pub fn check(checkout: &Checkout) -> anyhow::Result<Outcome> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Outcome::Skipped("the figures are those of x86_64".into()));
    }
    if let Err(why) = valgrind() {
        return Ok(Outcome::Skipped(format!("{why:#}")));
    }
    run(checkout, &Args { accept: false }).map(|_| Outcome::Passed)
}

/// Finds valgrind, or installs it.
fn valgrind() -> anyhow::Result<PathBuf> {
    if let Some(found) = debian::which(&["valgrind"]) {
        return Ok(found);
    }
    debian::install(&["valgrind"]).context("no valgrind found")?;
    debian::which(&["valgrind"]).context("valgrind was installed but is not on the search path")
}

fn compiler(checkout: &Checkout) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    call::ask(call::program(rustc, checkout.root()).arg("--version")).context("no rustc found")
}

/// Counts every piece that the program lists, for one run of it.
fn count(checkout: &Checkout, valgrind: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    const BENCH: [&str; 5] =
        ["bench", "--quiet", "--package=rally-actors", "--bench", "instructions"];
    let mut list = call::cargo(checkout.root());
    let listed = call::read(list.args(BENCH).args(["--", "list"]))?;
    let folder = checkout.kept("instructions");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut pieces = BTreeMap::new();
    for line in listed.lines() {
        let (name, times) = figure(line)?;
        let out = folder.join(name);
        let runner = runner(valgrind, &out);
        let mut cargo = call::cargo(checkout.root());
        cargo.arg("--config").arg(runner).args(BENCH).args(["--", "run", name]);
        call::read(&mut cargo)?;
        let profile = fs::read_to_string(&out)
            .with_context(|| format!("callgrind left no {}", out.display()))?;
        let total = total(&profile).with_context(|| format!("no total in {}", out.display()))?;
        if total == 0 {
            bail!("nothing of {name} was counted: is `measured` still a function of its own?");
        }
        pieces.insert(name.to_owned(), total / times);
    }
    Ok(pieces)
}

/// Says to cargo under what it runs the program: callgrind, which counts within `measured`.
fn runner(valgrind: &Path, out: &Path) -> String {
    let words = [
        valgrind.display().to_string(),
        "--quiet".into(),
        "--tool=callgrind".into(),
        "--collect-atstart=no".into(),
        "--toggle-collect=*measured*".into(),
        format!("--callgrind-out-file={}", out.display()),
    ];
    format!("target.'cfg(all())'.runner={words:?}")
}

/// Finds the sum in a profile of callgrind.
fn total(profile: &str) -> Option<u64> {
    let sum = profile.lines().find_map(|line| line.strip_prefix("totals: "))?;
    sum.trim().parse().ok()
}

/// Reads a name and a number.
fn figure(line: &str) -> anyhow::Result<(&str, u64)> {
    let read = line.split_once(' ').and_then(|(name, n)| Some((name, n.parse().ok()?)));
    read.with_context(|| format!("no name and number: {line:?}"))
}

/// What each piece takes, and with which compiler.
struct Figures {
    taken_by: String,
    pieces: BTreeMap<String, u64>,
}

impl Figures {
    fn to_text(&self) -> String {
        let mut text = format!("# Instructions of one run of each piece; written by `{ACCEPT}`.\n");
        let _ = writeln!(text, "# {}", self.taken_by);
        for (name, taken) in &self.pieces {
            let _ = writeln!(text, "{name} {taken}");
        }
        text
    }

    fn of_text(text: &str) -> anyhow::Result<Self> {
        let said = text.lines().filter_map(|line| line.strip_prefix("# ")).next_back();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pieces = lines.map(|line| figure(line).map(|(name, n)| (name.to_owned(), n)));
        Ok(Self {
            taken_by: said.unwrap_or("an unknown compiler").to_owned(),
            pieces: pieces.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// What came of a comparison.
struct Verdict {
    table: String,
    faults: Vec<String>,
}

/// Compares what is counted now with what is kept.
fn compare(kept: &Figures, now: &Figures) -> Verdict {
    let mut table = format!("{:<22}{:>12}{:>12}{:>9}\n", "piece", "kept", "now", "more");
    let mut faults = Vec::new();
    for (name, taken) in &now.pieces {
        let Some(before) = kept.pieces.get(name) else {
            faults.push(format!("no figure is kept for {name}, which takes {taken}"));
            continue;
        };
        let more = (*taken as f64 / *before as f64 - 1.0) * 100.0;
        let _ = writeln!(table, "{name:<22}{before:>12}{taken:>12}{more:>+8.2}%");
        if taken * 100 > before * (100 + TOLERANCE) {
            faults
                .push(format!("{name} takes {taken} instructions, {more:.1} % more than {before}"));
        }
    }
    for name in kept.pieces.keys().filter(|name| !now.pieces.contains_key(*name)) {
        faults.push(format!("a figure is kept for {name}, which is no piece"));
    }
    if !faults.is_empty() && kept.taken_by != now.taken_by {
        faults.push(format!("the figures are by {}, and this is {}", kept.taken_by, now.taken_by));
    }
    Verdict { table, faults }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pieces: &[(&str, u64)]) -> Figures {
        let pieces = pieces.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Figures { taken_by: "rustc 1".into(), pieces }
    }

    #[test]
    fn over_five_per_cent_more_is_a_fault_that_names_the_piece_and_both_figures() {
        let kept = figures(&[("less", 1_000), ("same", 1_000), ("more", 1_000), ("much", 1_000)]);
        let now = figures(&[("less", 500), ("same", 1_000), ("more", 1_050), ("much", 1_051)]);
        let faults = compare(&kept, &now).faults;
        assert_eq!(faults, ["much takes 1051 instructions, 5.1 % more than 1000"]);
    }

    #[test]
    fn a_piece_without_a_figure_and_a_figure_without_a_piece_are_faults() {
        let faults = compare(&figures(&[("old", 1)]), &figures(&[("new", 2)])).faults;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("new") && faults[1].contains("old"), "{faults:?}");
    }

    #[test]
    fn a_fault_under_another_compiler_says_so() {
        let now = Figures { taken_by: "rustc 2".into(), ..figures(&[("piece", 2)]) };
        let faults = compare(&figures(&[("piece", 1)]), &now).faults;
        assert_eq!(faults[1], "the figures are by rustc 1, and this is rustc 2");
        assert!(compare(&figures(&[("piece", 2)]), &now).faults.is_empty());
    }

    #[test]
    fn kept_figures_read_as_they_were_written() {
        let kept = figures(&[("one", 1), ("other", 22)]);
        let read = Figures::of_text(&kept.to_text()).unwrap();
        assert_eq!((read.taken_by, read.pieces), (kept.taken_by, kept.pieces));
        assert!(Figures::of_text("one").is_err());
    }

    #[test]
    fn the_sum_of_a_profile_is_found() {
        assert_eq!(total("events: Ir\nfn=(1) main\n0 7\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(total("events: Ir\n"), None);
    }
}
