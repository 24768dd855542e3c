//! What tests of several files share: a clock that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rally_cluster::clock::{Clock, TimeSource};

/// The hands of a clock; clones move the same one.
#[derive(Clone)]
pub struct Hands(Arc<AtomicU64>);

impl Hands {
    /// Puts the hands at a time, in milliseconds since 1970.
    pub fn at(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    /// Moves them on.
    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::AcqRel);
    }

    /// Gives a clock that follows them.
    pub fn clock(&self) -> Clock {
        Clock::new(self.clone(), 0, 7, u64::MAX >> 1)
    }
}

impl TimeSource for Hands {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn monotonic_us(&self) -> u64 {
        self.wall_ms() * 1000
    }
}
