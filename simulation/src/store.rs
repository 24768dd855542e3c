//! The store of a simulated cluster: the reference model, behind a way that delays and times out.
//!
//! A write that times out was done, was not, or was done in part and surfaces later, as a hinted
//! write does. What a dead life had under way never returns. Reads see what was confirmed before.

use rally_cluster::store::{
    Change, Commit, InboxRow, Later, MessageRow, Model, NodeRow, PresenceRow, Store, StoreError,
    UserChange, UserRow,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, StoreId, UserId};
use uuid::Uuid;

use crate::world::World;

/// How long a write waits before nobody confirms it.
const TIMEOUT_MS: u64 = 1_000;

/// One life's way to the store.
#[derive(Clone)]
pub struct SimStore {
    world: World,
    model: Model,
    life: Life,
}

impl SimStore {
    /// Gives a life its way to the model.
    pub fn new(world: World, model: Model, life: Life) -> Self {
        Self { world, model, life }
    }

    /// Answers after a while, unless the life is over by then.
    fn slowly<T: Send + 'static>(
        &self,
        read: bool,
        f: impl FnOnce(&Model) -> Later<T> + Send + 'static,
    ) -> Later<T> {
        let Self { world, model, life } = self.clone();
        Box::pin(async move {
            world.delay(1, 6).await;
            if read && world.happens(|weather| weather.read_failed) {
                return Err(StoreError::Read("it timed out".to_owned()));
            }
            if world.is_dead(life) {
                std::future::pending::<()>().await;
            }
            let answer = f(&model).await;
            world.delay(0, 3).await;
            answer
        })
    }

    fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Model) -> Later<T> + Send + 'static,
    ) -> Later<T> {
        self.slowly(true, f)
    }

    fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Model) -> Later<T> + Send + 'static,
    ) -> Later<T> {
        self.slowly(false, f)
    }
}

fn unconfirmed() -> StoreError {
    StoreError::Unknown("it timed out".to_owned())
}

/// Splits commits into what is one partition's each.
fn parts(commits: &[Commit]) -> Vec<Commit> {
    let mut parts = Vec::new();
    for commit in commits {
        let conversation = commit.conversation;
        if let Some(message) = &commit.message {
            let message = Some(message.clone());
            parts.push(Commit { conversation, message, members: Vec::new() });
        }
        for member in &commit.members {
            parts.push(Commit { conversation, message: None, members: vec![member.clone()] });
        }
    }
    parts
}

impl Store for SimStore {
    fn id(&self) -> StoreId {
        self.model.id()
    }

    fn high_water_ms(&self) -> u64 {
        self.model.high_water_ms()
    }

    fn commit(&self, commits: Vec<Commit>) -> Later<()> {
        let Self { world, model, life } = self.clone();
        Box::pin(async move {
            world.delay(1, 6).await;
            if world.is_dead(life) {
                std::future::pending::<()>().await;
            }
            let wait = || tokio::time::sleep(std::time::Duration::from_millis(TIMEOUT_MS));
            if world.happens(|weather| weather.write_lost) {
                wait().await;
                return Err(unconfirmed());
            }
            if world.happens(|weather| weather.write_late) {
                let (mut now, mut later) = (Vec::new(), Vec::new());
                for part in parts(&commits) {
                    if world.below(2) == 0 { now.push(part) } else { later.push(part) }
                }
                model.commit(now).await?;
                let (late_world, late_model) = (world.clone(), model.clone());
                tokio::task::spawn(async move {
                    late_world.delay(2_000, 60_000).await;
                    let _ = late_model.commit(later).await;
                });
                wait().await;
                return Err(unconfirmed());
            }
            // Each partition at a moment of its own: a reader may see some of it.
            for part in parts(&commits) {
                model.commit(vec![part]).await?;
                world.delay(0, 2).await;
            }
            if world.happens(|weather| weather.write_unconfirmed) {
                wait().await;
                return Err(unconfirmed());
            }
            Ok(())
        })
    }

    fn messages(
        &self,
        conversation: ConversationId,
        ids: Vec<MessageId>,
    ) -> Later<Vec<MessageRow>> {
        self.read(move |model| model.messages(conversation, ids))
    }

    fn stamped(&self, conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>> {
        self.read(move |model| model.stamped(conversation, stamp))
    }

    fn history(
        &self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<Vec<MessageRow>> {
        self.read(move |model| model.history(conversation, before, limit))
    }

    fn newest_for(
        &self,
        conversation: ConversationId,
        reader: UserId,
        alone: bool,
        id: MessageId,
    ) -> Later<Option<MessageId>> {
        self.read(move |model| model.newest_for(conversation, reader, alone, id))
    }

    fn unread(
        &self,
        conversation: ConversationId,
        reader: UserId,
        read_up_to: Option<MessageId>,
        head: MessageId,
        cap: u32,
    ) -> Later<u32> {
        self.read(move |model| model.unread(conversation, reader, read_up_to, head, cap))
    }

    fn inbox(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Later<(Vec<InboxRow>, bool)> {
        self.read(move |model| model.inbox(user, before, limit))
    }

    fn inbox_rows(&self, user: UserId, conversations: Vec<ConversationId>) -> Later<Vec<InboxRow>> {
        self.read(move |model| model.inbox_rows(user, conversations))
    }

    fn changes(&self, user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>> {
        self.read(move |model| model.changes(user, after, limit))
    }

    fn expire(&self, before_ms: u64) -> Later<u64> {
        self.write(move |model| model.expire(before_ms))
    }

    fn create_user(&self, row: UserRow) -> Later<bool> {
        self.write(move |model| model.create_user(row))
    }

    fn import_users(&self, rows: Vec<UserRow>) -> Later<u64> {
        self.write(move |model| model.import_users(rows))
    }

    fn user(&self, user: UserId) -> Later<Option<UserRow>> {
        self.read(move |model| model.user(user))
    }

    fn change_user(&self, user: UserId, change: UserChange) -> Later<Option<UserRow>> {
        self.write(move |model| model.change_user(user, change))
    }

    fn find_users(&self, prefix: String, limit: usize) -> Later<Vec<UserRow>> {
        self.read(move |model| model.find_users(prefix, limit))
    }

    fn set_block(&self, user: UserId, blocked: UserId, on: bool) -> Later<()> {
        self.write(move |model| model.set_block(user, blocked, on))
    }

    fn blocks(&self, user: UserId) -> Later<Vec<UserId>> {
        self.read(move |model| model.blocks(user))
    }

    fn is_blocked(&self, user: UserId, blocked: UserId) -> Later<bool> {
        self.read(move |model| model.is_blocked(user, blocked))
    }

    fn set_presence(&self, row: PresenceRow, folded: Vec<Life>) -> Later<()> {
        self.write(move |model| model.set_presence(row, folded))
    }

    fn presence(&self, user: UserId) -> Later<Vec<PresenceRow>> {
        self.read(move |model| model.presence(user))
    }

    fn set_node(&self, row: NodeRow) -> Later<()> {
        self.write(move |model| model.set_node(row))
    }

    fn nodes(&self) -> Later<Vec<NodeRow>> {
        self.read(|model| model.nodes())
    }

    fn revoke(&self, token: Uuid, until_ms: u64) -> Later<()> {
        self.write(move |model| model.revoke(token, until_ms))
    }

    fn is_revoked(&self, token: Uuid) -> Later<bool> {
        self.read(move |model| model.is_revoked(token))
    }

    fn secret(&self) -> [u8; 32] {
        self.model.secret()
    }

    fn check(&self) -> Later<()> {
        self.read(move |model| model.check())
    }
}
