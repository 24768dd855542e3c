//! What a process and all that it has started have used: a server of several processes is one.
//!
//! Knows nothing of which server.

use std::fs;

use anyhow::{Context as _, Result};

use crate::proc::{NANOS_PER_TICK, Pid, Thread};

/// A process, and all that it has started.
#[derive(Debug, Clone, Copy)]
pub struct Family(pub Pid);

impl Family {
    /// Gives the CPU time that they have used, in nanoseconds; of those that have ended, too.
    ///
    /// # Errors
    ///
    /// The first of them is gone.
    pub fn cpu_ns(self) -> Result<u64> {
        self.sum(|pid| Ok(pid.cpu_ns()? + fields(pid)?.ended_ticks * NANOS_PER_TICK))
    }

    /// Gives the threads of those that live.
    pub fn threads(self) -> Result<Vec<Thread>> {
        Ok(self.living()?.into_iter().filter_map(|pid| pid.threads().ok()).flatten().collect())
    }

    /// Gives their memory in bytes: what several of them share counts once.
    ///
    /// # Errors
    ///
    /// The first of them is gone, or belongs to somebody whose memory we may not look at.
    pub fn memory_bytes(self) -> Result<u64> {
        self.sum(|pid| {
            let file = format!("/proc/{}/smaps_rollup", pid.0);
            let rollup = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
            let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = share.and_then(|share| share.split_whitespace().next()?.parse::<u64>().ok());
            Ok(kib.with_context(|| format!("no share of memory in {file}"))? * 1024)
        })
    }

    /// Adds up a figure of all. A child may end while it is looked at: that is no error.
    fn sum(self, figure: impl Fn(Pid) -> Result<u64>) -> Result<u64> {
        let first = figure(self.0)?;
        let others = self.living()?.into_iter().skip(1);
        Ok(first + others.filter_map(|pid| figure(pid).ok()).sum::<u64>())
    }

    /// Gives those that live, the first one first.
    pub fn living(self) -> Result<Vec<Pid>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc").context("reading /proc")? {
            let name = entry.context("reading /proc")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Ok(fields) = fields(Pid(pid)) {
                all.push((Pid(pid), fields.parent));
            }
        }
        let mut family = vec![self.0];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        Ok(family)
    }
}

/// Of `/proc/PID/stat`.
struct Fields {
    parent: Pid,
    /// CPU time of its children that have ended, in the kernel's ticks.
    ended_ticks: u64,
}

fn fields(pid: Pid) -> Result<Fields> {
    let file = format!("/proc/{}/stat", pid.0);
    let stat = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    // The program's name stands in brackets and may hold anything; state and the rest follow.
    let parsed = stat.rsplit_once(')').and_then(|(_, rest)| {
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let parent = Pid(fields.get(1)?.parse().ok()?);
        Some(Fields { parent, ended_ticks: ticks(13)? + ticks(14)? })
    });
    parsed.with_context(|| format!("bad {file}"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_family_has_what_its_children_used_after_they_have_ended_too() {
        // A shell that has a child of 0.2 s of CPU time, which ends, and one that stays.
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let script = format!("sh -c '{busy}'; sleep 60 & echo done; wait");
        let mut shell = Command::new("sh");
        let mut child = shell.arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let family = Family(Pid(child.id()));
        let living = family.living().unwrap();
        let (all, alone) = (family.cpu_ns().unwrap(), family.0.cpu_ns().unwrap());
        let memory = family.memory_bytes().unwrap();
        for pid in living.iter().skip(1) {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid.0 as i32).unwrap(),
                rustix::process::Signal::TERM,
            )
            .unwrap();
        }
        child.wait().unwrap();
        assert_eq!(living.len(), 2, "the shell and what sleeps: {living:?}");
        assert!(all > alone + 5 * NANOS_PER_TICK, "{all} of all, {alone} of the shell");
        assert!(memory > 0);
        assert!(family.cpu_ns().is_err(), "it is gone");
    }
}
