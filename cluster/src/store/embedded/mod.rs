//! The store of a single node: an embedded, ordered key space on the local disk.
//!
//! Reads go straight to the engine. Every write is a job in a bounded queue; one
//! [`CommitLoop`] takes all that waits, merges it row by row, and writes it as one batch, so
//! that many sessions share one sync.
//!
//! **When it syncs.** With [`Durability::Sync`] a write returns after an `fdatasync` that
//! covers it: it survives a power cut. With [`Durability::Os`] it returns once the system has
//! it: it survives the death of the process, and a power cut may take the last seconds.
//!
//! **When it starts** it looks at the journals before the engine does: an end that a power cut
//! tore is cut off, damage is refused and left as it is. A clean stop leaves nothing to read.
//!
//! **Threads.** None stays that is started here but that of the engine, which writes memory into
//! files and merges them; memory is sealed and freed on threads of their own (`memory.rs`). The owner
//! runs the loop on a thread of its own. Page reads that may walk many rows go to tokio's blocking
//! pool; the rest runs where it is called.

mod commit_loop;
mod encode;
mod expire;
mod folder;
mod group;
mod journal;
mod keys;
mod memory;
mod metrics;
mod open;
mod queue;
mod reads;
mod recent;
#[cfg(test)]
mod tests;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, StoreId, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

pub use commit_loop::{CommitFailed, CommitLoop};
pub use folder::{FORMAT, OpenError};
pub use metrics::Metrics;

use super::{
    Change, Commit, InboxRow, Later, MessageRow, NodeRow, PresenceRow, Store, StoreError,
    UserChange, UserRow,
};
use commit_loop::{Done, Job};
use group::{Group, Rows};
use queue::{Queue, Waiting};

/// What a write has survived when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A power cut: each group of writes is synced to the disk before its callers hear of it.
    #[default]
    Sync,
    /// The death of the process, but no power cut: the system writes when it likes. What a cut
    /// leaves may miss the last seconds, or be refused as damaged where it misses its middle.
    Os,
}

/// How the store works; the defaults are for a node of its own on a small machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What a write has survived when it returns.
    pub durability: Durability,
    /// The least time between the beginnings of two groups, in microseconds, unless enough waits
    /// for one. A sync and its wake-ups cost as much CPU as the rest of a message: sharing them is
    /// what this buys. A lone write waits for nobody.
    pub group_interval_us: u64,
    /// How many bytes of writes may wait; what comes then is refused as busy.
    pub queue_bytes: usize,
    /// How many bytes of blocks read from disk are kept in memory.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            group_interval_us: 10_000,
            queue_bytes: 32 << 20,
            cache_bytes: 64 << 20,
        }
    }
}

/// A handle to the store in a folder; clones share it.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    id: StoreId,
    secret: [u8; 32],
    rows: Rows,
    queue: Arc<Queue<Job>>,
    high_water_ms: Arc<AtomicU64>,
    metrics: Metrics,
    /// Last, so that the folder is given up after the engine was.
    _folder: Arc<folder::Folder>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How many accounts an import writes in one job.
const IMPORT_ROWS: usize = 1_000;

/// Rows that a read looks at on its caller's thread: 0.6 ms at most, as long as a walk through a
/// thousand conversations.
const FEW: usize = 1_024;

/// Messages of one stamp that are read so. Of a client that stamps as it should there is one; of
/// another there may be many, with long texts.
const STAMPED_ALIKE: usize = 16;

impl EmbeddedStore {
    /// Opens the store in `folder`, or makes one, and gives the handle and the loop that does
    /// its writes. Nothing is written before the loop runs.
    pub fn open(
        folder: &std::path::Path,
        options: Options,
    ) -> Result<(Self, CommitLoop), OpenError> {
        open::open(folder, options)
    }

    /// Takes no more writes, and lets the loop finish those that wait, flush, and end.
    pub fn close(&self) {
        self.0.queue.close();
    }

