//! How one request goes to the database: bounded, timed, and its failure named.
//!
//! Every method of the store takes as many slots as it may have requests under way, before it
//! sends anything; none free is [`StoreError::Busy`]. Nothing is repeated here: a write whose
//! answer is missing is the committer's to repeat, with change ids of its own.

use std::sync::Arc;

use scylla::client::execution_profile::ExecutionProfileHandle;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::StoreError;
use super::metrics::{Failure, Kind, Metrics};

/// Values of one statement.
pub(super) type Values = Box<dyn SerializeRow + Send + Sync>;

/// What one partition gets: statements that arrive together or not at all.
#[derive(Default)]
pub(super) struct Write {
    statements: Vec<PreparedStatement>,
    values: Vec<Values>,
    text_bytes: usize,
}

/// Partitions that one request writes to, and about how many bytes it has: Cassandra's log has a
/// warning of each batch of more than 10, or of 5 KiB (`unlogged_batch_across_partitions_warn_threshold`,
/// `batch_size_warn_threshold`).
const PARTITIONS: usize = 10;
const BATCH_BYTES: usize = 4 << 10;

/// About what a statement's ids, names and marks have in bytes.
const STATEMENT_BYTES: usize = 150;

impl Write {
    /// A write of one statement.
    pub(super) fn of(
        statement: &PreparedStatement,
        values: impl SerializeRow + Send + Sync + 'static,
    ) -> Self {
        Self::default().and(statement, values)
    }

    /// Adds a statement about the same partition.
    pub(super) fn and(
        mut self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Send + Sync + 'static,
    ) -> Self {
        self.statements.push(statement.clone());
        self.values.push(Box::new(values));
        self
    }

    /// Says how long the text is that is in it.
    pub(super) fn with_text(mut self, bytes: usize) -> Self {
        self.text_bytes += bytes;
        self
    }

    fn bytes(&self) -> usize {
        self.text_bytes + STATEMENT_BYTES * self.statements.len()
    }

    /// Tells whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

/// Puts writes to several partitions together, in their order, as many as one request may have.
pub(super) fn share(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let (mut shared, mut bytes) = (Vec::<Vec<Write>>::new(), 0);
    for write in writes {
        let more = write.bytes();
        match shared.last_mut() {
            Some(last) if last.len() < PARTITIONS && bytes + more <= BATCH_BYTES => {
                bytes += more;
                last.push(write);
            }
            _ => {
                bytes = more;
                shared.push(vec![write]);
            }
        }
    }
    shared
}

/// A session, and the bound on what it does at once.
pub(super) struct Requests {
    session: Session,
    writes: ExecutionProfileHandle,
    slots: Arc<Semaphore>,
    all: u32,
    pub(super) metrics: Metrics,
}

impl Requests {
    pub(super) fn new(session: Session, all: u32, writes: ExecutionProfileHandle) -> Self {
        let slots = Arc::new(Semaphore::new(all as usize));
        let metrics = Metrics::of(slots.clone(), all);
        Self { session, writes, slots, all, metrics }
    }

    /// Takes `wanted` slots, all there are at most, or is busy.
    pub(super) fn enter(
        &self,
        kind: Kind,
        wanted: usize,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, self.all);
        self.slots.clone().try_acquire_many_owned(wanted).map_err(|_| {
            self.metrics.failed(kind, Failure::Busy);
            StoreError::Busy
        })
    }

    /// How many requests may be under way at once.
    pub(super) fn most(&self) -> usize {
        self.all as usize
    }

    /// Waits for an answer, and counts it.
    async fn timed<T>(
        &self,
        kind: Kind,
        request: impl Future<Output = Result<T, ExecutionError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = request.await;
        self.metrics.answered(kind, begun.elapsed());
        answer.map_err(|error| {
            self.metrics.failed(kind, reason(&error));
            match kind {
                Kind::Read => StoreError::Read(error.to_string()),
                // Not even "too few replicas" is a promise for a batch: something may be there.
                Kind::Write | Kind::Condition => StoreError::Unknown(error.to_string()),
            }
        })
    }

    /// Writes to one partition, or to several by one request: should that fail, some may have been written.
    pub(super) async fn write(
        &self,
        writes: impl IntoIterator<Item = Write>,
    ) -> Result<(), StoreError> {
        let (mut statements, mut values) = (Vec::new(), Vec::new());
        for mut write in writes {
            statements.append(&mut write.statements);
            values.append(&mut write.values);
        }
        let answer = if let ([statement], [values]) = (&statements[..], &values[..]) {
            self.timed(Kind::Write, self.session.execute_unpaged(statement, values)).await
        } else {
            let statements = statements.into_iter().map(Into::into).collect();
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_execution_profile_handle(Some(self.writes.clone()));
            self.timed(Kind::Write, self.session.batch(&batch, values)).await
        };
        answer.map(drop)
    }

    /// Writes if the statement's condition holds; says whether it did.
    pub(super) async fn write_if(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<bool, StoreError> {
        let request = self.session.execute_unpaged(statement, values);
        applied(self.timed(Kind::Condition, request).await?)
            .ok_or_else(|| StoreError::Unknown("no answer to a condition".to_owned()))
    }

    /// Reads at most one row.
    pub(super) async fn one<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Option<R>, StoreError>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        Ok(self.all(statement, values).await?.pop())
    }

