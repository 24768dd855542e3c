//! Brings a keyspace to the schema of this version, once, whoever comes first.
//!
//! The ledger (`0000_migrations.cql`) says what was applied and with which text. Who applies
//! holds a lock: a row that is taken with a condition, is taken again before each statement, and
//! goes by itself when its holder dies. Everybody else waits until nothing is missing.
//!
//! Cassandra does not take part in this: two nodes that create one table at once may end with
//! two of one name. For the ledger itself, which nobody can lock before it is there, its id is
//! derived from the keyspace's name, so that both create the same.

use std::time::Duration;

use rally_schema::migrations::{LEDGER, MIGRATIONS, Migration};
use scylla::client::execution_profile::ExecutionProfileHandle;
use scylla::client::session::Session;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::Instant;
use uuid::Uuid;

use super::open::SCHEMA_MS;
use super::options::OpenError;
use super::requests::applied;

/// For how long the lock is taken, in seconds: longer than what is done until it is taken anew.
/// That is a statement, for which the database and then the driver take [`SCHEMA_MS`] each at
/// most: the driver waits until all nodes know the same tables.
const LOCK_S: i32 = (3 * SCHEMA_MS / 1_000) as i32;

/// How long somebody else may take, in milliseconds: some tables on a busy cluster, or the rest
/// of a dead holder's lock and then some tables.
const WAIT_MS: u64 = 5 * SCHEMA_MS;

/// How often whoever waits looks, in milliseconds.
const LOOK_MS: u64 = 250;

/// Under which namespace the ids of ledgers are named.
const LEDGERS: Uuid = Uuid::from_u128(0x7d0b_4a5e_1c3f_4f60_8a52_94d7_5b1e_c2f3);

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    number: u32,
    name: String,
    checksum: String,
}

