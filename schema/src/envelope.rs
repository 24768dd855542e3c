//! What crosses the broker: one pushed frame, and for whom it is.
//!
//! An envelope is a hint; losing one is doubt, and doubt ends in a catch-up.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, UserId};

/// The version of this shape. A reader refuses what is newer than it knows.
pub const ENVELOPE_VERSION: u16 = 1;

/// Carries one frame, already serialised, to the home of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`ENVELOPE_VERSION`] of the writer.
    pub v: u16,
    /// Whose sessions it is for.
    pub to: UserId,
    /// The client that caused it and needs no push (it got the answer).
    pub except: Option<ClientId>,
    /// Whether it is worth nothing later (typing), so that losing it is no doubt.
    pub passing: bool,
    /// The frame as JSON text, the same bytes for every session.
    pub frame: String,
    /// W3C trace context of the cause.
    pub traceparent: Option<String>,
}
