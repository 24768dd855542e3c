//! `cargo xtask peers`: other chat servers, which the load tester runs the same scenarios on.
//!
//! What they are stands in `benches/peers/`; how each is installed and started, in a file here. What
//! they keep lies in `xtask/peers/` of the build folder.

mod postgresql;
mod socketio;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::checkout::Checkout;
use crate::service::{STOP, Service};

/// What hashing a password costs here, unless it is told otherwise.
const SCRYPT_COST: u32 = 16;

/// Install and run other chat servers, to measure them beside this one.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Start one, and say where it listens and what its processes are
    Up {
        /// Which
        #[arg(value_enum)]
        peer: Peer,

        /// What hashing a password costs: scrypt's N, a power of two. So little that logging in
        /// thousands measures no hashing; people would leave it at 16384
        #[arg(long, value_name = "N", default_value_t = SCRYPT_COST)]
        scrypt_cost: u32,
    },
    /// Show its processes
    Status {
        /// Which
        #[arg(value_enum)]
        peer: Peer,
    },
    /// Stop it
    Down {
        /// Which
        #[arg(value_enum)]
        peer: Peer,

        /// Delete the data too
        #[arg(long)]
        wipe: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Peer {
    /// What people write at home: Socket.IO, and an INSERT into PostgreSQL before the ack
    #[value(name = "socketio")]
    SocketIo,
}

/// Starts one for a test, and stops it whatever became of that.
pub fn with(
    checkout: &Checkout,
    test: impl FnOnce(SocketAddr) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let tested = up(checkout, SCRYPT_COST).and_then(test);
    let stopped = down(checkout, true);
    tested.and(stopped)
}

/// Runs the command.
pub fn run(checkout: &Checkout, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        What::Up { peer: Peer::SocketIo, scrypt_cost } => drop(up(checkout, scrypt_cost)?),
        What::Status { peer: Peer::SocketIo } => {
            both(checkout).iter().for_each(|service| println!("{service}"));
        }
        What::Down { peer: Peer::SocketIo, wipe } => down(checkout, wipe)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts it, and gives where it listens.
fn up(checkout: &Checkout, scrypt_cost: u32) -> anyhow::Result<SocketAddr> {
    let home = home(checkout);
    fs::create_dir_all(&home)?;
    let database = postgresql::start(&home)?;
    socketio::install(checkout)?;
    let mut chat = socketio::service(checkout, &home, scrypt_cost)?;
    let begun = Instant::now();
    chat.start()?;
    chat.wait(begun)?;
    let version = format!("{}, {}", socketio::version(checkout), postgresql::version(&home));
    let written = write_place(home.join("socketio.json"), &[&chat, &database], &version)?;
    println!("where it listens and its processes: {}", written.display());
    Ok(chat.answers)
}

fn down(checkout: &Checkout, wipe: bool) -> anyhow::Result<()> {
    for service in both(checkout) {
        println!("{}: stopping", service.process.name());
        service.process.stop(STOP)?;
    }
    let home = home(checkout);
    if wipe && home.exists() {
        fs::remove_dir_all(&home)?;
        println!("data deleted");
    }
    Ok(())
}

/// Gives the services of a peer, as they are to be stopped: the database waits for its clients to
/// leave.
fn both(checkout: &Checkout) -> [Service; 2] {
    let home = home(checkout);
    [socketio::known(&home), postgresql::known(&home)]
}

fn home(checkout: &Checkout) -> PathBuf {
    checkout.kept("peers")
}

/// Writes what a load tester wants to know of a peer: where the first of its services listens, the
/// processes of all, and of which versions they are. What these have started in turn belongs to them.
fn write_place(file: PathBuf, services: &[&Service], version: &str) -> anyhow::Result<PathBuf> {
    let pids = services.iter().filter_map(|service| service.process.pid());
    let pids: Vec<String> = pids.map(|pid| pid.as_raw_nonzero().to_string()).collect();
    let (address, pids) = (services[0].answers, pids.join(","));
    // Programs say their versions in plain words.
    let version = version.replace(['"', '\\'], "");
    let place =
        format!("{{\"address\":\"{address}\",\"pids\":[{pids}],\"version\":\"{version}\"}}\n");
    fs::write(&file, place)?;
    Ok(file)
}
