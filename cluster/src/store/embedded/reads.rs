//! What each read of the trait walks.
//!
//! Plain functions that may block on the disk; `mod.rs` decides on which thread. A row that
//! is damaged ends the read with an error that names it.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::{Bound, RangeBounds};

use fjall::{Guard, UserValue};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, MessageId, UserId};

use super::super::rows::Page;
use super::super::{
    Change, InboxRow, MessageCells, MessageRow, NodeRow, PresenceRow, StoreError, UserRow,
};
use super::encode::{ChangeValue, InboxValue, PresenceValue, damaged, decode, head_id, sender};
use super::group::{Rows, read_failed};
use super::keys::{self, Key, Table};

/// The smallest and the largest id there is.
const FIRST: [u8; 16] = [0; 16];
const LAST: [u8; 16] = [0xff; 16];

impl Rows {
    /// Tells whether there is a row.
    pub(super) fn has(&self, key: &Key) -> Result<bool, StoreError> {
        self.all.contains_key(key).map_err(read_failed)
    }

    /// Walks the messages of a conversation that exist, reading of each only who wrote it.
    fn senders(
        &self,
        ids: impl RangeBounds<Key>,
    ) -> impl DoubleEndedIterator<Item = Result<(MessageId, UserId), StoreError>> {
        let read = |entry: Guard| {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            let id = keys::last_id(&key).ok_or_else(|| damaged(&key, "no id in the key"))?;
            let sender = sender(&key, &value)?;
            Ok(sender.map(|sender| (MessageId::from_bytes(id), sender)))
        };
        self.all.range::<Key, _>(ids).filter_map(move |entry| read(entry).transpose())
    }

    pub(super) fn messages(
        &self,
        conversation: ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        let read = |id: &MessageId| {
            let cells = self.get::<MessageCells>(&keys::message(conversation, *id));
            cells.map(|cells| cells?.row(conversation, *id)).transpose()
        };
        ids.iter().filter_map(read).collect()
    }

    /// `None` when there are more than `most` rows.
    pub(super) fn stamped(
        &self,
        conversation: ConversationId,
        stamp: Stamp,
        most: usize,
    ) -> Result<Option<Vec<MessageRow>>, StoreError> {
        let (first, last) = MessageId::range(stamp);
        let ids = keys::message(conversation, first)..=keys::message(conversation, last);
        let mut found = Vec::new();
        for (nth, entry) in self.all.range::<Key, _>(ids).enumerate() {
            if nth == most {
                return Ok(None);
            }
            found.extend(message(conversation, entry)?);
        }
        Ok(Some(found))
    }

