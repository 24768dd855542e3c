//! `verify`: a verdict for each promise, from outside.
//!
//! Users register at a running cluster, and their devices write, read, reload, go offline and stop
//! reading, while faults are done to the cluster. When all is quiet again, everything is read back by a device that knew nothing, and
//! what happened is judged by the judges that the simulation has.

mod faults;
mod line;
mod site;
mod verdict;
mod workload;

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_rt::time::sleep;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use rally_proof::history::Device;
use rally_proof::{History, View, file};
use rally_schema::UserId;
use uuid::Uuid;

use crate::dice::Dice;
use crate::stop::Stop;
use faults::{Counts, Fault, Hook};
use line::{Line, Record};
use site::Site;

/// Checks what a running cluster promises, from outside: real sockets, many devices, and a verdict
/// for each promise.
///
/// Registers users of its own, which stay. Ends with status 0 when every promise was kept, with 1
/// when one was broken, and with 2 when it could not check.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Addresses of nodes, as browsers open them: http://host:port
    #[arg(required = true)]
    urls: Vec<String>,

    /// Users
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    users: u64,

    /// Devices of each user
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    devices: u8,

    /// What all users want together, a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,

    /// For how many seconds they want something
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Draws what they want; the same number draws the same. [default: drawn, and printed]
    #[arg(long)]
    seed: Option<u64>,

    /// What is done to the cluster meanwhile, one after the other: the run lasts until all is done
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,

    /// How a fault is done, and mended: FAULT=COMMAND;;COMMAND. `{n}` is the number of the node,
    /// broker or node of the store that it befalls. By default `cargo xtask` does it
    #[arg(long = "hook", value_parser = faults::hook)]
    hooks: Vec<Hook>,

    /// Brokers, for kill-broker
    #[arg(long, default_value_t = 1)]
    brokers: usize,

    /// Nodes of the store, for kill-store
    #[arg(long, default_value_t = 1)]
    stores: usize,

    /// Keeps what happened, so that `judge` can judge it again
    #[arg(long)]
    history: Option<PathBuf>,
}

/// Judges again what `verify --history` kept.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// The file
    file: PathBuf,
}

/// How long nothing is done to the cluster before the first fault, between two, and after the last.
const CALM: Duration = Duration::from_secs(8);

/// How long all may take to come to rest.
const REST: Duration = Duration::from_secs(180);

/// For how long nothing may happen at any device until it is at rest.
const QUIET: Duration = Duration::from_secs(3);

/// How often it is told what is waited for.
const PROGRESS: Duration = Duration::from_secs(5);

/// The number of the device that reads everything back.
const READER: u8 = u8::MAX;

