//! The store of a cluster: tables on Cassandra or ScyllaDB, shared by all nodes.
//!
//! The tables are those of `schema/migrations/`. Nothing is merged here: every fact is a cell
//! with a timestamp of its own, and the database keeps the value that [`Store`] says wins.
//!
//! **When a write is durable.** When a quorum of the local datacenter's replicas has it: with
//! three it survives the death of any one, power included. What a replica that loses its power
//! has had for less than its commit log's period (10 s by Cassandra's default, `periodic`) it may
//! lose. With one replica the death of its process is enough for that: set `commitlog_sync: group`,
//! or `batch`.
//!
//! **What a reader sees.** A quorum too, so every write that returned `Ok` before the read began.
//!
//! **What is full.** Beyond [`Options::in_flight`] requests a call is refused as busy. Nothing
//! waits here and nothing is repeated, but conditions (accounts) a few times.

mod accounts;
mod lives;
mod metrics;
mod migrate;
mod open;
mod options;
mod reads;
mod records;
mod requests;
mod statements;
mod values;
mod writes;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, Ref, StoreId, UserId};
use uuid::Uuid;

pub use metrics::Metrics;
pub use options::{Credentials, OpenError, Options};

use super::{
    Change, Commit, InboxRow, Later, MessageRow, NodeRow, PresenceRow, Store, UserChange, UserRow,
};
use lives::Stamps;
use metrics::Kind;
use requests::Requests;
use statements::Statements;
use writes::Buckets;

/// A handle to the store of a keyspace; clones share it.
#[derive(Clone)]
pub struct CassandraStore(Arc<Inner>);

struct Inner {
    id: StoreId,
    secret: [u8; 32],
    requests: Requests,
    statements: Statements,
    buckets: Buckets,
    stamps: Stamps,
    high_water_ms: AtomicU64,
    /// The lives that took users when somebody here told of them.
    homes: Mutex<HashSet<Life>>,
}

impl Inner {
    /// Raises the high water mark to the time of something that is written.
    fn note_time(&self, ms: u64) {
        self.high_water_ms.fetch_max(ms, Ordering::AcqRel);
    }
}

impl CassandraStore {
    /// Connects, makes or migrates the keyspace, and reads who the store is.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(open::open(options).await?)))
    }

    /// Gives what is counted here.
    pub fn metrics(&self) -> &Metrics {
        &self.0.requests.metrics
    }
}

/// Answers by a function of this module's files: takes slots of a kind for as long as it runs.
macro_rules! run {
    ($self:ident, $kind:ident, $slots:expr, |$inner:ident| $work:expr) => {{
        let shared = $self.0.clone();
        Box::pin(async move {
            let $inner: &Inner = &shared;
            let _slots = $inner.requests.enter(Kind::$kind, $slots)?;
            $work.await
        })
    }};
}

impl Store for CassandraStore {
    fn id(&self) -> StoreId {
        self.0.id
    }

    fn high_water_ms(&self) -> u64 {
        self.0.high_water_ms.load(Ordering::Acquire)
    }

    fn commit(&self, commits: Vec<Commit>) -> Later<()> {
        let inner = self.0.clone();
        // Takes its slots when it knows its writes.
        Box::pin(async move { writes::commit(&inner, commits).await })
    }

    fn messages(
        &self,
        conversation: ConversationId,
        ids: Vec<MessageId>,
    ) -> Later<Vec<MessageRow>> {
        let slots = ids.len().min(reads::WIDTH);
        run!(self, Read, slots, |inner| reads::messages(inner, conversation, ids))
    }

