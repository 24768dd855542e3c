//! Test tools from PyPI, each in a virtual environment of its own under the build folder.

use std::path::PathBuf;

use anyhow::Context;

use crate::checkout::Checkout;
use crate::{call, debian};

/// Gives the program `name` of `requirement` (`package==version`), installed if need be.
///
/// The version is pinned by its caller, and part of the folder's name: another version is
/// another installation.
pub fn tool(checkout: &Checkout, requirement: &str, name: &str) -> anyhow::Result<PathBuf> {
    let home = checkout.kept(&requirement.replace("==", "-"));
    let program = home.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    let root = checkout.root();
    let venv = ["-c", "import venv, ensurepip"];
    if !call::succeeds(call::program("python3", root).args(venv)) {
        debian::install(&["python3", "python3-venv"]).context("no python3 with venv found")?;
    }
    call::run(call::program("python3", root).args(["-m", "venv", "--clear"]).arg(&home))?;
    let mut pip = call::program(home.join("bin/python"), root);
    call::run(pip.args(["-m", "pip", "install", "--quiet", requirement]))?;
    Ok(program)
}
