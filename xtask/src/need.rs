//! What must be there before anything is built: checked first, all at once, so that one
//! run tells everything that is missing and how to get it.

use std::fmt;
use std::path::Path;

use anyhow::bail;

use crate::call;
use crate::version::Version;

/// A tool, the oldest version that will do, and how to get it.
pub struct Need {
    tool: &'static str,
    least: Version,
    get: &'static str,
}

/// The Rust compiler.
pub const RUSTC: Need = Need {
    tool: "rustc",
    least: Version(1, 95, 0),
    get: "`rustup update stable`, or https://rustup.rs for a new installation",
};

/// The JavaScript runtime that builds and tests the browser client.
pub const NODE: Need = Need {
    tool: "node",
    least: Version(20, 19, 0),
    get: "https://nodejs.org (the LTS release), or your system's package `nodejs`",
};

/// Its package manager.
pub const NPM: Need = Need {
    tool: "npm",
    least: Version(9, 0, 0),
    get: "it comes with node; on Debian it is the package `npm`",
};

/// What was found of one need.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Enough(Version),
    TooOld(Version),
    Nothing,
}

impl Need {
    fn look(&self) -> Found {
        let mut command = call::program(self.tool, Path::new("."));
        self.judge(call::ask(command.arg("--version")).as_deref())
    }

    fn judge(&self, answer: Option<&str>) -> Found {
        match answer.and_then(Version::find) {
            Some(version) if version >= self.least => Found::Enough(version),
            Some(version) => Found::TooOld(version),
            None => Found::Nothing,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} or newer. Get it: {}", self.tool, self.least, self.get)
    }
}

/// Checks `needs`, and gives a line that names what was found.
pub fn check(needs: &[&Need]) -> anyhow::Result<String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for need in needs {
        match need.look() {
            Found::Enough(version) => found.push(format!("{} {version}", need.tool)),
            Found::TooOld(version) => missing.push(format!("{need} (found {version})")),
            Found::Nothing => missing.push(format!("{need} (found none)")),
        }
    }
    if !missing.is_empty() {
        bail!("Rally needs:\n  {}", missing.join("\n  "));
    }
    Ok(found.join(", "))
}

/// Makes sure that Cargo has the subcommand of a rustup component (`fmt`, `clippy`).
pub fn component(subcommand: &str, component: &str, root: &Path) -> anyhow::Result<()> {
    if call::succeeds(call::cargo(root).args([subcommand, "--version"])) {
        return Ok(());
    }
    if !call::succeeds(call::program("rustup", root).arg("--version")) {
        bail!("`cargo {subcommand}` is missing: install {component} for this toolchain");
    }
    call::run(call::program("rustup", root).args(["component", "add", component]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_missing_is_told_with_the_way_to_get_it() {
        assert_eq!(NODE.judge(Some("v20.20.2")), Found::Enough(Version(20, 20, 2)));
        assert_eq!(NODE.judge(Some("v18.4.0")), Found::TooOld(Version(18, 4, 0)));
        assert_eq!(NODE.judge(None), Found::Nothing);

        let none = Need { tool: "no-such-tool", least: Version(1, 2, 0), get: "from the attic" };
        let error = check(&[&none]).unwrap_err().to_string();
        assert!(error.contains("no-such-tool 1.2.0 or newer"), "{error}");
        assert!(error.contains("from the attic"), "{error}");
    }

    #[test]
    fn the_compiler_needed_is_the_one_that_the_workspace_names() {
        assert_eq!(Version::find(env!("CARGO_PKG_RUST_VERSION")), Some(RUSTC.least));
    }
}
