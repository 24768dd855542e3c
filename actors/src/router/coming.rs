//! When a user comes and goes: what is shown of him, and when his router is needed no more.
//!
//! Who watches him is the presence watch's business; here is only when it is told.

use std::time::Duration;

use actix::{ActorContext as _, AsyncContext as _, Context};
use rally_cluster::store::PresenceRow;
use rally_schema::Envelope;

use super::Router;
use crate::presence_watch::Transition;

impl Router {
    pub(super) fn became_online(&mut self) {
        if self.online_since.is_none() {
            let now = self.node.clock.now_ms();
            self.online_since = Some(now);
            self.last_seen = self.last_seen.max(now);
            self.shared.set_online(true);
            self.told();
        }
    }

    pub(super) fn became_offline(&mut self) {
        if self.online_since.take().is_some() {
            self.shared.set_online(false);
            self.told();
        }
    }

    /// Goes offline when no session comes back in time, and leaves when nobody needs it.
    pub(super) fn maybe_leave(&mut self, ctx: &mut Context<Self>) {
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
}