    /// Reads every row, page by page: the driver's page size never cuts an answer.
    pub(super) async fn all<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let (mut rows, mut pages) = (Vec::new(), self.pages(statement, values, PAGE));
        while let Some(page) = pages.next().await? {
            rows.extend(page);
        }
        Ok(rows)
    }

    /// Begins a read of pages of at most `page` rows.
    pub(super) fn pages<V: SerializeRow + Sync>(
        &self,
        statement: &PreparedStatement,
        values: V,
        page: usize,
    ) -> Pages<'_, V> {
        let mut statement = statement.clone();
        statement.set_page_size(page.clamp(1, PAGE) as i32);
        Pages { requests: self, statement, values, next: Some(PagingState::start()) }
    }
}

/// The most rows of one page.
const PAGE: usize = 1_000;

/// A read that goes on while it is asked to.
pub(super) struct Pages<'a, V> {
    requests: &'a Requests,
    statement: PreparedStatement,
    values: V,
    next: Option<PagingState>,
}

impl<V: SerializeRow + Sync> Pages<'_, V> {
    /// Has the next pages have so many rows.
    pub(super) fn ask_for(&mut self, rows: usize) {
        self.statement.set_page_size(rows.clamp(1, PAGE) as i32);
    }

    /// Reads the next page; `None` after the last.
    pub(super) async fn next<R>(&mut self) -> Result<Option<Vec<R>>, StoreError>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let Some(state) = self.next.take() else { return Ok(None) };
        let Requests { session, .. } = self.requests;
        let request = session.execute_single_page(&self.statement, &self.values, state);
        let (result, next) = self.requests.timed(Kind::Read, request).await?;
        self.next = match next {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        decode(&self.statement, result).map(Some)
    }
}

/// Turns an answer into rows.
fn decode<R>(statement: &PreparedStatement, result: QueryResult) -> Result<Vec<R>, StoreError>
where
    R: for<'f> DeserializeRow<'f, 'f>,
{
    let table = table(statement);
    let damaged = |what: String| StoreError::Damaged { table, what };
    let rows = result.into_rows_result().map_err(|error| damaged(error.to_string()))?;
    let rows = rows.rows::<R>().map_err(|error| damaged(error.to_string()))?;
    rows.map(|row| row.map_err(|error| damaged(error.to_string()))).collect()
}

/// Names the table that a statement is about.
fn table(statement: &PreparedStatement) -> &'static str {
    const TABLES: [&str; 12] = [
        "messages",
        "buckets",
        "inbox",
        "changes",
        "users",
        "users_by_letter",
        "blocks",
        "presence",
        "revocations",
        "nodes",
        "dated",
        "store",
    ];
    let name = statement.get_table_name().unwrap_or_default();
    TABLES.into_iter().find(|table| *table == name).unwrap_or("no table")
}

/// Reads the first column of the answer to a condition: Cassandra adds the row only where it did
/// not hold, ScyllaDB always.
pub(super) fn applied(result: QueryResult) -> Option<bool> {
    let rows = result.into_rows_result().ok()?;
    match rows.first_row::<Row>().ok()?.columns.first()? {
        Some(CqlValue::Boolean(applied)) => Some(*applied),
        _ => None,
    }
}

/// Sorts failures into those that an alert tells apart.
fn reason(error: &ExecutionError) -> Failure {
    use RequestAttemptError as Attempt;
    match error {
        ExecutionError::RequestTimeout(_) => Failure::Timeout,
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => Failure::Connection,
        ExecutionError::LastAttemptError(attempt) => match attempt {
            Attempt::BrokenConnectionError(_) => Failure::Connection,
            Attempt::UnableToAllocStreamId => Failure::Overloaded,
            Attempt::DbError(error, _) => match error {
                DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => Failure::Timeout,
                DbError::Unavailable { .. } => Failure::Unavailable,
                DbError::Overloaded | DbError::RateLimitReached { .. } => Failure::Overloaded,
                _ => Failure::Other,
            },
            _ => Failure::Other,
        },
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    use super::*;

    #[test]
    fn writes_share_requests_up_to_ten_partitions_and_four_kib() {
        let write = |text_bytes| Write { text_bytes, ..Write::default() };
        let sizes = |texts: &[usize]| {
            let shared = share(texts.iter().map(|text| write(*text)).collect());
            shared.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[10; 3]), [3]);
        assert_eq!(sizes(&[10; 21]), [10, 10, 1]);
        assert_eq!(sizes(&[10, 64 << 10, 10, 4_000, 100]), [1, 1, 2, 1]);
    }

    #[test]
    fn failures_that_an_alert_tells_apart_are_told_apart() {
        let said = |error: DbError| {
            let attempt = RequestAttemptError::DbError(error, String::new());
            reason(&ExecutionError::LastAttemptError(attempt))
        };
        let consistency = Consistency::LocalQuorum;
        let write_type = WriteType::Simple;
        let late = DbError::WriteTimeout { consistency, received: 1, required: 2, write_type };
        assert_eq!(said(late), Failure::Timeout);
        let few = DbError::Unavailable { consistency, required: 2, alive: 1 };
        assert_eq!(said(few), Failure::Unavailable);
        assert_eq!(said(DbError::Overloaded), Failure::Overloaded);
        assert_eq!(said(DbError::SyntaxError), Failure::Other);
        let silent = ExecutionError::RequestTimeout(Duration::from_secs(4));
        assert_eq!(reason(&silent), Failure::Timeout);
        assert_eq!(reason(&ExecutionError::EmptyPlan), Failure::Connection);
    }
}