    /// Gives what is counted here.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Queues a write of about `bytes`; what it gives arrives once its group is durable.
    fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        stage: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Later<T> {
        let (tell, told) = oneshot::channel();
        let job = move |group: &mut Group<'_>| -> Done {
            let staged = group.run(stage);
            // A caller that no longer waits is no error.
            Box::new(move |written| {
                drop(tell.send(staged.and_then(|value| written.map(|()| value))))
            })
        };
        let pushed = self.0.queue.push(Waiting { job: Box::new(job), bytes });
        Box::pin(async move {
            pushed?;
            let stopped = |_| StoreError::Unknown("it stopped before it answered".into());
            told.await.map_err(stopped)?
        })
    }

    /// Queues a write that reads nothing, and so cannot fail while it is staged.
    fn stage(
        &self,
        bytes: usize,
        stage: impl FnOnce(&mut Group<'_>) + Send + 'static,
    ) -> Later<()> {
        self.write(bytes, |group| {
            stage(group);
            Ok(())
        })
    }

    /// Answers a read that touches few rows, at once.
    fn read<T: Send + 'static>(&self, f: impl FnOnce(&Rows) -> Result<T, StoreError>) -> Later<T> {
        Box::pin(std::future::ready(f(&self.0.rows)))
    }

    /// Answers a read of which a few rows nearly always tell the answer: whoever wrote for a year to
    /// somebody who never answered has many between. `f` is given how many rows it may look at, `few` at
    /// first, and gives `None` when they do not suffice; then it may look at all, away from the caller's thread.
    fn look<T: Send + 'static>(
        &self,
        few: usize,
        f: impl Fn(&Rows, usize) -> Result<Option<T>, StoreError> + Send + 'static,
    ) -> Later<T> {
        match f(&self.0.rows, few) {
            Ok(Some(answer)) => Box::pin(std::future::ready(Ok(answer))),
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(None) => self.walk(move |rows| {
                let endless = || StoreError::Read("a conversation without end".to_owned());
                f(rows, usize::MAX)?.ok_or_else(endless)
            }),
        }
    }

    /// Answers a read that may walk many rows, away from the caller's thread.
    fn walk<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Rows) -> Result<T, StoreError> + Send + 'static,
    ) -> Later<T> {
        let rows = self.0.rows.clone();
        let walked = tokio::task::spawn_blocking(move || f(&rows));
        let failed = |error: tokio::task::JoinError| StoreError::Read(error.to_string());
        Box::pin(async move { walked.await.map_err(failed)? })
    }
}

impl Store for EmbeddedStore {
    fn id(&self) -> StoreId {
        self.0.id
    }

    fn high_water_ms(&self) -> u64 {
        self.0.high_water_ms.load(Ordering::Acquire)
    }

    fn commit(&self, commits: Vec<Commit>) -> Later<()> {
        self.write(writes::bytes_of(&commits), |group| writes::commit(group, commits))
    }

    fn messages(
        &self,
        conversation: ConversationId,
        ids: Vec<MessageId>,
    ) -> Later<Vec<MessageRow>> {
        self.read(|rows| rows.messages(conversation, &ids))
    }

    fn stamped(&self, conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>> {
        self.look(STAMPED_ALIKE, move |rows, most| rows.stamped(conversation, stamp, most))
    }

    fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<Vec<MessageRow>> {
        let few = limit + FEW;
        self.look(few, move |rows, most| rows.history(conversation, before, limit, most))
    }

    fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
    ) -> Later<Option<MessageId>> {
        self.look(FEW, move |rows, most| rows.newest_for(conversation, reader, alone, id, most))
    }

    fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
    ) -> Later<u32> {
        self.look(FEW, move |rows, most| {
            rows.unread(conversation, reader, read_up_to, head, cap, most)
        })
    }

    fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<(Vec<InboxRow>, bool)> {
        self.walk(move |rows| rows.inbox(user, before, limit))
    }

    fn inbox_rows(&self, user: UserId, conversations: Vec<ConversationId>) -> Later<Vec<InboxRow>> {
        self.read(|rows| rows.inbox_rows(user, &conversations))
    }

    fn changes(&self, user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>> {
        self.read(|rows| rows.changes(user, after, limit))
    }

    fn expire(&self, before_ms: u64) -> Later<u64> {
        let store = self.clone();
        Box::pin(async move {
            let (mut dropped, mut from) = (0, None);
            loop {
                let found = store.walk(move |rows| rows.expired(from, before_ms)).await?;
                let bytes = found.keys.len() * 128;
                dropped += found.entries;
                store.stage(bytes, |group| writes::remove_all(group, found.keys)).await?;
                from = found.next;
                if from.is_none() {
                    return Ok(dropped);
                }
            }
        })
    }

    fn create_user(&self, row: UserRow) -> Later<bool> {
        self.write(512, move |group| writes::create_user(group, &row))
    }

    fn import_users(&self, mut rows: Vec<UserRow>) -> Later<u64> {
        let store = self.clone();
        Box::pin(async move {
            let mut new = 0;
            while !rows.is_empty() {
                let part: Vec<UserRow> = rows.drain(..rows.len().min(IMPORT_ROWS)).collect();
                let write = store.write(part.len() * 512, move |group| {
                    part.iter().try_fold(0, |new, row| {
                        Ok(new + u64::from(writes::create_user(group, row)?))
                    })
                });
                new += write.await.map_err(|error| match error {
                    // Earlier parts are there already.
                    StoreError::Busy if new > 0 => StoreError::Unknown("busy half way".into()),
                    error => error,
                })?;
            }
            Ok(new)
        })
    }

    fn user(&self, user: UserId) -> Later<Option<UserRow>> {
        self.read(|rows| rows.get(&keys::user(user)))
    }

    fn change_user(&self, user: UserId, change: UserChange) -> Later<Option<UserRow>> {
        self.write(512, move |group| writes::change_user(group, user, change))
    }

    fn find_users(&self, prefix: String, limit: usize) -> Later<Vec<UserRow>> {
        self.read(|rows| rows.find_users(&prefix, limit))
    }

    fn set_block(&self, user: UserId, blocked: UserId, on: bool) -> Later<()> {
        self.stage(128, move |group| writes::set_block(group, user, blocked, on))
    }

    fn blocks(&self, user: UserId) -> Later<Vec<UserId>> {
        self.read(|rows| rows.blocks(user))
    }

    fn is_blocked(&self, user: UserId, blocked: UserId) -> Later<bool> {
        self.read(|rows| rows.has(&keys::block(user, blocked)))
    }

    fn set_presence(&self, row: PresenceRow, folded: Vec<Life>) -> Later<()> {
        let bytes = 128 * (1 + folded.len());
        self.stage(bytes, move |group| writes::set_presence(group, row, folded))
    }

    fn presence(&self, user: UserId) -> Later<Vec<PresenceRow>> {
        self.read(|rows| rows.presence(user))
    }

    fn set_node(&self, row: NodeRow) -> Later<()> {
        self.write(256, |group| writes::set_node(group, row))
    }

    fn nodes(&self) -> Later<Vec<NodeRow>> {
        self.read(Rows::nodes)
    }

    fn revoke(&self, token: Uuid, until_ms: u64) -> Later<()> {
        self.write(128, move |group| writes::revoke(group, token, until_ms))
    }

    fn is_revoked(&self, token: Uuid) -> Later<bool> {
        self.read(|rows| rows.has(&keys::revoked(token)))
    }

    fn secret(&self) -> [u8; 32] {
        self.0.secret
    }

    fn check(&self) -> Later<()> {
        let store = self.clone();
        Box::pin(async move {
            let key = keys::meta("checked");
            store.stage(64, move |group| group.put(key, &())).await?;
            store.0.rows.get::<()>(&key)?.map_or_else(
                || Err(StoreError::Read("what was just written is not there".into())),
                Ok,
            )
        })
    }
}
