//! One actor per user who has a session here, or is at home here: fans pushes out.
//!
//! At the user's home it sends what arrives to his sessions here and, one envelope each, to the
//! other edges that hold sessions of his. At such an edge it keeps the home informed that there
//! are some. It tells the presence watch when the user comes and goes, and takes over for a
//! client that connects twice.
//!
//! Mailbox: bounded (1,024 by default). When it is full the sender raises the user's *doubt*, and every session of his
//! catches up: nothing that was stored is lost. Session mailboxes are treated the same way, one
//! by one. Knows nothing of frames.
//!
//! `home.rs` has what it is told of homes and edges, `coming.rs` what it tells of its user.

mod coming;
mod home;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::dev::SendError;
use actix::{
    Actor, Addr, AsyncContext as _, Context, Handler, Message, MessageResult, SpawnHandle,
    WrapFuture as _,
};
use rally_cluster::leases::{Edges, Tenure};
use rally_cluster::planted::{self, Fault};
use rally_schema::frame::ByeReason;
use rally_schema::limits::SESSIONS_PER_USER;
use rally_schema::{ClientId, Envelope, Life, Stage, UserId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::metrics::count;
use crate::node::Node;
use crate::path;
use crate::push::{Push, Weight};
use crate::routers::Shared;
use crate::session::{End, Look, Session};

pub use home::{About, LookAround, Said};

/// Arrives once the home counts this edge in.
pub type CountedIn = oneshot::Receiver<()>;

/// Joins a session to its user. The same client's older session is replaced. What is stored
/// after the reply is pushed or raises the doubt; if there is something to wait for, after that.
#[derive(Message)]
#[rtype(result = "Result<Option<CountedIn>, TooManySessions>")]
pub struct Attach {
    /// The session's number.
    pub number: u64,
    /// Which client it is of.
    pub client: ClientId,
    /// Where pushes go.
    pub session: Addr<Session>,
    /// What the session looks at after every message, also when its mailbox has no room.
    pub signals: Arc<Signals>,
}

/// Tells a session what a full mailbox could not.
#[derive(Debug, Default)]
pub struct Signals {
    /// A stored push did not reach the session.
    pub doubt: AtomicBool,
    /// A newer session of the same client took over.
    pub replaced: AtomicBool,
}

/// The user has as many sessions as are allowed.
#[derive(Debug, Clone, Copy)]
pub struct TooManySessions;

/// Takes a session away.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Detach {
    /// The session's number.
    pub number: u64,
    /// When its client was last heard, by the node's clock.
    pub last_seen: u64,
}

/// Ends every session of the user.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct EndAll {
    /// What they are told.
    pub reason: ByeReason,
    /// When they may come back, if at all.
    pub after_ms: Option<u64>,
}

/// Ends the sessions of the user whose log-in is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LogOut {
    /// Every one from before this epoch of the account is.
    pub epoch: u64,
    /// This one is besides.
    pub log_in: Option<Uuid>,
}

impl LogOut {
    /// Ends every log-in from before an epoch.
    pub fn before(epoch: u64) -> Self {
        Self { epoch, log_in: None }
    }

    /// Ends one log-in.
    pub fn of(log_in: Uuid) -> Self {
        Self { epoch: 0, log_in: Some(log_in) }
    }
}

struct Attached {
    number: u64,
    client: ClientId,
    addr: Addr<Session>,
    signals: Arc<Signals>,
    /// Told once the home counts this edge in.
    waiting: Option<oneshot::Sender<()>>,
}

impl Attached {
    /// Raises a signal and has the session look: a full mailbox will have it look anyway.
    fn raise(&self, signal: impl Fn(&Signals) -> &AtomicBool) {
        signal(&self.signals).store(true, Ordering::Release);
        let _ = self.addr.try_send(Look);
    }
}

/// The router of one user.
pub struct Router {
    user: UserId,
    node: Arc<Node>,
    shared: Arc<Shared>,
    sessions: Vec<Attached>,
    /// Other nodes that hold sessions of his, when he is at home here.
    edges: Edges,
    /// Where he is at home, and whether this node is counted in there.
    tenure: Tenure,
    /// Runs while there are leases to look after.
    looks: Option<SpawnHandle>,
    /// Runs while the last session is gone and the user is still shown online.
    grace: Option<SpawnHandle>,
    online_since: Option<u64>,
    last_seen: u64,
}

impl Router {
    pub(crate) fn new(user: UserId, node: Arc<Node>, shared: Arc<Shared>, home: Life) -> Self {
        let tenure = Tenure::new(node.life, home);
        Self {
            user,
            node,
            shared,
            // Most have one device open: room for four would be kept for each of them.
            sessions: Vec::with_capacity(1),
            edges: Edges::default(),
            tenure,
            looks: None,
            grace: None,
            online_since: None,
            last_seen: 0,
        }
    }

    /// The time of what this node counts on.
    fn now_ms(&self) -> u64 {
        self.node.clock.elapsed_ms()
    }

    /// The time of what it keeps for others.
    fn keeper_ms(&self) -> u64 {
        self.node.clock.monotonic_ms()
    }

