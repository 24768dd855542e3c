//! Approach 1 of the prototype: a partition for each sender and recipient, and an index on either.
//!
//! The table's key ends with `created_at`: of two messages from one to the other in one millisecond
//! the later write replaces the earlier, which is a lost message. Here each has one of its own.

use std::ops::ControlFlow;

use anyhow::Result;
use futures_util::future::try_join;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

use super::database::Keyspace;
use super::model::{Later, Latest, Model, Reads, Rows, told};
use super::world::{MOMENT_MS, Newest, PAGE, Said, World, me, peer};
use crate::stop::Stop;

/// A row as the prototype selects it: all of it.
type Record = (String, String, String, String, CqlTimestamp);

const COLUMNS: &str = "SELECT from_user, to_user, message, id, created_at FROM $.messages";

/// The tables, and what is asked of them.
pub struct Approach1<'a> {
    keyspace: &'a Keyspace<'a>,
    insert: PreparedStatement,
    sent: PreparedStatement,
    received: PreparedStatement,
    older: PreparedStatement,
    sent_since: PreparedStatement,
    received_since: PreparedStatement,
}

impl<'a> Approach1<'a> {
    /// Makes the tables in an empty keyspace.
    pub async fn make(keyspace: &'a Keyspace<'a>) -> Result<Self> {
        keyspace.make().await?;
        keyspace
            .change(
                "CREATE TABLE $.messages (from_user text, to_user text, message text, id text, \
                 created_at timestamp, PRIMARY KEY ((from_user, to_user), created_at))",
            )
            .await?;
        for column in ["from_user", "to_user"] {
            let index = format!("CREATE INDEX chat_messages_{column} ON $.messages({column})");
            keyspace.change(&index).await?;
        }
        let select = async |rest: &str| keyspace.prepare(&format!("{COLUMNS} WHERE {rest}")).await;
        Ok(Self {
            keyspace,
            insert: keyspace
                .prepare(
                    "INSERT INTO $.messages (from_user, to_user, message, id, created_at) \
                     VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
                )
                .await?,
            sent: select("from_user = ?").await?,
            received: select("to_user = ?").await?,
            older: select(
                "from_user = ? AND to_user = ? AND created_at < ? ORDER BY created_at DESC LIMIT ?",
            )
            .await?,
            sent_since: select("from_user = ? AND created_at > ? ALLOW FILTERING").await?,
            received_since: select("to_user = ? AND created_at > ? ALLOW FILTERING").await?,
        })
    }

    /// Reads everything of the user by one of the two indices.
    async fn all_by(&self, index: &PreparedStatement) -> Result<Vec<Record>> {
        let mut rows = Vec::new();
        let take = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        self.keyspace.each(index, (me().as_str(),), take).await?;
        Ok(rows)
    }

    async fn since(&self, index: &PreparedStatement) -> Result<Vec<u32>> {
        let mut new = Vec::new();
        let take = |(_, _, text, _, _): Record| {
            new.push(told(&text));
            ControlFlow::Continue(())
        };
        let moment = CqlTimestamp(MOMENT_MS as i64);
        self.keyspace.each(index, (me().as_str(), moment), take).await?;
        new.into_iter().collect()
    }

    /// Reads up to a page of one direction before a time.
    async fn half(&self, from: &str, to: &str, before: CqlTimestamp) -> Result<Vec<Record>> {
        let mut rows = Vec::new();
        let take = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        self.keyspace.each(&self.older, (from, to, before, PAGE as i32), take).await?;
        Ok(rows)
    }
}

impl Model for Approach1<'_> {
    fn write<'a>(&'a self, said: &'a Said) -> Later<'a, u64> {
        Box::pin(async {
            let (from, to, at) = (said.sender(), said.recipient(), said.at as i64);
            let values =
                (from.as_str(), to.as_str(), said.text(), said.id(), CqlTimestamp(at), at * 1_000);
            self.keyspace.write(&self.insert, values).await?;
            Ok(1)
        })
    }

    fn settle<'a>(&'a mut self, stop: &'a Stop) -> Later<'a, Option<u64>> {
        Box::pin(self.keyspace.settle(&["messages"], stop))
    }

    fn rows<'a>(&'a self, _: &'a World) -> Later<'a, Rows> {
        Box::pin(async {
            Ok(Rows::from([("messages", self.keyspace.count("messages", "id").await?)]))
        })
    }

    fn ways(&self) -> Vec<Box<dyn Reads + '_>> {
        vec![Box::new(self)]
    }
}

impl Reads for &Approach1<'_> {
    fn name(&self) -> &'static str {
        "approach 1"
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async {
            let both = try_join(self.all_by(&self.sent), self.all_by(&self.received)).await?;
            let mut latest = Latest::default();
            for (_, to, text, _, at) in both.0 {
                latest.see(to, at.0, text);
            }
            for (from, _, text, _, at) in both.1 {
                latest.see(from, at.0, text);
            }
            latest.into_inbox()
        })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        Box::pin(async move {
            let (me, peer, at) = (me(), peer(before.conversation), CqlTimestamp(before.at as i64));
            let (me, peer) = (me.as_str(), peer.as_str());
            let both = try_join(self.half(me, peer, at), self.half(peer, me, at)).await?;
            let mut rows = [both.0, both.1].concat();
            rows.sort_by_key(|(.., at)| std::cmp::Reverse(at.0));
            rows.iter().take(PAGE).map(|(_, _, text, ..)| told(text)).collect()
        })
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(async {
            let (sent, received) =
                try_join(self.since(&self.sent_since), self.since(&self.received_since)).await?;
            Ok([sent, received].concat())
        })
    }
}
