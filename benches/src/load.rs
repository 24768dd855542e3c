//! The settings of a run that sends messages at a rate: shared by `kernel` and `message`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::schedule::{Arrivals, Schedule};

/// How much is sent, by how many, for how long.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// Messages a second, all users together, sent whatever the answers do (an open loop).
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Users, each with one connection; they talk in pairs, so the number is even.
    #[arg(long, default_value_t = 200, value_parser = even)]
    pub users: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds before that at the same rate, which do not count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warmup: u64,
    /// Runs, of which the median and the spread are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// How arrivals are spaced.
    #[arg(long, value_enum, default_value_t = Arrivals::Burst)]
    pub arrivals: Arrivals,
    /// Where temporary data is written: it must lie on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Load {
    /// Fixes when each message is to leave.
    pub fn schedule(&self) -> Schedule {
        let seconds = Duration::from_secs;
        Schedule::new(self.arrivals, self.rate, seconds(self.warmup), seconds(self.seconds))
    }

    /// Makes the folder for temporary data, removed when dropped.
    pub fn folder(&self) -> Result<tempfile::TempDir> {
        folder(self.dir.as_ref())
    }
}

/// Makes a folder for temporary data in `dir`, or where the system keeps such things.
pub fn folder(dir: Option<&PathBuf>) -> Result<tempfile::TempDir> {
    let dir = dir.cloned().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("rally-bench-").tempdir_in(&dir);
    made.with_context(|| format!("making a folder in {}", dir.display()))
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, users, seconds, warmup, runs, arrivals, .. } = self;
        write!(f, "{rate} msg/s ({arrivals:?}), {users} users, {warmup} + {seconds} s, {runs} runs")
    }
}

fn even(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(users) if users >= 2 && users % 2 == 0 => Ok(users),
        _ => Err("users talk in pairs: give an even number from 2 on".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_in_pairs() {
        assert_eq!(even("200"), Ok(200));
        for bad in ["0", "1", "7", "-2", "many"] {
            assert!(even(bad).is_err(), "{bad}");
        }
    }
}
