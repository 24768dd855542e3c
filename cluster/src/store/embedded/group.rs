//! One group of writes: staged job by job, then made durable together.
//!
//! A job reads through what earlier jobs of its group staged, so a row that several write is
//! merged here and written once. A job that fails leaves nothing staged. Knows nothing of
//! what rows mean.

use std::collections::BTreeMap;

use fjall::{Database, Keyspace, PersistMode, Slice};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::StoreError;
use super::encode::{decode, encode};
use super::keys::Key;
use super::recent::Recent;

/// The engine's handles: one database with one ordered key space.
///
/// One, not one a table: a journal is dropped as soon as every key space in it was flushed,
/// and a key space that is seldom written would keep all of them.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) db: Database,
    pub(super) all: Keyspace,
}

impl Rows {
    /// Reads the row at `key`.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        let bytes = self.all.get(key).map_err(read_failed)?;
        bytes.map(|bytes| decode(key, &bytes)).transpose()
    }
}

/// Says that the engine could not read.
pub(super) fn read_failed(error: fjall::Error) -> StoreError {
    StoreError::Read(error.to_string())
}

/// Writes that become durable together; `None` removes a row.
pub(super) struct Group<'a> {
    rows: &'a Rows,
    recent: &'a mut Recent,
    staged: BTreeMap<Key, Option<Slice>>,
    /// What the running job replaced, newest last.
    undo: Vec<(Key, Option<Option<Slice>>)>,
    high_water_ms: u64,
    undo_high_water_ms: u64,
}

impl<'a> Group<'a> {
    /// Begins an empty group.
    pub(super) fn new(rows: &'a Rows, recent: &'a mut Recent, high_water_ms: u64) -> Self {
        let (staged, undo) = (BTreeMap::new(), Vec::new());
        Self { rows, recent, staged, undo, high_water_ms, undo_high_water_ms: high_water_ms }
    }

    /// Runs one job: all that it staged stays, or nothing of it.
    pub(super) fn run<T>(
        &mut self,
        job: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.undo.clear();
        self.undo_high_water_ms = self.high_water_ms;
        let result = job(self);
        if result.is_err() {
            self.high_water_ms = self.undo_high_water_ms;
            while let Some((key, before)) = self.undo.pop() {
                match before {
                    Some(before) => self.staged.insert(key, before),
                    None => self.staged.remove(&key),
                };
            }
        }
        result
    }

    /// Reads the row at `key` as it will be.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>, StoreError> {
        if let Some(staged) = self.staged.get(key) {
            return staged.as_ref().map(|bytes| decode(key, bytes)).transpose();
        }
        if let Some(bytes) = self.recent.get(key) {
            return decode(key, bytes).map(Some);
        }
        let bytes = self.rows.all.get(key).map_err(read_failed)?;
        bytes
            .map(|bytes| {
                self.recent.keep(*key, &bytes);
                decode(key, &bytes)
            })
            .transpose()
    }

    /// Stages a row.
    pub(super) fn put(&mut self, key: Key, row: &impl Serialize) {
        self.stage(key, Some(encode(row).into()));
    }

    /// Stages the removal of a row.
    pub(super) fn remove(&mut self, key: Key) {
        self.stage(key, None);
    }

    fn stage(&mut self, key: Key, value: Option<Slice>) {
        let before = self.staged.insert(key, value);
        self.undo.push((key, before));
    }

    /// Notes the time of a change id.
    pub(super) fn note_change(&mut self, at_ms: u64) {
        self.high_water_ms = self.high_water_ms.max(at_ms);
    }

    /// Gives the latest time of a change id, this group's included.
    pub(super) fn high_water_ms(&self) -> u64 {
        self.high_water_ms
    }

    /// Writes everything at once and, unless `mode` says otherwise, syncs it.
    pub(super) fn write(self, mode: PersistMode) -> fjall::Result<()> {
        let Self { rows, recent, staged, .. } = self;
        let batch = rows.db.batch().durability(Some(mode));
        let fill = |mut batch: fjall::OwnedWriteBatch, (key, value): (Key, Option<Slice>)| {
            recent.replace(&key, value.as_ref());
            match value {
                Some(value) => batch.insert(&rows.all, &*key, value),
                None => batch.remove(&rows.all, &*key),
            }
            batch
        };
        staged.into_iter().fold(batch, fill).commit()
    }
}
