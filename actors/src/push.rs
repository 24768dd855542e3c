//! A frame on its way to sessions: serialised once, the same bytes for all.

use actix::Message;
use bytes::Bytes;
use rally_schema::{ClientId, Pushed, ServerFrame, Stage, UserId};
use tracing::Span;

use crate::wire;

/// What becomes of a push that a session cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It is in the store: dropping it is doubt, and doubt ends in a catch-up.
    Stored,
    /// It is worth nothing later (typing, presence): dropping it is all.
    Passing,
}

/// Hands bytes to a router, which hands them to its sessions.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Push {
    /// A whole WebSocket message.
    pub bytes: Bytes,
    /// What may happen to it.
    pub weight: Weight,
    /// Where it is on its way.
    pub stage: Stage,
    /// The client that needs no push, because it has the answer.
    pub except: Option<ClientId>,
    /// When what caused it was received, in monotonic microseconds of this node.
    pub received_us: Option<u64>,
    /// The span of the cause.
    pub span: Span,
}

impl Push {
    /// Serialises a frame that is also in the store.
    pub fn stored(frame: &ServerFrame) -> Self {
        Self {
            bytes: wire::text(frame.encode()),
            weight: Weight::Stored,
            stage: Stage::Home,
            except: None,
            received_us: None,
            span: Span::none(),
        }
    }

    /// Serialises a frame that is worth nothing later.
    pub fn passing(frame: &ServerFrame) -> Self {
        Self { weight: Weight::Passing, ..Self::stored(frame) }
    }

    /// Takes up what crossed from another node, under the span of its arrival.
    pub fn of(pushed: Pushed, span: Span) -> Self {
        Self {
            bytes: wire::text(pushed.frame),
            weight: if pushed.passing { Weight::Passing } else { Weight::Stored },
            stage: pushed.stage,
            except: pushed.except,
            received_us: None,
            span,
        }
    }

    /// Makes what crosses to another node. The frame's text is taken out of its WebSocket message.
    pub fn to_pushed(&self, to: UserId, stage: Stage, traceparent: Option<String>) -> Pushed {
        Pushed {
            to,
            stage,
            except: self.except,
            passing: self.weight == Weight::Passing,
            frame: wire::text_of(&self.bytes).to_owned(),
            traceparent,
        }
    }

    /// Leaves out one client.
    pub fn except(mut self, client: ClientId) -> Self {
        self.except = Some(client);
        self
    }
}