/// Says which of `known` are still to come, or why this version must not touch the store.
fn pending<'a>(
    known: &'a [Migration],
    applied: &[Applied],
) -> Result<Vec<&'a Migration>, OpenError> {
    if let Some(later) = applied.iter().find(|one| known.iter().all(|k| k.number != one.number)) {
        let (number, name) = (later.number, later.name.clone());
        return Err(OpenError::Later { number, name, known: known.len() });
    }
    let mut missing = Vec::new();
    for migration in known {
        let Migration { number, name, text: _ } = *migration;
        match applied.iter().find(|one| one.number == number) {
            None => missing.push(migration),
            Some(_) if !missing.is_empty() => {
                let Migration { number, name, text: _ } = *missing[0];
                return Err(OpenError::Gap { number, name });
            }
            Some(one) if one.checksum != migration.checksum() => {
                let (expected, found) = (migration.checksum(), one.checksum.clone());
                return Err(OpenError::Changed { number, name, expected, found });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// Who migrates, and how it asks.
struct Migrator<'a> {
    session: &'a Session,
    profile: &'a ExecutionProfileHandle,
    holder: Uuid,
}

/// Applies what is missing; returns when nothing is. The session uses the keyspace already.
pub(super) async fn run(
    session: &Session,
    profile: &ExecutionProfileHandle,
    keyspace: &str,
    known: &[Migration],
) -> Result<(), OpenError> {
    let migrator = Migrator { session, profile, holder: Uuid::new_v4() };
    migrator.make_ledger(keyspace).await?;
    let begun = Instant::now();
    loop {
        if pending(known, &migrator.applied().await?)?.is_empty() {
            return Ok(());
        }
        if migrator.lock().await? {
            let done = migrator.apply(known).await;
            if !may_be_under_way(&done) {
                migrator.unlock().await;
            }
            return done;
        }
        let waited_ms = begun.elapsed().as_millis() as u64;
        if waited_ms > WAIT_MS {
            return Err(OpenError::Locked { waited_ms });
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Tells whether the database may still be at a statement: one that timed out is not over, and two
/// nodes must not make one table at once. Then the lock is left to end by itself.
fn may_be_under_way(done: &Result<(), OpenError>) -> bool {
    matches!(done, Err(OpenError::Migration { .. }))
}

/// Applies what this version knows.
pub(super) async fn to_this_version(
    session: &Session,
    profile: &ExecutionProfileHandle,
    keyspace: &str,
) -> Result<(), OpenError> {
    run(session, profile, keyspace, MIGRATIONS).await
}

impl Migrator<'_> {
    async fn ask(
        &self,
        what: &str,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<QueryResult, OpenError> {
        let mut statement = Statement::new(text);
        statement.set_execution_profile_handle(Some(self.profile.clone()));
        statement.set_consistency(Consistency::LocalQuorum);
        statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        let answer = self.session.query_unpaged(statement, values).await;
        answer.map_err(|error| OpenError::statement(what, error))
    }

    async fn rows<R>(
        &self,
        what: &str,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, OpenError>
    where
        R: for<'f> scylla::deserialize::row::DeserializeRow<'f, 'f>,
    {
        let rows = self.ask(what, text, values).await?.into_rows_result();
        let rows = rows.map_err(|error| OpenError::statement(what, error))?;
        let rows = rows.rows::<R>().map_err(|error| OpenError::statement(what, error))?;
        rows.map(|row| row.map_err(|error| OpenError::statement(what, error))).collect()
    }

    /// Makes the ledger unless it can be read. Whoever finds it unreadable because another node is
    /// making it just now makes the same one, and returns when it is there.
    async fn make_ledger(&self, keyspace: &str) -> Result<(), OpenError> {
        if self.applied().await.is_ok() {
            return Ok(());
        }
        let id = Uuid::new_v5(&LEDGERS, keyspace.as_bytes()).to_string();
        for statement in LEDGER.statements() {
            self.ask("making the ledger", &statement.replace("$id", &id), ()).await?;
        }
        self.agree().await
    }

    /// Waits until every node knows the same tables.
    async fn agree(&self) -> Result<(), OpenError> {
        let agreed = self.session.await_schema_agreement().await;
        agreed.map(drop).map_err(|error| OpenError::statement("schema agreement", error))
    }

    async fn applied(&self) -> Result<Vec<Applied>, OpenError> {
        let text = "SELECT number, name, checksum FROM migrations WHERE scope = 'applied'";
        type Record = (i32, Option<String>, Option<String>);
        let rows = self.rows::<Record>("reading the ledger", text, ()).await?;
        let entry = |(number, name, checksum): Record| Applied {
            number: number.unsigned_abs(),
            name: name.unwrap_or_default(),
            checksum: checksum.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Takes the lock, or says that somebody else has it.
    async fn lock(&self) -> Result<bool, OpenError> {
        let text = "INSERT INTO migrations (scope, number, holder) VALUES ('lock', 0, ?) \
                    IF NOT EXISTS USING TTL ?";
        self.condition("taking the migration lock", text, (self.holder, LOCK_S)).await
    }

    /// Asks once more where an answer is lost: the lock knows its holder.
    async fn condition(
        &self,
        what: &str,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<bool, OpenError> {
        match self.ask(what, text, values).await.map(applied) {
            Ok(Some(true)) => return Ok(true),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the migration lock did not answer"),
        }
        let text = "SELECT holder FROM migrations WHERE scope = 'lock' AND number = 0";
        let holders = self.rows::<(Option<Uuid>,)>("reading the migration lock", text, ()).await?;
        Ok(holders.iter().any(|(holder,)| *holder == Some(self.holder)))
    }

    /// Takes the lock anew, for the next step of a migration.
    async fn hold(&self, migration: &Migration) -> Result<(), OpenError> {
        let Migration { number, name, text: _ } = *migration;
        match self.renew().await? {
            true => Ok(()),
            false => Err(OpenError::LockLost { number, name }),
        }
    }

    async fn renew(&self) -> Result<bool, OpenError> {
        let text = "UPDATE migrations USING TTL ? SET holder = ? \
                    WHERE scope = 'lock' AND number = 0 IF holder = ?";
        let values = (LOCK_S, self.holder, self.holder);
        self.condition("renewing the migration lock", text, values).await
    }

    /// Gives the lock back; one that stays goes by itself.
    async fn unlock(&self) {
        let text = "DELETE FROM migrations WHERE scope = 'lock' AND number = 0 IF holder = ?";
        if let Err(error) = self.ask("giving the migration lock back", text, (self.holder,)).await {
            tracing::warn!(%error, "the migration lock stays until it ends by itself");
        }
    }

    /// Applies what is missing now that nobody else does.
    async fn apply(&self, known: &[Migration]) -> Result<(), OpenError> {
        for migration in pending(known, &self.applied().await?)? {
            let Migration { number, name, text: _ } = *migration;
            let failed = |error| OpenError::Migration { error: Box::new(error), lock_s: LOCK_S };
            for statement in migration.statements() {
                self.hold(migration).await?;
                let made = self.ask(&format!("migration {number} {name}"), &statement, ()).await;
                made.map_err(failed)?;
            }
            self.hold(migration).await?;
            self.agree().await.map_err(failed)?;
            let text = "INSERT INTO migrations (scope, number, name, checksum, applied_at) \
                        VALUES ('applied', ?, ?, ?, toTimestamp(now()))";
            let values = (number.cast_signed(), name, migration.checksum());
            self.ask("writing the ledger", text, values).await?;
            tracing::info!(number, name, "migration applied");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Migration; 3] = [
        Migration { number: 1, name: "one", text: "a" },
        Migration { number: 2, name: "two", text: "b" },
        Migration { number: 3, name: "three", text: "c" },
    ];

    fn applied(migration: &Migration) -> Applied {
        let Migration { number, name, text: _ } = *migration;
        Applied { number, name: name.to_owned(), checksum: migration.checksum() }
    }

    #[test]
    fn the_lock_outlasts_a_statement_and_whoever_waits_outlasts_the_lock() {
        let lock_ms = u64::from(LOCK_S.unsigned_abs()) * 1_000;
        assert!(lock_ms > 2 * SCHEMA_MS, "a statement, and until all nodes know of it");
        assert!(WAIT_MS > lock_ms + SCHEMA_MS, "a dead holder's lock, and then something is made");
    }

    #[test]
    fn what_failed_and_may_be_under_way_keeps_its_lock_and_says_so() {
        let late = OpenError::statement("migration 2 two", std::io::Error::other("timed out"));
        let failed = OpenError::Migration { error: Box::new(late), lock_s: LOCK_S };
        let said = "migration 2 two failed: timed out; it may still be under way, so the migration \
                    lock stays for up to 180 s, and whoever starts waits for that";
        assert_eq!(failed.to_string(), said);
        assert!(may_be_under_way(&Err(failed)));
        let changed = OpenError::Gap { number: 2, name: "two" };
        assert!(!may_be_under_way(&Err(changed)) && !may_be_under_way(&Ok(())));
    }

    #[test]
    fn what_is_not_in_the_ledger_is_to_come_in_order() {
        let numbers = |applied: &[Applied]| -> Vec<u32> {
            pending(&KNOWN, applied).unwrap().iter().map(|one| one.number).collect()
        };
        assert_eq!(numbers(&[]), [1, 2, 3]);
        assert_eq!(numbers(&[applied(&KNOWN[0])]), [2, 3]);
        assert_eq!(numbers(&KNOWN.each_ref().map(applied)), [0; 0]);
    }

    #[test]
    fn a_changed_text_a_later_version_and_a_gap_are_refused_by_name() {
        let refused = |applied: &[Applied]| pending(&KNOWN, applied).unwrap_err().to_string();
        let mut changed = KNOWN.each_ref().map(applied);
        changed[1].checksum = "other".to_owned();
        let error = refused(&changed);
        assert!(
            error.starts_with("migration 2 two was applied with another text (other"),
            "{error}"
        );
        let later = Applied { number: 4, name: "four".into(), checksum: String::new() };
        let error = refused(&[applied(&KNOWN[0]), later]);
        assert_eq!(error, "migration 4 four is of a later version: this one knows 3 migrations");
        let error = refused(&[applied(&KNOWN[0]), applied(&KNOWN[2])]);
        assert_eq!(error, "migration 2 two was never applied, but a later one was");
    }
}
