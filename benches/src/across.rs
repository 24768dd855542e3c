//! What a message between users on two nodes takes, beside bare commits on the same database.
//!
//! Puts together two nodes, the crowd and the generator. The database and the broker must run.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rally_cluster::store::cassandra::Options;
use rally_schema::UserId;

use crate::commits::{Commits, Database};
use crate::crowd::Crowd;
use crate::generator::{self, Outcome};
use crate::kernel::add;
use crate::load::Load;
use crate::people::{Account, Door, Login, user};
use crate::proc::{Machine, Pid};
use crate::report::Report;
use crate::server::{Server, ServerArgs, Starting};
use crate::stop::{Stop, runs};
use crate::talk::Talk;

/// How many times a bare commit a delivery may take, and how much more.
const TIMES_COMMIT: f64 = 2.0;
const MORE_MS: f64 = 3.0;

/// Accounts for one user that talks: discovery says who is at home where, and pairs are made of
/// users at different nodes.
const ACCOUNTS: usize = 2;

/// How long the nodes may take to meet.
const MEETING: Duration = Duration::from_secs(30);

/// Measures what a message between users on two nodes takes, over Cassandra and RabbitMQ.
///
/// Each run starts two fresh nodes, drives them with pairs of users who are at home on different
/// ones, and then, with both stopped, commits the same rows on the same schedule to the same
/// database, by the driver that the nodes use. The services must run: `cargo xtask services up`.
///
/// `cluster delivered`, `cluster ack`: from the intended time of sending.
/// `cluster CPU a message`: user and system time of both nodes.
/// `bare commit`: from the intended time until all rows of a message are confirmed.
/// `twice a bare commit and 3 ms`: what p50 of delivery is held to.
/// A run in which a message was lost, doubled or out of order says so and ends with status 2.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, mut_arg("rate", |rate| rate.default_value("500")))]
pub struct AcrossArgs {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    server: ServerArgs,
    /// Bytes of a text.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    text_bytes: u32,
    /// Where Cassandra is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9042")]
    cassandra: String,
    /// In which keyspace; made when it is missing, and kept.
    #[arg(long, value_name = "NAME", default_value = "rally_bench")]
    keyspace: String,
    /// Where RabbitMQ is.
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    amqp_url: String,
}

/// Runs the command.
pub fn command(args: &AcrossArgs, stop: &Stop) -> Result<bool> {
    let load = &args.load;
    let folder = load.folder()?;
    let settings = format!("{load}, {}-byte text{}", args.text_bytes, args.server.line());
    let database = Database::open(Options {
        contact_points: vec![args.cassandra.clone()],
        keyspace: args.keyspace.clone(),
        ..Options::default()
    })?;
    let mut report = Report::new("across", Machine::look(folder.path()), settings);
    let clean = runs(&mut report, load.runs, stop, |report, number| {
        eprintln!("run {number} of {}: {load}", load.runs);
        let users = accounts(&database, load.users)?;
        let folder = folder.path().join(format!("run-{number}"));
        let (served, users) = serve(args, &folder, &users, stop)?;
        add(report, "cluster", &served);
        let mut clean = served.balance.is_clean();
        if !stop.asked() {
            let mut bare = Commits::of(&database, 2, users, args.text_bytes as usize);
            let own = [Pid::own()];
            let bare = generator::run(&mut bare, &load.schedule(), load.users, &own, stop)?;
            report.add_latency("bare commit", &bare.ack);
            let p50_ms = bare.ack.value_at_quantile(0.5) as f64 / 1e6;
            report.add("twice a bare commit and 3 ms", "ms", TIMES_COMMIT * p50_ms + MORE_MS);
            clean &= bare.balance.is_clean();
        }
        Ok(clean)
    })?;
    if let Some(at_most) = report.median("twice a bare commit and 3 ms") {
        report.promise("cluster delivered p50", at_most);
    }
    report.publish(load.json.as_deref())?;
    Ok(clean)
}

