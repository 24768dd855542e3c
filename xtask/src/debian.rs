//! Packages of the system, where it is a Debian and we are root; elsewhere the words that
//! tell a person what to install.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::call;

/// Finds the first of `names` that is a program on the search path.
pub fn which(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    places.into_iter().find(|program| program.is_file())
}

/// Installs `packages`, or says how a person would.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    let wanted = packages.join(" ");
    if which(&["apt-get"]).is_none() {
        bail!("install what Debian calls: {wanted}");
    }
    if !is_root() {
        bail!("install it: sudo apt-get install --no-install-recommends {wanted}");
    }
    let apt = |arguments: &[&str]| {
        let mut command = call::program("apt-get", Path::new("/"));
        call::run(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Whether this process is root, by the owner of its own entry in `/proc`.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
