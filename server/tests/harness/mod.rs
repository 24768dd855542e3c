//! What tests of whole nodes share: a real server process, and clients on real sockets.
//!
//! Every wait has one deadline and ends in a panic that shows what did come; nothing waits
//! for a duration.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]

pub mod book;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod http;
pub mod measure;
pub mod nodes;
pub mod outbox;
pub mod ports;
pub mod raw;
pub mod relay;
pub mod small_disk;
pub mod writer;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub use client::Client;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server process with a data folder of its own.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    flags: Vec<String>,
    home: PathBuf,
    /// Variables that it is started with, from the next start on.
    pub environment: Vec<(&'static str, String)>,
    log: Log,
    /// Removed with the server, if the folder was made for it.
    _temporary: Option<TempDir>,
}

/// How a server ended that did not become ready: its code, and what it wrote.
pub type Refused = (Option<i32>, Vec<String>);

impl Server {
    /// Starts a demo node with small time-outs and room for tests that log in a lot.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a node with further flags; the last of two wins is not a rule, so name each once.
    pub fn with(flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut server = Self::on(temporary.path(), flags);
        server._temporary = Some(temporary);
        server
    }

    /// Starts a node that keeps its data below a folder.
    pub fn on(home: &Path, flags: &[&str]) -> Self {
        Self::try_on(home, flags).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Starts a node at an address of the test's choice.
    pub fn at(address: SocketAddr, home: &Path, flags: &[&str]) -> Self {
        Self::try_at(&address.to_string(), home, flags)
            .unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Starts a node that may refuse its data.
    pub fn try_on(home: &Path, flags: &[&str]) -> Result<Self, Refused> {
        Self::try_at(&ports::free().to_string(), home, flags)
    }

    /// Starts a node on an address of its own, which may refuse its data.
    pub fn try_at(listen: &str, home: &Path, flags: &[&str]) -> Result<Self, Refused> {
        Self::try_under(Vec::new(), listen, home, flags)
    }

    /// Starts a node with variables of the test's choice.
    pub fn try_under(
        environment: Vec<(&'static str, String)>,
        listen: &str,
        home: &Path,
        flags: &[&str],
    ) -> Result<Self, Refused> {
        let mut all: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        for flag in [
            "--demo",
            "--rate-logins-per-minute-user=100000",
            "--rate-logins-per-minute-address=100000",
            "--rate-registers-per-minute-address=100000",
            "--rate-requests-per-second-address=100000",
            "--rate-requests-burst-address=100000",
            "--rate-requests-per-second-user=100000",
            "--rate-requests-burst-user=100000",
            "--drain-ms=200",
        ] {
            let name = flag.split('=').next().unwrap();
            if !flags.iter().any(|given| given.split('=').next() == Some(name)) {
                all.push(flag.to_owned());
            }
        }
        let log = Log::default();
        let (child, address) = spawn(&environment, home, listen, &all, &log)?;
        let (flags, home) = (all, home.to_owned());
        Ok(Self { child, address, flags, home, environment, log, _temporary: None })
    }

    /// Gives the folder of its data.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Gives the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a power button would, as far as a process goes.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same address and data.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|refused| panic!("{refused:?}"));
    }

    /// Starts it again on the same address and data, which it may refuse.
    pub fn try_restart(&mut self) -> Result<(), Refused> {
        let address = self.address.to_string();
        (self.child, self.address) =
            spawn(&self.environment, &self.home, &address, &self.flags, &self.log)?;
        Ok(())
    }

    /// Tells it to leave, and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// Tells it to leave, which sends the spans that still wait, without holding up a collector
    /// on this thread.
    pub async fn left(mut self) -> Self {
        let ended = tokio::task::spawn_blocking(move || {
            assert_eq!(self.terminate(), Some(0));
            self
        });
        ended.await.unwrap()
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub async fn wait(&mut self) -> Option<i32> {
        let child = &mut self.child;
        eventually("the server has ended", async || child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap().code()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Gives what it has written so far, to standard output and standard error.
    pub fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    /// Ends the test if a thread of the server has panicked.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "{}", log.join("\n"));
    }

    /// Asks with a GET.
    pub async fn get(&self, path: &str, token: Option<&str>) -> http::Answer {
        http::ask(self.address, "GET", path, token, None).await
    }

    /// Asks with a POST.
    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> http::Answer {
        http::ask(self.address, "POST", path, token, Some(body)).await
    }

    /// Connects a new client of a demo user.
    pub async fn join(&self, user: &str) -> Client {
        Client::join(self.address, user).await
    }

    /// Gives the bytes of memory that the process holds.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Reads one value of `/metrics`, summed over the labels that `series` does not name.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = http::get(self.address, "/metrics", None).await.1;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let wanted: Vec<&str> = labels.trim_end_matches('}').split_terminator(',').collect();
        let lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
                && wanted.iter().all(|label| line.contains(label))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Gives how many sockets the process holds.
    pub fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server wrote, in the order in which it was read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        println!("server: {line}");
        self.0.lock().unwrap().push(line);
    }

    /// Reads on, so that a chatty server never waits for its pipe.
    fn follow(&self, pipe: impl std::io::Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| log.add(line));
        })
    }
}

/// Names the server's program (`RALLY_SERVER_BIN`, where it is not that of the tests), without the
/// settings of whoever runs them.
pub fn program() -> Command {
    let built = std::env::var_os("RALLY_SERVER_BIN");
    let built = built.unwrap_or_else(|| env!("CARGO_BIN_EXE_rally-server").into());
    let mut program = Command::new(built);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RALLY_") {
            program.env_remove(name);
        }
    }
    program.env("RALLY_LOG_FILTER", std::env::var("TEST_LOG").unwrap_or("warn".to_owned()));
    program
}

#[expect(clippy::zombie_processes, reason = "whoever gets the child waits for it")]
fn spawn(
    environment: &[(&'static str, String)],
    home: &Path,
    listen: &str,
    flags: &[String],
    log: &Log,
) -> Result<(Child, SocketAddr), Refused> {
    let mut child = program()
        .args(["--listen", listen, "--data-dir"])
        .arg(home.join("data"))
        .args(flags)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = log.follow(child.stderr.take().unwrap());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            let code = child.wait().unwrap().code();
            errors.join().unwrap();
            return Err((code, log.0.lock().unwrap().clone()));
        }
        let line = line.trim_end().to_owned();
        log.add(line.clone());
        if let Some(rest) = line.strip_prefix("Rally is ready at http://") {
            let address = rest.split(' ').next().unwrap().parse().unwrap();
            log.follow(output);
            return Ok((child, address));
        }
    }
}

/// Waits until `holds` does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
