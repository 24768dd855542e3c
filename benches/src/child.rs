//! A process that this one started and ends again, whatever happens.
//!
//! Knows nothing of what it runs.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, kill_process};

use crate::proc::Pid;

/// Kills its process when dropped.
#[derive(Debug)]
pub struct Child(std::process::Child);

impl Child {
    /// Starts `command` in a group of its own: a Ctrl-C in the terminal is for this process
    /// alone, which still wants to read the child's figures.
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let started = command.process_group(0).spawn();
        Ok(Self(started.with_context(|| format!("starting {}", program.display()))?))
    }

    /// Starts a hidden command of this same binary and reads the address that it prints.
    pub fn own(arguments: &[&str]) -> Result<(Self, SocketAddr)> {
        let program = std::env::current_exe().context("finding the path of this program")?;
        let mut child = Self::start(Command::new(program).args(arguments).stdout(Stdio::piped()))?;
        let stdout = child.0.stdout.take().context("the child's output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse();
        let address =
            address.with_context(|| format!("`{}` said {line:?}", arguments.join(" ")))?;
        Ok((child, address))
    }

    /// Names the process.
    pub fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    /// Tells whether the process has ended, and how.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Asks the process to end and waits; kills it when it does not.
    pub fn end(mut self, patience: Duration) -> Result<()> {
        kill_process(rustix::process::Pid::from_child(&self.0), Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.ended()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("process {} did not end within {patience:?} of SIGTERM; killed", self.0.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
