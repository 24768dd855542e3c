//! What the kernel tells about processes and this machine, read from `/proc`.
//!
//! Knows nothing of what a process does.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// A tick of `/proc/PID/stat`: the kernel's `USER_HZ` is fixed at 100 for programs on Linux.
pub const NANOS_PER_TICK: u64 = 1_000_000_000 / 100;

/// Names a process whose figures are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// Names a thread: of two processes each may have one of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThreadId {
    /// Of which process.
    pub pid: Pid,
    /// Which of it.
    pub tid: u32,
}

/// A thread that lives, and the CPU time that it has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Which.
    pub id: ThreadId,
    /// What it calls itself: several may do so alike.
    pub name: String,
    /// In nanoseconds.
    pub cpu_ns: u64,
}

impl Pid {
    /// Names this process.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("reading {path}: is the process gone?"))
    }

    /// Gives the CPU time that it has used, in nanoseconds, the kernel's work for it included.
    ///
    /// Two readings, both never above the truth, so the larger is taken: `schedstat` of the
    /// living threads (nanoseconds, forgets ended threads) and `stat` (10 ms steps, forgets none).
    pub fn cpu_ns(self) -> Result<u64> {
        let stat = self.read("stat")?;
        let ticks = stat_ticks(&stat).with_context(|| format!("bad /proc/{}/stat", self.0))?;
        let threads: u64 = self.threads()?.iter().map(|thread| thread.cpu_ns).sum();
        Ok(threads.max(ticks * NANOS_PER_TICK))
    }

    /// Gives its living threads.
    pub fn threads(self) -> Result<Vec<Thread>> {
        let folder = format!("/proc/{}/task", self.0);
        let threads = fs::read_dir(&folder)
            .with_context(|| format!("reading {folder}: is the process gone?"))?;
        let mut all = Vec::new();
        for thread in threads {
            let entry = thread?;
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            let Ok(times) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            let (id, name) = (ThreadId { pid: self, tid }, name.trim().to_owned());
            all.push(Thread { id, name, cpu_ns: first_number(&times).unwrap_or(0) });
        }
        Ok(all)
    }
}

/// What all processors of the machine did, in nanoseconds: since it started, or within some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processors {
    /// How many there are. 0 in reports of before this was kept.
    #[serde(default)]
    pub count: u32,
    /// They worked, for whomever.
    pub busy_ns: u64,
    /// They had nothing to do but to wait for a disk.
    pub iowait_ns: u64,
    /// They were ready to work, and the machine below gave them to somebody else.
    pub stolen_ns: u64,
}

impl Processors {
    /// Reads what they have done since the machine started; nothing where the kernel does not say it.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            line.split_ascii_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
        // What guests had is in `user` and `nice` already.
        let [user, nice, system, _idle, iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        let is_one = |line: &&str| {
            let number = line.strip_prefix("cpu");
            number.is_some_and(|number| number.starts_with(|digit: char| digit.is_ascii_digit()))
        };
        Some(Self {
            count: stat.lines().filter(is_one).count() as u32,
            busy_ns: (user + nice + system + irq + softirq) * NANOS_PER_TICK,
            iowait_ns: iowait * NANOS_PER_TICK,
            stolen_ns: stolen * NANOS_PER_TICK,
        })
    }

    /// Gives what they did since an earlier reading. The kernel's `iowait` may go back a little.
    pub fn since(self, before: Self) -> Self {
        Self {
            count: self.count,
            busy_ns: self.busy_ns.saturating_sub(before.busy_ns),
            iowait_ns: self.iowait_ns.saturating_sub(before.iowait_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
        }
    }
}

/// Gives for how long this thread was ready to run and had no processor, in nanoseconds, since it
/// began; 0 where the kernel does not say it.
pub fn own_delay_ns() -> u64 {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    times.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Raises the soft limit of open files to the hard one, for this process and those it starts;
/// refuses more connections than fit.
pub fn room_for(connections: usize) -> Result<()> {
    /// Files besides the connections: data, logs, listeners.
    const BESIDES: u64 = 200;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let most = limit.maximum.unwrap_or(u64::MAX).saturating_sub(BESIDES);
    ensure!(
        connections as u64 <= most,
        "{connections} connections are too many: a process may open {most} here (see ulimit -Hn)"
    );
    Ok(())
}

/// Sums `utime` and `stime`; the name before them may hold spaces and brackets.
fn stat_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(first_number)
}

/// On what the figures were taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The load average of the minute before the run: above 0 somebody else was working too.
    pub load_before: f64,
    /// The type of the file system on which the data lies.
    pub filesystem: String,
}

impl Machine {
    /// Looks around; `data` lies where the server will write.
    pub fn look(data: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = text("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: field(&text("/proc/meminfo"), "MemTotal:").unwrap_or(0) / 1024,
            load_before: text("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            filesystem: filesystem(data).unwrap_or_else(|_| "unknown".to_owned()),
        }
    }
}

/// Names the file system by the longest mount point above `path`.
fn filesystem(path: &Path) -> io::Result<String> {
    let path = fs::canonicalize(path)?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    // Of two mounts on one point the later one is seen.
    Ok(above.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0";
        assert_eq!(stat_ticks(stat), Some(42));
        assert_eq!(stat_ticks(""), None);
    }

    #[test]
    fn all_processors_are_read_with_what_was_stolen_of_them() {
        let stat = "cpu  10 1 5 900 7 2 3 40 99 99\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        let read = Processors::parse(stat).unwrap();
        let of = |busy, iowait, stolen| {
            let [busy_ns, iowait_ns, stolen_ns] =
                [busy, iowait, stolen].map(|t| t * NANOS_PER_TICK);
            Processors { count: 1, busy_ns, iowait_ns, stolen_ns }
        };
        assert_eq!(read, of(21, 7, 40));
        assert_eq!(read.since(of(20, 9, 10)), of(1, 0, 30));
        assert_eq!(Processors::parse("cpu  1 2 3\n"), None);
        assert!(Processors::read().is_some_and(|read| read.busy_ns > 0));
    }

    #[test]
    fn work_shows_as_cpu_time_and_memory_as_what_is_held() {
        let own = Pid::own();
        let memory = || Family(own).memory_bytes().unwrap();
        let (cpu, held) = (own.cpu_ns().unwrap(), memory());
        // More than all other tests together, which come and go beside it.
        let mut block = vec![1u8; 256 << 20];
        let begun = std::time::Instant::now();
        while own.cpu_ns().unwrap() - cpu < 20_000_000 {
            assert!(begun.elapsed().as_secs() < 30, "no work shows");
            block.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        assert!(memory() - held > 128 << 20);
        assert!(block.iter().any(|byte| *byte != 0) && !own.threads().unwrap().is_empty());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_that_names_it() {
        let error = format!("{:#}", Pid(u32::MAX).cpu_ns().unwrap_err());
        assert!(error.contains("/proc/4294967295/stat"), "{error}");
    }
}