    fn fan_out(&mut self, mut push: Push) {
        // What becomes of the push from here on happened under this.
        push.span = path::fan_out(&push.span);
        let span = push.span.clone();
        let _entered = span.enter();
        let mut handed = 0u32;
        self.sessions.retain(|session| {
            if push.except == Some(session.client) {
                return true;
            }
            match session.addr.try_send(push.clone()) {
                Ok(()) => handed += 1,
                Err(SendError::Closed(_)) => return false,
                Err(SendError::Full(_)) if push.weight == Weight::Stored => {
                    count(&self.node.metrics.pushes_refused, "mailbox_full");
                    if !planted::on(Fault::FullUnheard) {
                        session.raise(|signals| &signals.doubt);
                    }
                }
                Err(SendError::Full(_)) => {
                    count(&self.node.metrics.pushes_refused, "passing");
                }
            }
            true
        });
        self.node.metrics.fan_out.observe(f64::from(handed));
        if push.stage != Stage::Edge && !self.edges.is_empty() {
            let (node, user) = (&self.node, self.user);
            for edge in self.edges.live(node.clock.monotonic_ms()) {
                node.push_to(edge, user, &push, Stage::Edge);
            }
        }
    }

    /// Passes a doubt on to every session, here and at other edges.
    fn spread_doubt(&mut self, at: Stage) {
        for session in &self.sessions {
            session.raise(|signals| &signals.doubt);
        }
        if at != Stage::Edge {
            for edge in self.edges.live(self.node.clock.monotonic_ms()) {
                let users = vec![self.user];
                self.node.tell(edge, Envelope::Doubt { users, stage: Stage::Edge });
            }
        }
    }

    /// Looks whether a push found the mailbox full. After every message of any kind: it may have
    /// been the only one that filled it.
    fn look_at_doubt(&mut self) {
        if let Some(at) = self.shared.take_doubt() {
            count(&self.node.metrics.pushes_refused, "router_full");
            self.spread_doubt(at);
        }
    }

    fn count_sessions(&self) {
        self.shared.set_only(self.sessions.iter().map(|session| session.number));
        self.node.routers.count(&self.shared, self.sessions.len() as u32);
    }

    /// Tells each session here, waiting for room in its mailbox.
    fn tell_sessions<M>(&self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Clone + Send + 'static,
        Session: Handler<M>,
    {
        for session in &self.sessions {
            let (addr, message) = (session.addr.clone(), message.clone());
            let sent = async move {
                let _ = addr.send(message).await;
            };
            ctx.spawn(sent.into_actor(self));
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.node.settings.router_mailbox);
        self.node.metrics.routers.inc();
        // The map may have changed since it was looked at for the last time.
        let todo = self.tenure.moved(self.node.home(self.user), self.now_ms());
        self.follow(todo, ctx);
        // Nobody may ever attach: then it leaves as if the last session had gone.
        self.maybe_leave(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.node.metrics.routers.dec();
    }
}

impl Drop for Router {
    /// One that ends by a panic had sessions still: a node that drains must not wait for them.
    fn drop(&mut self) {
        self.node.routers.count(&self.shared, 0);
    }
}

impl Handler<Attach> for Router {
    type Result = Result<Option<CountedIn>, TooManySessions>;

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) -> Self::Result {
        self.look_at_doubt();
        let Attach { number, client, session: addr, signals } = attach;
        self.sessions.retain(|old| {
            if old.client == client {
                old.raise(|signals| &signals.replaced);
            }
            old.client != client && old.addr.connected()
        });
        if self.sessions.len() >= SESSIONS_PER_USER {
            return Err(TooManySessions);
        }
        let now_ms = self.now_ms();
        let (waiting, counted_in) = match self.tenure.stands(now_ms) {
            true => (None, None),
            false => {
                let (tell, told) = oneshot::channel();
                (Some(tell), Some(told))
            }
        };
        self.sessions.push(Attached { number, client, addr, signals, waiting });
        self.count_sessions();
        if let Some(grace) = self.grace.take() {
            ctx.cancel_future(grace);
        }
        self.became_online();
        let todo = self.tenure.look(now_ms);
        self.follow(todo, ctx);
        Ok(counted_in)
    }
}

impl Handler<Detach> for Router {
    type Result = ();

    fn handle(&mut self, detach: Detach, ctx: &mut Self::Context) {
        self.look_at_doubt();
        self.sessions.retain(|session| session.number != detach.number);
        self.last_seen = self.last_seen.max(detach.last_seen);
        self.count_sessions();
        if planted::on(Fault::OneGoneAllGone) {
            self.became_offline();
        }
        self.maybe_leave(ctx);
    }
}

impl Handler<Push> for Router {
    type Result = ();

    fn handle(&mut self, push: Push, _: &mut Self::Context) {
        self.look_at_doubt();
        self.fan_out(push);
    }
}

impl Handler<EndAll> for Router {
    type Result = MessageResult<EndAll>;

    fn handle(&mut self, end: EndAll, ctx: &mut Self::Context) -> Self::Result {
        self.tell_sessions(End { reason: end.reason, after_ms: end.after_ms }, ctx);
        MessageResult(())
    }
}

impl Handler<LogOut> for Router {
    type Result = MessageResult<LogOut>;

    fn handle(&mut self, log_out: LogOut, ctx: &mut Self::Context) -> Self::Result {
        self.tell_sessions(log_out, ctx);
        MessageResult(())
    }
}
