//! cargo-deny: what may enter the dependency tree, as `deny.toml` says.

use std::path::PathBuf;

use crate::checkout::Checkout;
use crate::step::Outcome;
use crate::version::Version;
use crate::{call, debian};

const LEAST: Version = Version(0, 20, 0);
const INSTALLED: &str = "0.20.2";

/// Checks licences, bans and sources; needs no network once cargo-deny is there.
pub fn check(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let mut deny = call::program(installed(checkout)?, checkout.root());
    call::run(deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    Ok(Outcome::Passed)
}

/// Checks for published advisories, unless their database cannot be fetched.
pub fn advisories(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let deny = installed(checkout)?;
    let root = checkout.root();
    if call::run(call::program(&deny, root).args(["fetch", "db"])).is_err() {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched from here".into()));
    }
    call::run(call::program(&deny, root).args(["check", "--disable-fetch", "advisories"]))?;
    Ok(Outcome::Passed)
}

/// Gives a cargo-deny: the one on the search path if it is new enough, or our own.
fn installed(checkout: &Checkout) -> anyhow::Result<PathBuf> {
    let home = checkout.kept("cargo-deny");
    let own = home.join("bin/cargo-deny");
    for program in debian::which(&["cargo-deny"]).into_iter().chain([own.clone()]) {
        let answer = call::ask(call::program(&program, checkout.root()).arg("--version"));
        if answer.as_deref().and_then(Version::find).is_some_and(|found| found >= LEAST) {
            return Ok(program);
        }
    }
    // Unoptimised: it runs once or twice here, and compiling it is what takes the time.
    let arguments = ["install", "cargo-deny", "--locked", "--debug", "--version", INSTALLED];
    call::run(call::cargo(checkout.root()).args(arguments).arg("--root").arg(home))?;
    Ok(own)
}
