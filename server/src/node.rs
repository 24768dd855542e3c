//! The one place where the parts of a node are put together, started, and stopped.
//!
//! Order of starting: store and its commit loop, clock, actors, demo users, listener, ready.
//! Order of leaving: not ready, sessions sent away, commits waited for, listener, store.
//! A commit loop that fails ends the process: what the disk then holds is known only after
//! a new start.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor as _, Addr, Message};
use actix_web::web;
use prometheus_client::registry::Registry;
use rally_actors::drain::{Drain, Leave};
use rally_actors::node::Parts;
use rally_actors::presence_watch::{PresenceWatch, Reconsider};
use rally_actors::router::EndAll;
use rally_actors::{Gate, Metrics, Node};
use rally_cluster::broker::LocalBroker;
use rally_cluster::clock::{Clock, MachineTime, TimeSource as _};
use rally_cluster::membership::{LocalMembership, Status};
use rally_cluster::store::embedded::{self, EmbeddedStore, OpenError};
use rally_cluster::store::{Store, StoreError, UserRow};
use rally_schema::frame::ByeReason;
use rally_schema::limits::{CHANGE_DAYS, Overlap};
use rally_schema::{ClientId, Life, UserId};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::config::{self, Settings};
use crate::demo;
use crate::http::{self, HttpMetrics, HttpState, NodeControl, SOCKET_PATH};
use crate::sockets::{self, Workers};
use crate::telemetry;
use crate::tickets::Tickets;
use crate::upgrade;

/// A clock behind by more than this is a mistake that somebody must confirm.
const DAY_MS: u64 = 86_400_000;

/// Parcels that may wait for a life; there is no other life to send any yet.
const QUEUE_PARCELS: usize = 1_024;

/// How often expired entries of the change logs are dropped.
const EXPIRY: Duration = Duration::from_secs(3_600);

/// Exit code of a process whose store failed (sysexits' EX_IOERR).
const STORE_FAILED: i32 = 74;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
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
    /// Its data.
    pub data_dir: PathBuf,
    node: Arc<Node>,
    workers: Arc<Workers>,
    server: actix_server::ServerHandle,
    store: EmbeddedStore,
    commit_loop: JoinHandle<()>,
}

/// Starts a node on the current actix system; it is ready when this returns.
pub async fn start(settings: Arc<Settings>) -> Result<Running, StartError> {
    let data_dir = settings.store.data_dir.clone();
    let (store, commit_loop) = EmbeddedStore::open(&data_dir, options(&settings.store))?;
    let commits_end = Arc::new(AtomicBool::new(false));
    let commit_loop = run_commits(commit_loop, commits_end.clone())?;
    let clock = start_clock(&store, settings.node.accept_clock_behind)?;
    let life = Life { node: settings.node.node, generation: clock.now_ms() };

    let mut registry = Registry::with_prefix("rally");
    let metrics = Metrics::new(&mut registry);
    store.metrics().register(registry.sub_registry_with_prefix("store"));
    registry.register_collector(Box::new(clock.clone()));
    let http_metrics = HttpMetrics::new(&mut registry);
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let tickets = Arc::new(Tickets::new(&store.secret(), clock.clone(), life));
    let node = Node::start(Parts {
        life,
        address: settings.network.public_url.as_ref().map(ToString::to_string).unwrap_or_default(),
        store: shared.clone(),
        broker: Arc::new(LocalBroker::new(QUEUE_PARCELS)),
        membership: Arc::new(LocalMembership::default()),
        clock: clock.clone(),
        settings: actor_settings(&settings),
        metrics,
        gate: Arc::new(TicketGate(tickets.clone())),
        link_span: telemetry::link_span,
    });
    let control = Arc::new(Control { node: node.clone(), commits_end });
    if settings.node.demo {
        demo::make_users(&shared).await?;
    }
    let http = web::Data::new(HttpState::new(
        settings.clone(),
        shared.clone(),
        clock.clone(),
        tickets,
        control,
        (http_metrics, Arc::new(registry)),
    ));
    let threads = settings.network.workers.0.unwrap_or(DEFAULT_WORKERS);
    let workers = Workers::new(node.clone(), threads, settings.network.max_connections);
    let (server, address) = listen(&settings, threads, http, workers.clone())?;
    let handle = server.handle();
    actix_rt::spawn(server);
    actix_rt::spawn(expire_changes(shared, clock));
    node.set_ready();
    Ok(Running { address, data_dir, node, workers, server: handle, store, commit_loop })
}

/// Threads that serve when nobody says: one. The same load costs a third less on one thread
/// than on two, for the wake-ups across threads, and one thread carries some 20,000 messages
/// a second.
const DEFAULT_WORKERS: usize = 1;

