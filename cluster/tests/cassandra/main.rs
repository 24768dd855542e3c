//! The store on Cassandra: the suite that every store passes, and what only it can get wrong.
//!
//! All tests are ignored unless asked for, because they need a cluster; `database.rs` says which
//! one is taken. With one node, and with three that each keep every row:
//!
//! ```text
//! cargo test -p rally-cluster --test cassandra -- --ignored
//! RALLY_TEST_CASSANDRA=10.0.0.1:9042,10.0.0.2:9042 RALLY_TEST_CASSANDRA_RF=3 cargo test …
//! ```
//!
//! With one of three killed while the suite runs: `RALLY_TEST_CASSANDRA_KILL` is a shell command
//! that kills a node; it is run once, in the middle (`kill.rs`). What was under way there is
//! repeated, as a committer would. Skip `what_was_acknowledged`, which kills by itself; run it
//! alone when the node is back.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod database;
mod kill;
mod opening;
mod repeating;
mod rows;

use rally_cluster::store::conformance::Fixture;
use rally_cluster::store_conformance;

use database::Keyspace;
use repeating::Repeating;

/// A store in a keyspace of its own.
struct Cassandra {
    keyspace: Keyspace,
    store: Repeating,
}

impl Cassandra {
    async fn open(keyspace: Keyspace) -> Self {
        let budget = if kill::command().is_some() { 10 } else { 0 };
        let store = Repeating { store: keyspace.open().await, budget };
        Self { keyspace, store }
    }
}

impl Fixture for Cassandra {
    type Store = Repeating;

    const SHARED: bool = true;

    async fn empty() -> Self {
        kill::sometime();
        Self::open(Keyspace::empty().await).await
    }

    fn store(&self) -> &Repeating {
        &self.store
    }

    /// What a process leaves that was killed is what the database has: a new session sees it.
    async fn reopened(self) -> Self {
        let Self { keyspace, store } = self;
        drop(store);
        Self::open(keyspace).await
    }
}

store_conformance!(Cassandra, #[ignore = "needs Cassandra: cargo xtask services up"]);
