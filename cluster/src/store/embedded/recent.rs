//! Rows that writes read lately, as the engine has them.
//!
//! Who writes to a conversation soon writes to it again, and finding a row in the engine costs
//! more than all else that a merge does. Only the commit loop writes, so what it remembers is
//! what is there. Bounded: the longest unused row is forgotten, a large one is not kept.

use std::num::NonZeroUsize;

use fjall::Slice;
use lru::LruCache;

use super::keys::Key;

/// How many rows are remembered: with keys, about 1.5 MB of inbox rows.
const ROWS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The largest row that is remembered, so that long messages cannot take its memory.
const ROW_BYTES: usize = 1_024;

/// What the commit loop remembers.
pub(super) struct Recent(LruCache<Key, Slice>);

impl Recent {
    pub(super) fn new() -> Self {
        Self(LruCache::new(ROWS))
    }

    /// Gives the row at `key`, if it is remembered.
    pub(super) fn get(&mut self, key: &Key) -> Option<&Slice> {
        self.0.get(key)
    }

    /// Remembers what was read at `key`.
    pub(super) fn keep(&mut self, key: Key, row: &Slice) {
        if row.len() <= ROW_BYTES {
            self.0.put(key, row.clone());
        }
    }

    /// Learns what is written at `key` now; says nothing of rows that nobody read.
    pub(super) fn replace(&mut self, key: &Key, row: Option<&Slice>) {
        let Some(known) = self.0.peek_mut(key) else { return };
        match row.filter(|row| row.len() <= ROW_BYTES) {
            Some(row) => *known = row.clone(),
            None => {
                self.0.pop(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    fn key(n: usize) -> Key {
        keys::meta(&n.to_string())
    }

    #[test]
    fn a_row_is_what_was_written_last() {
        let mut recent = Recent::new();
        recent.replace(&key(1), Some(&Slice::from(b"unread")));
        assert_eq!(recent.get(&key(1)), None);
        recent.keep(key(1), &Slice::from(b"old"));
        recent.replace(&key(1), Some(&Slice::from(b"new")));
        assert_eq!(recent.get(&key(1)), Some(&Slice::from(b"new")));
        recent.replace(&key(1), None);
        assert_eq!(recent.get(&key(1)), None);
    }

    #[test]
    fn it_is_bounded_in_rows_and_in_bytes() {
        let mut recent = Recent::new();
        let large = Slice::from(vec![0; ROW_BYTES + 1]);
        recent.keep(key(0), &large);
        assert_eq!(recent.get(&key(0)), None);
        recent.keep(key(0), &Slice::from(b"small"));
        recent.replace(&key(0), Some(&large));
        assert_eq!(recent.get(&key(0)), None);
        (0..=ROWS.get()).for_each(|n| recent.keep(key(n), &Slice::from(b"row")));
        assert_eq!(recent.get(&key(0)), None);
        assert!(recent.get(&key(1)).is_some());
    }
}
