//! Sends everybody away when the node leaves, spread over a window.
//!
//! Not ready first, so that nobody new comes; then `bye` to every session, each with a
//! time of its own to come back; then the committers are waited for, and until the other nodes
//! can see what they miss: a node that is gone tells no later number. Its mailbox holds one
//! message in a node's life.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};
use rally_schema::frame::ByeReason;
use tracing::info;

use crate::committer::{Committer, InFlight};
use crate::node::Node;
use crate::router::EndAll;

/// How often a leaving node looks whether all is done.
const LOOK: Duration = Duration::from_millis(10);

/// Extra time for goodbyes and commits after the window.
const PATIENCE_MS: u64 = 5_000;

/// Empties the node; replies with the number of sessions that had not gone when it gave up.
#[derive(Message)]
#[rtype(result = "u32")]
pub struct Leave;

/// The actor that empties a node.
pub struct Drain {
    node: Arc<Node>,
    committers: Vec<Addr<Committer>>,
}

impl Drain {
    /// Empties `node`, waiting for all of its committers.
    pub fn new(node: Arc<Node>, committers: Vec<Addr<Committer>>) -> Self {
        Self { node, committers }
    }
}

impl Actor for Drain {
    type Context = Context<Self>;
}

impl Handler<Leave> for Drain {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, _: Leave, _: &mut Self::Context) -> Self::Result {
        self.node.set_draining();
        let (node, committers) = (self.node.clone(), self.committers.clone());
        Box::pin(async move {
            let give_up_at = node.clock.monotonic_ms() + node.settings.drain_ms + PATIENCE_MS;
            send_away(&node).await;
            let over = || node.clock.monotonic_ms() >= give_up_at;
            while node.routers.sessions() > 0 && !over() {
                tokio::time::sleep(LOOK).await;
            }
            while in_flight(&committers).await > 0 && !over() {
                tokio::time::sleep(LOOK).await;
            }
            while !node.has_told_others() && !over() {
                tokio::time::sleep(LOOK).await;
            }
            let left = node.routers.sessions();
            info!(sessions_left = left, "node is empty");
            left
        })
    }
}

/// Says `bye` to everybody, evenly over the window. Who goes early is asked back early.
async fn send_away(node: &Node) {
    let routers = node.routers.all();
    let window_ms = node.settings.drain_ms;
    let begin_ms = node.clock.monotonic_ms();
    let count = routers.len() as u64;
    for (i, router) in routers.into_iter().enumerate() {
        let due_ms = begin_ms + window_ms * i as u64 / count.max(1);
        let wait_ms = due_ms.saturating_sub(node.clock.monotonic_ms());
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let after_ms = Some(250 + 37 * (i as u64 % 50));
        let _ = router.addr.send(EndAll { reason: ByeReason::Draining, after_ms }).await;
    }
}

async fn in_flight(committers: &[Addr<Committer>]) -> usize {
    let mut all = 0;
    for committer in committers {
        all += committer.send(InFlight).await.unwrap_or(0);
    }
    all
}
