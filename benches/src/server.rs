//! The server that is measured: started here, on loopback and a folder of its own, and ended
//! with this process.
//!
//! Known by its flags, its ready line and its metrics. The limits that would slow a generator
//! down which acts for everybody at once are raised; everything else is as installed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize as _;

use crate::child::Child;
use crate::people::Account;
use crate::proc::Pid;

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// How long a clean end may take: the drain, and the store's last flush.
const END: Duration = Duration::from_secs(30);

/// What would slow the generator down, not people.
pub const RAISED: [&str; 9] = [
    "--rate-sends-per-second=1000000",
    "--rate-sends-burst=1000000",
    "--rate-frames-per-second=1000000",
    "--rate-frames-burst=1000000",
    "--rate-logins-per-minute-address=1000000",
    "--rate-logins-per-minute-user=1000000",
    "--rate-requests-per-second-address=1000000",
    "--rate-requests-burst-address=1000000",
    "--max-http-connections-address=1000000",
];

/// Which server, and how it is started.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server to measure. [default: rally-server beside this program]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Has it acknowledge what the operating system has, without fsync (--durability os).
    #[arg(long)]
    pub no_sync: bool,
    /// One more flag for it, as in --server-flag=--workers=2; may be repeated.
    #[arg(long = "server-flag", value_name = "FLAG", allow_hyphen_values = true)]
    pub server_flags: Vec<String>,
}

impl ServerArgs {
    fn program(&self) -> Result<PathBuf> {
        let beside = || Ok(std::env::current_exe()?.with_file_name("rally-server"));
        let program = self.server.clone().map_or_else(beside, Ok::<_, std::io::Error>)?;
        ensure!(
            program.is_file(),
            "no server at {}: build it with `cargo build --release -p rally-server`, or name it \
             with --server",
            program.display()
        );
        Ok(program)
    }

    /// Gives what the server says of its version.
    pub fn version(&self) -> Result<String> {
        let said = command(&self.program()?).arg("--version").output();
        let said = said.context("asking the server for its version")?.stdout;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// Says what is not as installed, for the report.
    pub fn line(&self) -> String {
        let mut line = String::new();
        if self.no_sync {
            line += ", without fsync";
        }
        for flag in &self.server_flags {
            line += ", ";
            line += flag;
        }
        line
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Makes the accounts in a folder of data that no server uses.
    pub fn import(args: &ServerArgs, folder: &Path, accounts: &[Account]) -> Result<()> {
        fs::create_dir_all(folder)?;
        let file = folder.with_extension("accounts");
        let mut lines = Vec::new();
        for account in accounts {
            account.serialize(&mut serde_json::Serializer::new(&mut lines))?;
            lines.push(b'\n');
        }
        fs::write(&file, lines)?;
        let mut import = command(&args.program()?);
        import.args(["users", "import"]).arg(&file).arg("--data-dir").arg(folder);
        let done = import.output().context("starting the import of accounts")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "the import of accounts failed: {}", said.trim());
        Ok(())
    }

    /// Starts the server on a folder of data and waits until it is ready.
    pub fn start(args: &ServerArgs, folder: &Path) -> Result<Self> {
        Starting::begin(args, folder, &["--listen=127.0.0.1:0".to_owned()])?.ready()
    }

    /// Names its process.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Tells whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.ended()
    }

    /// Has it leave cleanly, and waits.
    pub fn end(self) -> Result<()> {
        self.child.end(END)
    }
}

/// A server that starts.
#[derive(Debug)]
pub struct Starting {
    child: Child,
    log: PathBuf,
}

impl Starting {
    /// Starts a server on a folder of data, with further flags.
    pub fn begin(args: &ServerArgs, folder: &Path, flags: &[String]) -> Result<Self> {
        let log = folder.with_extension("log");
        let output = File::create(&log)?;
        let mut command = Child::leashed(&args.program()?)?;
        unset_settings(&mut command);
        command.arg("--data-dir").arg(folder).args(RAISED).args(flags);
        if args.no_sync {
            command.args(["--durability", "os"]);
        }
        command.args(&args.server_flags);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self { child: Child::start(&mut command)?, log })
    }

    /// Waits until it is ready.
    pub fn ready(mut self) -> Result<Server> {
        let deadline = Instant::now() + START;
        loop {
            let said = fs::read_to_string(&self.log)?;
            if let Some(address) = ready(&said) {
                return Ok(Server { child: self.child, address });
            }
            if let Some(status) = self.child.ended()? {
                bail!("the server ended with {status}; it said:\n{}", last_lines(&said));
            }
            if Instant::now() > deadline {
                bail!("the server was not ready within {START:?}; it said:\n{}", last_lines(&said));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    unset_settings(&mut command);
    command.stdin(Stdio::null());
    command
}

/// Keeps the settings of whoever runs the bench away from the server.
fn unset_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RALLY_") {
            command.env_remove(name);
        }
    }
}

/// Finds the address in what a server said.
fn ready(said: &str) -> Option<SocketAddr> {
    let line = said.lines().find_map(|line| line.strip_prefix("Rally is ready at http://"))?;
    line.split(' ').next()?.parse().ok()
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_among_others() {
        let said = "starting\nRally is ready at http://127.0.0.1:4242 (data in x y)\nmore";
        assert_eq!(ready(said), Some(([127, 0, 0, 1], 4242).into()));
        assert_eq!(ready("starting\n"), None);
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let server = Some(PathBuf::from("/nowhere/rally-server"));
        let args = ServerArgs { server, no_sync: false, server_flags: Vec::new() };
        let error = Server::start(&args, &std::env::temp_dir().join("x")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/rally-server") && error.contains("--server"), "{error}");
    }
}
