//! What a device knows of one conversation.

use std::collections::BTreeMap;

use foldhash::HashMap;
use rally_schema::{EditId, MessageId, UserId};

use crate::history::Shown;

/// What is known of one conversation.
#[derive(Debug, Default)]
pub(super) struct Thread {
    pub(super) messages: BTreeMap<MessageId, Shown>,
    /// The same by what twins have in common: a device that loads thousands anew looks for one of each.
    by_low: HashMap<u64, MessageId>,
    /// The other member, once something of him or to him is shown.
    pub(super) peer: Option<UserId>,
    pub(super) read_up_to: Option<MessageId>,
    /// How many are unread, as the server last counted.
    pub(super) counted: Option<u32>,
    pub(super) peer_delivered: Option<MessageId>,
    pub(super) peer_read: Option<MessageId>,
    /// How far the read mark was sent on this connection, and how far it has to go.
    pub(super) wants: [Option<MessageId>; 2],
    /// How far the delivered mark was sent on this connection.
    pub(super) has_delivered: Option<MessageId>,
    /// Not before this moment is anything sent again here.
    pub(super) wait_until_ms: u64,
    /// Whether something was refused, so that nothing is sent while anything is under way.
    pub(super) stopped: bool,
}

impl Thread {
    pub(super) fn newest_of_peer(&self, me: UserId) -> Option<MessageId> {
        self.messages.values().rev().find(|m| m.sender != me).map(|m| m.id)
    }

    /// Tells whether a message is here, or a twin of it.
    pub(super) fn knows(&self, id: MessageId) -> bool {
        self.by_low.contains_key(&id.low())
    }

    /// Drops what is shown, to be loaded anew.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.by_low.clear();
    }

    /// Takes a message in; `false` when it was here, as it is or as a larger twin.
    pub(super) fn take(&mut self, shown: Shown) -> bool {
        if let Some(known) = self.messages.get_mut(&shown.id) {
            if shown.deleted {
                known.delete();
            } else if let Some(edit) = shown.edit {
                known.edit(edit, shown.text);
            }
            return false;
        }
        if let Some(twin) = self.by_low.get(&shown.id.low()).copied()
            && self.messages.get(&twin).is_some_and(|twin| twin.sender == shown.sender)
        {
            if twin > shown.id {
                return false;
            }
            self.messages.remove(&twin);
        }
        self.by_low.insert(shown.id.low(), shown.id);
        self.messages.insert(shown.id, shown).is_none()
    }
}

/// How a message changes.
pub(super) trait Change {
    fn edit(&mut self, edit: EditId, text: String);
    fn delete(&mut self);
}

impl Change for Shown {
    fn edit(&mut self, edit: EditId, text: String) {
        if !self.deleted && self.edit.is_none_or(|known| edit > known) {
            (self.edit, self.text) = (Some(edit), text);
        }
    }

    fn delete(&mut self) {
        (self.deleted, self.text) = (true, String::new());
    }
}
