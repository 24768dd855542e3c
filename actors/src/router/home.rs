//! How a router stands to its user's home: as an edge that is counted in there, or as the home that
//! counts other edges in.
//!
//! Knows no pushes: only who gets them.

use std::time::Duration;

use actix::{AsyncContext as _, Context, Handler, Message};
use rally_cluster::leases::Todo;
use rally_schema::{Envelope, Life};

use super::Router;
use crate::metrics::{count, count_by};

/// How often leases are looked after, while there are any.
const LOOK: Duration = Duration::from_secs(1);

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

impl Router {
    /// Does what a lease asks for.
    pub(super) fn follow(&mut self, todo: Todo, ctx: &mut Context<Self>) {
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
