//! What all actors of one node share, and what those of one thread share.
//!
//! A user's router and sessions live on one thread, his *worker*. Everything here is
//! assembled by the server; nothing here acts. What is known of other lives is in `lives.rs`.

mod lives;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use actix::{Actor as _, Addr};
use parking_lot::RwLock;
use rally_cluster::broker::Broker;
use rally_cluster::clock::Clock;
use rally_cluster::homes::Homes;
use rally_cluster::membership::{Card, Membership, Status};
use rally_cluster::planted::{self, Fault};
use rally_cluster::roles::{Role, Roles};
use rally_cluster::store::{NodeRow, Store};
use rally_schema::{ClientId, Cursor, Envelope, Life, Stage, UserId};
use tracing::Span;
use uuid::Uuid;

use crate::admission::Admission;
use crate::committer::Committer;
use crate::gossip::Gossip;
use crate::incidents::Kind;
use crate::ingress::Ingress;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::path;
use crate::presence_watch::PresenceWatch;
use crate::push::Push;
use crate::rate::Quota;
use crate::router::LogOut;
use crate::routers::Routers;
use crate::session::{Readings, Rows};
use crate::settings::Settings;
use crate::standings::Members;
use crate::sweeper::{Sweep, Sweeper};

/// Decides who may open a session.
pub trait Gate: Send + Sync {
    /// Spends a ticket: says for whom it was made, or why it is refused.
    fn admit(&self, ticket: &str, client: ClientId) -> Result<Admitted, String>;
}

/// The gate of a node without a door: whoever has it hands guests over, as a simulation does.
pub struct NoTickets;

impl Gate for NoTickets {
    fn admit(&self, _: &str, _: ClientId) -> Result<Admitted, String> {
        Err("no tickets here".to_owned())
    }
}

/// For whom a ticket was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The user.
    pub user: UserId,
    /// The epoch of his account then: the session ends once the store has a later one. Where the
    /// ticket does not say, that of the account when the session begins.
    pub epoch: Option<u64>,
    /// By which log-in it was asked for, if the ticket says so: the session ends with it.
    pub log_in: Option<ByLogIn>,
}

/// A log-in by which somebody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByLogIn {
    /// Which.
    pub id: Uuid,
    /// When it is over by itself, in milliseconds since 1970.
    pub ends_ms: u64,
}

/// What a node is put together from.
pub struct Parts {
    /// Which node, in which life.
    pub life: Life,
    /// What the process does.
    pub roles: Roles,
    /// Where clients reach it: an origin.
    pub address: String,
    /// What the program says that it is, for who compares nodes.
    pub version: String,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// What the store knows of nodes when this life begins.
    pub past: Vec<NodeRow>,
    /// The way to other nodes.
    pub broker: Arc<dyn Broker>,
    /// Who the other nodes are.
    pub membership: Arc<dyn Membership>,
    /// The one clock.
    pub clock: Clock,
    /// What the operator set.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// Who may open a session.
    pub gate: Arc<dyn Gate>,
    /// Makes a span the child of a W3C `traceparent`; the tracing backend is the server's.
    pub link_span: fn(&Span, &str),
    /// Gives the W3C `traceparent` of a span that is sampled.
    pub traceparent: fn(&Span) -> Option<String>,
}

/// What all actors of one node share: its parts, and what is made of them.
pub struct Node {
    parts: Parts,
    /// The users that are here.
    pub routers: Routers,
    /// How many catch-ups read at once.
    pub admission: Admission,
    /// Who watches whom.
    pub presence: Addr<PresenceWatch>,
    /// How often a user may send.
    pub sends: Quota,
    /// How often a session may send frames.
    pub frames: Quota,
    link: Link,
    homes: RwLock<Homes>,
    /// How every life stands, as gossip saw it last.
    members: RwLock<Members>,
    /// What the store knows of nodes, as read last.
    records: RwLock<BTreeMap<Life, NodeRow>>,
    /// How far each other life's clock is ahead of this one.
    clocks: RwLock<BTreeMap<Life, i64>>,
    /// When this life began, by its monotonic clock.
    began_ms: u64,
    status: AtomicU8,
    /// Whether the clock is too far from the others' to take users.
    clock_is_off: AtomicBool,
    sessions: AtomicU64,
}

