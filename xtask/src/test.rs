//! `cargo xtask test`: every check there is, one after the other, and a table at the end.
//!
//! Which steps there are stands in `steps.rs`.

use std::process::ExitCode;

use anyhow::bail;

use crate::checkout::Checkout;
use crate::need;
use crate::step::{self, Step};
use crate::steps::STEPS;

/// Run every check, as CI does.
///
/// Steps run one after the other; a failed one holds back only what needs it. Tools that are
/// missing are installed where that is possible: Rust components by rustup, cargo-deny by
/// cargo, Python tools under the build folder, and as root on Debian the system's packages.
/// The end is a table; the exit code is 1 if any step failed.
#[derive(clap::Args)]
pub struct Args {
    /// Run only these steps, and those that they need
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,

    /// List the steps and stop
    #[arg(long)]
    list: bool,
}

/// Runs or lists the steps that `args` names.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let steps = select(&args.only)?;
    if args.list {
        for step in steps {
            println!("{:<16} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", need::check(&[&need::RUSTC, &need::NODE, &need::NPM])?);
    let summary = step::run_all(&steps, checkout);
    println!("\n{summary}");
    Ok(if summary.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Gives the steps of `only` and all that they need, in the order of the table.
fn select(only: &[String]) -> anyhow::Result<Vec<&'static Step>> {
    if only.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    for name in only {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!("no step is named {name:?}; there are: {}", names.join(", "));
        }
    }
    // What a step needs stands above it, so one pass from below finds all.
    let mut wanted: Vec<&str> = only.iter().map(String::as_str).collect();
    let mut steps = Vec::new();
    for step in STEPS.iter().rev() {
        if wanted.contains(&step.name) {
            wanted.extend(step.needs);
            steps.push(step);
        }
    }
    steps.reverse();
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        select(&only).unwrap().iter().map(|step| step.name).collect()
    }

    #[test]
    fn a_selected_step_brings_what_it_needs_in_order() {
        assert_eq!(names(&["format"]), ["format"]);
        assert_eq!(
            names(&["client-build", "format"]),
            ["format", "client-install", "client-build"]
        );
        assert_eq!(names(&[]).len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let error = select(&["lint".to_owned()]).err().unwrap().to_string();
        assert!(error.starts_with("no step is named \"lint\"; there are: format, "), "{error}");
    }

    #[test]
    fn what_a_step_needs_stands_above_it() {
        for (index, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                let above = STEPS[..index].iter().any(|above| above.name == *need);
                assert!(above, "{} needs {need}, which does not stand above it", step.name);
            }
        }
    }
}
