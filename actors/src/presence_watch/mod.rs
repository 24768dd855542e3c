//! Tells who is online to the sessions that watch, and only to those who may know.
//!
//! Routers say when a user comes or goes; it is written, and then the user's home tells the
//! nodes where somebody watches him, which read his rows again. Those nodes are known there by
//! the leases that also carry pushes. A node that dies says nothing: what its rows are worth
//! follows from who is living. Whether a watcher may know is read with the rows; who may not
//! sees the same as of a user who was never there.
//!
//! Mailbox: 1,024, and one more for each transition and watch that waits for its answer; what other
//! nodes say is dropped when it is full, and ends in reading all again. Knows nothing of sockets.

mod turns;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, Message, WrapFuture as _,
};
use rally_cluster::acquaintance;
use rally_cluster::homes::NewMap;
use rally_cluster::leases::{Edges, Tenure, Todo};
use rally_cluster::store::{PresenceRow, Store, StoreError};
use rally_schema::{Envelope, Life, Stage, UserId};

use crate::metrics::count;
use crate::node::Node;
use crate::router::About;
use crate::session::Session;
use turns::{Reads, Writes};
use watched::{Watched, Watcher};

/// Messages that wait for the presence watch; senders wait beyond that.
const MAILBOX: usize = 1_024;

/// How often leases are looked after, and those told again whose mailbox was full.
const LOOK: Duration = Duration::from_secs(1);

/// How soon a row that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

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

/// Ends watches of a session.
#[derive(Message)]
#[rtype(result = "()")]
pub struct UnwatchUsers {
    /// Whose presence.
    pub users: Vec<UserId>,
    /// By which session.
    pub number: u64,
}

/// A user came to this node or left it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Transition {
    /// His state here, to be written.
    pub row: PresenceRow,
}

/// What may be known of a user, or who may know it, has changed in the store.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Changed {
    /// Of whom.
    pub user: UserId,
    /// How far the news is on its way to those who watch.
    pub stage: Stage,
}

/// Hands over what another life says about watching a user.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Watching {
    /// Whom.
    pub user: UserId,
    /// Which life.
    pub by: Life,
    /// What.
    pub what: About,
}

/// Other lives are living than before, or users have other homes.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LivesChanged;

/// Another node sends by a new map: news of whom it brings here may have gone elsewhere.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct MapHeard(pub NewMap);

/// News may be lost: everything is read again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Doubt;

/// The presence watch of a node.
pub struct PresenceWatch {
    /// Lives as long as the process; weak, because the node holds this actor's address.
    node: Weak<Node>,
    watched: BTreeMap<UserId, Watched>,
    /// The nodes where somebody watches a user who is at home here.
    edges: BTreeMap<UserId, Edges>,
    reads: Reads,
    writes: Writes,
}

impl PresenceWatch {
    /// Watches for a node.
    pub fn new(node: Weak<Node>) -> Self {
        Self {
            node,
            watched: BTreeMap::new(),
            edges: BTreeMap::new(),
            reads: Reads::default(),
            writes: Writes::default(),
        }
    }

    fn node(&self) -> Arc<Node> {
        self.node.upgrade().expect("the node lives as long as its actors")
    }

