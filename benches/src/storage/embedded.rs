//! Rally's model on the store that a single node embeds, in a folder of its own.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use rally_cluster::store::Store;
use rally_cluster::store::embedded::{CommitFailed, EmbeddedStore, Options};
use rally_schema::{ChangeId, ConversationId, MessageId, UserId};

use super::model::{Later, Model, Reads, Rows};
use super::rally::{commit_of, statements_of, ways};
use super::world::{Said, World, me, peer};
use crate::disk::bytes_of;
use crate::people::{Account, Cost};
use crate::stop::Stop;

/// Rows that counting reads at once.
const COUNTED: usize = 1_000;

/// A store, and the thread that writes for it.
struct Running {
    store: EmbeddedStore,
    writing: JoinHandle<Result<(), CommitFailed>>,
}

impl Running {
    fn open(folder: &Path) -> Result<Self> {
        let (store, commits) = EmbeddedStore::open(folder, Options::default())?;
        Ok(Self { store, writing: thread::spawn(move || commits.run()) })
    }

    /// Ends it as a node does that is stopped: everything is in its files.
    fn close(self) -> Result<()> {
        self.store.close();
        let ended = self.writing.join().map_err(|_| anyhow!("the store's thread panicked"))?;
        Ok(ended?)
    }
}

/// The embedded store.
pub struct Embedded<'a> {
    folder: PathBuf,
    world: &'a World,
    /// Missing only while it is closed and opened again.
    running: Option<Running>,
}

impl<'a> Embedded<'a> {
    /// Makes one in a folder that does not exist yet, with the user's account in it.
    pub async fn make(folder: &Path, world: &'a World) -> Result<Self> {
        let running = Running::open(folder)?;
        running.store.import_users(vec![Account::of(me(), Cost::Least).row()]).await?;
        Ok(Self { folder: folder.to_owned(), world, running: Some(running) })
    }

    fn store(&self) -> &EmbeddedStore {
        &self.running.as_ref().expect("it is open but while it settles").store
    }

    /// Ends it.
    pub fn close(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), Running::close)
    }

    async fn count_messages(&self, conversation: ConversationId) -> Result<u64> {
        let (mut count, mut before) = (0, None::<MessageId>);
        loop {
            let page = self.store().history(conversation, before, COUNTED).await?;
            let Some(last) = page.last() else { return Ok(count) };
            (count, before) = (count + page.len() as u64, Some(last.id));
        }
    }

    async fn count_changes(&self, user: UserId) -> Result<u64> {
        let (mut count, mut after) = (0, ChangeId::first_of(0));
        loop {
            let page = self.store().changes(user, after, COUNTED).await?;
            let Some(last) = page.last() else { return Ok(count) };
            (count, after) = (count + page.len() as u64, last.change);
        }
    }
}

impl Model for Embedded<'_> {
    fn write<'b>(&'b self, said: &'b Said) -> Later<'b, u64> {
        Box::pin(async {
            let commit = commit_of(said);
            let statements = statements_of(&commit);
            self.store().commit(vec![commit]).await?;
            Ok(statements)
        })
    }

    fn settle<'b>(&'b mut self, _: &'b Stop) -> Later<'b, Option<u64>> {
        Box::pin(async {
            self.close()?;
            let bytes = bytes_of(&self.folder).context("measuring the store's folder")?;
            self.running = Some(Running::open(&self.folder)?);
            Ok(Some(bytes))
        })
    }

    fn rows<'b>(&'b self, world: &'b World) -> Later<'b, Rows> {
        Box::pin(async {
            let (mut messages, mut changes) = (0, self.count_changes(me()).await?);
            let mut inbox = self.store().inbox(me(), None, usize::MAX).await?.0.len();
            for other in (0..world.shape().conversations as u32).map(peer) {
                messages += self.count_messages(ConversationId::direct(me(), other)).await?;
                changes += self.count_changes(other).await?;
                inbox += self.store().inbox(other, None, usize::MAX).await?.0.len();
            }
            Ok(Rows::from([("messages", messages), ("inbox", inbox as u64), ("changes", changes)]))
        })
    }

    fn ways(&self) -> Vec<Box<dyn Reads + '_>> {
        ways(self.store(), self.world, ["rally, embedded", "rally, embedded, bare"])
    }
}
