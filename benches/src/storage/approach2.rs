//! Approach 2 of the prototype: a partition for each user, with every message in it; so two rows a
//! message.
//!
//! As the prototype reads it, a page is the whole partition and what is left of it after a filter. The
//! table allows better: its rows stand in the order of time, and whoever reads them backwards may
//! stop when he has enough. Both ways are measured.
//!
//! The key ends with `created_at`: of two messages of one user in one millisecond the later write
//! replaces the earlier, which is a lost message. Here each has one of its own.

use std::ops::ControlFlow;

use anyhow::Result;
use futures_util::future::try_join;
use rally_schema::UserId;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

use super::database::Keyspace;
use super::model::{Later, Latest, Model, Reads, Rows, told};
use super::world::{INBOX, MOMENT_MS, Newest, PAGE, Said, World, me, peer};
use crate::stop::Stop;

/// A row as the prototype selects it: all of it.
type Record = (String, String, String, String, String, CqlTimestamp);

const COLUMNS: &str = "SELECT user, from_user, to_user, message, id, created_at FROM $.messages";

/// Rows that are read backwards at once: some more than an inbox or a page shows.
const BACKWARDS: i32 = 200;

/// The table, and what is asked of it.
pub struct Approach2<'a> {
    keyspace: &'a Keyspace<'a>,
    insert: PreparedStatement,
    all: PreparedStatement,
    since: PreparedStatement,
    backwards: PreparedStatement,
    backwards_from: PreparedStatement,
}

impl<'a> Approach2<'a> {
    /// Makes the table in an empty keyspace.
    pub async fn make(keyspace: &'a Keyspace<'a>) -> Result<Self> {
        keyspace.make().await?;
        keyspace
            .change(
                "CREATE TABLE $.messages (user text, from_user text, to_user text, message text, \
                 id text, created_at timestamp, PRIMARY KEY (user, created_at))",
            )
            .await?;
        let select = async |rest: &str| keyspace.prepare(&format!("{COLUMNS} WHERE {rest}")).await;
        let mut backwards = select("user = ? ORDER BY created_at DESC").await?;
        let mut backwards_from =
            select("user = ? AND created_at < ? ORDER BY created_at DESC").await?;
        backwards.set_page_size(BACKWARDS);
        backwards_from.set_page_size(BACKWARDS);
        Ok(Self {
            keyspace,
            insert: keyspace
                .prepare(
                    "INSERT INTO $.messages (user, from_user, to_user, message, id, created_at) \
                     VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
                )
                .await?,
            all: select("user = ?").await?,
            since: select("user = ? AND created_at > ?").await?,
            backwards,
            backwards_from,
        })
    }

    async fn put(&self, user: UserId, said: &Said) -> Result<()> {
        let (from, to, at) = (said.sender(), said.recipient(), said.at as i64);
        let (from, to, time) = (from.as_str(), to.as_str(), CqlTimestamp(at));
        let values = (user.as_str(), from, to, said.text(), said.id(), time, at * 1_000);
        self.keyspace.write(&self.insert, values).await
    }
}

/// Who a row of the user is with.
fn other(from: String, to: String) -> String {
    if from == me().as_str() { to } else { from }
}

impl Model for Approach2<'_> {
    fn write<'a>(&'a self, said: &'a Said) -> Later<'a, u64> {
        Box::pin(async {
            try_join(self.put(said.sender(), said), self.put(said.recipient(), said)).await?;
            Ok(2)
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
        vec![Box::new(Whole(self)), Box::new(Backwards(self))]
    }
}

/// As the prototype reads it.
struct Whole<'a>(&'a Approach2<'a>);

/// As the table allows.
struct Backwards<'a>(&'a Approach2<'a>);

impl Approach2<'_> {
    /// Reads what came after the moment: a slice of the partition, either way.
    async fn news(&self) -> Result<Vec<u32>> {
        let mut new = Vec::new();
        let take = |(_, _, _, text, _, _): Record| {
            new.push(told(&text));
            ControlFlow::Continue(())
        };
        let values = (me(), CqlTimestamp(MOMENT_MS as i64));
        self.keyspace.each(&self.since, (values.0.as_str(), values.1), take).await?;
        new.into_iter().collect()
    }
}

impl Reads for Whole<'_> {
    fn name(&self) -> &'static str {
        "approach 2"
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async {
            let mut latest = Latest::default();
            let take = |(_, from, to, text, _, at): Record| {
                latest.see(other(from, to), at.0, text);
                ControlFlow::Continue(())
            };
            self.0.keyspace.each(&self.0.all, (me().as_str(),), take).await?;
            latest.into_inbox()
        })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        Box::pin(async move {
            let (peer, mut rows) = (peer(before.conversation), Vec::new());
            let take = |(_, from, to, text, _, at): Record| {
                if other(from, to) == peer.as_str() && at.0 < before.at as i64 {
                    rows.push(text);
                }
                ControlFlow::Continue(())
            };
            self.0.keyspace.each(&self.0.all, (me().as_str(),), take).await?;
            rows.iter().rev().take(PAGE).map(|text| told(text)).collect()
        })
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(self.0.news())
    }
}

impl Reads for Backwards<'_> {
    fn name(&self) -> &'static str {
        "approach 2, backwards"
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async {
            let mut latest = Latest::default();
            let take = |(_, from, to, text, _, at): Record| {
                latest.see(other(from, to), at.0, text);
                // Whoever comes after the tenth is older than all that were seen.
                if latest.peers() == INBOX {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            self.0.keyspace.each(&self.0.backwards, (me().as_str(),), take).await?;
            latest.into_inbox()
        })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        Box::pin(async move {
            let (peer, mut rows) = (peer(before.conversation), Vec::new());
            let take = |(_, from, to, text, _, _): Record| {
                if other(from, to) == peer.as_str() {
                    rows.push(text);
                }
                if rows.len() == PAGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let values = (me(), CqlTimestamp(before.at as i64));
            let values = (values.0.as_str(), values.1);
            self.0.keyspace.each(&self.0.backwards_from, values, take).await?;
            rows.iter().map(|text| told(text)).collect()
        })
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(self.0.news())
    }
}
