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
//! **Bounded.** While what was sealed before waits for the engine, what is full grows up to [`MOST_BYTES`],
//! because few large files cost the engine less than many small ones; then nothing is written until the
//! engine is done, and what waits for that is bounded by the queue of writes.

use std::any::Any;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fjall::AbstractTree as _;
use tracing::{debug, warn};

use super::group::Rows;

/// How many bytes of rows are gathered in memory before they become a file. The engine's own
/// 64 MiB is searched slower than it saves: 5 % more CPU a message than this. A store that was made before
/// memory was sealed here has the engine ask at 16 MiB as well: this is below.
pub(super) const FULL_BYTES: u64 = 15 << 20;

/// How many bytes memory may have while what was sealed before is not in a file. At saturation it has up
/// to 47 MiB (two cores of a small machine).
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// How often it is looked whether the engine has written a file, and how many times before a group is
/// written all the same: that tells whether the engine has failed.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 20;

/// Some of the engine's memory, whatever it is.
type Held = Arc<dyn Any + Send + Sync>;

/// The memory that rows are gathered in.
pub(super) struct Memory {
    held: Held,
    sealing: Option<JoinHandle<fjall::Result<bool>>>,
}

impl Memory {
    pub(super) fn of(rows: &Rows) -> Self {
        Self { held: rows.all.tree.active_memtable(), sealing: None }
    }

    /// Looks at it after each group: seals what is full, has freed what became a file, and waits where too
    /// much is gathered. Fails where sealing did.
    pub(super) fn look(&mut self, rows: &Rows) -> fjall::Result<()> {
        for look in 0..LOOKS {
            let now = rows.all.tree.active_memtable();
            let bytes = now.size();
            self.follow(now);
            self.sealed()?;
            let none_waits = || rows.all.sealed_memtable_count() == 0;
            if bytes >= FULL_BYTES && self.sealing.is_none() && none_waits() {
                debug!(bytes, "memory is sealed");
                self.seal(rows)?;
            }
            if bytes < MOST_BYTES {
                break;
            }
            if look == 0 {
                warn!(bytes, "writes wait for memory to become files: the disk may be too slow");
            }
            thread::sleep(LOOK);
        }
        Ok(())
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
        let mut memory = Memory { held: first.clone(), sealing: None };
        memory.follow(first.clone());
        memory.follow(Arc::new(Told(tell)));
        assert!(told.recv_timeout(3 * LOOK).is_err(), "the engine still reads it");
        drop(first);
        assert_eq!(told.recv().unwrap().as_deref(), Some("rally-free"));
        assert!(told.try_recv().is_err(), "rows are gathered in the second");
    }
}
