//! One actor per user with a session here: knows his sessions, fans pushes out to them.
//!
//! It tells the presence watch when the user comes and goes, and takes over for a client
//! that connects twice. Mailbox: 256. When it is full the sender raises the user's
//! *doubt*, and every session of his catches up: nothing that was stored is lost.
//! Session mailboxes are treated the same way, one by one. Knows nothing of frames.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use actix::dev::SendError;
use actix::{
    Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message, MessageResult,
    SpawnHandle, WrapFuture as _,
};
use parking_lot::RwLock;
use rally_cluster::store::PresenceRow;
use rally_schema::frame::ByeReason;
use rally_schema::limits::SESSIONS_PER_USER;
use rally_schema::{ClientId, Life, UserId};
use tracing::{info_span, warn};

use crate::metrics::count;
use crate::node::Node;
use crate::presence_watch::Transition;
use crate::push::{Push, Weight};
use crate::rate::Taken;
use crate::session::{End, Look, Session};

/// Pushes that wait for one router; beyond it the user is in doubt.
const MAILBOX: usize = 256;

/// Joins a session to its user. The same client's older session is replaced.
#[derive(Message)]
#[rtype(result = "Result<(), TooManySessions>")]
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

/// Has the router look whether its user is in doubt.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct LookAtDoubt;

/// What is shared with everybody who finds the router, without asking it.
#[derive(Debug, Default)]
pub struct Shared {
    /// Raised when a push could not be handed to the router.
    doubt: AtomicBool,
    /// Attached sessions.
    sessions: AtomicU32,
    /// How fast the user may send, over all his sessions.
    pub sends: Taken,
}

impl Shared {
    /// Gives the number of attached sessions; a session counts before it reads the store.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }
}

/// Where a user's router is.
#[derive(Clone)]
pub struct Handle {
    /// The actor.
    pub addr: Addr<Router>,
    /// What can be known without asking it.
    pub shared: Arc<Shared>,
}

/// The users that are here. Cloning shares.
#[derive(Clone, Default)]
pub struct Routers(Arc<RwLock<HashMap<UserId, Handle>>>);

impl Routers {
    /// Finds the user's router, or starts one on the current thread.
    pub fn join(&self, user: UserId, node: &Arc<Node>) -> Handle {
        let mut routers = self.0.write();
        if let Some(handle) = routers.get(&user).filter(|handle| handle.addr.connected()) {
            return handle.clone();
        }
        let shared = Arc::<Shared>::default();
        let addr = Router::new(user, node.clone(), shared.clone()).start();
        let handle = Handle { addr, shared };
        routers.insert(user, handle.clone());
        handle
    }

    /// Hands a push to the user's sessions; a router with too much to do is in doubt instead.
    pub fn deliver(&self, user: UserId, push: Push) {
        let routers = self.0.read();
        let Some(handle) = routers.get(&user) else { return };
        let weight = push.weight;
        let sent = handle.addr.try_send(push);
        if weight == Weight::Stored && matches!(sent, Err(SendError::Full(_))) {
            handle.shared.doubt.store(true, Ordering::Release);
        }
    }

    /// Has every session here catch up.
    pub fn doubt_all(&self) {
        for handle in self.0.read().values() {
            handle.shared.doubt.store(true, Ordering::Release);
            // A full mailbox holds pushes, after each of which the router looks anyway.
            let _ = handle.addr.try_send(LookAtDoubt);
        }
    }

    /// Tells whether a session of the user is attached, or was until a moment ago.
    pub fn is_online(&self, user: UserId) -> bool {
        self.0.read().get(&user).is_some_and(|handle| handle.addr.connected())
    }

    /// Gives every router there is.
    pub fn all(&self) -> Vec<Handle> {
        self.0.read().values().cloned().collect()
    }

    /// Counts attached sessions.
    pub fn sessions(&self) -> u32 {
        self.0.read().values().map(|h| h.shared.sessions()).sum()
    }

    /// Ends every session of a user; nothing to do when he has none.
    pub fn end(&self, user: UserId, end: EndAll) {
        let Some(handle) = self.0.read().get(&user).cloned() else { return };
        // Waits for room in the mailbox instead of giving up: somebody wants to be logged out.
        actix::spawn(async move {
            let _ = handle.addr.send(end).await;
        });
    }

    fn leave(&self, user: UserId, addr: &Addr<Router>) {
        let mut routers = self.0.write();
        if routers.get(&user).is_some_and(|handle| handle.addr == *addr) {
            routers.remove(&user);
        }
    }
}

struct Attached {
    number: u64,
    client: ClientId,
    addr: Addr<Session>,
    signals: Arc<Signals>,
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
    /// Runs while the last session is gone and the user is still shown online.
    grace: Option<SpawnHandle>,
    online_since: Option<u64>,
    last_seen: u64,
}

