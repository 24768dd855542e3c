//! The words everybody shares: ids, frames, envelopes, error codes, limits, tables.
//!
//! Pure data and its rules: no I/O, no clock, no actors. `PROTOCOL.md` beside
//! this crate explains the same things to somebody who writes a client.

pub mod envelope;
pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod migrations;
pub mod text;
#[cfg(feature = "ts")]
pub mod typescript;

pub use envelope::{ENVELOPE_VERSION, Envelope, Pushed, Stage};
pub use error::ErrorCode;
pub use frame::{ClientFrame, ServerFrame};
pub use ids::{
    ChangeId, ClientId, ConversationId, Cursor, EditId, Life, MessageId, NodeId, Ref, StoreId,
    UserId,
};
