//! Identifiers as types, so that swapping two of them does not compile.
//!
//! Everything parses here once, at the edge, and is trusted inside. Where an
//! id has a structure (a time, a hash), this file says which and tests it.

mod conversation;
mod cursor;
mod message;
mod name;
mod stamp;
mod uuids;

use thiserror::Error;
use uuid::Uuid;

pub use conversation::ConversationId;
pub use cursor::Cursor;
pub use message::{ChangeId, EditId, MessageId};
pub use name::{Life, NodeId, UserId};
pub use stamp::{MAX_MS, MAX_N, Stamp};
pub use uuids::{ClientId, Ref, StoreId};

/// Says which value is not an id, and what would be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is no user id.
    #[error("bad user id {0:?}: 1 to 32 of a-z 0-9 _ . - beginning with a letter or digit")]
    User(String),
    /// The text is no node id.
    #[error("bad node id {0:?}: 1 to 32 of a-z 0-9 _ . - beginning with a letter or digit")]
    Node(String),
    /// The text is no UUID in its hyphenated form.
    #[error("bad {kind} {value:?}: expected a uuid")]
    Uuid {
        /// Which id was expected.
        kind: &'static str,
        /// What stood there.
        value: String,
    },
    /// The UUID is of another version than this id has.
    #[error("bad {kind} {value}: expected a uuid of version 7")]
    NotV7 {
        /// Which id was expected.
        kind: &'static str,
        /// What stood there.
        value: Uuid,
    },
    /// The text is no cursor of ours.
    #[error("bad cursor {0:?}: pass what `synced` or `reset` gave, or none")]
    Cursor(String),
}

/// Shows at most 64 characters of a value that came from outside.
fn shown(value: &str) -> String {
    match value.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
