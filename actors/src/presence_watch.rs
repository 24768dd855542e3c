//! Tells who is online to the sessions that watch, and only to those who may know.
//!
//! A session watches a user it has on its screen. Whether it may is decided when it
//! begins and again when the user changes his settings; who may not know sees the same
//! as of a user who was never there. Mailbox: 1,024; transitions and watches wait for
//! room in it. A push that a session's mailbox has no room for is dropped and told again
//! at the next look. Knows nothing of sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, Message, WrapFuture as _,
};
use rally_cluster::store::{PresenceRow, Store, StoreError};
use rally_schema::frame::{Presence, ServerFrame};
use rally_schema::{Life, UserId};
use tracing::warn;

use crate::push::Push;
use crate::routers::Routers;
use crate::session::Session;

/// Messages that wait for the presence watch; senders wait beyond that.
const MAILBOX: usize = 1_024;

/// How often those are told again whose mailbox was full.
const LOOK: Duration = Duration::from_secs(2);

/// Begins to watch; the present state is pushed at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WatchUser {
    /// Whose presence.
    pub user: UserId,
    /// Who watches.
    pub watcher: UserId,
    /// Whether they have a conversation.
    pub acquainted: bool,
    /// By which session.
    pub number: u64,
    /// Where pushes go.
    pub session: Addr<Session>,
}

/// Ends one watch of a session, or all.
#[derive(Message)]
#[rtype(result = "()")]
pub struct UnwatchUser {
    /// Whose presence; all when `None`.
    pub user: Option<UserId>,
    /// By which session.
    pub number: u64,
}

/// A user came or went.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Transition {
    /// His state now.
    pub row: PresenceRow,
}

/// A user changed who may see him, or blocked somebody.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconsider {
    /// Whose presence.
    pub user: UserId,
}

struct Watcher {
    number: u64,
    user: UserId,
    acquainted: bool,
    may_know: bool,
    session: Addr<Session>,
    /// Whether the last push found no room.
    missed: bool,
}

/// What is known of a watched user, and shown to who may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    online: bool,
    /// Nothing while online: then it is now.
    last_seen: Option<u64>,
}

impl State {
    fn new(online: bool, last_seen: Option<u64>) -> Self {
        Self { online, last_seen: last_seen.filter(|_| !online) }
    }
}

struct Watched {
    state: Option<State>,
    watchers: Vec<Watcher>,
}

/// The presence watch of a node.
pub struct PresenceWatch {
    life: Life,
    store: Arc<dyn Store>,
    routers: Routers,
    /// The last moment of which the store knew when this life began: an earlier life of this
    /// node that never said goodbye was alive until then.
    store_ended_ms: u64,
    watched: BTreeMap<UserId, Watched>,
}

impl PresenceWatch {
    /// Watches users of this node.
    pub fn new(life: Life, store: Arc<dyn Store>, routers: Routers) -> Self {
        let store_ended_ms = store.high_water_ms();
        Self { life, store, routers, store_ended_ms, watched: BTreeMap::new() }
    }

    /// Reads a user's state, and which of `watchers` may know it.
    async fn read(
        store: Arc<dyn Store>,
        user: UserId,
        watchers: Vec<UserId>,
    ) -> Result<(Vec<PresenceRow>, Vec<UserId>), StoreError> {
        let rows = store.presence(user).await?;
        let hidden = store.user(user).await?.is_none_or(|row| row.hide_presence);
        let mut allowed = Vec::new();
        for watcher in watchers {
            if !hidden && !store.is_blocked(user, watcher).await? {
                allowed.push(watcher);
            }
        }
        Ok((rows, allowed))
    }

    /// Folds presence rows into one state.
    fn fold(&self, user: UserId, rows: &[PresenceRow]) -> State {
        let online = self.routers.is_online(user);
        let seen = |row: &PresenceRow| match row.online_since {
            // An edge that died without a word saw him until its own end.
            Some(_) if row.life != self.life => row.last_seen.max(self.store_ended_ms),
            _ => row.last_seen,
        };
        State::new(online, rows.iter().map(seen).max())
    }

