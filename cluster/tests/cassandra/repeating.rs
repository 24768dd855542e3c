//! The store as a committer uses it: what is not confirmed is sent again.
//!
//! With a budget of 0 it is the store itself. When a node is killed under the suite, requests
//! that were under way there are unknown, which is the truth; the trait allows a repeat at will.

use std::time::Duration;

use rally_cluster::store::cassandra::CassandraStore;
use rally_cluster::store::{
    Change, Commit, InboxRow, Later, MessageRow, NodeRow, PresenceRow, Store, StoreError,
    UserChange, UserRow,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, Ref, StoreId, UserId};
use uuid::Uuid;

/// A store, and how often a call is repeated.
#[derive(Clone)]
pub struct Repeating {
    pub store: CassandraStore,
    pub budget: u32,
}

impl Repeating {
    fn call<T: Send + 'static>(
        &self,
        call: impl Fn(&CassandraStore) -> Later<T> + Send + 'static,
    ) -> Later<T> {
        let Self { store, budget } = self.clone();
        Box::pin(async move {
            let mut left = budget;
            loop {
                match call(&store).await {
                    Err(StoreError::Unknown(error) | StoreError::Read(error)) if left > 0 => {
                        println!("repeated: {error}");
                        left -= 1;
                        // Nothing can be waited for but an answer, and asking at once what a node
                        // refuses that is about to die spends the whole budget on it.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    answer => return answer,
                }
            }
        })
    }
}

/// Methods that may be repeated, and some that are not.
macro_rules! store {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Store for Repeating {
            fn id(&self) -> StoreId {
                self.store.id()
            }

            fn high_water_ms(&self) -> u64 {
                self.store.high_water_ms()
            }

            fn secret(&self) -> [u8; 32] {
                self.store.secret()
            }

            fn create_user(&self, row: UserRow) -> Later<bool> {
                self.store.create_user(row)
            }

            fn import_users(&self, rows: Vec<UserRow>) -> Later<u64> {
                self.store.import_users(rows)
            }

            $(fn $method(&self, $($name: $type),*) -> Later<$answer> {
                self.call(move |store| store.$method($($name.clone()),*))
            })*
        }
    };
}

store! {
    commit(commits: Vec<Commit>) -> ();
    messages(conversation: ConversationId, ids: Vec<MessageId>) -> Vec<MessageRow>;
    stamped(conversation: ConversationId, stamp: Stamp) -> Vec<MessageRow>;
    sent(conversation: ConversationId, stamp: Stamp, sender: UserId, name: Ref)
        -> Option<MessageRow>;
    history(conversation: ConversationId, before: Option<MessageId>, limit: usize)
        -> Vec<MessageRow>;
    newest_for(conversation: ConversationId, reader: UserId, alone: bool, id: MessageId)
        -> Option<MessageId>;
    unread(
        conversation: ConversationId, reader: UserId, read: Option<MessageId>, head: MessageId, cap: u32
    ) -> u32;
    inbox(user: UserId, before: Option<MessageId>, limit: usize) -> (Vec<InboxRow>, bool);
    inbox_rows(user: UserId, conversations: Vec<ConversationId>) -> Vec<InboxRow>;
    changes(user: UserId, after: ChangeId, limit: usize) -> Vec<Change>;
    expire(before_ms: u64) -> u64;
    user(user: UserId) -> Option<UserRow>;
    change_user(user: UserId, change: UserChange) -> Option<UserRow>;
    find_users(prefix: String, limit: usize) -> Vec<UserRow>;
    set_block(user: UserId, blocked: UserId, on: bool) -> ();
    blocks(user: UserId) -> Vec<UserId>;
    is_blocked(user: UserId, blocked: UserId) -> bool;
    set_presence(row: PresenceRow, folded: Vec<Life>) -> ();
    presence(user: UserId) -> Vec<PresenceRow>;
    set_node(row: NodeRow) -> ();
    nodes() -> Vec<NodeRow>;
    revoke(token: Uuid, until_ms: u64) -> ();
    is_revoked(token: Uuid) -> bool;
    check() -> ();
}
