//! Calling other programs: the line is shown, the output streams, a failure names the line.
//!
//! Knows nothing of which programs there are.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Prepares a call of `program` in `folder`.
///
/// Takes away what Cargo told *this* program about itself: build scripts watch those
/// variables, and would run again each time a build is started from here.
pub fn program(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Prepares a call of the Cargo that started this program.
pub fn cargo(folder: &Path) -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), folder)
}

/// Prepares a call of the tests in the file `name`, of whichever package has them.
///
/// Says `--workspace`, not the package: one package asks for fewer features of what stands beneath
/// it than all together do, and half of it would be compiled once more.
pub fn tests(folder: &Path, name: &str) -> Command {
    let mut cargo = cargo(folder);
    cargo.args(["test", "--workspace", "--test", name]);
    cargo
}

/// Runs `command` to its end, without input. Fails unless it succeeds.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    println!("$ {line}");
    std::io::stdout().flush().ok();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs `command` in silence and gives its first line of output, if it succeeds.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// Runs `command` to its end and gives what it prints. Fails unless it succeeds.
pub fn read(command: &mut Command) -> anyhow::Result<String> {
    let line = line(command);
    println!("$ {line}");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed no text"))
}

/// Whether `command` succeeds, in silence.
pub fn succeeds(command: &mut Command) -> bool {
    ask(command).is_some()
}

/// Shows `command` as a person would type it.
pub fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut line = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = !argument.is_empty() && !argument.contains([' ', '*', '\'', '"', ';', '$']);
        match plain {
            true => write!(line, " {argument}"),
            false => write!(line, " {argument:?}"),
        }
        .expect("a string takes what is written to it");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_line_that_failed() {
        let here = Path::new(".");
        let error = run(program("/bin/sh", here).args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c \"exit 3\"` failed (exit status: 3)");
        let error = run(&mut program("no-such-program", here)).unwrap_err().to_string();
        assert_eq!(error, "cannot start `no-such-program`");
    }

    #[test]
    fn what_a_success_prints_is_read_and_a_failure_is_none() {
        let sh = |script| read(program("/bin/sh", Path::new(".")).args(["-c", script]));
        assert_eq!(sh("echo one; echo two").unwrap(), "one\ntwo\n");
        assert!(sh("echo one; exit 1").is_err());
    }

    #[test]
    fn an_answer_is_the_first_line_of_a_success() {
        let sh = |script| ask(program("/bin/sh", Path::new(".")).args(["-c", script]));
        assert_eq!(sh("echo one; echo two").as_deref(), Some("one"));
        assert_eq!(sh("echo one; exit 1"), None);
    }
}
