//! A Cassandra to measure on: keyspaces that are made for a model and go when it was measured.
//!
//! Knows CQL, and nothing of what the tables are for.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use thiserror::Error;
use uuid::Uuid;

use super::files::Files;
use crate::stop::Stop;

/// How long one request may take. The database has its own bounds, which are shorter: that it gave
/// up says more than that nothing was heard.
const REQUEST: Duration = Duration::from_secs(60);

/// Rows of one page of an answer, as many as Rally's own store asks for. A page of five thousand, as
/// drivers ask for unless told otherwise, takes an index longer than the database gives it when the
/// machine is busy.
const ROWS: i32 = 1_000;

/// After how long Cassandra writes what a table has in memory into files, once it is told to.
const FLUSH_MS: u64 = 1_000;

/// How often the files are looked at, and how many looks in a row must see the same.
const LOOK: Duration = Duration::from_millis(250);
const CALM: u32 = 6;

/// How long flushing and compacting may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why a database cannot be measured on.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// One folder is a part of what there is.
    #[error("{0} nodes share the tables, and the files of one are not all: leave out --data")]
    ManyNodes(usize),
    /// It goes on writing.
    #[error("the files of {0} were not calm within {PATIENCE:?}")]
    Restless(String),
}

/// A Cassandra, and its files, if it was said where they are.
pub struct Database {
    session: Session,
    files: Option<Files>,
    /// Begins the name of every keyspace of this run.
    prefix: String,
}

impl Database {
    /// Connects.
    pub async fn open(at: &str, data: Option<&Path>) -> Result<Self> {
        let files = data.map(Files::of).transpose()?;
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(REQUEST))
            .build();
        let builder = SessionBuilder::new()
            .known_node(at)
            .tcp_nodelay(true)
            .default_execution_profile_handle(profile.into_handle());
        let session = builder.build().await.with_context(|| format!("no database at {at}"))?;
        let nodes = session.get_cluster_state().get_nodes_info().len();
        if files.is_some() && nodes > 1 {
            return Err(DatabaseError::ManyNodes(nodes).into());
        }
        let prefix = format!("rally_storage_{:08x}", Uuid::new_v4().as_fields().0);
        Ok(Self { session, files, prefix })
    }

    /// How the keyspaces of this run begin.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Names a keyspace of this run; it does not exist yet.
    pub fn keyspace(&self, what: &str) -> Keyspace<'_> {
        Keyspace { database: self, name: format!("{}_{what}", self.prefix) }
    }

    /// Sends a statement that is sent once.
    async fn say(&self, text: String) -> Result<()> {
        let said = self.session.query_unpaged(text.clone(), ()).await;
        said.map(drop).with_context(|| format!("{text:?} failed"))
    }

    /// Counts what the database is about to do with its files; nothing where it does not tell.
    async fn work_on_files(&self) -> Option<i64> {
        const POOLS: &str =
            "SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools";
        let pools = self.session.query_unpaged(POOLS, ()).await.ok()?.into_rows_result().ok()?;
        let mut work = 0;
        for pool in pools.rows::<(&str, i32, i32)>().ok()? {
            let (name, active, pending) = pool.ok()?;
            if name.contains("Memtable") || name == "CompactionExecutor" {
                work += i64::from(active) + i64::from(pending);
            }
        }
        Some(work)
    }
}

/// A keyspace of a run.
pub struct Keyspace<'a> {
    database: &'a Database,
    name: String,
}

impl Keyspace<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it: one copy of each row.
    pub async fn make(&self) -> Result<()> {
        let class = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        self.database.say(format!("CREATE KEYSPACE {} WITH replication = {class}", self.name)).await
    }

    /// Changes the schema; `$` in `text` is the keyspace.
    pub async fn change(&self, text: &str) -> Result<()> {
        self.database.say(text.replace('$', &self.name)).await
    }

    /// Prepares a statement; `$` in `text` is the keyspace. All may be sent again: what writes here
    /// says its time.
    pub async fn prepare(&self, text: &str) -> Result<PreparedStatement> {
        let text = text.replace('$', &self.name);
        let prepared = self.database.session.prepare(text.clone()).await;
        let mut prepared = prepared.with_context(|| format!("preparing {text:?}"))?;
        prepared.set_is_idempotent(true);
        prepared.set_page_size(ROWS);
        Ok(prepared)
    }

    /// Writes.
    pub async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<()> {
        self.database.session.execute_unpaged(statement, values).await?;
        Ok(())
    }

    /// Reads page by page, row by row, until there are no more or `take` has enough.
    pub async fn each<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        mut take: impl FnMut(R) -> ControlFlow<()>,
    ) -> Result<()>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let mut state = PagingState::start();
        loop {
            let page = self.database.session.execute_single_page(statement, &values, state);
            let (page, next) = page.await?;
            let page = page.into_rows_result()?;
            for row in page.rows::<R>()? {
                if take(row?).is_break() {
                    return Ok(());
                }
            }
            match next {
                PagingStateResponse::HasMorePages { state: next } => state = next,
                PagingStateResponse::NoMorePages => return Ok(()),
            }
        }
    }

    /// Counts the rows of a table, by walking it: a count by the database may run into its time-out.
    pub async fn count(&self, table: &str, column: &str) -> Result<u64> {
        let statement = self.prepare(&format!("SELECT {column} FROM $.{table}")).await?;
        let mut count = 0;
        let row = |_: scylla::value::Row| {
            count += 1;
            ControlFlow::Continue(())
        };
        self.each(&statement, (), row).await?;
        Ok(count)
    }

    /// Has the database write what `tables` have in memory into files, and waits until these are
    /// calm: nothing flushes or compacts, and they stay as they are. Gives their bytes, indices
    /// included, where it was said where they are.
    pub async fn settle(&self, tables: &[&str], stop: &Stop) -> Result<Option<u64>> {
        let period = |ms: u64| async move {
            for table in tables {
                let option = format!("memtable_flush_period_in_ms = {ms}");
                self.change(&format!("ALTER TABLE $.{table} WITH {option}")).await?;
            }
            Ok::<(), anyhow::Error>(())
        };
        period(FLUSH_MS).await?;
        let begun = Instant::now();
        let (mut seen, mut calm) = (None, 0);
        // What is in memory is older than a period already, so it is due when one has passed.
        while begun.elapsed() < 2 * Duration::from_millis(FLUSH_MS) || calm < CALM {
            stop.check()?;
            ensure!(begun.elapsed() < PATIENCE, DatabaseError::Restless(self.name.clone()));
            tokio::time::sleep(LOOK).await;
            let is_idle = self.database.work_on_files().await.unwrap_or(0) == 0;
            let files = self.database.files.as_ref();
            let now = files.map(|files| files.bytes(&self.name, tables)).transpose()?;
            calm = if is_idle && now != Some(None) && now == seen { calm + 1 } else { 0 };
            seen = now;
        }
        period(0).await?;
        Ok(seen.flatten())
    }

    /// Drops it with all that is in it, and leaves no snapshot where the database lets one say so.
    pub async fn drop(self) -> Result<()> {
        const TABLES: &str = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let tables = self.database.session.query_unpaged(TABLES, (&self.name,)).await?;
        for table in tables.into_rows_result()?.rows::<(String,)>()? {
            let (table,) = table?;
            let option = "allow_auto_snapshot = false";
            // Unknown to older ones, which keep a snapshot when a table is dropped.
            let _ = self.change(&format!("ALTER TABLE $.{table} WITH {option}")).await;
        }
        self.change("DROP KEYSPACE IF EXISTS $").await
    }
}
