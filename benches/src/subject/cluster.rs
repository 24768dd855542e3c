//! Two nodes over Cassandra and RabbitMQ, which must run (`cargo xtask services up`).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rally_cluster::store::cassandra::Options;
use rally_schema::UserId;

use super::{Subject, SubjectArgs};
use crate::commits::Database;
use crate::people::{Account, Cost, Door, user};
use crate::run::scenario::Scenario;
use crate::server::{Server, Starting};
use crate::stop::Stop;
use crate::wire::rally::Rally;

/// Nodes that are started: those who write to each other are at home on different ones.
pub const NODES: usize = 2;

/// Accounts for one user that talks: discovery says who is at home where, and pairs are made of
/// users at different nodes.
const ACCOUNTS: usize = 2;

/// How long the nodes may take to meet.
const MEETING: Duration = Duration::from_secs(30);

/// Starts both, and finds users for a scenario.
pub fn start(
    args: &SubjectArgs,
    folder: &Path,
    scenario: &Scenario,
    stop: &Stop,
) -> Result<Subject> {
    let database = Database::open(Options {
        contact_points: vec![args.cassandra.clone()],
        keyspace: args.keyspace.clone(),
        ..Options::default()
    })?;
    let users = accounts(&database, scenario)?;
    std::fs::create_dir_all(folder)?;
    let nodes = nodes(args, folder)?;
    let users = cross(nodes[0].address, &users, scenario.users, stop)?;
    let wire = Rally::new(nodes[0].address, scenario, users);
    Ok(Subject::of(nodes, Box::new(wire)))
}

/// Makes accounts that no run had before: the database keeps what earlier ones wrote.
fn accounts(database: &Database, scenario: &Scenario) -> Result<Vec<UserId>> {
    let (talking, cost) = (scenario.users, Cost::of(scenario));
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as usize * 1_000;
    let users: Vec<UserId> = (first..first + ACCOUNTS * talking).map(user).collect();
    database.import(users.iter().map(|user| Account::of(*user, cost).row()).collect())?;
    Ok(users)
}

/// Starts two nodes side by side: each waits until it hears the other.
fn nodes(args: &SubjectArgs, folder: &Path) -> Result<Vec<Server>> {
    let free = || -> Result<[SocketAddr; 2]> {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        Ok([tcp.local_addr()?, udp.local_addr()?])
    };
    let places: [_; NODES] = [free()?, free()?];
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
/// ones.
fn cross(node: SocketAddr, users: &[UserId], enough: usize, stop: &Stop) -> Result<Vec<UserId>> {
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
        if at == node { &mut here } else { &mut there }.push(user);
    }
    let pairs = enough / 2;
    let found = here.len().min(there.len());
    ensure!(found >= pairs, "of {} users only {found} pairs are on two nodes", users.len());
    Ok(here.into_iter().zip(there).take(pairs).flat_map(|(a, b)| [a, b]).collect())
}
