//! A plain process in the background that outlives the command that started it.
//!
//! Known by a folder: `pid` says which process it is, `log` what it prints. It leads a process
//! group of its own, so that a signal reaches what it started in turn. Knows nothing of what runs.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process_group};

/// How often something awaited is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Lines of a log that a failure shows.
const TAIL: usize = 25;

/// One process, running or not.
pub struct Process {
    name: String,
    home: PathBuf,
}

impl Process {
    /// Names the process of `folder`, whose last part is its name.
    pub fn of(folder: PathBuf) -> Self {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, home: folder }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Starts it in its folder; what it prints goes into its log, which begins anew.
    pub fn start(&self, command: &mut Command) -> anyhow::Result<()> {
        if let Some(pid) = self.pid() {
            bail!("{} runs already, as process {}", self.name, pid.as_raw_nonzero());
        }
        fs::create_dir_all(&self.home)?;
        let log = File::create(self.log())?;
        command.current_dir(&self.home).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let pid = i32::try_from(child.id()).context("a process id beyond 31 bits")?;
        let born =
            born(pid).with_context(|| format!("{} ended at once\n{}", self.name, self.tail()))?;
        fs::write(self.home.join("pid"), format!("{pid} {born}\n"))?;
        Ok(())
    }

    /// Gives its process id while it runs. A number that another process got since is not its.
    pub fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.home.join("pid")).ok()?;
        let (pid, since) = text.trim().split_once(' ')?;
        let pid: i32 = pid.parse().ok()?;
        (born(pid)? == since.parse::<u64>().ok()?).then(|| Pid::from_raw(pid)).flatten()
    }

    /// Sends a signal to it and to what it started.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else { bail!("{} does not run", self.name) };
        kill_process_group(pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Asks it to end, and ends it if it has not after `patience`. What does not run has ended.
    pub fn stop(&self, patience: Duration) -> anyhow::Result<()> {
        if self.pid().is_some() {
            // A stopped process hears nothing else before this.
            self.signal(Signal::CONT)?;
            self.signal(Signal::TERM)?;
            if !within(patience, || self.pid().is_none()) {
                self.kill()?;
            }
        }
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        if !within(Duration::from_secs(10), || self.pid().is_none()) {
            bail!("{} still runs after SIGKILL", self.name);
        }
        Ok(())
    }

    /// Waits until `ready` holds; fails with the end of the log if the process ends before.
    pub fn wait(&self, patience: Duration, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        within(patience, || ready() || self.pid().is_none());
        match (self.pid().is_some(), ready()) {
            (true, true) => Ok(()),
            (false, _) => bail!("{} ended\n{}", self.name, self.tail()),
            (true, false) => bail!(
                "{} is not ready after {} s; see {}\n{}",
                self.name,
                patience.as_secs(),
                self.log().display(),
                self.tail()
            ),
        }
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines[from..].iter().map(|line| format!("  | {line}\n")).collect()
    }
}

/// Waits for `condition`, and tells whether it came true in time.
pub fn within(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// When a living process began, in the kernel's ticks; with its number, this names it for good.
fn born(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in brackets and may hold anything; state and the rest follow.
    let rest = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (*fields.first()? != "Z").then(|| fields.get(19)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call;

    fn shell(script: &str) -> Command {
        let mut command = call::program("/bin/sh", Path::new("/"));
        command.args(["-c", script]);
        command
    }

    fn process(folder: &tempfile::TempDir) -> Process {
        Process::of(folder.path().join("sleeper"))
    }

    #[test]
    fn a_process_is_found_again_by_its_folder_until_it_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        process(&folder).start(&mut shell("sleep 60 & wait")).unwrap();
        let again = process(&folder).start(&mut shell("true")).unwrap_err().to_string();
        assert!(again.starts_with("sleeper runs already, as process "), "{again}");
        process(&folder).kill().unwrap();
        assert_eq!(process(&folder).kill().unwrap_err().to_string(), "sleeper does not run");
    }

    #[test]
    fn one_that_does_not_heed_is_ended_and_a_paused_one_heeds() {
        let folder = tempfile::tempdir().unwrap();
        process(&folder).start(&mut shell("trap '' TERM; while :; do sleep 1; done")).unwrap();
        process(&folder).stop(Duration::from_millis(200)).unwrap();
        assert_eq!(process(&folder).pid(), None);
        process(&folder).start(&mut shell("exec sleep 60")).unwrap();
        process(&folder).signal(Signal::STOP).unwrap();
        process(&folder).stop(Duration::from_secs(60)).unwrap();
        assert_eq!(process(&folder).pid(), None);
    }

    #[test]
    fn one_that_ends_while_it_is_waited_for_shows_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        process(&folder).start(&mut shell("sleep 0.2; echo no such seed; exit 3")).unwrap();
        let error = process(&folder).wait(Duration::from_secs(60), || false).unwrap_err();
        assert_eq!(error.to_string(), "sleeper ended\n  | no such seed\n");
    }
}