impl Running {
    /// Leaves: nobody is let in, everybody is sent away, everything begun is finished.
    pub async fn leave(self) {
        let drain = Drain::new(self.node.clone(), self.workers.committers()).start();
        let left = drain.send(Leave).await.unwrap_or(0);
        if left > 0 {
            warn!(sessions = left, "sessions had not gone when the node left");
        }
        self.server.stop(true).await;
        self.store.close();
        let joined = tokio::task::spawn_blocking(move || self.commit_loop.join()).await;
        match joined {
            // The store itself said so.
            Ok(Ok(())) => {}
            _ => error!("the commit loop did not end well"),
        }
    }

    /// Gives what the actors share, for tests that look inside.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

fn options(store: &config::Store) -> embedded::Options {
    embedded::Options {
        durability: match store.durability {
            config::value::Durability::Sync => embedded::Durability::Sync,
            config::value::Durability::Os => embedded::Durability::Os,
        },
        group_interval_us: store.group_interval_us,
        queue_bytes: store.commit_queue_bytes,
        cache_bytes: store.cache_bytes,
    }
}

/// Runs the loop on a thread of its own; its failure is the end of the process.
fn run_commits(
    commit_loop: embedded::CommitLoop,
    ended: Arc<AtomicBool>,
) -> Result<JoinHandle<()>, StartError> {
    let run = move || {
        let outcome = commit_loop.run();
        ended.store(true, Ordering::Release);
        if let Err(failed) = outcome {
            error!(error = %failed, "the store failed: this process ends");
            eprintln!("rally-server: {failed}");
            std::process::exit(STORE_FAILED);
        }
    };
    std::thread::Builder::new()
        .name("rally-commit".to_owned())
        .spawn(run)
        .map_err(StartError::Thread)
}

/// Starts the clock above what the store has seen; a day behind it needs to be confirmed.
fn start_clock(store: &EmbeddedStore, accept_behind: bool) -> Result<Clock, StartError> {
    let (seen_ms, wall_ms) = (store.high_water_ms(), MachineTime::new().wall_ms());
    let behind_ms = seen_ms.saturating_sub(wall_ms);
    if behind_ms > DAY_MS && !accept_behind {
        return Err(StartError::ClockBehind { behind_days: behind_ms / DAY_MS });
    }
    if behind_ms > 0 {
        warn!(behind_ms, "the machine's clock is behind what the store has seen");
    }
    Ok(Clock::machine(seen_ms, rand::random()))
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
        addresses: network.public_url.iter().map(ToString::to_string).collect(),
    }
}

fn listen(
    settings: &Settings,
    threads: usize,
    http: web::Data<HttpState>,
    workers: Arc<Workers>,
) -> Result<(actix_server::Server, SocketAddr), StartError> {
    let address = settings.network.listen;
    let failed = |error| StartError::Listen { address, error };
    let listener = bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let make = move || {
        workers.join();
        http::app(http.clone())
            .app_data(web::Data::from(workers.clone()))
            .route(SOCKET_PATH, web::get().to(sockets::connect))
    };
    let server = upgrade::server(vec![listener], threads, make).map_err(failed)?;
    Ok((server, bound))
}

/// Connections that the kernel holds until they are accepted: a reconnect storm's worth.
const BACKLOG: i32 = 4_096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
    fn admit(&self, ticket: &str, client: ClientId) -> Result<UserId, String> {
        self.0.redeem(ticket, client).map_err(|error| error.to_string())
    }
}

/// What HTTP tells the actors, and asks of the node.
struct Control {
    node: Arc<Node>,
    commits_end: Arc<AtomicBool>,
}

/// Waits for room in the mailbox on a task of its own: HTTP does not wait for it.
fn tell<M>(presence: &Addr<PresenceWatch>, message: M)
where
    M: Message<Result = ()> + Send + 'static,
    PresenceWatch: actix::Handler<M>,
{
    let sent = presence.send(message);
    actix_rt::spawn(async move {
        let _ = sent.await;
    });
}

impl NodeControl for Control {
    fn log_out_everywhere(&self, user: UserId) {
        self.node.routers.end(user, EndAll { reason: ByeReason::LoggedOut, after_ms: None });
    }

    fn account_changed(&self, account: &UserRow) {
        tell(&self.node.presence, Reconsider { user: account.user });
    }

    fn block_changed(&self, user: UserId, _: UserId, _: bool) {
        tell(&self.node.presence, Reconsider { user });
    }

    fn alive(&self) -> Result<(), String> {
        match self.commits_end.load(Ordering::Acquire) {
            true => Err("the commit loop has stopped".to_owned()),
            false => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        match self.node.status() {
            Status::Starting => Err("the node is starting".to_owned()),
            Status::Ready => Ok(()),
            Status::Draining => Err("the node is leaving".to_owned()),
        }
    }
}
