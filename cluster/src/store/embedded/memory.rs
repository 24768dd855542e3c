//! Frees what the engine gathered in memory, where nobody waits for it.
//!
//! Once that is in a file, the engine lets go of it under the lock that every read takes (`register_tables`
//! of lsm-tree 3.1). To free 16 MiB that lay idle took up to 44 ms, for which whoever read or wrote stood
//! still. Whoever holds it as well, and for longer, frees it instead. There are no more such threads than the
//! engine has memory on its way into files: it takes nothing more beyond four.

use std::any::Any;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::debug;

/// Some of the engine's memory, whatever it is.
pub(super) type Memory = Arc<dyn Any + Send + Sync>;

/// How often it is looked whether the engine has let go: it does when the file is written.
const LOOK: Duration = Duration::from_millis(50);

/// Holds the memory that rows are gathered in.
pub(super) struct Held(Memory);

impl Held {
    pub(super) fn new(memory: Memory) -> Self {
        Self(memory)
    }

    /// Holds what rows are gathered in now. What they were gathered in before is freed on a thread of its
    /// own, as soon as nobody else holds it.
    pub(super) fn follow(&mut self, now: Memory) {
        if Arc::ptr_eq(&self.0, &now) {
            return;
        }
        let past = std::mem::replace(&mut self.0, now);
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
        let first: Memory = Arc::new(Told(tell.clone()));
        let mut held = Held::new(first.clone());
        held.follow(first.clone());
        held.follow(Arc::new(Told(tell)));
        assert!(told.recv_timeout(3 * LOOK).is_err(), "the engine still reads it");
        drop(first);
        assert_eq!(told.recv().unwrap().as_deref(), Some("rally-free"));
        assert!(told.try_recv().is_err(), "rows are gathered in the second");
    }
}