    /// Reads those who are to be read.
    fn read(&mut self, ctx: &mut Context<Self>) {
        while let Some(user) = self.reads.next() {
            let Some(watched) = self.watched.get(&user) else {
                self.reads.done(user);
                continue;
            };
            let watchers: BTreeSet<UserId> = watched.watchers.iter().map(|w| w.user).collect();
            let node = self.node();
            count(&node.metrics.cluster.presence, "read");
            let read = read(node.store.clone(), user, watchers.clone()).into_actor(self);
            ctx.spawn(read.map(move |read, watch, ctx| {
                watch.reads.done(user);
                match (read, watch.watched.get_mut(&user)) {
                    (Ok((rows, allowed)), Some(watched)) => {
                        watched.learn(rows, &watchers, &allowed)
                    }
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        watch.node().store_failed("presence could not be read", &error);
                        ctx.run_later(AGAIN, move |watch, ctx| watch.ask(user, ctx));
                    }
                }
                watch.tell(user);
                watch.read(ctx);
            }));
        }
    }

    fn ask(&mut self, user: UserId, ctx: &mut Context<Self>) {
        self.reads.ask(user);
        self.read(ctx);
    }

    /// Tells the watchers of a user what is news to them.
    fn tell(&mut self, user: UserId) {
        let node = self.node();
        if let Some(watched) = self.watched.get_mut(&user) {
            let seen = node.seen(user, &watched.rows);
            watched.tell(user, seen);
        }
    }

    fn write(&mut self, row: PresenceRow, ctx: &mut Context<Self>) {
        let node = self.node();
        count(&node.metrics.cluster.presence, "written");
        let written = write(node, row).into_actor(self);
        ctx.spawn(written.map(move |written, watch, ctx| {
            if let Err(error) = written {
                watch.node().store_failed("presence was not stored", &error);
                ctx.run_later(AGAIN, move |watch, ctx| {
                    let newest = watch.writes.newest(row);
                    watch.write(newest, ctx);
                });
                return;
            }
            match watch.writes.done(row.user) {
                Some(next) => watch.write(next, ctx),
                None => ctx.notify(Changed { user: row.user, stage: Stage::Home }),
            }
        }));
    }

    /// Tells the nodes where a user is watched, if he is at home here; else his home.
    fn spread(&mut self, user: UserId, stage: Stage) {
        let node = self.node();
        let home = node.home(user);
        match stage {
            Stage::Home if home != node.life => {
                // From here it is on its way; from elsewhere it came to a home that is none.
                hint(&node, home, user, Stage::Forwarded);
            }
            Stage::Home | Stage::Forwarded | Stage::Edge => {}
        }
        if let (Stage::Home | Stage::Forwarded, Some(edges)) = (stage, self.edges.get_mut(&user)) {
            for edge in edges.live(node.clock.monotonic_ms()) {
                hint(&node, edge, user, Stage::Edge);
            }
        }
    }

    /// Has users that `which` picks read again, here and where else they are watched by way of
    /// this node.
    fn doubt_of(&mut self, which: impl Fn(UserId) -> bool, ctx: &mut Context<Self>) {
        let picked = |user: &&UserId| which(**user);
        let at_home: Vec<UserId> = self.edges.keys().filter(picked).copied().collect();
        at_home.into_iter().for_each(|user| self.spread(user, Stage::Forwarded));
        self.watched.keys().filter(picked).for_each(|user| self.reads.ask(*user));
        self.read(ctx);
    }

    /// Does what a lease asks for.
    fn follow(&mut self, user: UserId, todo: Todo, ctx: &mut Context<Self>) {
        match todo {
            Todo::Nothing => {}
            Todo::Ask(home) => {
                let node = self.node();
                node.tell(home, Envelope::Watch { user, at: node.clock.elapsed_ms() });
            }
            Todo::Doubt => self.ask(user, ctx),
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let node = self.node();
        let keeper_ms = node.clock.monotonic_ms();
        self.edges.retain(|_, edges| edges.live(keeper_ms).next().is_some());
        let users: Vec<UserId> = self.watched.keys().copied().collect();
        for user in users {
            if let Some(watched) = self.watched.get_mut(&user) {
                watched.watchers.retain(|watcher| watcher.session.connected());
            }
            self.leave_unwatched(user);
            self.tell(user);
            if let Some(watched) = self.watched.get_mut(&user) {
                let todo = watched.tenure.look(node.clock.elapsed_ms());
                self.follow(user, todo, ctx);
            }
        }
    }

    /// Forgets a user whom nobody watches, and tells his home.
    fn leave_unwatched(&mut self, user: UserId) {
        if self.watched.get(&user).is_some_and(|watched| watched.watchers.is_empty())
            && let Some(watched) = self.watched.remove(&user)
            && watched.tenure.is_away()
        {
            self.node().tell(watched.tenure.home(), Envelope::Unwatch { user });
        }
    }
}

/// Has another node read a user's presence again.
fn hint(node: &Node, to: Life, user: UserId, stage: Stage) {
    count(&node.metrics.cluster.presence, "told");
    node.tell(to, Envelope::Presence { user, stage });
}

