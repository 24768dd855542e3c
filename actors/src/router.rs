//! One actor per user who has a session here, or is at home here: fans pushes out.
//!
//! At the user's home it sends what arrives to his sessions here and, one envelope each, to the
//! other edges that hold sessions of his. At such an edge it keeps the home informed that there
//! are some. It tells the presence watch when the user comes and goes, and takes over for a
//! client that connects twice.
//!
//! Mailbox: bounded (256 by default). When it is full the sender raises the user's *doubt*, and every session of his
//! catches up: nothing that was stored is lost. Session mailboxes are treated the same way, one
//! by one. Knows nothing of frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::dev::SendError;
use actix::{
    Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message, MessageResult,
    SpawnHandle, WrapFuture as _,
};
use rally_cluster::leases::{Edges, Tenure, Todo};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::PresenceRow;
use rally_schema::frame::ByeReason;
use rally_schema::limits::SESSIONS_PER_USER;
use rally_schema::{ClientId, Envelope, Life, Stage, UserId};
use tokio::sync::oneshot;

use crate::metrics::{count, count_by};
use crate::node::Node;
use crate::path;
use crate::presence_watch::Transition;
use crate::push::{Push, Weight};
use crate::routers::Shared;
use crate::session::{End, Look, Session};

/// How often leases are looked after, while there are any.
const LOOK: Duration = Duration::from_secs(1);

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

/// Ends the sessions of the user by a log-in from before an epoch.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LogOut {
    /// The epoch of the account from now on.
    pub epoch: u64,
}

/// Has the router look whether its user is in doubt, and where he is at home.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookAround;

/// Hands over what another life says about an attachment of this user.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Said {
    /// Which life.
    pub by: Life,
    /// What.
    pub what: About,
}

/// What a life says about an attachment.
#[derive(Debug, Clone, Copy)]
pub enum About {
    /// It holds sessions of this user.
    Attach {
        /// Comes back with the answer.
        at: u64,
    },
    /// It counts this edge in.
    Attached {
        /// What the question named.
        at: u64,
    },
    /// It holds none any more.
    Detach,
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
    pub(crate) fn new(user: UserId, node: Arc<Node>, shared: Arc<Shared>) -> Self {
        let tenure = Tenure::new(node.life, node.home(user));
        Self {
            user,
            node,
            shared,
            sessions: Vec::new(),
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

    /// Does what a lease asks for.
    fn follow(&mut self, todo: Todo, ctx: &mut Context<Self>) {
        match todo {
            Todo::Nothing => {}
            // Who holds no session is no edge.
            Todo::Ask(_) if self.sessions.is_empty() => {}
            Todo::Ask(home) => {
                count(&self.node.metrics.cluster.leases, "asked");
                self.node.tell(home, Envelope::Attach { user: self.user, at: self.now_ms() });
            }
            // A session that waits begins its catch-up now.
            Todo::Doubt => {
                for session in &mut self.sessions {
                    let waited = session.waiting.take().is_some_and(|told| told.send(()).is_ok());
                    if !waited {
                        session.raise(|signals| &signals.doubt);
                    }
                }
            }
        }
        self.look_later(ctx);
    }

    /// Keeps a timer for as long as there are leases.
    fn look_later(&mut self, ctx: &mut Context<Self>) {
        let needed = !self.edges.is_empty() || self.tenure.is_away();
        self.shared.set_edges(!self.edges.is_empty());
        match (needed, self.looks) {
            (true, None) => {
                self.looks = Some(ctx.run_interval(LOOK, |router, ctx| {
                    let todo = router.tenure.look(router.now_ms());
                    router.follow(todo, ctx);
                    let none = router.edges.live(router.keeper_ms()).next().is_none();
                    count_by(
                        &router.node.metrics.cluster.leases,
                        "lapsed",
                        router.edges.take_lapsed(),
                    );
                    if none {
                        router.maybe_leave(ctx);
                    }
                }));
            }
            (false, Some(looks)) => {
                ctx.cancel_future(looks);
                self.looks = None;
            }
            _ => {}
        }
    }

    fn count_sessions(&self) {
        self.node.routers.count(&self.shared, self.sessions.len() as u32);
    }

    fn became_online(&mut self) {
        if self.online_since.is_none() {
            let now = self.node.clock.now_ms();
            self.online_since = Some(now);
            self.last_seen = self.last_seen.max(now);
            self.shared.set_online(true);
            self.told();
        }
    }

    fn became_offline(&mut self) {
        if self.online_since.take().is_some() {
            self.shared.set_online(false);
            self.told();
        }
    }

    /// Goes offline when no session comes back in time, and leaves when nobody needs it.
    fn maybe_leave(&mut self, ctx: &mut Context<Self>) {
        if self.sessions.is_empty() && self.grace.is_none() {
            let grace = Duration::from_millis(self.node.settings.presence_grace_ms);
            self.grace = Some(ctx.run_later(grace, |router, ctx| {
                router.grace = None;
                if !router.sessions.is_empty() {
                    return;
                }
                router.became_offline();
                if router.edges.live(router.keeper_ms()).next().is_none() {
                    router.leave(ctx);
                }
            }));
        }
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        let home = self.tenure.home();
        if home != self.node.life {
            self.node.tell(home, Envelope::Detach { user: self.user });
        }
        self.node.routers.leave(self.user, &ctx.address());
        ctx.stop();
    }

    /// Has the transition stored and told. Waits for room, beyond the router's own end.
    fn told(&self) {
        let row = PresenceRow {
            user: self.user,
            life: self.node.life,
            online_since: self.online_since,
            last_seen: self.last_seen,
        };
        let sent = self.node.presence.send(Transition { row });
        actix::spawn(async move {
            let _ = sent.await;
        });
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

impl Handler<LookAround> for Router {
    type Result = ();

    fn handle(&mut self, _: LookAround, ctx: &mut Self::Context) {
        self.look_at_doubt();
        let todo = self.tenure.moved(self.node.home(self.user), self.now_ms());
        self.follow(todo, ctx);
    }
}

impl Handler<Said> for Router {
    type Result = ();

    fn handle(&mut self, said: Said, ctx: &mut Self::Context) {
        self.look_at_doubt();
        let Said { by, what } = said;
        match what {
            About::Attach { at } => {
                self.edges.attach(by, self.keeper_ms());
                self.shared.set_edges(true);
                self.node.tell(by, Envelope::Attached { user: self.user, at });
                self.look_later(ctx);
            }
            About::Attached { at } => {
                count(&self.node.metrics.cluster.leases, "answered");
                let todo = self.tenure.attached(by, at, self.now_ms());
                self.follow(todo, ctx);
            }
            About::Detach => {
                self.edges.detach(by);
                self.look_later(ctx);
            }
        }
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
