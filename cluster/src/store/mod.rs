//! The store: where messages, inboxes, change logs and accounts are kept.
//!
//! The store is the truth. Everything here is phrased as what a caller may rely
//! on; `rows.rs` has the shapes, `cells.rs` how writes to a message meet, `model.rs` the
//! promises as plain maps, `conformance/` the suite that every implementation passes,
//! `embedded/` the one for a single node, `cassandra/` the one that nodes share.

pub mod cassandra;
pub mod cells;
#[cfg(any(test, feature = "conformance"))]
#[macro_use]
pub mod conformance;
pub mod embedded;
pub mod model;
mod nodes;
pub mod rows;

use std::future::Future;
use std::pin::Pin;

use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, MessageId, Ref, StoreId, UserId};
use thiserror::Error;

pub use cells::MessageCells;
pub use model::Model;
pub use nodes::{NodeRow, NodeStatus};
pub use rows::*;

/// A result that comes later; boxed, because a node chooses its store when it starts.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Why the store did not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Nothing of it was, or will be, written: too much is waiting already.
    #[error("the store has too much waiting: nothing was written")]
    Busy,
    /// Some of it may have been written, or may still be.
    #[error("the store did not confirm: {0}")]
    Unknown(String),
    /// A read failed.
    #[error("the store could not be read: {0}")]
    Read(String),
    /// A row is not what this version wrote.
    #[error("damaged row in {table}: {what}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// Keeps what Rally must not lose.
///
/// **Cells.** A fact is one cell with a timestamp of its own, the microseconds of the id it
/// is about. The later cell wins, among equals the one with the larger bytes, so writes may
/// arrive in any order and any number of times and leave the same row. `deleted` is only
/// ever set; a deleted message has no body, whatever arrives later. An edit, a deletion or a
/// mark creates nothing that a reader sees: a message exists once it was put, a conversation
/// in a user's inbox once it has a head. What came before takes effect then.
///
/// **Durability.** A write that returned `Ok` is there after the death of the process, and,
/// where the store syncs, after a power cut. After [`StoreError::Unknown`] any part of it may
/// be there, now or later; after [`StoreError::Busy`] none ever.
///
/// **Reads** see every write that returned `Ok` before the read began.
pub trait Store: Send + Sync + 'static {
    /// Gives the identity that this store got when it was made.
    fn id(&self) -> StoreId;

    /// Gives the latest time in a change id that the store holds, in milliseconds; 0 when new.
    /// A store that nodes share knows, of what was written before it was opened, the latest
    /// heartbeat of any node that was ready then instead: nobody could keep one mark for all
    /// without every write paying for it, and a node's heartbeats follow its clock as its change
    /// ids do. One that is not ready, because its clock is off, raises nothing.
    fn high_water_ms(&self) -> u64;

    /// Makes every write of `commits` durable, then returns. May be repeated at will: the same
    /// commits twice leave the same rows.
    fn commit(&self, commits: Vec<Commit>) -> Later<()>;

    /// Reads those of `ids` that exist, in the order of `ids`.
    fn messages(&self, conversation: ConversationId, ids: Vec<MessageId>)
    -> Later<Vec<MessageRow>>;

    /// Reads every message with this stamp: at most a few, of different senders or texts.
    fn stamped(&self, conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>>;

    /// Reads the message of this stamp that its sender called so; of several, which only a client
    /// makes that errs, the lowest. Where texts come over a network, that of nothing else is read.
    fn sent(
        &self,
        conversation: ConversationId,
        stamp: Stamp,
        sender: UserId,
        r#ref: Ref,
    ) -> Later<Option<MessageRow>> {
        let stamped = self.stamped(conversation, stamp);
        let mine = move |row: &MessageRow| row.sender == sender && row.r#ref == r#ref;
        Box::pin(async move { Ok(stamped.await?.into_iter().find(mine)) })
    }

    /// Reads up to `limit` messages older than `before` (all when `None`), newest first; none after
    /// the one with which the texts have [`PAGE_BYTES`].
    /// Twins are both returned; [`crate::twins`] folds them.
    fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<Vec<MessageRow>>;

    /// Finds the newest message of anybody but `reader` that is not above `id`; a reader alone
    /// with himself finds his own. A deleted message is still a message, here and in `unread`.
    fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
    ) -> Later<Option<MessageId>>;

    /// Counts messages of others above `read_up_to` and not above `head`, twins as one, stopping at `cap`.
    fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
    ) -> Later<u32>;

    /// Reads up to `limit` entries whose head is older than `before`, newest head first, and
    /// whether there are more.
    fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<(Vec<InboxRow>, bool)>;

    /// Reads those of `conversations` that the user has, in their order.
    fn inbox_rows(&self, user: UserId, conversations: Vec<ConversationId>) -> Later<Vec<InboxRow>>;

    /// Reads up to `limit` entries of the user's log above `after`, oldest first.
    fn changes(&self, user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>>;

    /// Drops entries of every log older than `before_ms`, never a younger one, and says how many;
    /// forgets revocations that ended before. A store whose rows go by themselves may answer 0.
    fn expire(&self, before_ms: u64) -> Later<u64>;

    /// Creates an account; `false` when the name is taken, and nothing is changed then. Of two
    /// calls at once, one succeeds.
    fn create_user(&self, row: UserRow) -> Later<bool>;

    /// Creates many accounts at once, leaving those that exist as they are; says how many are new.
    fn import_users(&self, rows: Vec<UserRow>) -> Later<u64>;

    /// Reads an account.
    fn user(&self, user: UserId) -> Later<Option<UserRow>>;

    /// Changes what `change` names and leaves the rest; `None` when there is no such account.
    fn change_user(&self, user: UserId, change: UserChange) -> Later<Option<UserRow>>;

    /// Finds up to `limit` accounts whose name begins with `prefix`, in order.
    fn find_users(&self, prefix: String, limit: usize) -> Later<Vec<UserRow>>;

    /// Blocks or unblocks; repeating changes nothing.
    fn set_block(&self, user: UserId, blocked: UserId, on: bool) -> Later<()>;

    /// Reads whom the user has blocked, in order.
    fn blocks(&self, user: UserId) -> Later<Vec<UserId>>;

    /// Tells whether `user` has blocked `blocked`.
    fn is_blocked(&self, user: UserId, blocked: UserId) -> Later<bool>;

    /// Writes the presence of one edge's life, over what that life wrote before, and drops the
    /// user's rows of `folded` lives.
    fn set_presence(&self, row: PresenceRow, folded: Vec<rally_schema::Life>) -> Later<()>;

    /// Reads a user's presence rows, one an edge life.
    fn presence(&self, user: UserId) -> Later<Vec<PresenceRow>>;

    /// Merges what is known of one life of a node in; [`NodeRow`] says who wins.
    fn set_node(&self, row: NodeRow) -> Later<()>;

    /// Reads every life of every node, in order.
    fn nodes(&self) -> Later<Vec<NodeRow>>;

    /// Ends one log-in: the token of this id is refused until it would have expired anyway.
    fn revoke(&self, token: uuid::Uuid, until_ms: u64) -> Later<()>;

    /// Tells whether a token was revoked.
    fn is_revoked(&self, token: uuid::Uuid) -> Later<bool>;

    /// Gives the secret with which tokens and tickets are signed; made with the store.
    fn secret(&self) -> [u8; 32];

    /// Fails when the store cannot be written or read now; a health check that checks.
    fn check(&self) -> Later<()>;
}
