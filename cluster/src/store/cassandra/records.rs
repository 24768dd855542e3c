//! Rows of conversations and inboxes as the tables hold them, and when they are something.
//!
//! Any cell of a row may be missing: an edit may have come before its message, a mark before the
//! first head. What readers see is decided here, by the rule of [`MessageCells::row`].

use rally_schema::{ConversationId, MessageId, Ref, UserId};
use scylla::DeserializeRow;
use uuid::Uuid;

use super::super::cells::Put;
use super::super::{InboxCells, InboxRow, MessageCells, MessageRow, StoreError};
use super::values::{self, damaged, name};

/// A row of `messages`, of which any cell may be missing.
#[derive(DeserializeRow)]
pub(super) struct MessageRecord {
    id: Uuid,
    sender: Option<String>,
    recipient: Option<String>,
    r#ref: Option<Uuid>,
    body: Option<String>,
    reply_to: Option<Uuid>,
    edit: Option<Vec<u8>>,
    deleted: Option<bool>,
    removed: Option<bool>,
}

impl MessageRecord {
    /// Gives the message, if there is one.
    pub(super) fn row(
        self,
        conversation: ConversationId,
    ) -> Result<Option<MessageRow>, StoreError> {
        let bad = |what: &str| damaged("messages", what, &conversation);
        let (deleted, removed) = (self.deleted == Some(true), self.removed == Some(true));
        let Some(sender) = self.sender.filter(|_| !removed) else { return Ok(None) };
        let put = Put {
            sender: name("messages", &sender)?,
            to: name("messages", &self.recipient.ok_or_else(|| bad("no recipient in a row"))?)?,
            r#ref: self.r#ref.ok_or_else(|| bad("no ref in a row"))?.into(),
            // Erased before it was put, or after.
            body: match self.body {
                Some(body) => body,
                None if deleted => String::new(),
                None => return Err(bad("no body in a row")),
            },
            reply_to: self.reply_to.map(MessageId::from),
        };
        let edit = self.edit.map(|edit| values::read_edit(&edit).ok_or_else(|| bad("bad edit")));
        let cells = MessageCells { put: Some(put), edit: edit.transpose()?, deleted, removed };
        Ok(cells.row(conversation, self.id.into()))
    }
}

/// Of a row of `messages` only who wrote it.
#[derive(DeserializeRow)]
pub(super) struct SenderRecord {
    id: Uuid,
    sender: Option<String>,
    removed: Option<bool>,
}

impl SenderRecord {
    pub(super) fn read(self) -> Result<Option<(MessageId, UserId)>, StoreError> {
        let sender = self.sender.filter(|_| self.removed != Some(true));
        sender.map(|sender| Ok((self.id.into(), name("messages", &sender)?))).transpose()
    }
}

/// Of a row of `messages` only who wrote it, and how he calls it.
#[derive(DeserializeRow)]
pub(super) struct NamedRecord {
    id: Uuid,
    sender: Option<String>,
    r#ref: Option<Uuid>,
    removed: Option<bool>,
}

impl NamedRecord {
    /// Gives the id, if it is a message that this sender calls so.
    pub(super) fn of(&self, sender: UserId, r#ref: Ref) -> Option<MessageId> {
        let named = (self.sender.as_deref(), self.r#ref, self.removed == Some(true));
        (named == (Some(sender.as_str()), Some(r#ref.into()), false)).then(|| self.id.into())
    }
}

/// A row of `inbox`.
#[derive(DeserializeRow)]
pub(super) struct InboxRecord {
    conversation: Uuid,
    peer: Option<String>,
    head: Option<Vec<u8>>,
    head_edit: Option<Vec<u8>>,
    read_up_to: Option<Uuid>,
    peer_delivered_up_to: Option<Uuid>,
    peer_read_up_to: Option<Uuid>,
}

impl InboxRecord {
    /// Gives the row, if the conversation has a head.
    pub(super) fn row(self) -> Result<Option<InboxRow>, StoreError> {
        let conversation = ConversationId::from(self.conversation);
        let bad = |what: &str| damaged("inbox", what, &conversation);
        let Some(head) = self.head else { return Ok(None) };
        let head_edit = self
            .head_edit
            .map(|edit| values::read_head_edit(&edit).ok_or_else(|| bad("bad head_edit")));
        let peer = self.peer.ok_or_else(|| bad("no peer in the row"))?;
        let cells = InboxCells {
            head: Some(values::read_head(&head).ok_or_else(|| bad("bad head"))?),
            head_edit: head_edit.transpose()?,
            read_up_to: self.read_up_to.map(MessageId::from),
            peer_delivered_up_to: self.peer_delivered_up_to.map(MessageId::from),
            peer_read_up_to: self.peer_read_up_to.map(MessageId::from),
        };
        Ok(Some(InboxRow { conversation, peer: name("inbox", &peer)?, cells }))
    }
}
