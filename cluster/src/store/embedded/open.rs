//! How a store comes into being, and how it is opened again.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use rally_schema::StoreId;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::commit_loop::CommitLoop;
use super::folder::{Folder, OpenError};
use super::group::Rows;
use super::keys::{self, Key};
use super::memory::{ASKED_BYTES, Bounds, Memory};
use super::recent::Recent;
use super::{EmbeddedStore, Inner, Metrics, Options, Queue, encode, journal};

/// Threads on which the engine writes files from memory and merges them. Of two or more, the first
/// spins for as long as another merges (fjall 3.1 hands itself the same message again): without that,
/// two cores carry 17 % more messages.
const ENGINE_THREADS: usize = 1;

/// Opens the store in `folder`, or makes one.
pub(super) fn open(
    folder: &Path,
    options: Options,
) -> Result<(EmbeddedStore, CommitLoop), OpenError> {
    let (folder, exists) = Folder::take(folder)?;
    if !exists {
        create(&folder, options)?;
    }
    journal::mend(&folder.engine()).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => damaged(&folder, error.to_string()),
        _ => OpenError::io(folder.path(), error),
    })?;
    let rows = engine(&folder, &folder.engine(), options)?;
    let id = known(&folder, &rows, &keys::meta("id"))?;
    let secret = known(&folder, &rows, &keys::meta("secret"))?;
    let high_water_ms = known(&folder, &rows, &keys::meta("high_water_ms"))?;
    let seals = rows.get(&keys::meta(SEALS));
    let bounds = match seals.map_err(|error| damaged(&folder, error.to_string()))? {
        Some(true) => Bounds::USUAL,
        Some(false) | None => Bounds::EARLIER,
    };

    let folder = Arc::new(folder);
    let queue = Arc::new(Queue::new(options.queue_bytes));
    let high_water_ms = Arc::new(AtomicU64::new(high_water_ms));
    let metrics = Metrics::of(queue.clone());
    let inner = Inner {
        id,
        secret,
        rows: rows.clone(),
        queue: queue.clone(),
        high_water_ms: high_water_ms.clone(),
        metrics: metrics.clone(),
        _folder: folder.clone(),
    };
    let memory = Memory::of(&rows, bounds);
    let commit_loop = CommitLoop {
        rows,
        queue,
        high_water_ms,
        folder,
        options,
        metrics,
        recent: Recent::new(),
        memory,
        jobs: Vec::new(),
        not_before: Instant::now(),
    };
    Ok((EmbeddedStore(Arc::new(inner)), commit_loop))
}

/// The row that says that the engine of this store asks for files beyond [`ASKED_BYTES`] only.
const SEALS: &str = "seals";

/// Makes an empty store with an identity and a secret of its own.
fn create(folder: &Folder, options: Options) -> Result<(), OpenError> {
    let path = folder.unfinished()?;
    let rows = engine(folder, &path, options)?;
    let mut batch = rows.db.batch().durability(Some(PersistMode::SyncAll));
    let mut put = |name, value| batch.insert(&rows.all, &*keys::meta(name), value);
    put("id", encode::encode(&StoreId::from(Uuid::new_v4())));
    put("secret", encode::encode(&secret()));
    put("high_water_ms", encode::encode(&0_u64));
    put(SEALS, encode::encode(&true));
    batch.commit().map_err(|error| OpenError::engine(folder.path(), error))?;
    drop(rows);
    folder.finish(&path)
}

/// Draws 244 bits from the system's generator, as version 4 UUIDs are drawn from it, and
/// spreads them over the secret.
fn secret() -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(Uuid::new_v4());
    hash.update(Uuid::new_v4());
    hash.finalize().into()
}

/// Opens the engine's files at `path`. It panics on some kinds of damage, which is damage too.
fn engine(folder: &Folder, path: &Path, options: Options) -> Result<Rows, OpenError> {
    let open = || {
        let builder = Database::builder(path).cache_size(options.cache_bytes);
        let db = builder.worker_threads(ENGINE_THREADS).open()?;
        // Kept with the store when it is made.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(ASKED_BYTES);
        let all = db.keyspace("rows", options)?;
        Ok(Rows { db, all })
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| OpenError::engine(folder.path(), error)),
        Err(_) => Err(damaged(folder, "the engine gave up on its files".into())),
    }
}

/// Reads a row that every store has.
fn known<T: serde::de::DeserializeOwned>(
    folder: &Folder,
    rows: &Rows,
    key: &Key,
) -> Result<T, OpenError> {
    match rows.get(key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(damaged(folder, format!("no row {}", keys::shown(key)))),
        Err(error) => Err(damaged(folder, error.to_string())),
    }
}

fn damaged(folder: &Folder, what: String) -> OpenError {
    OpenError::Damaged { folder: folder.path().to_owned(), what }
}
