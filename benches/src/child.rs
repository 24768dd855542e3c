//! A process that this one started and ends again, whatever happens.
//!
//! Knows nothing of what it runs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, kill_process, set_parent_process_death_signal};

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

    /// Gives a command that runs `program` and is ended by the kernel when this process ends,
    /// however it does: by way of a hidden command of this binary, which then becomes it.
    pub fn leashed(program: &Path) -> Result<Command> {
        let mut command = Command::new(this_program()?);
        command.arg("leashed").arg(program);
        Ok(command)
    }

    /// Starts a hidden command of this same binary and reads the address that it prints.
    pub fn own(arguments: &[&str]) -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(this_program()?);
        let mut child = Self::start(command.args(arguments).stdout(Stdio::piped()))?;
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
        // Its number may be another's once it has been waited for.
        if self.ended()?.is_some() {
            return Ok(());
        }
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

fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("finding the path of this program")
}

/// Ties this process to the life of its parent and becomes `program`; returns only to say why not.
pub fn become_leashed(program: &Path, arguments: &[OsString]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
