//! The users that are here: where each one's router is.
//!
//! Shared by everybody who has something for a user. A router whose mailbox is full is in
//! *doubt* instead, which it finds out with the next message that it does take. Knows nothing of
//! frames or other nodes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use actix::dev::{MessageResponse, SendError};
use actix::{Actor as _, Addr, Handler, Message};
use parking_lot::RwLock;
use rally_cluster::planted::{self, Fault};
use rally_schema::{Stage, UserId};

use crate::node::Node;
use crate::push::{Push, Weight};
use crate::rate::Taken;
use crate::router::{LogOut, LookAround, Router};

/// Whose sessions are in doubt: nobody's, those here, those at all edges of the user.
const NONE: u8 = 0;
const HERE: u8 = 1;
const EVERYWHERE: u8 = 2;

/// That nobody's session is attached, or more than one.
const NOBODY: u64 = 0;
const SEVERAL: u64 = u64::MAX;

/// What is shared with everybody who finds the router, without asking it.
#[derive(Debug, Default)]
pub struct Shared {
    /// Raised when a push could not be handed to the router: [`HERE`] or [`EVERYWHERE`].
    doubt: AtomicU8,
    /// Attached sessions.
    sessions: AtomicU32,
    /// The number of the only one of them and one more, or [`NOBODY`], or [`SEVERAL`].
    only: AtomicU64,
    /// Whether other nodes may hold sessions of his that are served from here.
    edges: AtomicBool,
    /// Whether the user is shown online for his sessions here.
    online: AtomicBool,
    /// How fast the user may send, over all his sessions.
    pub sends: Taken,
}

impl Shared {
    /// Gives the number of attached sessions; a session counts before it reads the store.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }

    /// Tells whether no other session is served from here than the one of this number, which may be
    /// gone; an edge counts, too, before its sessions read the store.
    pub fn serves_no_other(&self, number: u64) -> bool {
        let edges = self.edges.load(Ordering::Acquire) && !planted::on(Fault::EdgesUncounted);
        let only = self.only.load(Ordering::Acquire);
        (only == NOBODY || only == number + 1) && !edges
    }

    pub(crate) fn set_only(&self, mut numbers: impl Iterator<Item = u64>) {
        let only = match (numbers.next(), numbers.next()) {
            (None, _) => NOBODY,
            (Some(number), None) => number + 1,
            (Some(_), Some(_)) => SEVERAL,
        };
        self.only.store(only, Ordering::Release);
    }

    pub(crate) fn set_edges(&self, some: bool) {
        self.edges.store(some, Ordering::Release);
    }

