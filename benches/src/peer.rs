//! A peer that runs: where it listens, and the processes whose work is added up.
//!
//! `cargo xtask peers up` starts it and writes both into a file. Knows nothing of how it is spoken to.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::family::Family;
use crate::proc::Pid;

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    address: SocketAddr,
    pids: Vec<u32>,
    #[serde(default = "unknown")]
    version: String,
}

fn unknown() -> String {
    "of this checkout".to_owned()
}

/// A peer that runs.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens: on this machine.
    pub address: SocketAddr,
    /// The first process of each of its services.
    pub services: Vec<Family>,
    /// What it is made of, with versions.
    pub version: String,
}

impl Peer {
    /// Reads what `cargo xtask peers up` wrote.
    ///
    /// # Errors
    ///
    /// No peer runs, or it is on another machine.
    pub fn read(file: &Path) -> Result<Self> {
        let named = || format!("{}: is the peer up? (cargo xtask peers up)", file.display());
        let text = fs::read_to_string(file).with_context(named)?;
        let Place { address, pids, version } = serde_json::from_str(&text).with_context(named)?;
        ensure!(address.ip().is_loopback(), "{address} is not on this machine");
        let services: Vec<Family> = pids.into_iter().map(|pid| Family(Pid(pid))).collect();
        for service in &services {
            service.cpu_ns().with_context(named)?;
        }
        Ok(Self { address, services, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_one_that_runs_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.json");
        let read = |text: String| {
            fs::write(&file, text).unwrap();
            Peer::read(&file)
        };
        let own = std::process::id();
        let peer = read(format!(r#"{{"address":"127.0.0.1:9","pids":[{own}]}}"#)).unwrap();
        assert_eq!((peer.address.port(), peer.services.len()), (9, 1));
        let version = r#""version":"node v22.1.0""#;
        let peer =
            read(format!(r#"{{"address":"127.0.0.1:9","pids":[{own}],{version}}}"#)).unwrap();
        assert_eq!(peer.version, "node v22.1.0");
        let error = read(format!(r#"{{"address":"192.0.2.1:9","pids":[{own}]}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "192.0.2.1:9 is not on this machine");
        // A number beyond those that the kernel gives.
        let error = read(r#"{"address":"127.0.0.1:9","pids":[4194305]}"#.to_owned()).unwrap_err();
        assert!(error.to_string().ends_with("is the peer up? (cargo xtask peers up)"), "{error}");
    }
}