/// Runs `verify`.
pub fn command(args: &VerifyArgs, stop: &Stop) -> Result<ExitCode> {
    let history = actix_rt::System::new().block_on(run(args, stop))?;
    if let Some(path) = &args.history {
        let out = File::create(path).with_context(|| format!("making {}", path.display()))?;
        file::write(&history, BufWriter::new(out))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(verdict::say(&history)?)
}

/// Runs `judge`.
pub fn judge(args: &JudgeArgs) -> Result<ExitCode> {
    let path = args.file.display();
    let from = File::open(&args.file).with_context(|| format!("opening {path}"))?;
    let history = file::read(BufReader::new(from)).with_context(|| format!("reading {path}"))?;
    Ok(verdict::say(&history)?)
}

async fn run(args: &VerifyArgs, stop: &Stop) -> Result<History> {
    let seed = args.seed.unwrap_or_else(|| u64::from(Uuid::new_v4().as_fields().0));
    println!("seed {seed} (again: --seed {seed})");
    let (site, record) = (Rc::new(Site::new(&args.urls)), Rc::new(Record::new()));
    let mut dice = Dice::new(seed);
    let people = register(args, &site, stop).await?;
    let users: Vec<UserId> = people.iter().map(|(user, _)| *user).collect();
    let mut lines = Vec::new();
    for (user, token) in &people {
        for number in 0..args.devices {
            let device = Device { user: *user, number };
            let (site, record) = (site.clone(), record.clone());
            let wrong_by_ms = workload::wrong_clock(&mut dice);
            lines.push(Rc::new(Line::new(device, wrong_by_ms, token.clone(), site, record)));
        }
    }
    let tasks: Vec<_> = lines.iter().map(|line| actix_rt::spawn(line.clone().run())).collect();
    let counts = Counts { nodes: args.urls.len(), brokers: args.brokers, stores: args.stores };
    let doing = faults::run(&args.faults, &args.hooks, counts, CALM, &record);
    let done = Cell::new(args.faults.is_empty());
    let load = workload::Load { rate: args.rate, seconds: args.seconds };
    let wanting = workload::run(&lines, &users, load, &done, &mut dice, &record, stop);
    let (stalls, ()) = futures_util::try_join!(
        async {
            let stalls = doing.await;
            done.set(true);
            stalls
        },
        wanting
    )?;
    lines.iter().for_each(|line| {
        line.set_reads(true);
        line.set_online(true);
    });
    let restless = rest(&lines, &record, stop).await?;
    let stored = read_back(&people, &site, stop).await?;
    let history = History {
        views: lines.iter().flat_map(|line| line.phone.borrow().views()).collect(),
        stored,
        entries: record.entries.borrow().clone(),
        stalls,
        restless,
        ended_ms: record.now_ms(),
        ..History::default()
    };
    tasks.iter().for_each(|task| task.abort());
    Ok(history)
}

/// Makes users that nobody else has, and logs them in.
async fn register(args: &VerifyArgs, site: &Site, stop: &Stop) -> Result<Vec<(UserId, String)>> {
    let run = Uuid::new_v4().simple().to_string();
    let password = Uuid::new_v4().to_string();
    let mut people = Vec::new();
    for nth in 0..args.users {
        stop.check()?;
        let user: UserId =
            format!("verify-{}-{nth}", &run[..8]).parse().context("a user's name")?;
        people.push((user, site.register(user, &password).await?));
        println!("{} of {} users are registered", nth + 1, args.users);
    }
    Ok(people)
}

/// Waits until no device has anything left to do, and nothing happens any more; says what is waited
/// for when that takes too long.
async fn rest(lines: &[Rc<Line>], record: &Record, stop: &Stop) -> Result<Option<String>> {
    let (begun, mut told) = (Instant::now(), Instant::now());
    let (mut count, mut since) = (0, Instant::now());
    while since.elapsed() < QUIET {
        stop.check()?;
        let busy = lines.iter().find_map(|line| line.wants());
        let now = record.entries.borrow().len();
        if busy.is_some() || now != count {
            (count, since) = (now, Instant::now());
        }
        if begun.elapsed() > REST {
            let busy = busy.unwrap_or_else(|| "something happens all the time".to_owned());
            println!("not at rest after {} s: {busy}", REST.as_secs());
            return Ok(Some(busy));
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            println!("waiting: {}", busy.as_deref().unwrap_or("for silence"));
        }
        sleep(Duration::from_millis(100)).await;
    }
    println!("all is quiet after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(None)
}

/// Reads everything back, each user's by a device that knew nothing.
async fn read_back(people: &[(UserId, String)], site: &Rc<Site>, stop: &Stop) -> Result<Vec<View>> {
    let record = Rc::new(Record::new());
    let mut stored = Vec::new();
    for (user, token) in people {
        let device = Device { user: *user, number: READER };
        let reader = Rc::new(Line::new(device, 0, token.clone(), site.clone(), record.clone()));
        let task = actix_rt::spawn(reader.clone().run());
        let begun = Instant::now();
        while let Some(wants) = reader.wants() {
            stop.check()?;
            if begun.elapsed() > REST {
                bail!("{wants}, when all of {user} was read back for {} s", REST.as_secs());
            }
            sleep(Duration::from_millis(10)).await;
        }
        task.abort();
        let views = reader.phone.borrow().views();
        stored.extend(views.into_iter().map(|view| View { device: None, ..view }));
    }
    println!("{} conversations are read back", stored.len());
    Ok(stored)
}
