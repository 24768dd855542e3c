//! The one place that writes: takes what waits, merges it, writes it as one batch, syncs once.
//!
//! Runs on a thread that its owner makes for it. The first write or sync that fails ends it,
//! and with it every later write: what the disk then holds is known only after a new start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fjall::PersistMode;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::super::StoreError;
use super::folder::Folder;
use super::group::{Group, Rows};
use super::memory::Memory;
use super::metrics::Metrics;
use super::queue::{Queue, Waiting};
use super::recent::Recent;
use super::{Durability, Options, journal, keys};

/// Stages writes, and gives what tells its caller how they ended.
pub(super) type Job = Box<dyn FnOnce(&mut Group<'_>) -> Done + Send>;

/// Tells a caller how the group ended.
pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// How many waiting jobs make a group worth its sync, so that no more are gathered. With 64, a message
/// costs a tenth more at 33,000 a second; with 256, half of them wait three times as long.
const ENOUGH: usize = 128;

/// How often, and how many times, a clean stop looks whether all is flushed: 10 s together.
const FLUSH_LOOK: Duration = Duration::from_millis(5);
const FLUSH_LOOKS: u32 = 2_000;

/// Why no more can be written. The process should end: a new start reads what is really there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the store in {folder} could not be written, and takes nothing more: {cause}")]
pub struct CommitFailed {
    /// Where the store is.
    pub folder: String,
    /// What the engine, or a look at the disk, said.
    pub cause: String,
}

/// Writes what the store's handles queue, until they close it or a write fails.
pub struct CommitLoop {
    pub(super) rows: Rows,
    pub(super) queue: Arc<Queue<Job>>,
    pub(super) high_water_ms: Arc<AtomicU64>,
    pub(super) folder: Arc<Folder>,
    pub(super) options: Options,
    pub(super) metrics: Metrics,
    pub(super) recent: Recent,
    pub(super) memory: Memory,
    /// What was taken from the queue; empty between turns.
    pub(super) jobs: Vec<Waiting<Job>>,
    /// When the next group may begin.
    pub(super) not_before: Instant,
}

impl CommitLoop {
    /// Works until the store is closed, or until the last handle to it is gone; blocks its
    /// thread. A clean end leaves everything flushed, so that the next start has little to read.
    pub fn run(mut self) -> Result<(), CommitFailed> {
        while self.turn()? {}
        self.memory.rest().map_err(|cause| self.fail(cause.to_string()))?;
        self.flush();
        Ok(())
    }

    /// Waits for writes and makes one group of them durable; `false` once the store is closed and
    /// nothing waits. For who counts what a group costs: everybody else has it [`run`](Self::run).
    pub fn turn(&mut self) -> Result<bool, CommitFailed> {
        if !self.queue.take(self.not_before, ENOUGH, &mut self.jobs) {
            return Ok(false);
        }
        // Counted from beginning to beginning: who writes alone waits for nobody.
        self.not_before = Instant::now() + Duration::from_micros(self.options.group_interval_us);
        match self.write() {
            Ok(()) => Ok(true),
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Tells how many writes wait for a turn.
    pub fn waiting(&self) -> usize {
        self.queue.waiting().0
    }

    /// Writes one group and tells its callers.
    fn write(&mut self) -> Result<(), String> {
        let before = self.high_water_ms.load(Ordering::Relaxed);
        let mut group = Group::new(&self.rows, &mut self.recent, before);
        let waiting: Vec<Done> =
            self.jobs.drain(..).map(|waiting| (waiting.job)(&mut group)).collect();
        let high_water_ms = group.high_water_ms();
        if high_water_ms > before {
            group.put(keys::meta("high_water_ms"), &high_water_ms);
        }
        let mode = match self.options.durability {
            Durability::Sync => PersistMode::SyncData,
            Durability::Os => PersistMode::Buffer,
        };
        let began = Instant::now();
        let result = group.write(mode);
        let outcome = match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(StoreError::Unknown(error.to_string())),
        };
        if result.is_ok() {
            self.high_water_ms.store(high_water_ms, Ordering::Release);
            self.metrics.group(waiting.len(), began.elapsed());
        }
        waiting.into_iter().for_each(|done| done(outcome.clone()));
        result.map_err(|error| error.to_string())?;
        self.memory.look(&self.rows)
    }

    /// Refuses everything from now on; whoever waits learns that nothing is known.
    fn fail(&self, cause: String) -> CommitFailed {
        self.queue.close();
        let cause = match self.folder.probe() {
            Err(error) => error.to_string(),
            Ok(()) => cause,
        };
        // Whoever waits learns it from the end of his job.
        let mut jobs = Vec::new();
        while self.queue.take(Instant::now(), 1, &mut jobs) {
            jobs.clear();
        }
        let folder = self.folder.shown();
        error!(%folder, %cause, "store failed, no more is written");
        CommitFailed { folder, cause }
    }

    /// Writes what memory holds into its final files. The journals, which hold the same, are
    /// emptied then: the next start would read them for nothing.
    fn flush(&self) {
        let (folder, all) = (self.folder.shown(), &self.rows.all);
        let flushed = all.rotate_memtable().and_then(|rotated| {
            let mut looks = FLUSH_LOOKS;
            while all.sealed_memtable_count() > 0 && looks > 0 {
                std::thread::sleep(FLUSH_LOOK);
                looks -= 1;
            }
            debug!(rotated, looks, "store flushed");
            self.rows.db.persist(PersistMode::SyncAll)?;
            match all.sealed_memtable_count() {
                0 => Ok(journal::empty(&self.folder.engine())?),
                _ => Ok(()),
            }
        });
        match flushed {
            Ok(()) => info!(%folder, "store closed"),
            // Nothing is lost: the journal has it, and the next start reads the journal.
            Err(error) => error!(%error, "store not flushed, next start takes longer"),
        }
    }
}
