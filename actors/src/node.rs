//! What all actors of one node share, and what those of one thread share.
//!
//! A user's router and sessions live on one thread, his *worker*. Everything here is
//! assembled by the server; nothing here acts.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use actix::{Actor as _, Addr};
use parking_lot::RwLock;
use rally_cluster::broker::Broker;
use rally_cluster::clock::Clock;
use rally_cluster::homes::Homes;
use rally_cluster::membership::{Membership, Status};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::Store;
use rally_schema::{ClientId, Cursor, Envelope, Life, UserId};
use tracing::Span;

use crate::admission::Admission;
use crate::committer::Committer;
use crate::gossip::Gossip;
use crate::ingress::Ingress;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::presence_watch::PresenceWatch;
use crate::push::Push;
use crate::rate::Quota;
use crate::routers::Routers;
use crate::settings::Settings;
use crate::sweeper::{Sweep, Sweeper};

/// Decides who may open a session.
pub trait Gate: Send + Sync {
    /// Spends a ticket: gives the user that it was made for, or says why it is refused.
    fn admit(&self, ticket: &str, client: ClientId) -> Result<UserId, String>;
}

/// What a node is put together from.
pub struct Parts {
    /// Which node, in which life.
    pub life: Life,
    /// Where clients reach it: an origin.
    pub address: String,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
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
    status: AtomicU8,
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
    pub fn start(parts: Parts) -> Arc<Self> {
        let routers = Routers::default();
        let (life, settings) = (parts.life, &parts.settings);
        let node = Arc::new(Self {
            link: Link::new(life, parts.broker.clone()),
            // Until it hears of others it is alone.
            homes: RwLock::new(Homes::of([life])),
            presence: PresenceWatch::new(life, parts.store.clone(), routers.clone()).start(),
            admission: Admission::new(settings.catch_ups_at_once),
            sends: Quota::new(settings.sends_per_second, settings.sends_burst),
            frames: Quota::new(settings.frames_per_second, settings.frames_burst),
            routers,
            status: AtomicU8::new(Status::Starting as u8),
            sessions: AtomicU64::new(0),
            parts,
        });
        let gossip = Gossip::new(node.clone()).start();
        Ingress::start(node.clone(), gossip);
        node
    }

    /// Hands a push to the home of a user. Who has no session anywhere needs none: the log has it.
    pub fn deliver(&self, user: UserId, push: Push) {
        // Held until it is under way: what is sent by the old map goes before the new one is told.
        let homes = self.homes.read();
        match homes.home(user) {
            Some(home) if home != self.life => {
                self.tell(home, Envelope::Push(push.to_pushed(user, push.stage)));
            }
            _ => self.routers.deliver(user, push),
        }
    }

    /// Tells another life something; it may be lost, but not unseen.
    pub fn tell(&self, to: Life, envelope: Envelope) {
        self.link.send(to, envelope);
    }

    /// Tells other lives how far the numbers of what they were told are.
    pub fn tell_numbers(&self) {
        self.link.tell_numbers();
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
        // Who is left out may be alive, and must know that nothing comes from here for a while.
        let left_out = before.lives().filter(|_| !planted::on(Fault::LeftOutUntold));
        let told: BTreeSet<Life> = left_out.chain(homes.lives()).collect();
        for to in told.into_iter().filter(|life| *life != self.life) {
            self.tell(to, Envelope::Map { lives: lives.to_vec() });
        }
        self.routers.look_around(|user| before.home(user) != homes.home(user));
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

    /// Tells whether the node takes users.
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            starting if starting == Status::Starting as u8 => Status::Starting,
            ready if ready == Status::Ready as u8 => Status::Ready,
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
