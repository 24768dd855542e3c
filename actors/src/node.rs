//! What all actors of one node share, and what those of one thread share.
//!
//! A user's router and sessions live on one thread, his *worker*. Everything here is
//! assembled by the server; nothing here acts.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::{Actor as _, Addr};
use parking_lot::RwLock;
use rally_cluster::broker::Broker;
use rally_cluster::clock::Clock;
use rally_cluster::homes::Homes;
use rally_cluster::store::Store;
use rally_schema::{ClientId, Cursor, Life, UserId};
use tracing::Span;

use crate::admission::Admission;
use crate::committer::Committer;
use crate::ingress::Ingress;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::presence_watch::PresenceWatch;
use crate::push::Push;
use crate::rate::Quota;
use crate::router::Routers;
use crate::settings::Settings;
use crate::sweeper::{Sweep, Sweeper};

/// Decides who may open a session.
pub trait Gate: Send + Sync {
    /// Spends a ticket: gives the user that it was made for, or says why it is refused.
    fn admit(&self, ticket: &str, client: ClientId) -> Result<UserId, String>;
}

/// What the parts of a node are made of.
pub struct Parts {
    /// Which node, in which life.
    pub life: Life,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The way to other nodes.
    pub broker: Arc<dyn Broker>,
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
}

/// What all actors of one node share.
pub struct Node {
    /// Which node, in which life.
    pub life: Life,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The way to other nodes.
    pub broker: Arc<dyn Broker>,
    /// The one clock.
    pub clock: Clock,
    /// What the operator set.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// Who may open a session.
    pub gate: Arc<dyn Gate>,
    /// Makes a span the child of a W3C `traceparent`.
    pub link_span: fn(&Span, &str),
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
    draining: AtomicBool,
    sessions: AtomicU64,
}

impl Node {
    /// Puts a node together and starts its presence watch on the current thread.
    pub fn start(parts: Parts) -> Arc<Self> {
        let Parts { life, store, broker, clock, settings, metrics, gate, link_span } = parts;
        let routers = Routers::default();
        let presence = PresenceWatch::new(life, store.clone(), routers.clone()).start();
        let node = Arc::new(Self {
            life,
            link: Link::new(life, broker.clone()),
            homes: RwLock::new(Homes::of([life])),
            broker,
            admission: Admission::new(settings.catch_ups_at_once),
            sends: Quota::new(settings.sends_per_second, settings.sends_burst),
            frames: Quota::new(settings.frames_per_second, settings.frames_burst),
            store,
            clock,
            settings,
            metrics,
            gate,
            link_span,
            routers,
            presence,
            draining: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
        });
        Ingress::start(node.clone());
        node
    }

    /// Hands a push to the home of a user. Who has no session there needs none: the log has it.
    pub fn deliver(&self, user: UserId, push: Push) {
        match self.homes.read().home(user) {
            Some(home) if home != self.life => self.link.send(home, push.into_envelope(user)),
            _ => self.routers.deliver(user, push),
        }
    }

    /// Takes over who is ready, this life included, as the node sees it now.
    pub fn set_lives(&self, lives: impl IntoIterator<Item = Life>) {
        *self.homes.write() = Homes::of(lives);
    }

    /// Makes the cursor for a time.
    pub fn cursor(&self, at: u64) -> Cursor {
        Cursor { store: self.store.id(), at }
    }

    /// Numbers a new session.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Says that the node is leaving: nobody new is let in.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Tells whether the node is leaving.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
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
}

impl Worker {
    /// Starts a committer and a sweeper on the current thread.
    pub fn start(node: Arc<Node>) -> Rc<Self> {
        let sweep = Rc::new(Sweep::default());
        Sweeper::new(node.clone(), sweep.clone()).start();
        let committer = Committer::new(&node).start();
        Rc::new(Self { node, committer, sweep })
    }
}
