//! Keyspaces to test in, on the cluster that the environment names.
//!
//! - `RALLY_TEST_CASSANDRA`: contact points, comma-separated; 127.0.0.1:9042 by default.
//! - `RALLY_TEST_CASSANDRA_RF`: the replication factor; 1 by default.
//!
//! A new keyspace takes seconds, an emptied one a tenth of that: keyspaces are kept, from run to
//! run, and lent to one test at a time. Two runs at once on one cluster would share them.
//!
//! When a node is to be killed none is kept: tables cannot be emptied while one is away, and what it
//! was owed then (hints) reaches it when it is back, emptied or not.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rally_cluster::store::cassandra::{CassandraStore, OpenError, Options};
use rally_schema::migrations::MIGRATIONS;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

/// Keyspaces that nobody uses now.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many keyspaces were ever lent.
static LENT: AtomicUsize = AtomicUsize::new(0);

/// A keyspace, empty when it was lent; goes back when it is dropped.
pub struct Keyspace {
    pub options: Options,
}

/// Set when a node was killed.
pub static A_NODE_IS_DEAD: AtomicBool = AtomicBool::new(false);

/// Whether a node is killed in this run, sooner or later.
fn a_node_dies() -> bool {
    env::var_os("RALLY_TEST_CASSANDRA_KILL").is_some()
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        // A test that failed may have left a request under way that writes later.
        if !std::thread::panicking() {
            let name = self.options.keyspace.clone();
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        }
    }
}

/// Says how to reach the cluster.
pub fn options(keyspace: String) -> Options {
    let points = env::var("RALLY_TEST_CASSANDRA").unwrap_or("127.0.0.1:9042".to_owned());
    let factor = env::var("RALLY_TEST_CASSANDRA_RF").unwrap_or("1".to_owned());
    Options {
        contact_points: points.split(',').map(str::to_owned).collect(),
        keyspace,
        replication_factor: factor.parse().expect("RALLY_TEST_CASSANDRA_RF is a number"),
        // Test machines are slow, and tables are made while tests write.
        request_timeout_ms: 10_000,
        ..Options::default()
    }
}

/// Connects without a store.
pub async fn session() -> Session {
    let points = options(String::new()).contact_points;
    SessionBuilder::new().known_nodes(points).build().await.expect("Cassandra answers")
}

impl Keyspace {
    /// Lends one that is empty.
    pub async fn empty() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if A_NODE_IS_DEAD.load(Ordering::Relaxed)
            && let Some(used) = &free
        {
            drop_keyspace(used).await;
            return Self::new(next()).await;
        }
        if free.is_none() && a_node_dies() {
            return Self::new(next()).await;
        }
        let options = options(free.unwrap_or_else(next));
        match CassandraStore::open(options.clone()).await {
            Ok(_) => empty(&options.keyspace).await,
            // Left by a run of another version, or on more nodes.
            Err(
                OpenError::Changed { .. } | OpenError::Later { .. } | OpenError::Replication { .. },
            ) => drop_keyspace(&options.keyspace).await,
            Err(error) => panic!("{error}"),
        }
        Self { options }
    }

    /// Lends one of this name, whatever was there before.
    async fn new(name: String) -> Self {
        drop_keyspace(&name).await;
        Self { options: options(name) }
    }

    /// Opens the store in it.
    pub async fn open(&self) -> CassandraStore {
        CassandraStore::open(self.options.clone()).await.expect("the store opens")
    }
}

/// Names a keyspace that was not lent before, by the suite that wants it.
fn next() -> String {
    let binary = env::current_exe().expect("a program has a path");
    let binary = binary.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let suite = binary.split('-').next().unwrap_or_default();
    let kept = if a_node_dies() { "killed_" } else { "" };
    format!("rally_test_{kept}{suite}_{}", LENT.fetch_add(1, Ordering::Relaxed))
}

/// Takes away all rows but the ledger's.
async fn empty(keyspace: &str) {
    let session = session().await;
    let tables = MIGRATIONS.iter().flat_map(|migration| migration.statements());
    for table in tables {
        let name = table.split_whitespace().nth(5).expect("CREATE TABLE IF NOT EXISTS name");
        let any = format!("SELECT * FROM {keyspace}.{name} LIMIT 1");
        let rows = session.query_unpaged(any, ()).await.expect("the keyspace can be read");
        if rows.into_rows_result().expect("rows").rows_num() > 0 {
            let text = format!("TRUNCATE {keyspace}.{name}");
            session.query_unpaged(text, ()).await.expect("every node is there to empty a table");
        }
    }
}

/// Drops a keyspace.
pub async fn drop_keyspace(keyspace: &str) {
    let text = format!("DROP KEYSPACE IF EXISTS {keyspace}");
    session().await.query_unpaged(text, ()).await.expect("a keyspace can be dropped");
}