    pub(crate) fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Release);
    }

    /// Raises the doubt about what was on its way there.
    fn doubt(&self, stage: Stage) {
        let whose = if stage == Stage::Edge { HERE } else { EVERYWHERE };
        self.doubt.fetch_max(whose, Ordering::AcqRel);
    }

    /// Takes the doubt back, if there is one: the user's sessions here, or at all his edges.
    pub(crate) fn take_doubt(&self) -> Option<Stage> {
        match self.doubt.swap(NONE, Ordering::AcqRel) {
            NONE => None,
            HERE => Some(Stage::Edge),
            _ => Some(Stage::Home),
        }
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

impl Handle {
    fn doubt(&self, stage: Stage) {
        self.shared.doubt(stage);
        // A mailbox that is full now holds messages, after each of which the router looks anyway. One
        // that was full a moment ago may be empty.
        let _ = self.addr.try_send(LookAround);
    }
}

/// The users that are here. Cloning shares.
///
/// Hashed without a seed of its own, so that a simulation meets them in the same order each time;
/// a name costs an account, and an account a password hash: nobody makes them collide.
#[derive(Clone, Default)]
pub struct Routers {
    all: Arc<RwLock<HashMap<UserId, Handle, BuildHasherDefault<DefaultHasher>>>>,
    /// Attached sessions of all users: counted as they come and go, because the node's card
    /// names them several times a second.
    sessions: Arc<AtomicU32>,
}

impl Routers {
    /// Finds the user's router, or starts one on the current thread.
    pub fn join(&self, user: UserId, node: &Arc<Node>) -> Handle {
        // Before the lock: who delivers looks for homes first and for routers then, and a lock that
        // somebody waits to write is given to no other reader.
        let home = node.home(user);
        let mut routers = self.all.write();
        if let Some(handle) = routers.get(&user).filter(|handle| handle.addr.connected()) {
            return handle.clone();
        }
        let shared = Arc::<Shared>::default();
        let addr = Router::new(user, node.clone(), shared.clone(), home).start();
        let handle = Handle { addr, shared };
        routers.insert(user, handle.clone());
        handle
    }

    /// Hands a push to the user's router; one with too much to do is in doubt instead.
    pub fn deliver(&self, user: UserId, push: Push) {
        let routers = self.all.read();
        let Some(handle) = routers.get(&user) else { return };
        let (weight, stage) = (push.weight, push.stage);
        let sent = handle.addr.try_send(push);
        if weight == Weight::Stored && matches!(sent, Err(SendError::Full(_))) {
            handle.doubt(stage);
        }
    }

    /// Tells the user's router something, if there is one and it has room.
    pub fn tell<M>(&self, user: UserId, message: M)
    where
        M: Message + Send + 'static,
        M::Result: MessageResponse<Router, M> + Send,
        Router: Handler<M>,
    {
        if let Some(handle) = self.all.read().get(&user) {
            let _ = handle.addr.try_send(message);
        }
    }

    /// Has the sessions of a user catch up, for whom something was on its way there.
    pub fn doubt(&self, user: UserId, stage: Stage) {
        if let Some(handle) = self.all.read().get(&user) {
            handle.doubt(stage);
        }
    }

    /// Has the users that `which` picks catch up, wherever their sessions are.
    pub fn doubt_of(&self, which: impl Fn(UserId) -> bool) {
        let routers = self.all.read();
        let picked = routers.iter().filter(|(user, _)| which(**user));
        picked.for_each(|(_, handle)| handle.doubt(Stage::Home));
    }

    /// Has every user who is here, or at home here, catch up.
    pub fn doubt_all(&self) {
        self.doubt_of(|_| true);
    }

    /// Has the routers of the users that `which` picks look where they are at home; gives how
    /// many there are.
    pub fn look_around(&self, which: impl Fn(UserId) -> bool) -> u64 {
        let mut picked = 0;
        for (_, handle) in self.all.read().iter().filter(|(user, _)| which(**user)) {
            picked += 1;
            let addr = handle.addr.clone();
            // Waits for room in the mailbox: a router that does not know its home is deaf.
            if let Err(SendError::Full(look)) = addr.try_send(LookAround) {
                actix::spawn(async move {
                    let _ = addr.send(look).await;
                });
            }
        }
        picked
    }

    /// Tells whether a session of the user is attached here, or was until a moment ago.
    pub fn is_online(&self, user: UserId) -> bool {
        self.all
            .read()
            .get(&user)
            .is_some_and(|handle| handle.shared.online.load(Ordering::Acquire))
    }

    /// Gives every router there is.
    pub fn all(&self) -> Vec<Handle> {
        self.all.read().values().cloned().collect()
    }

    /// Counts attached sessions.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }

    /// Takes over how many sessions of one user are attached.
    pub(crate) fn count(&self, user: &Shared, count: u32) {
        let before = user.sessions.swap(count, Ordering::AcqRel);
        // Wraps to the right sum when the difference is negative.
        self.sessions.fetch_add(count.wrapping_sub(before), Ordering::AcqRel);
    }

    /// Ends a user's sessions from before; nothing to do when he has none.
    pub fn log_out(&self, user: UserId, log_out: LogOut) {
        let Some(handle) = self.all.read().get(&user).cloned() else { return };
        // Waits for room in the mailbox instead of giving up: somebody wants to be logged out.
        actix::spawn(async move {
            let _ = handle.addr.send(log_out).await;
        });
    }

    pub(crate) fn leave(&self, user: UserId, addr: &Addr<Router>) {
        let mut routers = self.all.write();
        if routers.get(&user).is_some_and(|handle| handle.addr == *addr) {
            routers.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_summed_as_users_come_and_go() {
        let (routers, ana, ben) = (Routers::default(), Shared::default(), Shared::default());
        let counts = [(&ana, 2), (&ben, 3), (&ana, 1), (&ben, 0), (&ben, 0), (&ana, 0)];
        let sums = counts.map(|(user, count)| {
            routers.count(user, count);
            routers.sessions()
        });
        assert_eq!(sums, [2, 5, 4, 1, 1, 0]);
    }
}
