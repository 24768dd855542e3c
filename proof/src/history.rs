//! The record that is judged: what was asked, what was answered, and what was shown at the end.

use std::fmt;

use rally_schema::{ConversationId, EditId, ErrorCode, MessageId, NodeId, Ref, UserId};
use serde::{Deserialize, Serialize};

/// The version of this format: 1 did not say which edits and deletions were wanted, 2 not what the
/// server counted as unread.
pub const HISTORY_VERSION: u16 = 3;

/// One device of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Which of his.
    pub number: u8,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.number)
    }
}

/// What happened at a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// A message was put into the outbox. A device's own order is the order of these.
    Wrote {
        /// The device's name for it.
        r#ref: Ref,
        /// Where to.
        conversation: ConversationId,
        /// To whom.
        to: UserId,
        /// What.
        text: String,
    },
    /// The server said that it is stored.
    Acked {
        /// Which.
        r#ref: Ref,
        /// What it is called now.
        id: MessageId,
    },
    /// The server said that it will never be stored, and the device let it go.
    Refused {
        /// Which.
        r#ref: Ref,
        /// Why.
        code: ErrorCode,
    },
    /// The server said that it does not know whether it is stored.
    Unsure {
        /// Which.
        r#ref: Ref,
    },
    /// An acknowledged message was sent again under its reference, with another text.
    Contradicted {
        /// Which.
        r#ref: Ref,
    },
    /// An edit was put into the outbox.
    Edits {
        /// The device's name for it.
        r#ref: Ref,
        /// Of which message.
        id: MessageId,
        /// The new text.
        text: String,
    },
    /// A deletion was put into the outbox.
    Deletes {
        /// The device's name for it.
        r#ref: Ref,
        /// Of which message.
        id: MessageId,
    },
    /// The server said that an edit or deletion is stored.
    Changed {
        /// The device's name for it.
        r#ref: Ref,
    },
    /// An edit was acknowledged.
    Edited {
        /// Which message.
        id: MessageId,
        /// Which edit.
        edit: EditId,
        /// The new text.
        text: String,
    },
    /// A deletion was acknowledged.
    Deleted {
        /// Which message.
        id: MessageId,
    },
    /// A message was shown, for the first time at this device. A version before wrote it down each
    /// time that a device loaded it anew.
    Appeared {
        /// Which.
        id: MessageId,
    },
    /// The user read up to this message of his peer.
    Read {
        /// Where.
        conversation: ConversationId,
        /// Up to which.
        id: MessageId,
    },
    /// The server told the ticks under one's own messages: how far the peer got and read.
    Ticked {
        /// Where.
        conversation: ConversationId,
        /// Whether it read them from the store for a catch-up, one of which follows the other;
        /// pushes may overtake.
        caught_up: bool,
        /// How far a device of the peer got it.
        delivered_up_to: Option<MessageId>,
        /// How far the peer read.
        read_up_to: Option<MessageId>,
    },
    /// The server told how many messages of the peer are unread: above the mark, up to the head.
    Counted {
        /// Where.
        conversation: ConversationId,
        /// The newest message that may be among them.
        head: MessageId,
        /// How far its user had read.
        read_up_to: Option<MessageId>,
        /// How many.
        unread: u32,
    },
    /// Everything that the device held was dropped, to be loaded anew.
    Reset,
    /// The device opened a socket, by which a session may begin from now on.
    Connects {
        /// To which node.
        node: NodeId,
    },
    /// A session has begun: the device was first told that it knows everything.
    Synced,
    /// The device gave its session up, whether the node knows it or not.
    Disconnected,
    /// The user is about to block another one, or has stopped blocking him.
    Blocks {
        /// Whom.
        user: UserId,
        /// Whether he is blocked from now on.
        blocked: bool,
    },
    /// The device asked to be told of a user's presence, until its session ends.
    Watches {
        /// Whose.
        user: UserId,
    },
    /// The device was told whether a user is online.
    Presence {
        /// Who.
        user: UserId,
        /// Whether he is.
        online: bool,
    },
    /// The device reads nothing from its socket any more.
    StopsReading,
    /// It reads again.
    Reads,
}

/// An event, where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the record began.
    pub at_ms: u64,
    /// At which device.
    pub device: Device,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A message as a device shows it, or as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: UserId,
    /// His name for it.
    pub r#ref: Ref,
    /// Its text; empty when deleted.
    pub text: String,
    /// Its newest edit.
    pub edit: Option<EditId>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One conversation as a device shows it at the end, top to bottom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// As which member sees it.
    pub user: UserId,
    /// On which of his devices; what the store holds is on none.
    pub number: Option<u8>,
    /// Which conversation.
    pub conversation: ConversationId,
    /// What is shown, in the order in which it is.
    pub messages: Vec<Shown>,
    /// The badge.
    pub unread: u32,
    /// How far its user read.
    pub read_up_to: Option<MessageId>,
    /// How far a device of the peer got it.
    pub peer_delivered_up_to: Option<MessageId>,
    /// How far the peer read.
    pub peer_read_up_to: Option<MessageId>,
}

impl View {
    /// Gives the device that shows it; `None` for what the store holds.
    pub fn device(&self) -> Option<Device> {
        self.number.map(|number| Device { user: self.user, number })
    }
}

/// A span of time, in milliseconds since the record began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// When it began.
    pub from_ms: u64,
    /// When it was over.
    pub to_ms: u64,
}

/// A queue that is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Which.
    pub name: String,
    /// What it may hold.
    pub bound: u64,
    /// The most that was in it.
    pub most: u64,
}

/// Everything that is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// [`HISTORY_VERSION`] of the writer.
    pub version: u16,
    /// What happened, in its order.
    pub entries: Vec<Entry>,
    /// What every device showed when all was quiet.
    pub views: Vec<View>,
    /// What the store held then, one view a conversation and member.
    pub stored: Vec<View>,
    /// When nothing was done to the cluster, and only clients misbehaved.
    pub calm: Vec<Span>,
    /// When some node, or the store, stood still.
    pub stalls: Vec<Span>,
    /// The queues whose filling was measured.
    pub queues: Vec<Queue>,
    /// Who had not come to rest when the record ended, and what was waited for.
    pub restless: Option<String>,
    /// When the record ended.
    pub ended_ms: u64,
}

impl History {
    /// Tells whether it names every edit and deletion that was wanted.
    pub(crate) fn says_what_is_changed(&self) -> bool {
        self.version >= 2
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            version: HISTORY_VERSION,
            entries: Vec::new(),
            views: Vec::new(),
            stored: Vec::new(),
            calm: Vec::new(),
            stalls: Vec::new(),
            queues: Vec::new(),
            restless: None,
            ended_ms: 0,
        }
    }
}
