//! What can go wrong for a client, as stable names in one table.
//!
//! A name never changes its meaning; a text may. `PROTOCOL.md` lists the same
//! table with what a client does about each.

use serde::{Deserialize, Serialize};

/// Whether sending the same frame again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: the frame itself is wrong, or is not allowed.
    Never,
    /// Yes, the same frame, now or after `retry_after_ms`.
    Same,
    /// Yes, but with a new stamp (`at`, `n`) on the same ref.
    Restamped,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $wire:literal, $retry:ident, holds $holds:literal;)*) => {
        /// Names an error; the wire carries the name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS))]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $wire)] $name,)*
        }

        impl ErrorCode {
            /// Every code there is, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Gives the stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// Says whether to send again.
            pub fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }

            /// Tells whether later sends in the conversation are `held` until this one is resolved.
            pub fn holds(self) -> bool {
                match self { $(Self::$name => $holds,)* }
            }
        }
    };
}

codes! {
    /// The frame is no JSON object of the stated shape.
    BadFrame = "bad_frame", Never, holds false;
    /// The frame's `type` is none this server knows.
    UnknownType = "unknown_type", Never, holds false;
    /// A binary WebSocket message: this protocol is text.
    BinaryFrame = "binary_frame", Never, holds false;
    /// The first frame was not `hello`, or a second `hello` came.
    HelloExpected = "hello_expected", Never, holds false;
    /// The ticket is forged, expired, spent, or made for somebody or some node else.
    BadTicket = "bad_ticket", Never, holds false;
    /// The user has as many live sessions as are allowed.
    TooManySessions = "too_many_sessions", Never, holds false;
    /// The text is empty.
    TextEmpty = "text_empty", Never, holds false;
    /// The text is too long.
    TextTooLong = "text_too_long", Never, holds false;
    /// The first attempt came too long after its stamp. Nothing was written.
    Clock = "clock", Restamped, holds true;
    /// The stamp is too far ahead of the server's time. Nothing was written.
    Ahead = "ahead", Same, holds true;
    /// A retry found no row, and is too late to write one.
    Expired = "expired", Restamped, holds true;
    /// The ref was used before with another text.
    RefConflict = "ref_conflict", Never, holds false;
    /// An earlier send of this session in this conversation is unresolved.
    Held = "held", Same, holds false;
    /// What became of it is not known: send it again with `retry`.
    Unknown = "unknown", Same, holds true;
    /// Too many sends; nothing was written.
    Rate = "rate", Same, holds true;
    /// The server has too much to do; nothing was written.
    Busy = "busy", Same, holds true;
    /// The recipient cannot be written to.
    Unreachable = "unreachable", Never, holds false;
    /// No such conversation, or the user is no member of it.
    UnknownConversation = "unknown_conversation", Never, holds false;
    /// No such message, or it is not the user's to change.
    UnknownMessage = "unknown_message", Never, holds false;
    /// The message was deleted and cannot be edited.
    MessageDeleted = "message_deleted", Never, holds false;
    /// The session watches as many users as are allowed.
    TooManyWatches = "too_many_watches", Never, holds false;
    /// A fault of the server's; its log has the cause.
    Internal = "internal", Same, holds false;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_carries_the_stable_name() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{}\"", code.name()));
        }
    }

    #[test]
    fn what_holds_a_conversation_can_be_resolved() {
        for code in ErrorCode::ALL.iter().filter(|code| code.holds()) {
            assert_ne!(code.retry(), Retry::Never, "{code}");
        }
    }
}
