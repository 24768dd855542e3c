//! What crosses the WebSocket: JSON objects with a `type`, one struct a frame.
//!
//! Unknown fields are ignored; an unknown `type` is an error of its own. Additions
//! are optional fields; a meaning never changes in place. The golden fixtures in
//! `fixtures/` are read by this file's tests and by the TypeScript client's.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::{ErrorCode, Retry};
use crate::ids::{
    ClientId, ConversationId, EditId, MessageId, NodeId, Ref, Stamp, StoreId, UserId,
};

/// Opens a session: the first frame on every connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Hello {
    /// What discovery gave; good once.
    pub ticket: String,
    /// The client that the ticket was made for.
    pub client: ClientId,
    /// Where this client's knowledge ends, from the last `synced` or `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Sends a message, or sends it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Send {
    /// Names the intent; survives reloads, never reused for another text.
    pub r#ref: Ref,
    /// Into which conversation.
    pub conversation: ConversationId,
    /// The other member of a direct conversation; needed until it has a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
    /// Milliseconds of the server's time; see [`Stamp`].
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// Count within the millisecond, 0 to 4095.
    pub n: u16,
    /// What was written.
    pub text: String,
    /// The newest message that this client shows in the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<MessageId>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Whether an earlier attempt may have been written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "ts", ts(as = "Option<bool>", optional))]
    pub retry: bool,
    /// W3C trace context of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Gives up a send that holds its conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Forget {
    /// Which send.
    pub r#ref: Ref,
    /// In which conversation.
    pub conversation: ConversationId,
}

/// Replaces the text of one's own message; stamped and repeated as a send is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Edit {
    /// Names the intent.
    pub r#ref: Ref,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which message.
    pub id: MessageId,
    /// Milliseconds of the server's time.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// Count within the millisecond.
    pub n: u16,
    /// The new text.
    pub text: String,
    /// Whether an earlier attempt may have been written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "ts", ts(as = "Option<bool>", optional))]
    pub retry: bool,
}

/// Deletes one's own message for everybody; may be repeated at will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Delete {
    /// Names the intent.
    pub r#ref: Ref,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which message.
    pub id: MessageId,
}

/// Says up to which message of the peer this device got or showed the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Mark {
    /// In which conversation.
    pub conversation: ConversationId,
    /// The newest message *of the peer* that it is about.
    pub id: MessageId,
}

/// Says that the user is writing; passed on, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Typing {
    /// In which conversation.
    pub conversation: ConversationId,
}

/// Begins or ends watching a user's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Watch {
    /// Whose presence.
    pub user: UserId,
}

/// Asks for a page of the inbox, newest conversations first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct InboxQuery {
    /// Comes back with the answer.
    pub r#ref: Ref,
    /// Only entries whose head is older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
    /// How many entries, at most 100; 50 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Asks for a page of a conversation, newest messages first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct HistoryQuery {
    /// Comes back with the answer.
    pub r#ref: Ref,
    /// Which conversation.
    pub conversation: ConversationId,
    /// Only messages older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
    /// How many messages, at most 100; 50 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Asks for a catch-up now: something this client should have is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Sync {
    /// From where; the session's own position when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Asks for the server's time; any frame keeps the session alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Beat {}

/// Answers `hello`: the session is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Welcome {
    /// Who is logged in.
    pub user: UserId,
    /// Which node serves the session.
    pub node: NodeId,
    /// Which store the cursors are of.
    pub store: StoreId,
    /// The server's time in milliseconds.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub now: u64,
    /// Addresses of nodes to ask for discovery when this one is gone.
    pub addresses: Vec<String>,
    /// Bytes that a text may have.
    pub text_bytes: u32,
    /// Users that a session may watch.
    pub watches: u32,
}

/// Says that what `ref` names is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Ack {
    /// Which intent.
    pub r#ref: Ref,
    /// In which conversation.
    pub conversation: ConversationId,
    /// The message that was sent, edited or deleted.
    pub id: MessageId,
}

/// A message as it stands now: pushed, caught up on, or in a page of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Message {
    /// Names it and fixes its place.
    pub id: MessageId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub sender: UserId,
    /// The other member of a direct conversation (oneself when alone).
    pub to: UserId,
    /// The sender's name for it: his other devices settle their outbox by it.
    pub r#ref: Ref,
    /// The newest text; empty when deleted.
    pub text: String,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The edit whose text this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<EditId>,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "ts", ts(as = "Option<bool>", optional))]
    pub deleted: bool,
    /// In a push: the newest message that the sender's client showed. Who lacks it asks `sync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<MessageId>,
}

/// Says that a message was edited. The largest `edit` wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Edited {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which message.
    pub id: MessageId,
    /// Which edit.
    pub edit: EditId,
    /// The new text.
    pub text: String,
}

/// Says that a message was deleted; nothing undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Deleted {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which message.
    pub id: MessageId,
}

/// Says how far a member got or read. Marks only move forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Receipt {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Who got or read: the peer (ticks), or oneself on another device (badge).
    pub user: UserId,
    /// Up to which message a device of his got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_up_to: Option<MessageId>,
    /// Up to which message he read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_up_to: Option<MessageId>,
}