/// Reads a user's rows, and which of `watchers` may know.
async fn read(
    store: Arc<dyn Store>,
    user: UserId,
    watchers: BTreeSet<UserId>,
) -> Result<(Vec<PresenceRow>, BTreeSet<UserId>), StoreError> {
    let rows = store.presence(user).await?;
    let allowed = acquaintance::let_know(&*store, user, watchers).await?;
    Ok((rows, allowed))
}

/// Writes a row of this life and folds those of lives that are over for good.
async fn write(node: Arc<Node>, row: PresenceRow) -> Result<(), StoreError> {
    let rows = node.store.presence(row.user).await?;
    let over = |life: &Life| *life != node.life && node.is_long_over(*life);
    let folded = rows.iter().map(|row| row.life).filter(over).collect();
    node.store.set_presence(row, folded).await
}

impl Actor for PresenceWatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(LOOK, Self::look);
    }
}

impl Handler<WatchUser> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, watch: WatchUser, ctx: &mut Self::Context) {
        let WatchUser { user, watcher, acquainted, number, session } = watch;
        let node = self.node();
        let (may_know, told) = (None, None);
        let watcher = Watcher { number, user: watcher, acquainted, may_know, session, told };
        let watched = self.watched.entry(user).or_insert_with(|| Watched {
            watchers: Vec::new(),
            rows: Vec::new(),
            own: None,
            tenure: Tenure::new(node.life, node.home(user)),
        });
        watched.join(watcher);
        let todo = watched.tenure.look(node.clock.elapsed_ms());
        self.follow(user, todo, ctx);
        self.ask(user, ctx);
    }
}

impl Handler<UnwatchUsers> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, unwatch: UnwatchUsers, _: &mut Self::Context) {
        for user in unwatch.users {
            if let Some(watched) = self.watched.get_mut(&user) {
                watched.leave(unwatch.number);
            }
            self.leave_unwatched(user);
        }
    }
}

impl Handler<Transition> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, transition: Transition, ctx: &mut Self::Context) {
        let row = transition.row;
        // Who watches here need not wait for the store.
        if let Some(watched) = self.watched.get_mut(&row.user) {
            watched.write(row);
        }
        self.tell(row.user);
        if self.writes.ask(row) {
            self.write(row, ctx);
        }
    }
}

impl Handler<Changed> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, changed: Changed, ctx: &mut Self::Context) {
        let Changed { user, stage } = changed;
        self.spread(user, stage);
        if self.watched.contains_key(&user) {
            self.ask(user, ctx);
        }
    }
}

impl Handler<Watching> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, watching: Watching, ctx: &mut Self::Context) {
        let Watching { user, by, what } = watching;
        let node = self.node();
        match what {
            About::Attach { at } => {
                self.edges.entry(user).or_default().attach(by, node.clock.monotonic_ms());
                node.tell(by, Envelope::Watching { user, at });
            }
            About::Attached { at } => {
                if let Some(watched) = self.watched.get_mut(&user) {
                    let todo = watched.tenure.attached(by, at, node.clock.elapsed_ms());
                    self.follow(user, todo, ctx);
                }
            }
            About::Detach => {
                if let Some(edges) = self.edges.get_mut(&user) {
                    edges.detach(by);
                }
            }
        }
    }
}

impl Handler<LivesChanged> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, _: LivesChanged, ctx: &mut Self::Context) {
        let node = self.node();
        let users: Vec<UserId> = self.watched.keys().copied().collect();
        for user in users {
            self.tell(user);
            if let Some(watched) = self.watched.get_mut(&user) {
                let todo = watched.tenure.moved(node.home(user), node.clock.elapsed_ms());
                self.follow(user, todo, ctx);
            }
        }
    }
}

impl Handler<MapHeard> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, heard: MapHeard, ctx: &mut Self::Context) {
        let here = self.node().life;
        self.doubt_of(|user| heard.0.brings(user, here), ctx);
    }
}

impl Handler<Doubt> for PresenceWatch {
    type Result = ();

    fn handle(&mut self, _: Doubt, ctx: &mut Self::Context) {
        self.doubt_of(|_| true, ctx);
    }
}
