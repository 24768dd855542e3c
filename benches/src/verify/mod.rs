//! `verify`: a verdict for each promise, from outside.
//!
//! Users register at a running cluster, and their devices write, read, reload, go offline and stop
//! reading, while faults are done to the cluster. When all is quiet again, everything is read back
//! by a device that knew nothing, and what happened is judged by the judges that the simulation
//! has.

mod accounts;
mod faults;
mod late;
mod line;
mod rest;
mod site;
mod verdict;
mod workload;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rally_proof::history::Device;
use rally_proof::phone::Gaps;
use rally_proof::{History, Span, file};
use rally_schema::UserId;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::dice::Dice;
use crate::proc::room_for;
use crate::stop::Stop;
use accounts::Account;
use faults::{Counts, Done, Fault, Hook, Plan};
use late::Late;
use line::{Line, Record};
use site::Site;
use verdict::Demand;
use workload::{Load, MOST_TEXT_BYTES, Mishaps};

/// Checks what a running cluster promises, from outside: real sockets, many devices, and a verdict
/// for each promise.
///
/// Registers users of its own, which stay, unless it is told some. Ends with status 0 when every
/// promise was kept that could be judged, with 1 when one was broken, and with 2 when it could not
/// check, or nothing happened by which one could be judged. Ctrl-C ends the load: what was broken is
/// mended, and what happened is judged; a second one ends at once.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Addresses of nodes, as browsers open them: https://host, or http://host:port
    #[arg(required = true)]
    urls: Vec<String>,

    /// Users
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    users: u64,

    /// Users that exist, instead of registering some: a line each, {"user": "…", "password": "…"}.
    /// Their presence is judged, too: they hide it from nobody, block nobody, and are logged in
    /// nowhere else
    #[arg(long, value_name = "FILE", conflicts_with = "users")]
    accounts: Option<PathBuf>,

    /// Devices of each user
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    devices: u8,

    /// How many of them have one more device, which is away for as long as devices come and go: what it
    /// missed is more than a catch-up hands out, when that was long enough
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    travellers: u64,

    /// What all users want together, a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,

    /// Bytes that each text has at least: who does not read long ones is soon behind
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=MOST_TEXT_BYTES as u64))]
    text_bytes: u64,

    /// For how many seconds they want something while devices come and go
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=604_800))]
    seconds: u64,

    /// For how many seconds they do before that while nothing happens but that some devices do not
    /// read, or connect anew: what is written then must be everywhere within 5 s (promise 10)
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    calm_seconds: u64,

    /// For how many seconds they may take to come to rest after that
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    rest_seconds: u64,

    /// Draws what they want; the same number draws the same. [default: drawn, and printed]
    #[arg(long)]
    seed: Option<u64>,

    /// What is done to the cluster meanwhile, one after the other: the run lasts until all is done
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,

    /// How a fault is done, and mended: FAULT=COMMAND;;COMMAND. `{n}` is the number of the node,
    /// broker or node of the store that it befalls. The second one ends once all is as it was; for
    /// restart-all, whose first one does all, there is none. By default `cargo xtask` does it
    #[arg(long = "hook", value_parser = faults::hook)]
    hooks: Vec<Hook>,

    /// Brokers, for kill-broker
    #[arg(long, default_value_t = 1)]
    brokers: usize,

    /// Nodes of the store, for kill-store and pause-store
    #[arg(long, default_value_t = 1)]
    stores: usize,

    /// Nodes, for kill-node, pause-node and restart-all. [default: one for each address]
    #[arg(long)]
    nodes: Option<usize>,

    /// Keeps what happened, so that `judge` can judge it again
    #[arg(long)]
    history: Option<PathBuf>,

    #[command(flatten)]
    demand: Demand,
}

/// Judges again what `verify --history` kept.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// The file
    file: PathBuf,

    #[command(flatten)]
    demand: Demand,
}

/// More a second than this is wanted of no user without a word about it: nodes let one send 20, when
/// nothing else is set, and devices draw more at times.
const OFTEN: u64 = 10;

/// How long nothing is done to the cluster before the first fault, between two, and after the last.
const CALM: Duration = Duration::from_secs(8);

/// How often it is told what is waited for.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs `verify`.
pub fn command(args: &VerifyArgs, stop: &Stop) -> Result<ExitCode> {
    let nodes = args.nodes.unwrap_or(args.urls.len());
    let counts = Counts { nodes, brokers: args.brokers, stores: args.stores };
    let plan = Plan::new(&args.faults, &args.hooks, counts)?;
    // For https. Nothing else in this process has chosen one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let accounts = args.accounts.as_deref().map(accounts::read).transpose()?;
    let users = accounts.as_ref().map_or(args.users as usize, Vec::len);
    let devices = users * usize::from(args.devices) + users.min(args.travellers as usize);
    // What a device left without a word stays open for a while.
    room_for(2 * devices)?;
    let kept = args.history.as_deref().map(Kept::begin).transpose()?;
    let (history, failed) = actix_rt::System::new().block_on(run(args, accounts, &plan, stop))?;
    if let Some(kept) = kept {
        kept.write(&history)?;
    }
    let status = verdict::say(&history, args.demand)?;
    match failed {
        // Kept or not, what was asked for was not all done.
        Some(failed) if status != verdict::BROKEN => {
            Err(failed.context("not all faults were done: the verdict is about the rest"))
        }
        _ => Ok(ExitCode::from(status)),
    }
}

