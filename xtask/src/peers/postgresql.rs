//! PostgreSQL as Debian packages it, with a cluster of our own: not the system's service.
//!
//! It listens on 127.0.0.1:15432 alone and is otherwise as installed: what it has said is committed
//! is on the disk (`fsync`, `synchronous_commit`). It refuses to be root's; called by root, it runs
//! as the user that the package made for it, who has to be let into the build folder.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process::{Process, within};
use crate::service::Service;
use crate::{call, debian, secret};

const PORT: u16 = 15_432;

/// Who owns the cluster, inside it and, called by root, outside.
const USER: &str = "postgres";

/// What a client of the database is told, in PostgreSQL's own variables.
pub fn place(home: &Path) -> anyhow::Result<[(&'static str, String); 5]> {
    Ok([
        ("PGHOST", Ipv4Addr::LOCALHOST.to_string()),
        ("PGPORT", PORT.to_string()),
        ("PGUSER", USER.to_owned()),
        ("PGDATABASE", USER.to_owned()),
        ("PGPASSWORD", secret::keep(&password(home))?),
    ])
}

/// Installs it, makes its cluster and starts it, as far as that is still to be done.
pub fn start(home: &Path) -> anyhow::Result<Service> {
    let programs = match programs() {
        Some(programs) => programs,
        None => {
            println!("postgresql: installing");
            debian::install(&["postgresql"]).context("no PostgreSQL found")?;
            programs().context("PostgreSQL was installed but is not in /usr/lib/postgresql")?
        }
    };
    let owner = Owner::find()?;
    make_cluster(home, &programs, &owner)?;
    let mut service = known(home);
    service.command = call::program(programs.join("postgres"), home);
    service.command.arg("-D").arg(data(home)).args(["-p", &PORT.to_string()]);
    service.command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
    owner.runs(&mut service.command);
    let begun = Instant::now();
    service.start()?;
    service.wait(begun)?;
    // It listens before it has recovered.
    let ready = || {
        let mut ask = call::program(programs.join("pg_isready"), home);
        call::succeeds(ask.args(["-q", "-h", "127.0.0.1", "-p", &PORT.to_string()]))
    };
    if !within(Duration::from_secs(60), ready) {
        bail!("postgresql takes no clients; see {}", service.process.log().display());
    }
    Ok(service)
}

/// Says of which version it is.
pub fn version(home: &Path) -> String {
    let ask = |programs: PathBuf| {
        call::ask(call::program(programs.join("postgres"), home).arg("--version"))
    };
    programs().and_then(ask).unwrap_or_else(|| "PostgreSQL of an unknown version".to_owned())
}

/// Gives it as it may run, without the means to start it.
pub fn known(home: &Path) -> Service {
    Service {
        process: Process::of(home.join("postgresql")),
        answers: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
        command: Command::new("postgres"),
    }
}

fn make_cluster(home: &Path, programs: &Path, owner: &Owner) -> anyhow::Result<()> {
    let (data, password) = (data(home), password(home));
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    fs::create_dir_all(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    secret::keep(&password)?;
    owner.gets(&data)?;
    owner.gets(&password)?;
    let mut make = call::program(programs.join("initdb"), &home.join("postgresql"));
    make.arg("-D").arg(&data).arg(format!("--pwfile={}", password.display()));
    make.args(["-U", USER, "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]);
    owner.runs(&mut make);
    call::run(&mut make)
}

/// As whom it runs, if not as ourselves.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn find() -> anyhow::Result<Self> {
        let id = |flag| call::ask(call::program("id", Path::new("/")).args([flag, USER]));
        let number = |flag| id(flag).and_then(|id| id.parse().ok());
        Ok(Self(match debian::is_root() {
            false => None,
            true => {
                let user = number("-u").zip(number("-g"));
                Some(user.with_context(|| format!("there is no user {USER}"))?)
            }
        }))
    }

    fn gets(&self, path: &Path) -> anyhow::Result<()> {
        let Some((user, group)) = self.0 else { return Ok(()) };
        chown(path, Some(user), Some(group))
            .with_context(|| format!("cannot give {} to {USER}", path.display()))
    }

    fn runs(&self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}

fn data(home: &Path) -> PathBuf {
    home.join("postgresql/data")
}

fn password(home: &Path) -> PathBuf {
    home.join("postgresql/password")
}

/// Finds its programs, which Debian keeps off the search path: those of the latest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let versions = versions.filter_map(|entry| Some(entry.ok()?.path()));
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let latest = versions.filter(|path| path.join("bin/postgres").is_file()).max_by_key(number)?;
    Some(latest.join("bin"))
}
