//! What is stored: rows, and the writes that make them.
//!
//! One [`Commit`] carries all writes of one intent: the message's row, and for each
//! member one write to his own partition (inbox cells and a change entry).

use rally_schema::frame;
use rally_schema::{ChangeId, ConversationId, EditId, Life, MessageId, Ref, UserId, text};
use serde::{Deserialize, Serialize};

use crate::planted::{self, Fault};

/// A message as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Names it; with the conversation, the row's key.
    pub id: MessageId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub sender: UserId,
    /// The other member (the sender when alone).
    pub to: UserId,
    /// The sender's name for it.
    pub r#ref: Ref,
    /// What was written; empty once deleted.
    pub body: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// The newest edit; none once deleted.
    pub edit: Option<(EditId, String)>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Bytes of text with which a page of messages is full: the longest texts would otherwise make a
/// page of megabytes, and whoever reads it on a thread that serves others keeps them waiting.
pub const PAGE_BYTES: usize = 256 * 1024;

/// A page of messages while it is read: no longer than it may be, in rows and in bytes.
pub(super) struct Page {
    limit: usize,
    bytes: usize,
    rows: Vec<MessageRow>,
}

impl Page {
    pub(super) fn of(limit: usize) -> Self {
        Self { limit, bytes: 0, rows: Vec::new() }
    }

    /// Gives how many more rows it may take.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= PAGE_BYTES { 0 } else { self.limit - self.rows.len() }
    }

    /// Gives how many rows to ask for next: of a few it is seen how long they are, and then as many as
    /// will fill it. What comes beyond is read for nothing.
    pub(super) fn likely(&self) -> usize {
        const FIRST: usize = 16;
        let wanted = match self.rows.len() {
            0 => FIRST,
            read => {
                let each = self.bytes.div_ceil(read).max(1);
                PAGE_BYTES.saturating_sub(self.bytes).div_ceil(each)
            }
        };
        self.room().min(wanted)
    }

    /// Adds a row, if there is room for one.
    pub(super) fn add(&mut self, row: MessageRow) {
        if self.room() > 0 {
            self.bytes += row.text().len();
            self.rows.push(row);
        }
    }

    pub(super) fn into_rows(self) -> Vec<MessageRow> {
        self.rows
    }
}

/// Tells whether a page was full before it had as many rows as it might: more may follow.
pub fn is_full(rows: &[MessageRow]) -> bool {
    rows.iter().map(|row| row.text().len()).sum::<usize>() >= PAGE_BYTES
}

impl MessageRow {
    /// Gives the text that readers see.
    pub fn text(&self) -> &str {
        match &self.edit {
            _ if self.deleted => "",
            Some((_, text)) => text,
            None => &self.body,
        }
    }

    /// Gives the frame that shows the message as it stands.
    pub fn to_frame(&self) -> frame::Message {
        frame::Message {
            id: self.id,
            conversation: self.conversation,
            sender: self.sender,
            to: self.to,
            r#ref: self.r#ref,
            text: self.text().to_owned(),
            reply_to: self.reply_to,
            edit: self.edit.as_ref().map(|(id, _)| *id).filter(|_| !self.deleted),
            deleted: self.deleted,
            after: None,
        }
    }
}

/// All writes of one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The conversation that it is about.
    pub conversation: ConversationId,
    /// What happens to a message's row; `None` for a mark.
    pub message: Option<MessageWrite>,
    /// What each member's partition gets.
    pub members: Vec<MemberWrite>,
}

/// A write to the row of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageWrite {
    /// Upserts the row; of values that differ the larger stays.
    Put {
        /// Names it.
        id: MessageId,
        /// Who wrote it.
        sender: UserId,
        /// The other member.
        to: UserId,
        /// The sender's name for it.
        r#ref: Ref,
        /// What was written.
        body: String,
        /// The message that it answers.
        reply_to: Option<MessageId>,
    },
    /// Sets the `edit` cell; the largest edit id stays. Creates no row: without a put there is none.
    Edit {
        /// Which message.
        id: MessageId,
        /// Which edit.
        edit: EditId,
        /// The new text.
        text: String,
    },
    /// Sets `deleted` and erases body and edit. Creates no row.
    Delete {
        /// Which message.
        id: MessageId,
    },
    /// Removes the row of a smaller twin; a later put does not bring it back.
    Remove {
        /// Which row.
        id: MessageId,
    },
}

impl MessageWrite {
    /// Gives the id of the row that is written.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Put { id, .. }
            | Self::Edit { id, .. }
            | Self::Delete { id }
            | Self::Remove { id } => *id,
        }
    }
}

/// One write to one member's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberWrite {
    /// Whose partition.
    pub user: UserId,
    /// The other member, as the inbox names him (oneself when alone); the same in every write.
    pub peer: UserId,
    /// The inbox cells that are written; the others stay.
    pub cells: InboxCells,
    /// The entry of his log, if it gets one.
    pub change: Option<Change>,
}

/// Cells of an inbox row; `None` leaves a cell alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxCells {
    /// The newest message; timestamp and order of its id.
    pub head: Option<Head>,
    /// What became of a message; timestamp of its *target*, used only while that is the head.
    pub head_edit: Option<HeadEdit>,
    /// How far this user read.
    pub read_up_to: Option<MessageId>,
    /// How far a device of the peer got it.
    pub peer_delivered_up_to: Option<MessageId>,
    /// How far the peer read.
    pub peer_read_up_to: Option<MessageId>,
}

/// The newest message of a conversation. Compares by id first, as its bytes do in the cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// Which message.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: UserId,
    /// The beginning of its text.
    pub preview: String,
}

