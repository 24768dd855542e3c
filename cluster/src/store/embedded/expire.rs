//! What may go: old entries of logs, and revocations that ended.
//!
//! Found in steps of bounded size, so that neither the reader nor the commit loop that
//! removes them is held up; nothing that is found can change meanwhile.

use super::super::StoreError;
use super::encode::{damaged, decode};
use super::group::{Rows, read_failed};
use super::keys::{self, Key, Table};

/// How many rows one step finds at most.
const ROWS: usize = 1_000;

/// How many users one step visits at most: each costs a seek, however long his log is.
const USERS: usize = 1_000;

/// What one step found.
pub(super) struct Expired {
    /// What may go.
    pub(super) keys: Vec<Key>,
    /// How many of them are entries of logs.
    pub(super) entries: u64,
    /// Where the next step begins, unless this was the last.
    pub(super) next: Option<Key>,
}

impl Rows {
    /// Takes one step from where the last one ended.
    pub(super) fn expired(&self, from: Option<Key>, before_ms: u64) -> Result<Expired, StoreError> {
        match from.unwrap_or(keys::first(Table::Changes)) {
            from if from.is_of(Table::Changes) => self.old_entries(from, before_ms),
            from => self.ended_revocations(from, before_ms),
        }
    }

    /// Skips from user to user, taking of each what is old.
    fn old_entries(&self, mut from: Key, before_ms: u64) -> Result<Expired, StoreError> {
        let mut old = Vec::new();
        let mut next = keys::first(Table::Revoked);
        for visited in 0.. {
            let Some(entry) = self.all.range(from..keys::first(Table::Users)).next() else { break };
            let key = entry.key().map_err(read_failed)?;
            let user = keys::owner(&key).ok_or_else(|| damaged(&key, "no user in the key"))?;
            for entry in self.all.range(keys::changes_before(user, before_ms)) {
                old.push(read(&entry.key().map_err(read_failed)?)?);
                if old.len() == ROWS {
                    break;
                }
            }
            // What was found is gone when the next step comes here again.
            from = if old.len() == ROWS { from } else { keys::after_changes(user) };
            if old.len() == ROWS || visited == USERS {
                next = from;
                break;
            }
        }
        Ok(Expired { entries: old.len() as u64, keys: old, next: Some(next) })
    }

    /// Walks all revocations: there are few, an ended one is gone two weeks later.
    fn ended_revocations(&self, from: Key, before_ms: u64) -> Result<Expired, StoreError> {
        let mut walked = self.all.range(from..);
        let mut keys = Vec::new();
        let mut next = None;
        for entry in walked.by_ref() {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            if keys.len() == ROWS {
                next = Some(read(&key)?);
                break;
            }
            if decode::<u64>(&key, &value)? < before_ms {
                keys.push(read(&key)?);
            }
        }
        Ok(Expired { keys, entries: 0, next })
    }
}

fn read(key: &[u8]) -> Result<Key, StoreError> {
    Key::read(key).ok_or_else(|| damaged(key, "the key is too long"))
}