impl Router {
    fn new(user: UserId, node: Arc<Node>, shared: Arc<Shared>) -> Self {
        let (sessions, grace, online_since, last_seen) = (Vec::new(), None, None, 0);
        Self { user, node, shared, sessions, grace, online_since, last_seen }
    }

    fn fan_out(&mut self, push: &Push) {
        let _span = info_span!(target: "rally_path", parent: &push.span, "fan_out").entered();
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
                    session.raise(|signals| &signals.doubt);
                }
                Err(SendError::Full(_)) => {
                    count(&self.node.metrics.pushes_refused, "passing");
                }
            }
            true
        });
        self.node.metrics.fan_out.observe(f64::from(handed));
    }

    /// Passes the user's doubt on to every session.
    fn spread_doubt(&self) {
        if self.shared.doubt.swap(false, Ordering::AcqRel) {
            count(&self.node.metrics.pushes_refused, "router_full");
            for session in &self.sessions {
                session.raise(|signals| &signals.doubt);
            }
        }
    }

    fn count_sessions(&self) {
        self.shared.sessions.store(self.sessions.len() as u32, Ordering::Release);
    }

    fn became_online(&mut self, ctx: &mut Context<Self>) {
        if let Some(grace) = self.grace.take() {
            ctx.cancel_future(grace);
        }
        if self.online_since.is_none() {
            let now = self.node.clock.now_ms();
            self.online_since = Some(now);
            self.last_seen = self.last_seen.max(now);
            self.told(ctx);
        }
    }

    fn maybe_leave(&mut self, ctx: &mut Context<Self>) {
        if self.sessions.is_empty() && self.grace.is_none() {
            let grace = Duration::from_millis(self.node.settings.presence_grace_ms);
            self.grace = Some(ctx.run_later(grace, |router, ctx| {
                router.grace = None;
                if router.sessions.is_empty() {
                    router.online_since = None;
                    router.told(ctx);
                    router.node.routers.leave(router.user, &ctx.address());
                    ctx.stop();
                }
            }));
        }
    }

    /// Stores the transition and tells the watchers. Runs beyond the router's own end.
    fn told(&self, _: &mut Context<Self>) {
        let row = PresenceRow {
            user: self.user,
            life: self.node.life,
            online_since: self.online_since,
            last_seen: self.last_seen,
        };
        let node = self.node.clone();
        actix::spawn(async move {
            if let Err(error) = write_presence(&node, row).await {
                warn!(%error, "presence was not stored");
            }
            let _ = node.presence.send(Transition { row }).await;
        });
    }
}

/// Writes the row of this life and folds those of lives that are over.
async fn write_presence(
    node: &Node,
    row: PresenceRow,
) -> Result<(), rally_cluster::store::StoreError> {
    let rows = node.store.presence(row.user).await?;
    let folded: Vec<Life> = rows.iter().map(|r| r.life).filter(|l| *l != row.life).collect();
    node.store.set_presence(row, folded).await
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.node.metrics.routers.inc();
        // Nobody may ever attach: then it leaves as if the last session had gone.
        self.maybe_leave(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.node.metrics.routers.dec();
    }
}

impl Handler<Attach> for Router {
    type Result = Result<(), TooManySessions>;

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) -> Self::Result {
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
        self.sessions.push(Attached { number, client, addr, signals });
        self.count_sessions();
        self.became_online(ctx);
        Ok(())
    }
}

impl Handler<Detach> for Router {
    type Result = ();

    fn handle(&mut self, detach: Detach, ctx: &mut Self::Context) {
        self.sessions.retain(|session| session.number != detach.number);
        self.last_seen = self.last_seen.max(detach.last_seen);
        self.count_sessions();
        self.maybe_leave(ctx);
    }
}

impl Handler<Push> for Router {
    type Result = ();

    fn handle(&mut self, push: Push, _: &mut Self::Context) {
        self.spread_doubt();
        self.fan_out(&push);
    }
}

impl Handler<LookAtDoubt> for Router {
    type Result = ();

    fn handle(&mut self, _: LookAtDoubt, _: &mut Self::Context) {
        self.spread_doubt();
    }
}

impl Handler<EndAll> for Router {
    type Result = MessageResult<EndAll>;

    fn handle(&mut self, end: EndAll, ctx: &mut Self::Context) -> Self::Result {
        for session in &self.sessions {
            let addr = session.addr.clone();
            let end = End { reason: end.reason, after_ms: end.after_ms };
            let sent = async move {
                let _ = addr.send(end).await;
            };
            ctx.spawn(sent.into_actor(self));
        }
        MessageResult(())
    }
}
