//! What crosses the WebSocket: JSON objects with a `type`, one struct a frame.
//!
//! Unknown fields are ignored; an unknown `type` is an error of its own. Additions
//! are optional fields; a meaning never changes in place. The golden fixtures in
//! `fixtures/` are read by `tests/fixtures.rs` and by the TypeScript client's tests.
//! The bodies stand in `client.rs` and `server.rs`; here, how any frame is read and written.

mod client;
mod server;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Ref;
use crate::error::ErrorCode;

pub use client::{
    Beat, Delete, Delivered, Edit, Forget, Hello, HistoryQuery, InboxQuery, Mark, Read, Send, Sync,
    Typing, Unwatch, Watch,
};
pub use server::{
    Ack, BeatReply, Bye, ByeReason, Deleted, Edited, ErrorFrame, Head, History, Inbox, InboxEntry,
    Message, PeerTyping, Presence, Receipt, Reset, Synced, Welcome,
};

/// What most frames fit into, so that writing one takes memory once.
const USUAL_FRAME_BYTES: usize = 512;

/// Why a client's text is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It is no object with a text `type`, or a field of the type is missing or of another shape.
    #[error("{0}")]
    Bad(String),
    /// The type is none of ours.
    #[error("unknown frame type {0:?}")]
    UnknownType(String),
}

impl DecodeError {
    /// Gives the code with which it is answered.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Bad(_) => ErrorCode::BadFrame,
            Self::UnknownType(_) => ErrorCode::UnknownType,
        }
    }
}

/// Gives the `ref` of a text that is no frame, so that its sender learns which one was refused.
pub fn ref_of(text: &str) -> Option<Ref> {
    #[derive(Deserialize)]
    struct Referring {
        r#ref: Ref,
    }
    serde_json::from_str::<Referring>(text).ok().map(|referring| referring.r#ref)
}

/// Gives the `type` of a frame that begins with it, as those do that a client or the server writes:
/// such a frame is read in one pass. What is wrong with another one is found by the way around.
fn leading_type(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix(r#"{"type":""#)?.split_once('"')?;
    rest.starts_with([',', '}']).then_some(name)
}

/// Reads only the tag; the frame itself is read in a second pass, so that no tree is built.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

macro_rules! frames {
    ($(#[doc = $doc:literal])* $name:ident { $($variant:ident($body:ty) = $wire:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS))]
        #[serde(tag = "type")]
        pub enum $name {
            $(#[doc = concat!("`", $wire, "`")] #[serde(rename = $wire)] $variant($body),)*
        }

        impl $name {
            /// Every `type` of this direction.
            pub const TYPES: &'static [&'static str] = &[$($wire,)*];

            /// Gives the frame's `type`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $wire,)* }
            }

            /// Reads one frame; says what is wrong with it, quoting no field's content.
            pub fn decode(text: &str) -> Result<Self, DecodeError> {
                if let Some(frame) = leading_type(text).and_then(|name| Self::read(name, text)) {
                    return frame;
                }
                // serde takes an array for a struct, member by member; a frame is an object.
                if !text.trim_ascii_start().starts_with('{') {
                    return Err(DecodeError::Bad("a frame is a JSON object".to_owned()));
                }
                let tag: Tag<'_> = serde_json::from_str(text).map_err(|e| DecodeError::Bad(e.to_string()))?;
                Self::read(&tag.r#type, text).unwrap_or_else(|| {
                    Err(DecodeError::UnknownType(tag.r#type.chars().take(32).collect()))
                })
            }

            /// Reads the body of a frame of this type; `None` when there is no such type.
            fn read(name: &str, text: &str) -> Option<Result<Self, DecodeError>> {
                Some(match name {
                    $($wire => serde_json::from_str::<$body>(text)
                        .map(Self::$variant)
                        .map_err(|e| DecodeError::Bad(format!("{}: {e}", $wire))),)*
                    _ => return None,
                })
            }

            /// Writes the frame as the JSON text of one WebSocket message.
            pub fn encode(&self) -> String {
                let mut json = Vec::with_capacity(USUAL_FRAME_BYTES);
                serde_json::to_writer(&mut json, self)
                    .expect("frames hold nothing that JSON cannot");
                String::from_utf8(json).expect("JSON is UTF-8")
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}

frames! {
    /// What a client sends.
    ClientFrame {
        Hello(Hello) = "hello",
        Send(Send) = "send",
        Forget(Forget) = "forget",
        Edit(Edit) = "edit",
        Delete(Delete) = "delete",
        Delivered(Delivered) = "delivered",
        Read(Read) = "read",
        Typing(Typing) = "typing",
        Watch(Watch) = "watch",
        Unwatch(Unwatch) = "unwatch",
        Inbox(InboxQuery) = "inbox",
        History(HistoryQuery) = "history",
        Sync(Sync) = "sync",
        Beat(Beat) = "beat",
    }
}

frames! {
    /// What the server sends.
    ServerFrame {
        Welcome(Welcome) = "welcome",
        Ack(Ack) = "ack",
        Message(Message) = "message",
        Edited(Edited) = "edited",
        Deleted(Deleted) = "deleted",
        Receipt(Receipt) = "receipt",
        Presence(Presence) = "presence",
        Typing(PeerTyping) = "typing",
        Inbox(Inbox) = "inbox",
        History(History) = "history",
        Synced(Synced) = "synced",
        Reset(Reset) = "reset",
        Beat(BeatReply) = "beat",
        Error(ErrorFrame) = "error",
        Bye(Bye) = "bye",
    }
}
