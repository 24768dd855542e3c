//! What a client sends: the body of each frame.
//!
//! Nothing here says what is answered; `PROTOCOL.md` does.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, ConversationId, MessageId, Ref, Stamp, UserId};

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

impl Send {
    /// Makes the first attempt of one user to write to another; it answers nothing.
    pub fn first(
        r#ref: Ref,
        [from, to]: [UserId; 2],
        Stamp { at, n }: Stamp,
        text: impl Into<String>,
    ) -> Self {
        Self {
            r#ref,
            conversation: ConversationId::direct(from, to),
            to: Some(to),
            at,
            n,
            text: text.into(),
            after: None,
            reply_to: None,
            retry: false,
            traceparent: None,
        }
    }

    /// Gives time and count as one value.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.at, n: self.n }
    }
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

impl Edit {
    /// Gives time and count as one value.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.at, n: self.n }
    }
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

/// Ends watching a user's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(transparent)]
pub struct Unwatch(pub Watch);

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