    fn stamped(&self, conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>> {
        run!(self, Read, 1, |inner| reads::stamped(inner, conversation, stamp))
    }

    fn sent(
        &self,
        conversation: ConversationId,
        stamp: Stamp,
        sender: UserId,
        r#ref: Ref,
    ) -> Later<Option<MessageRow>> {
        run!(self, Read, 1, |inner| reads::sent(inner, conversation, stamp, sender, r#ref))
    }

    fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<Vec<MessageRow>> {
        run!(self, Read, 1, |inner| reads::history(inner, conversation, before, limit))
    }

    fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
    ) -> Later<Option<MessageId>> {
        run!(self, Read, 1, |inner| reads::newest_for(inner, conversation, reader, alone, id))
    }

    fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
    ) -> Later<u32> {
        run!(self, Read, 1, |inner| {
            reads::unread(inner, conversation, reader, read_up_to, head, cap)
        })
    }

    fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<(Vec<InboxRow>, bool)> {
        run!(self, Read, 1, |inner| reads::inbox(inner, user, before, limit))
    }

    fn inbox_rows(&self, user: UserId, conversations: Vec<ConversationId>) -> Later<Vec<InboxRow>> {
        let slots = conversations.len().min(reads::WIDTH);
        run!(self, Read, slots, |inner| reads::inbox_rows(inner, user, conversations))
    }

    fn changes(&self, user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>> {
        run!(self, Read, 1, |inner| reads::changes(inner, user, after, limit))
    }

    /// Rows go by themselves, by their time to live.
    fn expire(&self, _before_ms: u64) -> Later<u64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn create_user(&self, row: UserRow) -> Later<bool> {
        run!(self, Condition, 1, |inner| accounts::create_user(inner, &row))
    }

    fn import_users(&self, rows: Vec<UserRow>) -> Later<u64> {
        let slots = rows.len().min(accounts::IMPORT_WIDTH);
        run!(self, Condition, slots, |inner| accounts::import_users(inner, rows))
    }

    fn user(&self, user: UserId) -> Later<Option<UserRow>> {
        run!(self, Read, 1, |inner| accounts::user(inner, user))
    }

    fn change_user(&self, user: UserId, change: UserChange) -> Later<Option<UserRow>> {
        run!(self, Condition, 1, |inner| accounts::change_user(inner, user, change))
    }

    fn find_users(&self, prefix: String, limit: usize) -> Later<Vec<UserRow>> {
        let slots = limit.min(accounts::FIND_WIDTH);
        run!(self, Read, slots, |inner| accounts::find_users(inner, prefix, limit))
    }

    fn set_block(&self, user: UserId, blocked: UserId, on: bool) -> Later<()> {
        run!(self, Write, 1, |inner| accounts::set_block(inner, user, blocked, on))
    }

    fn blocks(&self, user: UserId) -> Later<Vec<UserId>> {
        run!(self, Read, 1, |inner| accounts::blocks(inner, user))
    }

    fn is_blocked(&self, user: UserId, blocked: UserId) -> Later<bool> {
        run!(self, Read, 1, |inner| accounts::is_blocked(inner, user, blocked))
    }

    fn set_presence(&self, row: PresenceRow, folded: Vec<Life>) -> Later<()> {
        run!(self, Write, 1, |inner| lives::set_presence(inner, row, folded))
    }

    fn presence(&self, user: UserId) -> Later<Vec<PresenceRow>> {
        run!(self, Read, 1, |inner| lives::presence(inner, user))
    }

    fn set_node(&self, row: NodeRow) -> Later<()> {
        run!(self, Write, 1, |inner| lives::set_node(inner, row))
    }

    fn nodes(&self) -> Later<Vec<NodeRow>> {
        run!(self, Read, 1, |inner| lives::nodes(inner))
    }

    fn revoke(&self, token: Uuid, until_ms: u64) -> Later<()> {
        run!(self, Write, 1, |inner| lives::revoke(inner, token, until_ms))
    }

    fn is_revoked(&self, token: Uuid) -> Later<bool> {
        run!(self, Read, 1, |inner| lives::is_revoked(inner, token))
    }

    fn secret(&self) -> [u8; 32] {
        self.0.secret
    }

    fn check(&self) -> Later<()> {
        run!(self, Write, 1, |inner| lives::check(inner))
    }
}
