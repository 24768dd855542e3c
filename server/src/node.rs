//! The one place where the parts of a node are put together, started, and stopped.
//!
//! Order of starting: store, clock, ways to other nodes, demo users, listener, actors, ready.
//! Order of leaving: not ready, sessions sent away, commits waited for, listener, store.
//! How the store is opened stands in `keep.rs`, how other nodes are met in `peers.rs`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::Actor as _;
use actix_web::{guard, web};
use prometheus_client::registry::Registry;
use rally_actors::admission::Admission;
use rally_actors::drain::{Drain, Leave};
use rally_actors::incidents::Incident;
use rally_actors::node::{Admitted, Parts};
use rally_actors::presence_watch::Changed;
use rally_actors::router::LogOut;
use rally_actors::{Gate, Metrics, Node};
use rally_cluster::broker::rabbitmq;
use rally_cluster::clock::{Clock, MachineTime, TimeSource as _};
use rally_cluster::membership::chitchat::GossipError;
use rally_cluster::membership::roster::Member;
use rally_cluster::membership::{Card, Status};
use rally_cluster::placement::{self, Policy};
use rally_cluster::presence::Seen;
use rally_cluster::roles::{Role, Roles};
use rally_cluster::store::{NodeRow, PresenceRow, Store, StoreError, UserRow, cassandra, embedded};
use rally_schema::limits::{CHANGE_DAYS, Overlap};
use rally_schema::{ClientId, Life, NodeId, Stage, UserId};
use thiserror::Error;
use tracing::{info, warn};

use crate::alerts;
use crate::config::{self, Settings};
use crate::demo;
use crate::door::{self, Bounds, Door};
use crate::http::{self, HttpMetrics, HttpState, NodeControl, Placed, SOCKET_PATH};
use crate::keep::Keep;
use crate::peers;
use crate::sockets::{self, Workers};
use crate::telemetry;
use crate::tickets::Tickets;
use crate::upgrade;
use crate::version::{self, VERSION};

/// A clock behind by more than this is a mistake that somebody must confirm.
const DAY_MS: u64 = 86_400_000;

