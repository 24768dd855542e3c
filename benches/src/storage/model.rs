//! What is measured: a way to keep messages, and the questions that it must answer.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use futures_util::future::LocalBoxFuture;
use rally_cluster::store::StoreError;
use scylla::errors::ExecutionError;

use super::world::{INBOX, Newest, Said, World, number_of};
use crate::stop::Stop;

/// A result that comes later.
pub type Later<'a, T> = LocalBoxFuture<'a, Result<T>>;

/// How many rows each table has.
pub type Rows = BTreeMap<&'static str, u64>;

/// A way to keep messages, over tables of its own that were empty.
pub trait Model {
    /// Writes one message, and says by how many statements. May be repeated: the same message twice
    /// leaves the same rows. Many are under way at once, in no order.
    fn write<'a>(&'a self, said: &'a Said) -> Later<'a, u64>;

    /// Brings what was written from memory into files, and says how many bytes these take;
    /// `None` where nobody said where they are.
    fn settle<'a>(&'a mut self, stop: &'a Stop) -> Later<'a, Option<u64>>;

    /// Counts the rows that are really there.
    fn rows<'a>(&'a self, world: &'a World) -> Later<'a, Rows>;

    /// Gives the ways to read them: one, or several that differ in what they cost.
    fn ways(&self) -> Vec<Box<dyn Reads + '_>>;

    /// Says what a reader of the figures must know besides.
    fn remark<'a>(&'a self, _world: &'a World) -> Later<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}

/// A way to read what was written, for the user of [`super::world::me`]. An answer is what a client
/// would show; whether it is right is for the caller to judge.
pub trait Reads {
    /// Names the model, and the way where there are several.
    fn name(&self) -> &'static str;

    /// Reads the ten latest conversations with the newest message of each, the latest first.
    fn inbox(&self) -> Later<'_, Vec<Newest>>;

    /// Reads the page before a message of a conversation, newest first.
    fn older(&self, before: Said) -> Later<'_, Vec<u32>>;

    /// Reads all that is new since the moment, in any order.
    fn catch_up(&self) -> Later<'_, Vec<u32>>;
}

/// Tells whether a database gave up, or was not heard: that says nothing about what it holds.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let by_store = error.downcast_ref::<StoreError>();
    let by_store = matches!(by_store, Some(StoreError::Busy | StoreError::Read(_)));
    by_store || error.is::<ExecutionError>()
}

/// Reads the number of a message from what a store gave as its text.
pub fn told(text: &str) -> Result<u32> {
    number_of(text).with_context(|| format!("{text:?} is no text that was written here"))
}

/// The newest message of each peer, of rows in any order.
#[derive(Default)]
pub struct Latest(HashMap<String, (i64, String)>);

impl Latest {
    /// Takes one row.
    pub fn see(&mut self, peer: String, at: i64, text: String) {
        let newest = self.0.entry(peer).or_insert_with(|| (i64::MIN, String::new()));
        if at > newest.0 {
            *newest = (at, text);
        }
    }

    /// Gives how many peers were seen.
    pub fn peers(&self) -> usize {
        self.0.len()
    }

    /// Gives the ten latest, the latest first.
    pub fn into_inbox(self) -> Result<Vec<Newest>> {
        let mut entries: Vec<(i64, String, String)> =
            self.0.into_iter().map(|(peer, (at, text))| (at, peer, text)).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.0));
        let entry = |(_, peer, text): (i64, String, String)| {
            Ok(Newest { peer: peer.parse()?, number: told(&text)? })
        };
        entries.into_iter().take(INBOX).map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_database_did_not_answer_may_be_asked_again() {
        let said = |error: anyhow::Error| is_refusal(&error.context("approach 1: inbox"));
        assert!(said(ExecutionError::EmptyPlan.into()));
        assert!(said(StoreError::Busy.into()) && said(StoreError::Read("late".into()).into()));
        let what = String::new();
        assert!(!said(StoreError::Damaged { table: "inbox", what }.into()));
        assert!(!said(anyhow::anyhow!("3 unread, and 5 were written")));
    }

    #[test]
    fn the_newest_message_of_each_peer_is_found_in_rows_of_any_order() {
        let mut latest = Latest::default();
        for (peer, at) in [("ana", 3), ("ben", 9), ("ana", 7), ("ana", 5)] {
            latest.see(peer.to_owned(), at, format!("{at:09} hi"));
        }
        assert_eq!(latest.peers(), 2);
        let entry = |peer: &str, number| Newest { peer: peer.parse().unwrap(), number };
        assert_eq!(latest.into_inbox().unwrap(), [entry("ben", 9), entry("ana", 7)]);
    }
}
