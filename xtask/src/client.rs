//! The browser client's packages, build and scripts; each made only when its sources changed.
//!
//! What a script does stands in `client-web/package.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::call;
use crate::checkout::Checkout;
use crate::stamp::Stamp;

/// What tools write into the client's folder; all else there are sources.
const WRITTEN: [&str; 4] = ["node_modules", "dist", "test-results", "screenshots"];

/// Whether anything had to be done.
pub enum Done {
    Made,
    Unchanged,
}

impl Done {
    /// Says so where nothing else was printed.
    pub fn tell(self) {
        match self {
            Self::Made => {}
            Self::Unchanged => println!("unchanged since the last time"),
        }
    }
}

/// Installs the packages exactly as the lock file names them.
pub fn install(checkout: &Checkout) -> anyhow::Result<Done> {
    packages(&checkout.client(), checkout.kept("client-install.stamp"))
}

/// Does so in the folder of any npm package, and remembers it in a file.
pub fn packages(folder: &Path, stamp: PathBuf) -> anyhow::Result<Done> {
    let stamp = Stamp::new(
        stamp,
        vec![folder.join("package.json"), folder.join("package-lock.json")],
        vec![folder.join("node_modules/.package-lock.json")],
    );
    once(&stamp, call::program("npm", folder).args(["ci", "--no-audit", "--no-fund"]))
}

/// Builds the pages that the server embeds.
pub fn build(checkout: &Checkout) -> anyhow::Result<Done> {
    let stamp = Stamp::new(
        checkout.kept("client-build.stamp"),
        sources(checkout)?,
        vec![checkout.client().join("dist")],
    );
    once(&stamp, npm(checkout).args(["run", "build"]))
}

/// Prepares a call of npm in the client's folder.
pub fn npm(checkout: &Checkout) -> Command {
    call::program("npm", &checkout.client())
}

fn once(stamp: &Stamp, command: &mut Command) -> anyhow::Result<Done> {
    if stamp.is_fresh()? {
        return Ok(Done::Unchanged);
    }
    call::run(command)?;
    stamp.set()?;
    Ok(Done::Made)
}

fn sources(checkout: &Checkout) -> anyhow::Result<Vec<PathBuf>> {
    let client = checkout.client();
    let unreadable = || format!("cannot read {}", client.display());
    let mut sources = Vec::new();
    for entry in fs::read_dir(&client).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if !WRITTEN.iter().any(|name| entry.file_name() == *name) {
            sources.push(entry.path());
        }
    }
    sources.sort();
    Ok(sources)
}
