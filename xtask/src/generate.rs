//! `cargo xtask gen`: the wire types as TypeScript, written or compared.
//!
//! What the file says is decided in `schema/`.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::checkout::Checkout;

/// Lines of a difference that are worth showing.
const SHOWN: usize = 20;

/// Write the generated files.
///
/// From schema/: client-web/src/wire.ts, the types of all frames. The files are committed;
/// `cargo xtask test` fails when they are not what this command would write.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail if a file is not as it would be written
    #[arg(long)]
    check: bool,
}

/// Writes the generated file, or compares it.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    match args.check {
        true => check(checkout)?,
        false => write(checkout)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if the committed file is not what would be written.
pub fn check(checkout: &Checkout) -> anyhow::Result<()> {
    let path = checkout.client().join("src/wire.ts");
    let shown = shown(checkout, &path);
    let wanted = rally_schema::typescript::declarations();
    match difference(&committed(&path)?, &wanted) {
        None => println!("{shown} is as schema/ says"),
        Some(lines) => bail!("{shown} is not as schema/ says; run `cargo xtask gen`\n{lines}"),
    }
    Ok(())
}

fn write(checkout: &Checkout) -> anyhow::Result<()> {
    let path = checkout.client().join("src/wire.ts");
    let shown = shown(checkout, &path);
    let wanted = rally_schema::typescript::declarations();
    if committed(&path)? == wanted {
        println!("{shown} is unchanged");
        return Ok(());
    }
    fs::write(&path, wanted).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{shown} written");
    Ok(())
}

/// What the file says now; nothing if there is none.
fn committed(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn shown(checkout: &Checkout, path: &Path) -> String {
    path.strip_prefix(checkout.root()).unwrap_or(path).display().to_string()
}

/// The lines between the first and the last that differ: `-` as found, `+` as wanted.
fn difference(found: &str, wanted: &str) -> Option<String> {
    if found == wanted {
        return None;
    }
    let (found, wanted): (Vec<_>, Vec<_>) = (found.lines().collect(), wanted.lines().collect());
    let same = found.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
    let (found, wanted) = (&found[same..], &wanted[same..]);
    let tail = found.iter().rev().zip(wanted.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("@@ line {} @@", same + 1);
    for (sign, lines) in [('-', found), ('+', wanted)] {
        let lines = &lines[..lines.len() - tail];
        for line in lines.iter().take(SHOWN) {
            write!(text, "\n{sign}{line}").expect("a string takes what is written to it");
        }
        if let Some(more) = lines.len().checked_sub(SHOWN + 1) {
            write!(text, "\n{sign} (and {} more)", more + 1)
                .expect("a string takes what is written to it");
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_lines_that_differ_and_where() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let changed = difference("a\nb\nc\n", "a\nB\nB2\nc\n").unwrap();
        assert_eq!(changed, "@@ line 2 @@\n-b\n+B\n+B2");
        assert_eq!(difference("", "a\n").unwrap(), "@@ line 1 @@\n+a");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let long = "x\n".repeat(25);
        let cut = difference(&long, "").unwrap();
        assert!(cut.ends_with("- (and 5 more)"), "{cut}");
    }

    #[test]
    fn a_missing_last_newline_is_a_difference() {
        assert!(difference("a", "a\n").is_some());
    }
}
