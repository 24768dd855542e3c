//! Approach 3 of the prototype: a partition for each conversation, and beside it each user's latest
//! messages.
//!
//! The prototype loads an inbox by `LIMIT 10` from a table that stands in the order of names: that gives
//! the first ten of the alphabet. The latest ten are found by reading the user's whole partition and
//! sorting it, which is what is measured; how far the limit is from right is a remark.
//!
//! `latest_messages` does not name the conversation, so its id must follow from the two names; it is
//! the one that Rally derives. Writes say their time, or the older of two that arrive out of order
//! would stay as the latest.

use std::ops::ControlFlow;

use anyhow::Result;
use futures_util::future::{try_join_all, try_join3};
use rally_schema::{ConversationId, UserId};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlTimeuuid};
use uuid::Uuid;

use super::database::Keyspace;
use super::model::{Later, Latest, Model, Reads, Rows, told};
use super::world::{INBOX, MOMENT_MS, Newest, PAGE, Said, World, me};
use crate::stop::Stop;

/// A row of `messages` as the prototype selects it: all of it.
type Message = (Uuid, CqlTimeuuid, String, String, String, CqlTimestamp);

/// A row of `latest_messages` as the prototype selects it: all of it.
type LatestMessage = (String, String, i64, String, String, CqlTimestamp);

/// The tables, and what is asked of them.
pub struct Approach3<'a> {
    keyspace: &'a Keyspace<'a>,
    insert: PreparedStatement,
    insert_latest: PreparedStatement,
    latest: PreparedStatement,
    latest_ten: PreparedStatement,
    older: PreparedStatement,
    since: PreparedStatement,
}

/// Makes the timeuuid of a time; those of later times sort after it.
fn timeuuid(at_ms: u64) -> CqlTimeuuid {
    /// From 1582, where they begin, to 1970, in their steps of 100 ns.
    const TO_1970: u64 = 0x01b2_1dd2_1381_4000;
    let time = at_ms * 10_000 + TO_1970;
    let (low, middle, high) = (time as u32, (time >> 32) as u16, (time >> 48) as u16 | 0x1000);
    // The variant, then a clock sequence and a node that are the same in all.
    Uuid::from_fields(low, middle, high, &[0x80, 0, 0, 0, 0, 0, 0, 0]).into()
}

fn conversation_with(peer: UserId) -> Uuid {
    ConversationId::direct(me(), peer).into()
}

impl<'a> Approach3<'a> {
    /// Makes the tables in an empty keyspace.
    pub async fn make(keyspace: &'a Keyspace<'a>) -> Result<Self> {
        keyspace.make().await?;
        keyspace
            .change(
                "CREATE TABLE $.latest_messages (username text, target_user text, sent bigint, \
                 message text, id text, created_at timestamp, PRIMARY KEY (username, target_user))",
            )
            .await?;
        keyspace
            .change(
                "CREATE TABLE $.messages (conversation_id uuid, message_id timeuuid, \
                 from_user text, to_user text, message text, created_at timestamp, \
                 PRIMARY KEY (conversation_id, message_id))",
            )
            .await?;
        const LATEST: &str = "SELECT username, target_user, sent, message, id, created_at \
                              FROM $.latest_messages WHERE username = ?";
        const MESSAGES: &str = "SELECT conversation_id, message_id, from_user, to_user, message, \
                                created_at FROM $.messages WHERE conversation_id = ?";
        Ok(Self {
            keyspace,
            insert: keyspace
                .prepare(
                    "INSERT INTO $.messages (conversation_id, message_id, from_user, to_user, \
                     message, created_at) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
                )
                .await?,
            insert_latest: keyspace
                .prepare(
                    "INSERT INTO $.latest_messages (username, target_user, sent, message, id, \
                     created_at) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
                )
                .await?,
            latest: keyspace.prepare(LATEST).await?,
            latest_ten: keyspace.prepare(&format!("{LATEST} LIMIT {INBOX}")).await?,
            older: keyspace
                .prepare(&format!(
                    "{MESSAGES} AND message_id < ? ORDER BY message_id DESC LIMIT {PAGE}"
                ))
                .await?,
            since: keyspace.prepare(&format!("{MESSAGES} AND message_id > ?")).await?,
        })
    }

    async fn put_latest(&self, user: UserId, target: UserId, said: &Said) -> Result<()> {
        let (at, sent) = (said.at as i64, i64::from(user == said.sender()));
        let (user, target, time) = (user.as_str(), target.as_str(), CqlTimestamp(at));
        let values = (user, target, sent, said.text(), said.id(), time, at * 1_000);
        self.keyspace.write(&self.insert_latest, values).await
    }