/// Says whether a watched user is online. A user who hides it always looks the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Presence {
    /// Whose presence.
    pub user: UserId,
    /// Whether a session of his is live.
    pub online: bool,
    /// When he was last seen, in milliseconds; absent when unknown or hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", ts(type = "number", optional))]
    pub last_seen: Option<u64>,
}

/// Says that the peer is writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct PeerTyping {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
}

/// The newest message of a conversation, as an inbox shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Head {
    /// Which message.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: UserId,
    /// The beginning of its text; empty when deleted.
    pub preview: String,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "ts", ts(as = "Option<bool>", optional))]
    pub deleted: bool,
}

/// One conversation in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct InboxEntry {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The other member (oneself when alone).
    pub peer: UserId,
    /// Its newest message.
    pub head: Head,
    /// Messages of the peer above `read_up_to`, counted when the entry was read, up to 1,000.
    pub unread: u32,
    /// How far this user read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_up_to: Option<MessageId>,
    /// How far a device of the peer got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_delivered_up_to: Option<MessageId>,
    /// How far the peer read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_read_up_to: Option<MessageId>,
}

/// A page of the inbox (with `ref`), or entries that a catch-up names (without).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Inbox {
    /// Which question it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<Ref>,
    /// Newest head first.
    pub entries: Vec<InboxEntry>,
    /// Whether older entries exist.
    pub more: bool,
}

/// A page of a conversation (with `ref`), or the window that replaces a cut one (without).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct History {
    /// Which question it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<Ref>,
    /// Which conversation.
    pub conversation: ConversationId,
    /// Newest first.
    pub messages: Vec<Message>,
    /// Whether older messages exist.
    pub more: bool,
}

/// Ends a catch-up: everything acknowledged before `cursor` has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Synced {
    /// To be stored in the transaction that stores what came before it.
    pub cursor: String,
    /// Conversations of which only the newest page was sent: drop what was cached below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "ts", ts(as = "Option<Vec<ConversationId>>", optional))]
    pub cut: Vec<ConversationId>,
}

/// Says that a catch-up is not possible: drop every cached window and load anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Reset {
    /// To be stored with what is loaded after it.
    pub cursor: String,
}

/// Tells the server's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct BeatReply {
    /// Milliseconds since 1970.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub now: u64,
}

/// Says what was wrong, with which frame, and whether to send it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct ErrorFrame {
    /// The stable name.
    pub code: ErrorCode,
    /// For people, with the offending value.
    pub text: String,
    /// Which intent it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<Ref>,
    /// Whether sending again (perhaps with a new stamp) can help.
    pub retry: bool,
    /// How long to wait before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", ts(type = "number", optional))]
    pub retry_after_ms: Option<u64>,
    /// With `clock`, `ahead` and `expired`: the server's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", ts(type = "number", optional))]
    pub now: Option<u64>,
}

impl ErrorFrame {
    /// Makes an error that answers nothing in particular.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            r#ref: None,
            retry: code.retry() != Retry::Never,
            retry_after_ms: None,
            now: None,
        }
    }

    /// Names the intent that it answers.
    pub fn about(mut self, r#ref: Ref) -> Self {
        self.r#ref = Some(r#ref);
        self
    }

    /// Asks the client to wait first.
    pub fn after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Tells the server's time.
    pub fn at(mut self, now: u64) -> Self {
        self.now = Some(now);
        self
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// A newer connection of the same client took over: do not reconnect.
    Replaced,
    /// The node is leaving: reconnect, by way of discovery.
    Draining,
    /// Nothing was heard for too long.
    Silent,
    /// What was sent is no such protocol.
    Protocol,
    /// The session was not let in: get a new ticket, or log in.
    Refused,
    /// The user logged out everywhere.
    LoggedOut,
}

/// The last frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(optional_fields))]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// How long to wait before connecting again; absent: do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "ts", ts(type = "number", optional))]
    pub reconnect_after_ms: Option<u64>,
}

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
                // serde takes an array for a struct, member by member; a frame is an object.
                if !text.trim_ascii_start().starts_with('{') {
                    return Err(DecodeError::Bad("a frame is a JSON object".to_owned()));
                }
                let tag: Tag<'_> = serde_json::from_str(text).map_err(|e| DecodeError::Bad(e.to_string()))?;
                match tag.r#type.as_ref() {
                    $($wire => serde_json::from_str::<$body>(text)
                        .map(Self::$variant)
                        .map_err(|e| DecodeError::Bad(format!("{}: {e}", $wire))),)*
                    other => Err(DecodeError::UnknownType(other.chars().take(32).collect())),
                }
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

/// What most frames fit into, so that writing one takes memory once.
const USUAL_FRAME_BYTES: usize = 512;

/// A mark that says "got", so that both marks are one struct and two types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(transparent)]
pub struct Delivered(pub Mark);

/// A mark that says "read".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(transparent)]
pub struct Read(pub Mark);

/// Ends watching a user's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(transparent)]
pub struct Unwatch(pub Watch);

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

impl Send {
    /// Gives time and count as one value.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.at, n: self.n }
    }
}

impl Edit {
    /// Gives time and count as one value.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.at, n: self.n }
    }
}