    /// `None` when it would have to look at more than `most` rows: those of twins that were removed are
    /// passed over, and there may be many.
    pub(super) fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
        most: usize,
    ) -> Result<Option<Vec<MessageRow>>, StoreError> {
        let first = keys::message(conversation, MessageId::from_bytes(FIRST));
        let end = match before {
            Some(id) => Bound::Excluded(keys::message(conversation, id)),
            None => Bound::Included(keys::message(conversation, MessageId::from_bytes(LAST))),
        };
        let ids = (Bound::Included(first), end);
        let mut page = Page::of(limit);
        for (nth, entry) in self.all.range::<Key, _>(ids).rev().enumerate() {
            if page.room() == 0 {
                break;
            }
            if nth == most {
                return Ok(None);
            }
            if let Some(row) = message(conversation, entry)? {
                page.add(row);
            }
        }
        Ok(Some(page.into_rows()))
    }

    /// `None` when it would have to look at more than `most` rows.
    pub(super) fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
        most: usize,
    ) -> Result<Option<Option<MessageId>>, StoreError> {
        let first = keys::message(conversation, MessageId::from_bytes(FIRST));
        let rows = self.senders(first..=keys::message(conversation, id)).rev();
        for (nth, entry) in rows.enumerate() {
            if nth == most {
                return Ok(None);
            }
            let (id, sender) = entry?;
            if alone || sender != reader {
                return Ok(Some(Some(id)));
            }
        }
        Ok(Some(None))
    }

    /// `None` when it would have to look at more than `most` rows.
    pub(super) fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
        most: usize,
    ) -> Result<Option<u32>, StoreError> {
        let from = read_up_to.unwrap_or(MessageId::from_bytes(FIRST));
        if from >= head {
            return Ok(Some(0));
        }
        let last = keys::message(conversation, head);
        let mut unread = HashSet::new();
        let rows = self.senders(keys::message(conversation, from)..=last);
        for (nth, entry) in rows.enumerate() {
            if unread.len() >= cap as usize {
                break;
            }
            if nth == most {
                return Ok(None);
            }
            let (id, sender) = entry?;
            if sender != reader && Some(id) > read_up_to {
                unread.insert((sender, id.low()));
            }
        }
        Ok(Some(unread.len() as u32))
    }

    /// Reads the partition of a user: of each row only the id of its head, then the newest
    /// `limit` rows whole. With 10, 1,000 and 10,000 conversations it takes 0.03, 0.6 and 6 ms
    /// (`examples/store_figures.rs` on two cores of a small machine).
    pub(super) fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<(Vec<InboxRow>, bool), StoreError> {
        let mut heads = Vec::new();
        for entry in self.all.prefix(keys::inbox_of(user)) {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            match head_id(&key, &value)? {
                Some(id) if before.is_none_or(|before| id < before) => heads.push((id, key, value)),
                Some(_) | None => {}
            }
        }
        heads.sort_unstable_by_key(|head| Reverse(head.0));
        let rows = heads.iter().take(limit).map(|(_, key, value)| inbox_row(key, value));
        Ok((rows.collect::<Result<_, _>>()?, heads.len() > limit))
    }

    pub(super) fn inbox_rows(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Result<Vec<InboxRow>, StoreError> {
        let read = |conversation: &ConversationId| {
            let row = self.get::<InboxValue>(&keys::inbox(user, *conversation));
            let with_head = |row: InboxValue| row.cells.head.is_some().then_some(row);
            let named = |row: InboxValue| InboxRow {
                conversation: *conversation,
                peer: row.peer,
                cells: row.cells,
            };
            row.map(|row| row.and_then(with_head).map(named)).transpose()
        };
        conversations.iter().filter_map(read).collect()
    }

    pub(super) fn changes(
        &self,
        user: UserId,
        after: ChangeId,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let entries = self.all.range(keys::changes(user, after)).map(change);
        let above =
            entries.filter(|entry| entry.as_ref().map_or(true, |entry| entry.change > after));
        above.take(limit).collect()
    }

    pub(super) fn find_users(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<UserRow>, StoreError> {
        let Some(prefix) = keys::users(prefix) else { return Ok(Vec::new()) };
        let row = |entry: Guard| {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            decode(&key, &value)
        };
        self.all.prefix(prefix).take(limit).map(row).collect()
    }

    pub(super) fn blocks(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        let prefix = keys::blocks(user);
        let name = |entry: Guard| {
            let key = entry.key().map_err(read_failed)?;
            keys::last_name(&key, prefix.len()).ok_or_else(|| damaged(&key, "no user in the key"))
        };
        self.all.prefix(prefix).map(name).collect()
    }

    pub(super) fn presence(&self, user: UserId) -> Result<Vec<PresenceRow>, StoreError> {
        let prefix = keys::presences(user);
        let row = |entry: Guard| {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            let life = keys::life(&key, prefix.len());
            let life = life.ok_or_else(|| damaged(&key, "no life in the key"))?;
            let PresenceValue { online_since, last_seen } = decode(&key, &value)?;
            Ok(PresenceRow { user, life, online_since, last_seen })
        };
        let mut rows: Vec<_> = self.all.prefix(prefix).map(row).collect::<Result<_, _>>()?;
        rows.sort_by_key(|row: &PresenceRow| row.life);
        Ok(rows)
    }

    pub(super) fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let row = |entry: Guard| {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            decode(&key, &value)
        };
        let nodes = self.all.prefix(keys::first(Table::Nodes)).map(row);
        let mut rows: Vec<NodeRow> = nodes.collect::<Result<_, _>>()?;
        rows.sort_by_key(|row| row.life);
        Ok(rows)
    }
}

/// Reads one entry of a conversation; `None` when there is no message (yet, or any more).
fn message(conversation: ConversationId, entry: Guard) -> Result<Option<MessageRow>, StoreError> {
    let (key, value) = entry.into_inner().map_err(read_failed)?;
    let id = keys::last_id(&key).ok_or_else(|| damaged(&key, "no id in the key"))?;
    let cells: MessageCells = decode(&key, &value)?;
    Ok(cells.row(conversation, MessageId::from_bytes(id)))
}

fn inbox_row(key: &[u8], value: &UserValue) -> Result<InboxRow, StoreError> {
    let id = keys::last_id(key).ok_or_else(|| damaged(key, "no conversation in the key"))?;
    let InboxValue { cells, peer } = decode(key, value)?;
    Ok(InboxRow { conversation: ConversationId::from_bytes(id), peer, cells })
}

fn change(entry: Guard) -> Result<Change, StoreError> {
    let (key, value) = entry.into_inner().map_err(read_failed)?;
    let change = keys::last_id(&key).ok_or_else(|| damaged(&key, "no id in the key"))?;
    let ChangeValue { conversation, id, kind } = decode(&key, &value)?;
    Ok(Change { change: ChangeId::from_bytes(change), conversation, id, kind })
}