    /// Reads what one watcher may know, and tells it; tries again when it cannot be read.
    fn begin(&mut self, user: UserId, watcher: UserId, number: u64, ctx: &mut Context<Self>) {
        let read = Self::read(self.store.clone(), user, vec![watcher]).into_actor(self);
        ctx.spawn(read.map(move |read, watch, ctx| {
            let state = read.as_ref().ok().map(|(rows, _)| watch.fold(user, rows));
            let Some(watched) = watch.watched.get_mut(&user) else { return };
            match read {
                Ok((_, allowed)) => {
                    // The user may have come or gone just before: the transition that follows
                    // will be no news, so everybody is told now.
                    let news = watched.state.is_some() && watched.state != state;
                    watched.state = state;
                    for watcher in watched.watchers.iter_mut().filter(|w| w.number == number) {
                        watcher.may_know = watcher.acquainted && !allowed.is_empty();
                    }
                    watched.tell(user, |w| w.number == number || (news && w.may_know));
                }
                Err(error) => {
                    warn!(%error, "presence could not be read yet");
                    if watched.watchers.iter().any(|w| w.number == number) {
                        ctx.run_later(LOOK, move |watch, ctx| {
                            watch.begin(user, watcher, number, ctx);
                        });
                    }
                }
            }
        }));
    }

    fn reconsider(&mut self, user: UserId, ctx: &mut Context<Self>) {
        let Some(watched) = self.watched.get(&user) else { return };
        let mut watchers: Vec<UserId> = watched.watchers.iter().map(|w| w.user).collect();
        watchers.sort_unstable();
        watchers.dedup();
        let read = Self::read(self.store.clone(), user, watchers).into_actor(self);
        ctx.spawn(read.map(move |read, watch, _| match read {
            Ok((rows, allowed)) => {
                let state = watch.fold(user, &rows);
                let Some(watched) = watch.watched.get_mut(&user) else { return };
                watched.state = Some(state);
                for watcher in &mut watched.watchers {
                    watcher.may_know = watcher.acquainted && allowed.contains(&watcher.user);
                }
                watched.tell(user, |_| true);
            }
            Err(error) => warn!(%error, "presence could not be read"),
        }));
    }
}

impl Watched {
    /// Pushes the state to the watchers that `which` picks.
    fn tell(&mut self, user: UserId, which: impl Fn(&Watcher) -> bool) {
        let Some(State { online, last_seen }) = self.state else { return };
        let frame = |online, last_seen| {
            Push::passing(&ServerFrame::from(Presence { user, online, last_seen }))
        };
        let (open, hidden) = (frame(online, last_seen), frame(false, None));
        for watcher in self.watchers.iter_mut().filter(|w| which(w)) {
            let push = if watcher.may_know { open.clone() } else { hidden.clone() };
            watcher.missed = watcher.session.try_send(push).is_err();
        }
    }
}

impl Actor for PresenceWatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(LOOK, |watch, _| {
            watch.watched.retain(|user, watched| {
                watched.watchers.retain(|watcher| watcher.session.connected());
                if watched.watchers.iter().any(|watcher| watcher.missed) {
                    watched.tell(*user, |watcher| watcher.missed);
                }
                !watched.watchers.is_empty()
            });
        });
    }
}

impl Handler<WatchUser> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, watch: WatchUser, ctx: &mut Self::Context) {
        let WatchUser { user, watcher, acquainted, number, session } = watch;
        let watched =
            self.watched.entry(user).or_insert(Watched { state: None, watchers: Vec::new() });
        watched.watchers.retain(|w| w.number != number);
        let (may_know, missed) = (false, false);
        watched.watchers.push(Watcher {
            number,
            user: watcher,
            acquainted,
            may_know,
            session,
            missed,
        });
        self.begin(user, watcher, number, ctx);
    }
}

impl Handler<UnwatchUser> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, unwatch: UnwatchUser, _: &mut Self::Context) {
        let UnwatchUser { user, number } = unwatch;
        self.watched.retain(|watched_user, watched| {
            if user.is_none_or(|user| user == *watched_user) {
                watched.watchers.retain(|watcher| watcher.number != number);
            }
            !watched.watchers.is_empty()
        });
    }
}

impl Handler<Transition> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, transition: Transition, _: &mut Self::Context) {
        let row = transition.row;
        let Some(watched) = self.watched.get_mut(&row.user) else { return };
        let state = State::new(row.online_since.is_some(), Some(row.last_seen));
        // An unchanged status is no news, and to who may not know it none ever is.
        if watched.state != Some(state) {
            watched.state = Some(state);
            watched.tell(row.user, |watcher| watcher.may_know);
        }
    }
}

impl Handler<Reconsider> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, reconsider: Reconsider, ctx: &mut Self::Context) {
        self.reconsider(reconsider.user, ctx);
    }
}
