//! A server that runs in the background and takes connections at one address.
//!
//! Knows nothing of which servers there are, nor of what they need before they start.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::process::{Process, within};

/// How long a service may take until it answers; a busy small machine takes a minute.
const START: Duration = Duration::from_secs(180);

/// After how long without a word in its log one that is started again is taken to hang. A node of
/// RabbitMQ that was killed and comes back while all cores are busy may wait for the others for ever,
/// and so may the next attempt; systemd would start it again each time, too. One of Cassandra that
/// reads what an hour has left in its commit log says so, file by file.
const SILENCE: Duration = Duration::from_secs(75);

/// How long one that is started again may take, however much it says.
const START_AGAIN: Duration = Duration::from_secs(600);

/// How long a service may take to end by itself.
pub const STOP: Duration = Duration::from_secs(30);

/// One process, where it answers, and how it is started.
pub struct Service {
    /// It, running or not.
    pub process: Process,
    /// It is up when this takes connections.
    pub answers: SocketAddr,
    /// Starts it.
    pub command: Command,
}

impl Service {
    /// Starts it unless it runs; what else has its port is not taken for it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let (name, at) = (self.process.name(), self.answers);
        if self.process.pid().is_some() {
            println!("{name}: runs already, {at}");
            return Ok(());
        }
        // What was killed a moment ago may still be on its way out.
        if !within(Duration::from_secs(5), || !open(at)) {
            bail!("{name}: something else listens on {at}: stop that first");
        }
        println!("{name}: starting, log in {}", self.process.log().display());
        self.process.start(&mut self.command)
    }

    /// Starts it again and waits until it answers; one that hangs is killed and started once more, for
    /// as long as there is time.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.start()?;
        while self.falls_silent(begun + START_AGAIN) && begun.elapsed() < START_AGAIN {
            println!("{}: hangs, and is killed and started once more", self.process.name());
            self.process.kill()?;
            self.start()?;
        }
        self.wait(begun)
    }

    /// Waits until it answers or has ended; tells whether it says nothing more instead, or is not
    /// done then.
    fn falls_silent(&self, until: Instant) -> bool {
        let said = || fs::metadata(self.process.log()).map_or(0, |log| log.len());
        let is_over = || open(self.answers) || self.process.pid().is_none();
        while Instant::now() < until {
            let before = said();
            if !within(SILENCE, || is_over() || said() > before) {
                return true;
            }
            if is_over() {
                return false;
            }
        }
        true
    }

    /// Waits until it answers; `begun` is when it was started.
    pub fn wait(&self, begun: Instant) -> anyhow::Result<()> {
        self.process.wait(START, || open(self.answers))?;
        let took = begun.elapsed().as_secs_f64();
        println!("{}: up on {} ({took:.1} s)", self.process.name(), self.answers);
        Ok(())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:<18} ", self.process.name(), self.answers.to_string())?;
        match self.process.pid() {
            Some(pid) if open(self.answers) => write!(f, "up, process {}", pid.as_raw_nonzero()),
            Some(pid) => write!(f, "does not answer, process {}", pid.as_raw_nonzero()),
            None => f.write_str("down"),
        }
    }
}

/// Whether something takes connections there.
pub fn open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}