/// Makes accounts that no run had before: the database keeps what earlier ones wrote.
fn accounts(database: &Database, talking: usize) -> Result<Vec<UserId>> {
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as usize * 1_000;
    let users: Vec<UserId> = (first..first + ACCOUNTS * talking).map(user).collect();
    database.import(users.iter().map(|user| Account::of(*user).row()).collect())?;
    Ok(users)
}

/// Drives two fresh nodes once; gives who talked.
fn serve(
    args: &AcrossArgs,
    folder: &Path,
    users: &[UserId],
    stop: &Stop,
) -> Result<(Outcome, Vec<UserId>)> {
    std::fs::create_dir_all(folder)?;
    let nodes = start(args, folder)?;
    let (users, logins) = cross(nodes[0].address, users, args.load.users, stop)?;
    let mut crowd = Crowd::before(nodes[0].address)?;
    crowd.open(&logins, stop)?;
    let together = crowd.at().chunks(2).filter(|pair| pair[0] == pair[1]).count();
    ensure!(together == 0, "discovery placed both users of {together} pairs at one node");
    let mut talk = Talk::of(&mut crowd, 1, users.clone(), args.text_bytes as usize, false);
    let pids: Vec<Pid> = nodes.iter().map(Server::pid).collect();
    let outcome = generator::run(&mut talk, &args.load.schedule(), args.load.users, &pids, stop);
    drop(crowd);
    for node in nodes {
        node.end()?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok((outcome?, users))
}

/// Starts two nodes side by side: each waits until it hears the other.
fn start(args: &AcrossArgs, folder: &Path) -> Result<Vec<Server>> {
    let free = || -> Result<[SocketAddr; 2]> {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        Ok([tcp.local_addr()?, udp.local_addr()?])
    };
    let places = [free()?, free()?];
    let cluster = format!("bench{}", std::process::id());
    let starting = places.iter().enumerate().map(|(nth, [listen, gossip])| {
        let flags = [
            format!("--listen={listen}"),
            format!("--public-url=http://{listen}"),
            format!("--node=node-{nth}"),
            format!("--gossip-listen={gossip}"),
            format!("--seeds={},{}", places[0][1], places[1][1]),
            format!("--cluster={cluster}"),
            "--demo=false".to_owned(),
            "--store=cassandra".to_owned(),
            format!("--cassandra={}", args.cassandra),
            format!("--cassandra-keyspace={}", args.keyspace),
            "--cassandra-replication=1".to_owned(),
            "--broker=rabbitmq".to_owned(),
            format!("--amqp-url={}", args.amqp_url),
        ];
        Starting::begin(&args.server, &folder.join(format!("node-{nth}")), &flags)
    });
    let starting: Vec<Starting> = starting.collect::<Result<_>>()?;
    starting.into_iter().map(Starting::ready).collect()
}

/// Logs users in until there are enough at both nodes; gives them in pairs of users at different
/// ones, with their log-ins.
fn cross(
    node: SocketAddr,
    users: &[UserId],
    enough: usize,
    stop: &Stop,
) -> Result<(Vec<UserId>, Vec<Login>)> {
    let mut door = Door::of(node)?;
    let mut logins = Vec::new();
    for user in users {
        stop.check()?;
        logins.push((*user, door.log_in(*user)?));
    }
    // A node that has just heard of another one does not place anybody there yet.
    let deadline = Instant::now() + MEETING;
    let mut asked = logins.iter().cycle();
    while door.discover(&asked.next().context("nobody to ask for")?.1)?.server == node {
        stop.check()?;
        ensure!(Instant::now() < deadline, "no user is at home on the other node");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (user, login) in logins {
        let at = door.discover(&login)?.server;
        if at == node { &mut here } else { &mut there }.push((user, login));
    }
    let pairs = enough / 2;
    let found = here.len().min(there.len());
    ensure!(found >= pairs, "of {} users only {found} pairs are on two nodes", users.len());
    Ok(here.into_iter().zip(there).take(pairs).flat_map(|(a, b)| [a, b]).unzip())
}
