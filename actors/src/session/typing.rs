//! Typing: passed on to the peer, and never stored.
//!
//! To whom a message of his would be delivered, and no more often than people look: one look at the store
//! is under way at a time, what comes meanwhile is dropped, and so is what follows within a second of
//! the last. Nothing is lost by that: a client says it again every few seconds.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::try_join;
use rally_cluster::pages;
use rally_cluster::store::{Store, StoreError};
use rally_schema::frame::PeerTyping;
use rally_schema::{ConversationId, ServerFrame, UserId};

use super::Session;
use super::peers::Peer;
use crate::push::Push;

/// What is said sooner than so long after the last time is dropped.
const SELDOM_MS: u64 = 1_000;

/// What a session has said of its typing.
#[derive(Default)]
pub(super) struct Typing {
    /// When and where it was passed on last, by the node's monotonic clock.
    last: Option<(ConversationId, u64)>,
    /// Whether the store is asked whom it is for.
    is_asking: bool,
}

impl Session {
    pub(super) fn take_typing(&mut self, conversation: ConversationId, ctx: &mut Context<Self>) {
        let now_ms = self.worker.node.clock.monotonic_ms();
        let is_seldom = |(_, last_ms): (_, u64)| now_ms >= last_ms + SELDOM_MS;
        let last = self.typing.last.filter(|(last, _)| *last == conversation);
        if self.typing.is_asking || !last.is_none_or(is_seldom) {
            return;
        }
        self.typing.last = Some((conversation, now_ms));
        if let Some(peer) = self.peers.get(conversation).filter(|peer| peer.is_reachable(now_ms)) {
            return self.tell_typing(conversation, peer.user);
        }
        self.typing.is_asking = true;
        let (store, user) = (self.worker.node.store.clone(), self.user);
        let found = async move { reached(&*store, user, conversation).await };
        ctx.spawn(found.into_actor(self).map(move |found, session, _| {
            session.typing.is_asking = false;
            // Who types to nobody, or to somebody whom he cannot write to, is told nothing.
            if let Ok(Some(user)) = found {
                let reachable_until_ms = now_ms + session.worker.node.settings.reach_cache_ms;
                session.peers.put(conversation, Peer { user, reachable_until_ms });
                session.tell_typing(conversation, user);
            }
        }));
    }

    fn tell_typing(&self, conversation: ConversationId, peer: UserId) {
        let frame = PeerTyping { conversation, user: self.user };
        self.worker.node.deliver(peer, Push::passing(&ServerFrame::from(frame)));
    }
}

/// Finds the peer of a conversation that there is, unless one of the two has blocked the other.
async fn reached(
    store: &dyn Store,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<UserId>, StoreError> {
    let Some(peer) = pages::find_peer(store, user, conversation).await? else { return Ok(None) };
    let (by_me, by_him) = try_join!(store.is_blocked(user, peer), store.is_blocked(peer, user))?;
    Ok((!by_me && !by_him).then_some(peer))
}
