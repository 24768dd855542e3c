//! Whom a session watches: from `watch` to the presence watch of the node, which pushes.
//!
//! At most [`WATCHES_PER_SESSION`] users. Whether they are acquainted is read from the store
//! first; who is unwatched meanwhile is not watched after it. Who was a stranger then is looked at again
//! once something new was told: it may have been the first message, or one that was shown before the
//! conversation was in the inbox.

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use rally_cluster::acquaintance;
use rally_schema::frame::ErrorFrame;
use rally_schema::limits::WATCHES_PER_SESSION;
use rally_schema::{ErrorCode, UserId};

use super::Session;
use crate::metrics::count;
use crate::presence_watch::{UnwatchUsers, WatchUser};

/// How long a watch waits whose begin could not be read from the store, and how long after news
/// strangers are looked at.
const AGAIN: Duration = Duration::from_millis(700);

/// Whom a session watches.
#[derive(Default)]
pub(super) struct Watches {
    users: Vec<UserId>,
    /// Those of them who had no conversation with this user when they were looked at.
    strangers: Vec<UserId>,
    /// Whose acquaintance is being read: what is wanted of them meanwhile has its answer with that.
    asking: Vec<UserId>,
    /// Strangers will be looked at soon.
    is_looking: bool,
    /// A presence may have been dropped: they are asked for again once there is room.
    pub(super) stale: bool,
}

impl Session {
    pub(super) fn watch(&mut self, user: UserId, ctx: &mut Context<Self>) {
        if !self.watches.users.contains(&user) {
            if self.watches.users.len() >= WATCHES_PER_SESSION {
                let text = format!("{WATCHES_PER_SESSION} users are watched: unwatch one first");
                return self.refuse(ErrorFrame::new(ErrorCode::TooManyWatches, text));
            }
            if self.watches.asking.len() >= 2 * WATCHES_PER_SESSION {
                let text = "the store has not answered for those who were watched before: wait";
                return self.refuse(ErrorFrame::new(ErrorCode::TooManyWatches, text));
            }
            self.watches.users.push(user);
        }
        if self.watches.asking.contains(&user) {
            return;
        }
        self.watches.asking.push(user);
        let (store, me) = (self.worker.node.store.clone(), self.user);
        let reading = async move { acquaintance::acquainted(&*store, me, user).await };
        ctx.spawn(reading.into_actor(self).map(move |acquainted, session, ctx| {
            match acquainted {
                Ok(acquainted) => {
                    session.watches.asking.retain(|asked| *asked != user);
                    session.begin_watch(user, acquainted, ctx);
                }
                // Not to know whether they are acquainted is no reason to show him offline.
                Err(error) => {
                    session.worker.node.store_failed("a watch could not begin yet", &error);
                    ctx.run_later(AGAIN, move |session, ctx| {
                        session.watches.asking.retain(|asked| *asked != user);
                        if session.watches.users.contains(&user) {
                            session.watch(user, ctx);
                        }
                    });
                }
            }
        }));
    }

    /// Tells the presence watch, unless nobody wants to know any more.
    fn begin_watch(&mut self, user: UserId, acquainted: bool, ctx: &mut Context<Self>) {
        if !self.watches.users.contains(&user) {
            return;
        }
        let of = if acquainted { "acquainted" } else { "stranger" };
        count(&self.worker.node.metrics.watches, of);
        self.watches.strangers.retain(|stranger| *stranger != user);
        if !acquainted {
            self.watches.strangers.push(user);
            // What came while the store was asked, it may not have known.
            self.doubt_strangers(ctx);
        }
        let (watcher, number, session) = (self.user, self.number, ctx.address());
        let watch = WatchUser { user, watcher, acquainted, number, session };
        let sent = self.worker.node.presence.send(watch);
        let sent = async move {
            let _ = sent.await;
        };
        ctx.spawn(sent.into_actor(self));
    }

    /// Looks soon whether strangers are strangers still: something new is told.
    pub(super) fn doubt_strangers(&mut self, ctx: &mut Context<Self>) {
        if !self.watches.strangers.is_empty() && !self.watches.is_looking {
            self.watches.is_looking = true;
            ctx.run_later(AGAIN, |session, ctx| {
                session.watches.is_looking = false;
                session.look_at_strangers(ctx);
            });
        }
    }

    fn look_at_strangers(&mut self, ctx: &mut Context<Self>) {
        for user in self.watches.strangers.clone() {
            let (store, me) = (self.worker.node.store.clone(), self.user);
            let reading = async move { acquaintance::acquainted(&*store, me, user).await };
            ctx.spawn(reading.into_actor(self).map(
                move |acquainted, session, ctx| match acquainted {
                    Ok(true) => session.begin_watch(user, true, ctx),
                    Ok(false) => {}
                    Err(error) => {
                        let node = &session.worker.node;
                        node.store_failed("a stranger could not be looked at yet", &error);
                        session.doubt_strangers(ctx);
                    }
                },
            ));
        }
    }

    /// Asks for every watched presence again when one was dropped and there is room now.
    pub(super) fn refresh_watches(&mut self, ctx: &mut Context<Self>) {
        if self.watches.stale && !self.ended && !self.io.is_congested() {
            self.watches.stale = false;
            self.watches.users.clone().into_iter().for_each(|user| self.watch(user, ctx));
        }
    }

    pub(super) fn unwatch(&mut self, user: UserId) {
        self.watches.users.retain(|watched| *watched != user);
        self.watches.strangers.retain(|watched| *watched != user);
        self.tell_unwatched(vec![user]);
    }

    /// Ends all watches.
    pub(super) fn leave_watches(&mut self) {
        self.watches.strangers.clear();
        let users = std::mem::take(&mut self.watches.users);
        if !users.is_empty() {
            self.tell_unwatched(users);
        }
    }

    fn tell_unwatched(&self, users: Vec<UserId>) {
        let sent = self.worker.node.presence.send(UnwatchUsers { users, number: self.number });
        actix::spawn(async move {
            let _ = sent.await;
        });
    }
}