impl Deref for Node {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Node {
    /// Puts a node together and starts what it has one of on the current thread. It tells
    /// the others of itself, and takes no users before [`set_ready`](Self::set_ready).
    pub fn start(mut parts: Parts) -> Arc<Self> {
        let (life, settings) = (parts.life, parts.settings.clone());
        let chats = parts.roles.has(Role::Chat);
        let routers = Routers::default();
        let node = Arc::new_cyclic(|node| Self {
            presence: PresenceWatch::new(node.clone()).start(),
            link: Link::new(
                life,
                parts.broker.clone(),
                parts.clock.clone(),
                parts.metrics.link.clone(),
            ),
            // Until it hears of others it is alone.
            homes: RwLock::new(Homes::of(chats.then_some(life))),
            members: RwLock::default(),
            records: RwLock::new(lives::by_life(std::mem::take(&mut parts.past))),
            clocks: RwLock::default(),
            began_ms: parts.clock.monotonic_ms(),
            admission: Admission::new(settings.catch_ups_at_once),
            sends: Quota::new(settings.sends_per_second, settings.sends_burst),
            frames: Quota::new(settings.frames_per_second, settings.frames_burst),
            routers,
            status: AtomicU8::new(Status::Starting as u8),
            clock_is_off: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
            parts,
        });
        let gossip = Gossip::new(node.clone()).start();
        node.link.tell_returns(&gossip);
        Ingress::start(node.clone(), gossip);
        node
    }

    /// Hands a push to the home of a user. Who has no session anywhere needs none: the log has it.
    pub fn deliver(&self, user: UserId, push: Push) {
        // Held until it is under way: what is sent by the old map goes before the new one is told.
        let homes = self.homes.read();
        match homes.home(user) {
            Some(home) if home != self.life => {
                self.push_to(home, user, &push, push.stage);
            }
            _ => self.routers.deliver(user, push),
        }
    }

    /// Hands a push to another life. One whose cause is traced carries the trace along.
    pub fn push_to(&self, to: Life, user: UserId, push: &Push, stage: Stage) {
        // Asked of the cause first: for one that is not sampled no span is made.
        let traced = (self.traceparent)(&push.span).is_some();
        let span = if traced { path::publish(&push.span, &*self.broker, to) } else { Span::none() };
        let traceparent = (self.traceparent)(&span);
        self.tell(to, Envelope::Push(push.to_pushed(user, stage, traceparent)));
    }

    /// Tells another life something; it may be lost, but not unseen.
    pub fn tell(&self, to: Life, envelope: Envelope) {
        self.link.send(to, envelope);
    }

    /// Tells other lives how far the numbers of what they were told are.
    pub fn tell_numbers(&self) {
        self.link.tell_numbers();
    }

    /// Tells whether nothing that other lives were told can be lost any more without being seen.
    pub fn has_told_others(&self) -> bool {
        self.link.is_told()
    }

    /// Gives where a user is at home, as the node sees it now: here, when nobody is ready.
    pub fn home(&self, user: UserId) -> Life {
        self.homes.read().home(user).unwrap_or(self.life)
    }

    /// Gives the map of homes, as the node sees it now.
    pub fn homes(&self) -> Homes {
        self.homes.read().clone()
    }

    /// Takes over who is ready; tells them, and who was ready until now, and has the routers
    /// look around whose users' homes moved.
    pub fn set_lives(&self, lives: &[Life]) {
        let homes = Homes::of(lives.iter().copied());
        let before = std::mem::replace(&mut *self.homes.write(), homes.clone());
        self.metrics.cluster.maps_changed.inc();
        let names: Vec<String> = lives.iter().map(Life::to_string).collect();
        self.incident(Kind::MapChanged, format!("users are at home on {}", names.join(" ")));
        // Without chat it pushes nothing: its map is nobody's business.
        if !self.roles.has(Role::Chat) {
            return;
        }
        // Who is left out may be alive, and must know that nothing comes from here for a while.
        let left_out = before.lives().filter(|_| !planted::on(Fault::LeftOutUntold));
        let told: BTreeSet<Life> = left_out.chain(homes.lives()).collect();
        for to in told.into_iter().filter(|life| *life != self.life) {
            self.tell(to, Envelope::Map { lives: lives.to_vec() });
        }
        let moved = self.routers.look_around(|user| before.home(user) != homes.home(user));
        self.metrics.cluster.homes_moved.inc_by(moved);
        self.lives_changed();
    }