/// How often expired entries of the change logs are dropped.
const EXPIRY: Duration = Duration::from_secs(3_600);

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// The shared store cannot be opened.
    #[error(transparent)]
    Cassandra(#[from] cassandra::OpenError),
    /// The broker's address is none.
    #[error("amqp_url: {0}")]
    AmqpUrl(#[from] rabbitmq::UrlError),
    /// The broker is not reached.
    #[error(transparent)]
    Broker(#[from] rabbitmq::ConnectError),
    /// Gossip cannot begin.
    #[error(transparent)]
    Gossip(#[from] GossipError),
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Unanswered(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}: set another address with --listen")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The clock is far behind what the store has seen.
    #[error(
        "this machine's clock is {behind_days} days behind the newest entry of the store: set the \
         clock, or start with --accept-clock-behind"
    )]
    ClockBehind {
        /// By how much.
        behind_days: u64,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A node that serves.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What holds for it.
    pub settings: Arc<Settings>,
    node: Arc<Node>,
    workers: Arc<Workers>,
    server: actix_server::ServerHandle,
    keep: Keep,
}

/// Starts a node on the current actix system. It serves, and takes no users before
/// [`Running::become_ready`].
pub async fn start(settings: Arc<Settings>) -> Result<Running, StartError> {
    let keep = Keep::open(&settings.store).await?;
    let store = keep.shared();
    let step_ms = actor_settings(&settings).overlap.clock_step_ms();
    let clock = start_clock(&*store, settings.node.accept_clock_behind, step_ms)?;
    let past = store.nodes().await?;
    let life = next_life(settings.node.node, clock.now_ms(), &past);
    let peers = peers::meet(&settings.cluster, life).await?;
    if settings.node.demo {
        demo::make_users(&store).await?;
    }
    // All that may fail comes before the actors: one that ends before its first turn panics.
    let (listener, address) = bind(settings.network.listen)?;

    let mut registry = Registry::with_prefix("rally");
    let metrics = Metrics::new(&mut registry);
    keep.register(&mut registry);
    registry.register_collector(Box::new(clock.clone()));
    version::register(&mut registry);
    let http_metrics = HttpMetrics::new(&mut registry);
    alerts::begin_at_zero(&metrics, &http_metrics);
    let tickets = Arc::new(Tickets::new(&store.secret(), clock.clone(), life));
    let node = Node::start(Parts {
        life,
        roles: settings.node.roles,
        address: settings.network.public_url.as_ref().map(ToString::to_string).unwrap_or_default(),
        version: VERSION.clone(),
        store: store.clone(),
        past,
        broker: peers.broker,
        membership: peers.membership,
        clock: clock.clone(),
        settings: actor_settings(&settings),
        metrics: metrics.clone(),
        gate: Arc::new(TicketGate(tickets.clone())),
        link_span: telemetry::link_span,
        traceparent: telemetry::traceparent,
    });
    let control = Arc::new(Control {
        node: node.clone(),
        store_ended: keep.ended(),
        policy: policy(settings.cluster.placement),
        turn: AtomicU64::new(rand::random()),
    });
    let http = web::Data::new(HttpState::new(
        settings.clone(),
        store.clone(),
        clock.clone(),
        tickets,
        control,
        (http_metrics.clone(), Arc::new(registry)),
    ));
    let threads = settings.network.workers.0.unwrap_or(DEFAULT_WORKERS);
    let network = &settings.network;
    let (room, most) = (door::room(), most_sessions(network));
    if most < network.max_connections {
        info!(most, "this process may have fewer files than max_connections asks for");
    }
    let workers = Workers::new(node.clone(), threads, most);
    let of_address = (network.trusted_hops == 0).then_some(network.max_http_connections_address);
    let door = Door::new(Bounds { all: room, of_address }, http_metrics, metrics);
    let server = listen(listener, settings.node.roles, threads, http, workers.clone(), &door);
    let handle = server.handle();
    actix_rt::spawn(server);
    actix_rt::spawn(expire_changes(store, clock));
    Ok(Running { address, settings, node, workers, server: handle, keep })
}

/// Connections that are left for requests where sessions have taken all others. With the files that
/// are kept for the store that leaves 18,000 sessions to a process that may have 20,000 files.
const REQUESTS: usize = 960;

/// Gives how many sessions this process may hold. Where they have taken theirs, the rest of its files
/// is for those who are told so.
fn most_sessions(network: &config::Network) -> usize {
    let room = door::room();
    network.max_connections.min(room - REQUESTS.min(room / 8))
}

/// Threads that serve when nobody says: one. The same load costs a third less on one thread
/// than on two, for the wake-ups across threads, and one thread carries some 20,000 messages
/// a second.
const DEFAULT_WORKERS: usize = 1;

impl Running {
    /// Takes users, once it knows enough of the other nodes.
    pub async fn become_ready(&self) {
        peers::await_others(&self.node, &self.settings.cluster).await;
        self.node.set_ready();
    }

    /// Leaves: nobody is let in, everybody is sent away, everything begun is finished.
    pub async fn leave(self) {
        let drain = Drain::new(self.node.clone(), self.workers.committers()).start();
        let left = drain.send(Leave).await.unwrap_or(0);
        if left > 0 {
            warn!(sessions = left, "sessions had not gone when the node left");
        }
        self.server.stop(true).await;
        self.keep.close().await;
    }

    /// Gives what the actors share, for tests that look inside.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

/// Names a life of a node: later than all that it had, whatever its clock said in those.
fn next_life(node: NodeId, now_ms: u64, past: &[NodeRow]) -> Life {
    let own = past.iter().filter(|row| row.life.node == node).map(|row| row.life.generation);
    Life { node, generation: own.max().map_or(now_ms, |last| now_ms.max(last + 1)) }
}

/// Starts the clock above what the store has seen; a day behind it needs to be confirmed.
fn start_clock(store: &dyn Store, accept_behind: bool, step_ms: u64) -> Result<Clock, StartError> {
    let (seen_ms, wall_ms) = (store.high_water_ms(), MachineTime::new().wall_ms());
    let behind_ms = seen_ms.saturating_sub(wall_ms);
    if behind_ms > DAY_MS && !accept_behind {
        return Err(StartError::ClockBehind { behind_days: behind_ms / DAY_MS });
    }
    if behind_ms > 0 {
        warn!(behind_ms, "the machine's clock is behind what the store has seen");
    }
    Ok(Clock::machine(seen_ms, rand::random(), step_ms))
}

fn actor_settings(settings: &Settings) -> rally_actors::Settings {
    let Settings { node, store, sessions, limits, network, .. } = settings;
    rally_actors::Settings {
        overlap: Overlap { ms: node.overlap_ms },
        ping_interval_ms: sessions.ping_interval_ms,
        silence_ms: sessions.silence_ms,
        presence_grace_ms: sessions.presence_grace_ms,
        sync_interval_ms: sessions.sync_interval_ms,
        out_budget_bytes: sessions.out_budget_bytes,
        // Nobody has to turn these.
        session_mailbox: rally_actors::Settings::default().session_mailbox,
        router_mailbox: rally_actors::Settings::default().router_mailbox,
        sends_per_second: limits.rate_sends_per_second,
        sends_burst: limits.rate_sends_burst,
        frames_per_second: limits.rate_frames_per_second,
        frames_burst: limits.rate_frames_burst,
        catch_ups_at_once: sessions.catch_ups_at_once,
        reach_cache_ms: sessions.reach_cache_ms,
        marks_window_ms: sessions.marks_window_ms,
        commits_in_flight: store.commits_in_flight,
        commit_timeout_ms: store.commit_timeout_ms,
        commit_give_up_ms: store.commit_give_up_ms,
        drain_ms: node.drain_ms,
        most_sessions: most_sessions(network).try_into().unwrap_or(u32::MAX),
    }
}

fn listen(
    listener: TcpListener,
    roles: Roles,
    threads: usize,
    http: web::Data<HttpState>,
    workers: Arc<Workers>,
    door: &Arc<Door>,
) -> actix_server::Server {
    let make = move || {
        workers.join();
        let socket = match roles.has(Role::Chat) {
            true => web::resource(SOCKET_PATH).guard(guard::Get()).to(sockets::connect),
            false => http::elsewhere(SOCKET_PATH, Role::Chat),
        };
        http::app(http.clone()).app_data(web::Data::from(workers.clone())).service(socket)
    };
    upgrade::server(vec![listener], threads, door, make)
        .expect("a listener that is bound knows its address and can do without blocking")
}

/// Connections that the kernel holds until they are accepted: a reconnect storm's worth.
const BACKLOG: i32 = 4_096;

/// Binds a listener; gives also where, since a port of 0 leaves it to the machine.
fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    use socket2::{Domain, Socket, Type};
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound().map_err(|error| StartError::Listen { address, error })
}

async fn expire_changes(store: Arc<dyn Store>, clock: Clock) {
    loop {
        tokio::time::sleep(EXPIRY).await;
        let before_ms = clock.now_ms().saturating_sub(CHANGE_DAYS * DAY_MS);
        match store.expire(before_ms).await {
            Ok(dropped) => info!(dropped, "expired entries of the change logs are gone"),
            Err(error) => warn!(%error, "expired entries could not be dropped"),
        }
    }
}

/// Lets in who has a ticket.
struct TicketGate(Arc<Tickets>);

impl Gate for TicketGate {
    fn admit(&self, ticket: &str, client: ClientId) -> Result<Admitted, String> {
        self.0.redeem(ticket, client).map_err(|error| error.to_string())
    }
}

/// What HTTP tells the actors, and asks of the node.
struct Control {
    node: Arc<Node>,
    /// Whether a part of the store has stopped.
    store_ended: Arc<AtomicBool>,
    policy: Policy,
    /// Counts placements.
    turn: AtomicU64,
}

fn policy(placement: config::value::Placement) -> Policy {
    match placement {
        config::value::Placement::Home => Policy::Home,
        config::value::Placement::RoundRobin => Policy::RoundRobin,
    }
}

impl Control {
    /// Waits for room in the mailbox on a task of its own: HTTP does not wait for it.
    fn presence_changed(&self, user: UserId) {
        let sent = self.node.presence.send(Changed { user, stage: Stage::Home });
        actix_rt::spawn(async move {
            let _ = sent.await;
        });
    }
}

impl NodeControl for Control {
    fn admission(&self) -> Admission {
        self.node.admission.clone()
    }

    fn log_out_everywhere(&self, user: UserId, over: LogOut) {
        self.node.log_out_everywhere(user, over);
    }

    fn account_changed(&self, account: &UserRow) {
        self.presence_changed(account.user);
    }

    fn block_changed(&self, user: UserId, _: UserId, _: bool) {
        self.presence_changed(user);
    }

    fn alive(&self) -> Result<(), String> {
        match self.store_ended.load(Ordering::Acquire) {
            true => Err("the commit loop has stopped".to_owned()),
            false => Ok(()),
        }
    }

    fn place(&self, user: UserId) -> Option<Card> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let members = self.node.members();
        placement::place(self.policy, user, &members, turn).map(|member| member.card.clone())
    }

    fn members(&self) -> Vec<Member> {
        self.node.members()
    }

    fn addresses(&self) -> Vec<String> {
        self.node.addresses()
    }

    fn clocks(&self) -> BTreeMap<Life, i64> {
        self.node.clocks()
    }

    fn consider(&self, user: UserId) -> Placed {
        let (policy, turn) = (self.policy, self.turn.load(Ordering::Relaxed));
        let members = self.node.members();
        let candidates = placement::consider(policy, user, &members, turn);
        let candidates = candidates.into_iter().map(|one| (one.member.clone(), one.passed));
        Placed {
            home: self.node.home(user),
            policy,
            chosen: placement::place(policy, user, &members, turn).map(|member| member.card.life),
            candidates: candidates.collect(),
        }
    }

    fn incidents(&self) -> Vec<Incident> {
        self.node.metrics.incidents.newest_first()
    }

    fn store_failed(&self, what: &str, why: &str) {
        self.node.store_failed(what, &why);
    }

    fn page_origins(&self) -> Vec<String> {
        self.node.page_origins()
    }

    fn addresses_of(&self, role: Role) -> Vec<String> {
        self.node.addresses_of(role)
    }

    fn seen(&self, user: UserId, rows: &[PresenceRow]) -> Seen {
        self.node.seen(user, rows)
    }

    fn ready(&self) -> Result<(), String> {
        match self.node.status() {
            Status::Starting if self.node.clock_is_off() => {
                Err("the clock is too far from the other nodes'".to_owned())
            }
            Status::Starting => Err("the node is starting".to_owned()),
            Status::Ready => Ok(()),
            Status::Draining => Err("the node is leaving".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rally_cluster::store::NodeStatus;

    use super::*;

    #[test]
    fn a_life_is_later_than_all_that_its_node_had_whatever_their_clocks_said() {
        const NOW: u64 = 1_790_000_000_000;
        const AHEAD: u64 = 4_102_444_800_000;
        let row = |node: &str, generation| NodeRow {
            life: Life { node: node.parse().unwrap(), generation },
            address: String::new(),
            status: NodeStatus::Starting,
            status_ms: NOW,
            heartbeat_ms: generation,
        };
        let past = [row("a", AHEAD), row("b", NOW - 5), row("b", NOW - 9)];
        let next = |node: &str| next_life(node.parse().unwrap(), NOW, &past).generation;
        assert_eq!([next("a"), next("b"), next("c")], [AHEAD + 1, NOW, NOW]);
    }
}
