//! The peers of a session's conversations: who they are, and until when each is believed
//! reachable.

use std::collections::VecDeque;

use rally_schema::{ConversationId, UserId};

/// Conversations whose peer a session remembers.
const PEERS: usize = 64;

/// The peers of a session's conversations, and until when each is believed reachable.
#[derive(Default)]
pub(super) struct Peers(VecDeque<(ConversationId, Peer)>);

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) user: UserId,
    /// By the node's monotonic clock.
    pub(super) reachable_until_ms: u64,
}

impl Peer {
    /// Tells whether he is believed reachable now.
    pub(super) fn is_reachable(&self, now_ms: u64) -> bool {
        now_ms < self.reachable_until_ms
    }
}

impl Peers {
    /// Gives the peer of a conversation that was looked at before.
    pub(super) fn known(&self, conversation: ConversationId) -> Option<UserId> {
        self.get(conversation).map(|peer| peer.user)
    }

    /// Remembers the peer of a conversation.
    pub(super) fn learn(&mut self, conversation: ConversationId, user: UserId) {
        if self.get(conversation).is_none() {
            self.put(conversation, Peer { user, reachable_until_ms: 0 });
        }
    }

    /// Gives what is known of the peer of a conversation.
    pub(super) fn get(&self, conversation: ConversationId) -> Option<Peer> {
        self.0.iter().find(|(id, _)| *id == conversation).map(|(_, peer)| *peer)
    }

    /// Remembers what was learned; of many the oldest is forgotten.
    pub(super) fn put(&mut self, conversation: ConversationId, peer: Peer) {
        self.0.retain(|(id, _)| *id != conversation);
        if self.0.len() >= PEERS {
            self.0.pop_back();
        }
        self.0.push_front((conversation, peer));
    }
}