    /// Makes the card that tells the others of this node.
    pub fn card(&self) -> Card {
        Card {
            life: self.life,
            status: self.status(),
            roles: self.roles,
            address: self.address.clone(),
            version: self.version.clone(),
            sessions: self.routers.sessions(),
            most: self.settings.most_sessions,
            clock_ms: self.clock.now_ms(),
        }
    }

    /// Ends the sessions of a user here whose log-in is over. Who comes later with a ticket from
    /// before finds out when he first catches up.
    pub fn log_out(&self, user: UserId, over: LogOut) {
        self.routers.log_out(user, over);
    }

    /// Ends the sessions of a user whose log-in is over, on every node; to be called once the store
    /// says so. Whom that does not reach learns it from the store: what is lost is doubt there.
    pub fn log_out_everywhere(&self, user: UserId, over: LogOut) {
        self.log_out(user, over);
        // His home knows of nodes that hold sessions of his and were never heard here.
        match self.home(user) {
            home if home == self.life => self.routers.doubt(user, Stage::Home),
            home => self.tell(home, Envelope::Doubt { users: vec![user], stage: Stage::Home }),
        }
        let chats = self.members().into_iter().filter(|m| m.card.roles.has(Role::Chat));
        let others = chats.map(|member| member.card.life);
        // Who is given up may only be paused, and hears it then.
        for life in others.filter(|life| *life != self.life && !self.is_long_over(*life)) {
            let LogOut { epoch, log_in } = over;
            self.tell(life, Envelope::LoggedOut { user, epoch, log_in });
        }
    }

    /// Makes the cursor for a time.
    pub fn cursor(&self, at: u64) -> Cursor {
        Cursor { store: self.store.id(), at }
    }

    /// Numbers a new session.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Says that the node takes users.
    pub fn set_ready(&self) {
        self.status.store(Status::Ready as u8, Ordering::Release);
    }

    /// Says that the node is leaving: nobody new is let in.
    pub fn set_draining(&self) {
        self.status.store(Status::Draining as u8, Ordering::Release);
    }

    /// Notes something for whoever looks after the cluster.
    pub(crate) fn incident(&self, kind: Kind, words: String) {
        self.metrics.incidents.note(self.clock.now_ms(), kind, words);
    }

    /// Notes and logs that the store did not do what it was asked.
    pub fn store_failed(&self, what: &str, error: &dyn fmt::Display) {
        self.metrics.incidents.store_failed(self.clock.now_ms(), what, error);
    }

    /// Says whether the clock is too far from the others' to take users.
    pub fn set_clock_is_off(&self, off: bool) {
        self.clock_is_off.store(off, Ordering::Release);
    }

    /// Tells whether the clock is too far from the others' to take users.
    pub fn clock_is_off(&self) -> bool {
        self.clock_is_off.load(Ordering::Acquire)
    }

    /// Tells whether the node takes users.
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            ready if ready == Status::Ready as u8 && self.clock_is_off() => Status::Starting,
            ready if ready == Status::Ready as u8 => Status::Ready,
            starting if starting == Status::Starting as u8 => Status::Starting,
            _ => Status::Draining,
        }
    }
}

/// What the actors of one thread share.
pub struct Worker {
    /// Their node.
    pub node: Arc<Node>,
    /// Makes their intents durable.
    pub committer: Addr<Committer>,
    /// The sessions that the sweeper looks after.
    pub sweep: Rc<Sweep>,
    /// The accounts and logs that their catch-ups wait to read.
    pub readings: Readings,
    /// The rows that they wait to read then.
    pub rows: Rows,
}

impl Worker {
    /// Starts a committer and a sweeper on the current thread.
    pub fn start(node: Arc<Node>) -> Rc<Self> {
        let sweep = Rc::new(Sweep::default());
        Sweeper::new(node.clone(), sweep.clone()).start();
        let committer = Committer::new(&node).start();
        let (readings, rows) = (Readings::default(), Rows::default());
        Rc::new(Self { node, committer, sweep, readings, rows })
    }
}
