//! The cells of a message's row, and how writes to them meet.
//!
//! A join: whatever the order of writes, and however often each is repeated, the cells end
//! alike. A store that merges by itself (cell timestamps) needs only [`MessageCells::row`].
//! Knows nothing of how cells are kept.

use rally_schema::{ConversationId, EditId, MessageId, Ref, UserId};
use serde::{Deserialize, Serialize};

use super::{MessageRow, MessageWrite};
use crate::planted::{self, Fault};

/// What is known of a message; a row only once something was put.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCells {
    /// What a put wrote.
    pub put: Option<Put>,
    /// The edit of the largest id.
    pub edit: Option<(EditId, String)>,
    /// Ever set, never cleared; body and edit are gone then.
    pub deleted: bool,
    /// The smaller of twins: no row any more, whatever is put later.
    pub removed: bool,
}

/// The cells that a put writes; of two puts each cell keeps the larger value.
///
/// The id covers all but `reply_to` (and `to`, which the conversation fixes), so only that one
/// can differ between two puts of one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Who wrote it.
    pub sender: UserId,
    /// The other member.
    pub to: UserId,
    /// The sender's name for it.
    pub r#ref: Ref,
    /// What was written.
    pub body: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
}

impl MessageCells {
    /// Merges one write in. An edit or deletion of what was not put yet waits for it unseen.
    pub fn apply(&mut self, write: MessageWrite) {
        match write {
            MessageWrite::Put { id: _, sender, to, r#ref, body, reply_to } => {
                self.put(Put { sender, to, r#ref, body, reply_to });
            }
            MessageWrite::Edit { id: _, edit, text } => {
                self.deleted &= !planted::on(Fault::EditBeatsDeletion);
                let edit = Some((edit, text));
                if edit > self.edit {
                    self.edit = edit;
                }
            }
            MessageWrite::Delete { id: _ } => self.deleted = true,
            MessageWrite::Remove { id: _ } => self.removed = true,
        }
        self.erase();
    }

    fn put(&mut self, other: Put) {
        let Some(mine) = &mut self.put else {
            self.put = Some(other);
            return;
        };
        mine.sender = mine.sender.max(other.sender);
        mine.to = mine.to.max(other.to);
        mine.r#ref = mine.r#ref.max(other.r#ref);
        mine.reply_to = mine.reply_to.max(other.reply_to);
        if other.body > mine.body {
            mine.body = other.body;
        }
    }

    /// Drops what a deletion or removal leaves no reader.
    fn erase(&mut self) {
        if self.removed {
            self.put = None;
        }
        if self.deleted || self.removed {
            self.edit = None;
        }
        if let (Some(put), true) = (&mut self.put, self.deleted) {
            put.body = String::new();
        }
    }

    /// Gives the row that readers see, if there is one.
    pub fn row(self, conversation: ConversationId, id: MessageId) -> Option<MessageRow> {
        let Put { sender, to, r#ref, body, reply_to } = self.put.filter(|_| !self.removed)?;
        let (body, edit) = if self.deleted { (String::new(), None) } else { (body, self.edit) };
        let deleted = self.deleted;
        Some(MessageRow { id, conversation, sender, to, r#ref, body, reply_to, edit, deleted })
    }
}