/// A history that is to be kept: beside its place until it is whole, so that a run which comes to
/// nothing leaves the one that was there.
struct Kept<'a> {
    path: &'a Path,
    out: NamedTempFile,
}

impl<'a> Kept<'a> {
    fn begin(path: &'a Path) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let out = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("making a file beside {}", path.display()))?;
        Ok(Self { path, out })
    }

    fn write(self, history: &History) -> Result<()> {
        let Self { path, out } = self;
        let writing = || format!("writing {}", path.display());
        file::write(history, BufWriter::new(&out)).with_context(writing)?;
        out.persist(path).with_context(writing)?;
        Ok(())
    }
}

/// Runs `judge`.
pub fn judge(args: &JudgeArgs) -> Result<ExitCode> {
    let path = args.file.display();
    let from = File::open(&args.file).with_context(|| format!("opening {path}"))?;
    let history = file::read(BufReader::new(from)).with_context(|| format!("reading {path}"))?;
    Ok(ExitCode::from(verdict::say(&history, args.demand)?))
}

/// Says how it goes on. Whoever does not read it any more still wants the verdict.
fn tell(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn run(
    args: &VerifyArgs,
    accounts: Option<Vec<Account>>,
    plan: &Plan,
    stop: &Stop,
) -> Result<(History, Option<anyhow::Error>)> {
    let seed = args.seed.unwrap_or_else(|| u64::from(Uuid::new_v4().as_fields().0));
    tell(&format!("seed {seed} (again: with the same options and --seed {seed})"));
    let (site, record) = (Rc::new(Site::new(&args.urls)), Rc::new(Record::new()));
    let mut dice = Dice::new(seed);
    let people = accounts::log_in(accounts, args.users, &site, stop).await?;
    let users: Vec<UserId> = people.iter().map(|(user, _)| *user).collect();
    let mut line = |user: &UserId, number: u8, token: &String| {
        let device = Device { user: *user, number };
        let (site, record) = (site.clone(), record.clone());
        let wrong_by_ms = workload::wrong_clock(&mut dice);
        Rc::new(Line::new(device, wrong_by_ms, token.clone(), site, record))
    };
    let mut lines = Vec::new();
    for (user, token) in &people {
        lines.extend((0..args.devices).map(|number| line(user, number, token)));
    }
    let travelling = people.iter().take(args.travellers as usize);
    let travellers: Vec<Rc<Line>> =
        travelling.map(|(user, token)| line(user, args.devices, token)).collect();
    let everybody: Vec<Rc<Line>> = lines.iter().chain(&travellers).cloned().collect();
    let mut tasks: Vec<_> =
        everybody.iter().map(|line| actix_rt::spawn(line.clone().run())).collect();
    let late = Rc::new(Late::default());
    tasks.push(actix_rt::spawn(late.clone().watch(record.clone())));
    let patience = Duration::from_secs(args.rest_seconds);
    if let Some(who) = rest::all(&everybody, &record, patience).await {
        bail!("{who}, before anything was done");
    }

    let (rate, text_bytes) = (args.rate, args.text_bytes as usize);
    if rate > OFTEN * users.len() as u64 {
        tell(&format!(
            "{rate} a second of {} users is more than {OFTEN} for each: where a node lets nobody do so \
             much (rate_sends_per_second), messages wait in outboxes, and break promise 10",
            users.len()
        ));
    }
    let mut load = Load { lines: &lines, users: &users, record: &record, stop, rate, text_bytes };
    let from_ms = record.now_ms();
    load.run(args.calm_seconds, Mishaps::SlowReaders, &Cell::new(true), &mut dice).await;
    let calm = Span { from_ms, to_ms: record.now_ms() };
    let before: Vec<Gaps> = travellers.iter().map(|line| line.phone.borrow().gaps()).collect();
    travellers.iter().for_each(|line| line.set_online(false));
    let done = Cell::new(false);
    let faults = async {
        let faults = plan.run(CALM, &record, stop).await;
        done.set(true);
        faults
    };
    let (Done { spans: mut stalls, failed }, ()) =
        futures_util::join!(faults, load.run(args.seconds, Mishaps::All, &done, &mut dice));
    let away_s = (record.now_ms() - calm.to_ms) / 1_000;
    travellers.iter().for_each(|line| line.set_online(true));
    let mut restless = rest::all(&everybody, &record, patience).await;
    if restless.is_none() {
        restless = rest::absence(&everybody, &users, &record, patience).await;
    }
    for (line, before) in travellers.iter().zip(before) {
        let (device, Gaps { resets, cuts }) = (line.device(), line.phone.borrow().gaps());
        let (resets, cuts) = (resets - before.resets, cuts - before.cuts);
        tell(&format!(
            "{device} was away for {away_s} s: {resets} resets, {cuts} conversations cut"
        ));
    }
    let (stored, unread) = rest::read_back(&people, &site, patience).await;
    tasks.iter().for_each(|task| task.abort());
    stalls.extend(late.spans());
    let history = History {
        views: everybody.iter().flat_map(|line| line.phone.borrow().views()).collect(),
        stored,
        entries: record.entries.take(),
        calm: vec![calm],
        stalls,
        restless: restless.or(unread),
        ended_ms: record.now_ms(),
        ..History::default()
    };
    Ok((history, failed))
}
