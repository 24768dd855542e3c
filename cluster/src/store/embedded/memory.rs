//! When what the engine gathered in memory becomes a file, and where its memory is freed.
//!
//! **Sealed here.** Left to itself the engine (fjall 3.1) asks its only thread for that with every group
//! that is written to full memory, by a queue with room for 1,000, into which that thread then puts a
//! message of its own. A merge that lasts for as many groups fills it, and the thread waits for itself:
//! nothing becomes a file any more. So memory is sealed from here, once, on a thread of its own, because
//! the engine also drops journals and files then.
//!
//! **Freed here.** Once memory is in a file, the engine lets go of it under the lock that every read takes
//! (`register_tables` of lsm-tree 3.1). To free 16 MiB that lay idle took up to 44 ms, for which whoever
//! read or wrote stood still. Whoever holds it as well, and for longer, frees it instead.
//!
//! **Bounded.** While what was sealed before waits for the engine, what is full grows up to a bound,
//! because few large files cost the engine less than many small ones; then nothing is written until the
//! engine is done, and what waits for that is bounded by the queue of writes. One group may go beyond it.

use std::any::Any;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fjall::{AbstractTree as _, PersistMode};
use tracing::{debug, warn};

use super::group::Rows;

/// How many bytes of rows are gathered in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Before they become a file.
    pub(super) full: u64,
    /// Before nothing more is written, where what came before is not yet in a file.
    pub(super) most: u64,
}

impl Bounds {
    /// The engine's own 64 MiB are searched slower than they save: 5 % more CPU a message than 16.
    /// At saturation memory grows up to 47 MiB while the engine is busy (two cores of a small machine).
    pub(super) const USUAL: Self = Self { full: 16 << 20, most: 64 << 20 };

    /// Of a store that was made before memory was sealed here: its engine asks beyond 16 MiB, and would
    /// ask with every group. So it does not come to that.
    pub(super) const EARLIER: Self = Self { full: 8 << 20, most: 15 << 20 };
}

/// Beyond what the engine of a new store asks by itself, which is beyond all that ever waits. A version
/// from before memory was sealed here writes files of this size there, and goes on.
pub(super) const ASKED_BYTES: u64 = 256 << 20;

/// How often it is looked whether the engine has written a file.
const LOOK: Duration = Duration::from_millis(50);

/// How many looks without any file make an engine that will never write one again: five minutes.
const LOOKS: u32 = 6_000;

/// Some of the engine's memory, whatever it is.
type Held = Arc<dyn Any + Send + Sync>;

/// The memory that rows are gathered in.
pub(super) struct Memory {
    bounds: Bounds,
    held: Held,
    sealing: Option<JoinHandle<fjall::Result<bool>>>,
}

impl Memory {
    pub(super) fn of(rows: &Rows, bounds: Bounds) -> Self {
        Self { bounds, held: rows.all.tree.active_memtable(), sealing: None }
    }

    /// Looks at it after each group: seals what is full, has freed what became a file, and waits where too
    /// much is gathered. Fails where the engine did, or does nothing more.
    pub(super) fn look(&mut self, rows: &Rows) -> Result<(), String> {
        for look in 0..LOOKS {
            let now = rows.all.tree.active_memtable();
            let bytes = now.size();
            self.follow(now);
            self.sealed().map_err(|error| error.to_string())?;
            let none_waits = || rows.all.sealed_memtable_count() == 0;
            if bytes >= self.bounds.full && self.sealing.is_none() && none_waits() {
                debug!(bytes, "memory is sealed");
                self.seal(rows).map_err(|error| error.to_string())?;
            }
            if bytes < self.bounds.most {
                return Ok(());
            }
            if look == 0 {
                warn!(bytes, "writes wait for memory to become files: the disk may be too slow");
            }
            thread::sleep(LOOK);
            // Nothing is written by this. An engine that has failed says so.
            rows.db.persist(PersistMode::Buffer).map_err(|error| error.to_string())?;
        }
        Err("no file was written in five minutes, while memory is full".to_owned())
    }

    /// Waits until nothing is being sealed.
    pub(super) fn rest(&mut self) -> fjall::Result<()> {
        let ended =
            self.sealing.take().map(|sealing| sealing.join().expect("sealing does not panic"));
        ended.transpose().map(drop)
    }

    fn sealed(&mut self) -> fjall::Result<()> {
        match &self.sealing {
            Some(sealing) if sealing.is_finished() => self.rest(),
            _ => Ok(()),
        }
    }

    fn seal(&mut self, rows: &Rows) -> fjall::Result<()> {
        let all = rows.all.clone();
        let thread = thread::Builder::new().name("rally-seal".into());
        match thread.spawn(move || all.rotate_memtable()) {
            Ok(sealing) => self.sealing = Some(sealing),
            Err(error) => {
                debug!(%error, "no thread to seal memory on, whoever writes waits for that");
                rows.all.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// Holds what rows are gathered in now. What they were gathered in before is freed on a thread of its
    /// own, as soon as nobody else holds it.
    fn follow(&mut self, now: Held) {
        if Arc::ptr_eq(&self.held, &now) {
            return;
        }
        let past = std::mem::replace(&mut self.held, now);
        let free = move || {
            // Nobody takes hold of it again when none but this thread does.
            while Arc::strong_count(&past) > 1 {
                thread::sleep(LOOK);
            }
        };
        if let Err(error) = thread::Builder::new().name("rally-free".into()).spawn(free) {
            debug!(%error, "no thread to free memory on, the engine frees it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Tells on which thread it is freed.
    struct Told(Sender<Option<String>>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_the_engine_lets_go_of_is_freed_elsewhere_and_not_before() {
        let (tell, told) = channel();
        let first: Held = Arc::new(Told(tell.clone()));
        let mut memory = Memory { bounds: Bounds::USUAL, held: first.clone(), sealing: None };
        memory.follow(first.clone());
        memory.follow(Arc::new(Told(tell)));
        assert!(told.recv_timeout(3 * LOOK).is_err(), "the engine still reads it");
        drop(first);
        assert_eq!(told.recv().unwrap().as_deref(), Some("rally-free"));
        assert!(told.try_recv().is_err(), "rows are gathered in the second");
    }
}