/// The newest edit or deletion of a message that is, or was, the head. Compares by target,
/// then deletion over edit, then edit id: the order in which the cell's values win.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeadEdit {
    /// Which message.
    pub target: MessageId,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The edit, unless deleted.
    pub edit: Option<EditId>,
    /// The beginning of the new text.
    pub preview: String,
}

impl InboxCells {
    /// Merges `newer` in: each cell keeps the value that wins.
    ///
    /// Every cell's value begins with the id that gives its timestamp, and what follows is in
    /// the order of its bytes, so "the later timestamp, then the larger bytes" is `max`.
    pub fn merge(&mut self, other: &InboxCells) {
        fn keep<T: Ord + Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if other > mine {
                mine.clone_from(other);
            }
        }
        keep(&mut self.head, &other.head);
        keep(&mut self.head_edit, &other.head_edit);
        if planted::on(Fault::MarksMoveBack) {
            self.read_up_to = other.read_up_to.or(self.read_up_to);
            self.peer_delivered_up_to = other.peer_delivered_up_to.or(self.peer_delivered_up_to);
            self.peer_read_up_to = other.peer_read_up_to.or(self.peer_read_up_to);
            return;
        }
        keep(&mut self.read_up_to, &other.read_up_to);
        keep(&mut self.peer_delivered_up_to, &other.peer_delivered_up_to);
        keep(&mut self.peer_read_up_to, &other.peer_read_up_to);
    }
}

/// A user's view of one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRow {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The other member (oneself when alone).
    pub peer: UserId,
    /// What is known of it.
    pub cells: InboxCells,
}

impl InboxRow {
    /// Gives the head as readers see it, with the edit or deletion that is about it.
    pub fn head(&self) -> Option<frame::Head> {
        let head = self.cells.head.as_ref()?;
        let edit = self.cells.head_edit.as_ref().filter(|edit| edit.target == head.id);
        Some(frame::Head {
            id: head.id,
            sender: head.sender,
            preview: match edit {
                Some(edit) if edit.deleted => String::new(),
                Some(edit) => edit.preview.clone(),
                None => head.preview.clone(),
            },
            deleted: edit.is_some_and(|edit| edit.deleted),
        })
    }
}

impl Head {
    /// Makes the head cell of a message.
    pub fn of(id: MessageId, sender: UserId, body: &str) -> Self {
        Self { id, sender, preview: text::preview(body) }
    }
}

/// What a change entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A message came into being.
    Message,
    /// It was edited.
    Edit,
    /// It was deleted.
    Delete,
    /// A mark "delivered" moved to it.
    Delivered,
    /// A mark "read" moved to it.
    Read,
}

impl ChangeKind {
    /// Tells whether the message itself has changed; a mark only names it.
    pub fn is_of_message(self) -> bool {
        matches!(self, Self::Message | Self::Edit | Self::Delete)
    }
}

/// One entry of a user's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Names the entry; minted anew before each attempt.
    pub change: ChangeId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// About which message.
    pub id: MessageId,
    /// What happened.
    pub kind: ChangeKind,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Names it.
    pub user: UserId,
    /// Shown to others.
    pub name: String,
    /// argon2id in PHC form; `None` cannot log in.
    pub password: Option<String>,
    /// Tokens of an earlier epoch are refused: logging out everywhere raises it.
    pub epoch: u64,
    /// Whether presence and last seen are hidden from others.
    pub hide_presence: bool,
}

/// What of an account changes; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// A new display name.
    pub name: Option<String>,
    /// A new password hash.
    pub password: Option<String>,
    /// Whether to hide presence.
    pub hide_presence: Option<bool>,
    /// Whether to end every log-in.
    pub raise_epoch: bool,
}

impl UserRow {
    /// Makes the row what `change` says, leaving what it does not name.
    pub fn change(&mut self, change: UserChange) {
        let UserChange { name, password, hide_presence, raise_epoch } = change;
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        self.password = password.or_else(|| self.password.take());
        self.hide_presence = hide_presence.unwrap_or(self.hide_presence);
        self.epoch += u64::from(raise_epoch);
    }
}

/// What one edge's life knows of a user's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceRow {
    /// Whose.
    pub user: UserId,
    /// Which edge, in which of its lives.
    pub life: Life,
    /// Since when he has been online there; `None` when he left.
    pub online_since: Option<u64>,
    /// When he was last seen there.
    pub last_seen: u64,
}

#[cfg(test)]
mod tests {
    use rally_schema::limits::TEXT_BYTES;
    use uuid::Uuid;

    use super::*;

    /// Fills a page with texts of a length; gives how often was asked, and how many bytes were read.
    fn fill(bytes: usize) -> (usize, usize) {
        let user: UserId = "ana".parse().unwrap();
        let row = MessageRow {
            id: MessageId::first_of(1),
            conversation: ConversationId::direct(user, user),
            sender: user,
            to: user,
            r#ref: Uuid::nil().into(),
            body: "x".repeat(bytes),
            reply_to: None,
            edit: None,
            deleted: false,
        };
        let (mut page, mut asked, mut read) = (Page::of(101), 0, 0);
        while page.room() > 0 {
            asked += 1;
            for _ in 0..page.likely() {
                read += bytes;
                page.add(row.clone());
            }
        }
        (asked, read)
    }

    #[test]
    fn of_the_longest_texts_little_more_is_read_than_a_page_takes_and_short_ones_come_at_once() {
        let (asked, read) = fill(TEXT_BYTES);
        assert!((PAGE_BYTES..=4 * PAGE_BYTES).contains(&read), "{read} bytes");
        assert_eq!(asked, 1);
        assert_eq!(fill(100), (2, 10_100));
        assert_eq!(fill(0), (2, 0));
    }
}
