//! The store as plain maps in memory: what every other one is compared with.
//!
//! Each method is the shortest code that keeps the trait's promise, so that it can be read
//! as its definition. Serves unit tests, property tests and simulations; clones share one
//! state, so a node of a simulation can die and start again on it. Knows nothing of disks:
//! every write is "durable" at once, and nothing is ever slow or lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, StoreId, UserId};
use uuid::Uuid;

use super::rows::Page;
use super::{
    Change, Commit, InboxCells, InboxRow, Later, MemberWrite, MessageCells, MessageRow, NodeRow,
    PresenceRow, Store, StoreError, UserChange, UserRow,
};

/// Keeps everything in maps that are ordered as the answers are.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    id: StoreId,
    secret: [u8; 32],
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    messages: BTreeMap<(ConversationId, MessageId), MessageCells>,
    inbox: BTreeMap<(UserId, ConversationId), InboxRow>,
    changes: BTreeMap<(UserId, ChangeId), Change>,
    users: BTreeMap<UserId, UserRow>,
    blocks: BTreeSet<(UserId, UserId)>,
    presence: BTreeMap<(UserId, Life), PresenceRow>,
    nodes: BTreeMap<Life, NodeRow>,
    revoked: BTreeMap<Uuid, u64>,
    high_water_ms: u64,
}

impl Model {
    /// Makes an empty store of this identity and secret.
    pub fn new(id: StoreId, secret: [u8; 32]) -> Self {
        Self(Arc::new(Inner { id, secret, tables: Mutex::default() }))
    }

    /// Answers at once with what `f` makes of the tables.
    fn with<T: Send + 'static>(&self, f: impl FnOnce(&mut Tables) -> T) -> Later<T> {
        let answer: Result<T, StoreError> = Ok(f(&mut self.0.tables.lock()));
        Box::pin(std::future::ready(answer))
    }
}

impl Tables {
    fn commit(&mut self, commit: Commit) {
        if let Some(write) = commit.message {
            self.messages.entry((commit.conversation, write.id())).or_default().apply(write);
        }
        for member in commit.members {
            self.write_member(commit.conversation, member);
        }
    }

    fn write_member(&mut self, conversation: ConversationId, write: MemberWrite) {
        let MemberWrite { user, peer, cells, change } = write;
        let empty = InboxRow { conversation, peer, cells: InboxCells::default() };
        self.inbox.entry((user, conversation)).or_insert(empty).cells.merge(&cells);
        if let Some(change) = change {
            self.high_water_ms = self.high_water_ms.max(change.change.at());
            self.changes.insert((user, change.change), change);
        }
    }

    /// Gives the messages of a conversation that exist, oldest first.
    fn rows(
        &self,
        conversation: ConversationId,
    ) -> impl DoubleEndedIterator<Item = MessageRow> + '_ {
        let (first, last) = (MessageId::from_bytes([0; 16]), MessageId::from_bytes([0xff; 16]));
        let all = self.messages.range((conversation, first)..=(conversation, last));
        all.filter_map(|((c, id), cells)| cells.clone().row(*c, *id))
    }

    /// Gives the conversations that a user has: those with a head.
    fn entries(&self, user: UserId) -> impl Iterator<Item = &InboxRow> {
        let first = ConversationId::from_bytes([0; 16]);
        let all = self.inbox.range((user, first)..).take_while(move |((u, _), _)| *u == user);
        all.map(|(_, row)| row).filter(|row| row.cells.head.is_some())
    }

    fn create_user(&mut self, row: UserRow) -> bool {
        let free = !self.users.contains_key(&row.user);
        if free {
            self.users.insert(row.user, row);
        }
        free
    }
}

impl Store for Model {
    fn id(&self) -> StoreId {
        self.0.id
    }

    fn high_water_ms(&self) -> u64 {
        self.0.tables.lock().high_water_ms
    }

    fn commit(&self, commits: Vec<Commit>) -> Later<()> {
        self.with(|t| commits.into_iter().for_each(|commit| t.commit(commit)))
    }

    fn messages(
        &self,
        conversation: ConversationId,
        ids: Vec<MessageId>,
    ) -> Later<Vec<MessageRow>> {
        self.with(|t| {
            let cells = |id: MessageId| t.messages.get(&(conversation, id)).cloned();
            ids.into_iter().filter_map(|id| cells(id)?.row(conversation, id)).collect()
        })
    }

    fn stamped(&self, conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>> {
        self.with(|t| t.rows(conversation).filter(|row| row.id.stamp() == stamp).collect())
    }

    fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<Vec<MessageRow>> {
        self.with(|t| {
            let older = |row: &MessageRow| before.is_none_or(|before| row.id < before);
            let mut page = Page::of(limit);
            t.rows(conversation).rev().filter(older).for_each(|row| page.add(row));
            page.into_rows()
        })
    }

    fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
    ) -> Later<Option<MessageId>> {
        self.with(|t| {
            let fits = |row: &MessageRow| row.id <= id && (alone || row.sender != reader);
            t.rows(conversation).rev().find(fits).map(|row| row.id)
        })
    }

    fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
    ) -> Later<u32> {
        self.with(|t| {
            let counts = |row: &MessageRow| {
                row.sender != reader && Some(row.id) > read_up_to && row.id <= head
            };
            let unread = t.rows(conversation).filter(counts).map(|row| (row.sender, row.id.low()));
            let without_twins: BTreeSet<_> = unread.collect();
            without_twins.len().min(cap as usize) as u32
        })
    }

    fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<(Vec<InboxRow>, bool)> {
        let head = |row: &InboxRow| row.cells.head.as_ref().map(|head| head.id);
        self.with(move |t| {
            let older = |row: &&InboxRow| before.is_none() || head(row) < before;
            let mut rows: Vec<InboxRow> = t.entries(user).filter(older).cloned().collect();
            rows.sort_by_key(|row| std::cmp::Reverse(head(row)));
            let more = rows.len() > limit;
            rows.truncate(limit);
            (rows, more)
        })
    }

    fn inbox_rows(&self, user: UserId, conversations: Vec<ConversationId>) -> Later<Vec<InboxRow>> {
        self.with(|t| {
            let named = |c| t.entries(user).find(|row| row.conversation == c).cloned();
            conversations.into_iter().filter_map(named).collect()
        })
    }

    fn changes(&self, user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>> {
        self.with(|t| {
            let above = t.changes.range((user, after)..).filter(|((_, id), _)| *id > after);
            let his = above.take_while(|((u, _), _)| *u == user);
            his.map(|(_, change)| *change).take(limit).collect()
        })
    }

    fn expire(&self, before_ms: u64) -> Later<u64> {
        self.with(|t| {
            let count = t.changes.len();
            t.changes.retain(|(_, id), _| id.at() >= before_ms);
            t.revoked.retain(|_, until_ms| *until_ms >= before_ms);
            (count - t.changes.len()) as u64
        })
    }

    fn create_user(&self, row: UserRow) -> Later<bool> {
        self.with(|t| t.create_user(row))
    }

    fn import_users(&self, rows: Vec<UserRow>) -> Later<u64> {
        self.with(|t| rows.into_iter().filter(|row| t.create_user(row.clone())).count() as u64)
    }

    fn user(&self, user: UserId) -> Later<Option<UserRow>> {
        self.with(|t| t.users.get(&user).cloned())
    }

    fn change_user(&self, user: UserId, change: UserChange) -> Later<Option<UserRow>> {
        self.with(|t| {
            let row = t.users.get_mut(&user)?;
            row.change(change);
            Some(row.clone())
        })
    }

    fn find_users(&self, prefix: String, limit: usize) -> Later<Vec<UserRow>> {
        self.with(|t| {
            let named = t.users.values().filter(|row| row.user.as_str().starts_with(&prefix));
            named.take(limit).cloned().collect()
        })
    }

    fn set_block(&self, user: UserId, blocked: UserId, on: bool) -> Later<()> {
        self.with(|t| {
            if on {
                t.blocks.insert((user, blocked));
            } else {
                t.blocks.remove(&(user, blocked));
            }
        })
    }

    fn blocks(&self, user: UserId) -> Later<Vec<UserId>> {
        self.with(|t| t.blocks.iter().filter(|(u, _)| *u == user).map(|(_, b)| *b).collect())
    }

    fn is_blocked(&self, user: UserId, blocked: UserId) -> Later<bool> {
        self.with(|t| t.blocks.contains(&(user, blocked)))
    }

    fn set_presence(&self, row: PresenceRow, folded: Vec<Life>) -> Later<()> {
        self.with(|t| {
            for life in folded {
                t.presence.remove(&(row.user, life));
            }
            t.presence.insert((row.user, row.life), row);
        })
    }

    fn presence(&self, user: UserId) -> Later<Vec<PresenceRow>> {
        self.with(|t| t.presence.values().filter(|row| row.user == user).copied().collect())
    }

    fn set_node(&self, row: NodeRow) -> Later<()> {
        self.with(|t| t.nodes.entry(row.life).or_insert_with(|| row.clone()).merge(row))
    }

    fn nodes(&self) -> Later<Vec<NodeRow>> {
        self.with(|t| t.nodes.values().cloned().collect())
    }

    fn revoke(&self, token: Uuid, until_ms: u64) -> Later<()> {
        self.with(|t| {
            let until = t.revoked.entry(token).or_insert(until_ms);
            *until = until_ms.max(*until);
        })
    }

    fn is_revoked(&self, token: Uuid) -> Later<bool> {
        self.with(|t| t.revoked.contains_key(&token))
    }

    fn secret(&self) -> [u8; 32] {
        self.0.secret
    }

    fn check(&self) -> Later<()> {
        self.with(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::Fixture;
    use super::*;

    impl Fixture for Model {
        type Store = Self;

        async fn empty() -> Self {
            let mut secret = [0; 32];
            secret[..16].copy_from_slice(Uuid::new_v4().as_bytes());
            Self::new(Uuid::new_v4().into(), secret)
        }

        fn store(&self) -> &Self {
            self
        }

        async fn reopened(self) -> Self {
            self
        }
    }

    store_conformance!(Model);
}