    async fn put(&self, said: &Said) -> Result<()> {
        let conversation = Uuid::from(said.pair().conversation);
        let (from, to, at) = (said.sender(), said.recipient(), said.at as i64);
        let (from, to, time) = (from.as_str(), to.as_str(), CqlTimestamp(at));
        let (id, text) = (timeuuid(said.at), said.text());
        let values = (conversation, id, from, to, text, time, at * 1_000);
        self.keyspace.write(&self.insert, values).await
    }

    /// Reads the latest message of each conversation that `statement` gives.
    async fn latest_by(&self, statement: &PreparedStatement) -> Result<Latest> {
        let mut latest = Latest::default();
        let take = |(_, peer, _, text, _, at): LatestMessage| {
            latest.see(peer, at.0, text);
            ControlFlow::Continue(())
        };
        self.keyspace.each(statement, (me().as_str(),), take).await?;
        Ok(latest)
    }

    /// Reads messages of a conversation on one side of an id.
    async fn beside(
        &self,
        statement: &PreparedStatement,
        conversation: Uuid,
        id: CqlTimeuuid,
    ) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        let take = |(_, _, _, _, text, _): Message| {
            numbers.push(told(&text));
            ControlFlow::Continue(())
        };
        self.keyspace.each(statement, (conversation, id), take).await?;
        numbers.into_iter().collect()
    }
}

impl Model for Approach3<'_> {
    fn write<'a>(&'a self, said: &'a Said) -> Later<'a, u64> {
        Box::pin(async {
            let (from, to) = (said.sender(), said.recipient());
            let latest = [self.put_latest(from, to, said), self.put_latest(to, from, said)];
            let [of_sender, of_recipient] = latest;
            try_join3(self.put(said), of_sender, of_recipient).await?;
            Ok(3)
        })
    }

    fn settle<'a>(&'a mut self, stop: &'a Stop) -> Later<'a, Option<u64>> {
        Box::pin(self.keyspace.settle(&["messages", "latest_messages"], stop))
    }

    fn rows<'a>(&'a self, _: &'a World) -> Later<'a, Rows> {
        Box::pin(async {
            let messages = self.keyspace.count("messages", "message_id").await?;
            let latest = self.keyspace.count("latest_messages", "target_user").await?;
            Ok(Rows::from([("messages", messages), ("latest_messages", latest)]))
        })
    }

    fn ways(&self) -> Vec<Box<dyn Reads + '_>> {
        vec![Box::new(self)]
    }

    fn remark<'a>(&'a self, world: &'a World) -> Later<'a, Option<String>> {
        Box::pin(async {
            let (right, limited) =
                (world.inbox(), self.latest_by(&self.latest_ten).await?.into_inbox()?);
            let found = right.iter().filter(|entry| limited.contains(entry)).count();
            Ok(Some(format!(
                "of {} conversations, the prototype's LIMIT {INBOX} on approach 3 finds {found} of the \
                 {} latest: the table stands in the order of names",
                world.shape().conversations,
                right.len()
            )))
        })
    }
}

impl Reads for &Approach3<'_> {
    fn name(&self) -> &'static str {
        "approach 3"
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async { self.latest_by(&self.latest).await?.into_inbox() })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        let conversation = Uuid::from(before.pair().conversation);
        Box::pin(self.beside(&self.older, conversation, timeuuid(before.at)))
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(async {
            let mut changed: Vec<String> = Vec::new();
            let take = |(_, peer, _, _, _, at): LatestMessage| {
                if at.0 > MOMENT_MS as i64 {
                    changed.push(peer);
                }
                ControlFlow::Continue(())
            };
            self.keyspace.each(&self.latest, (me().as_str(),), take).await?;
            let news = changed.iter().map(|peer| async {
                self.beside(&self.since, conversation_with(peer.parse()?), timeuuid(MOMENT_MS))
                    .await
            });
            Ok(try_join_all(news).await?.concat())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeuuid_is_of_version_1_and_says_its_time() {
        let made = Uuid::from_bytes(*timeuuid(MOMENT_MS).as_bytes());
        assert_eq!(made.get_version_num(), 1);
        let (seconds, nanos) = made.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds * 1_000 + u64::from(nanos) / 1_000_000, MOMENT_MS);
    }
}
