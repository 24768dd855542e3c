//! What the server sends: the body of each frame.
//!
//! Pushed or answered, a body is the same: a client need not know which.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, Retry};
use crate::ids::{ConversationId, EditId, MessageId, NodeId, Ref, StoreId, UserId};

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
    /// Messages of the peer above `read_up_to` and not above `head`, up to 1,000. Those above it are
    /// pushed or told by a later entry: counted here as well, a badge would show them twice.
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
    /// Whether nobody asked: the server says only that it lives, and reads nothing at present.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "ts", ts(as = "Option<bool>", optional))]
    pub unasked: bool,
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
    /// The user ended the log-in of this session, or all of them.
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
