//! Rally's model on the store that nodes share.

use std::cell::RefCell;
use std::collections::HashSet;

use anyhow::Result;
use rally_cluster::store::Store as _;
use rally_cluster::store::cassandra::{CassandraStore, Options};
use rally_schema::ConversationId;

use super::database::Keyspace;
use super::model::{Later, Model, Reads, Rows};
use super::rally::{commit_of, statements_of, ways};
use super::world::{Said, World, me};
use crate::people::{Account, Cost};
use crate::stop::Stop;

/// The tables that a message is in, each with a column of its key.
const TABLES: [(&str, &str); 4] =
    [("messages", "id"), ("buckets", "bucket"), ("inbox", "conversation"), ("changes", "change")];

/// How long one request may take: a database that fills its disk is slow.
const REQUEST_MS: u64 = 30_000;

/// The store in a keyspace of its own.
pub struct Shared<'a> {
    keyspace: &'a Keyspace<'a>,
    world: &'a World,
    store: CassandraStore,
    /// Conversations whose bucket the store has written.
    begun: RefCell<HashSet<ConversationId>>,
}

impl<'a> Shared<'a> {
    /// Makes the keyspace with all its tables, and the user's account.
    pub async fn make(keyspace: &'a Keyspace<'a>, at: &str, world: &'a World) -> Result<Self> {
        let store = CassandraStore::open(Options {
            contact_points: vec![at.to_owned()],
            keyspace: keyspace.name().to_owned(),
            request_timeout_ms: REQUEST_MS,
            ..Options::default()
        });
        let store = store.await?;
        store.import_users(vec![Account::of(me(), Cost::Least).row()]).await?;
        Ok(Self { keyspace, world, store, begun: RefCell::default() })
    }
}

impl Model for Shared<'_> {
    fn write<'a>(&'a self, said: &'a Said) -> Later<'a, u64> {
        Box::pin(async {
            let commit = commit_of(said);
            let (conversation, statements) = (commit.conversation, statements_of(&commit));
            // Beside the first message of a bucket the store writes that there is one, until it
            // knows that it is written.
            let begins = !self.begun.borrow().contains(&conversation);
            self.store.commit(vec![commit]).await?;
            self.begun.borrow_mut().insert(conversation);
            Ok(statements + u64::from(begins))
        })
    }

    fn settle<'a>(&'a mut self, stop: &'a Stop) -> Later<'a, Option<u64>> {
        Box::pin(async { self.keyspace.settle(&TABLES.map(|(table, _)| table), stop).await })
    }

    fn rows<'a>(&'a self, _: &'a World) -> Later<'a, Rows> {
        Box::pin(async {
            let mut rows = Rows::new();
            for (table, column) in TABLES {
                rows.insert(table, self.keyspace.count(table, column).await?);
            }
            Ok(rows)
        })
    }

    fn ways(&self) -> Vec<Box<dyn Reads + '_>> {
        ways(&self.store, self.world, ["rally", "rally, bare"])
    }
}
