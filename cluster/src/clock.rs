//! The one clock of a node: never behind what it has told before.
//!
//! `now = max(wall, persisted high-water mark + monotonic elapsed)`, so that a wall
//! clock set back, between two starts or in a run, never mints an id below an
//! earlier one. Nothing that a client sends moves it. Everything that needs a time
//! takes it from here, so that a simulation can put its own time underneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rally_schema::ChangeId;
use rally_schema::ids::{MAX_N, Stamp};

/// Where time comes from: the machine, or a simulation.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since 1970 as the machine believes; may be set at any moment.
    fn wall_ms(&self) -> u64;
    /// Microseconds that only ever grow, from an origin of its own.
    fn monotonic_us(&self) -> u64;
}

/// The machine's own clocks.
pub struct MachineTime {
    origin: std::time::Instant,
}

#[allow(clippy::disallowed_methods, reason = "the one place where the machine is asked")]
impl MachineTime {
    /// Begins the monotonic count now.
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    fn read_wall() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_millis() as u64)
    }
}

impl Default for MachineTime {
    fn default() -> Self {
        Self::new()
    }
}

impl TimeSource for MachineTime {
    fn wall_ms(&self) -> u64 {
        Self::read_wall()
    }

    fn monotonic_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }
}

struct Inner {
    source: Box<dyn TimeSource>,
    /// The largest `wall - monotonic` ever seen: `now` is the monotonic count plus this.
    offset: AtomicI64,
    /// The last stamp minted: milliseconds in the upper 52 bits, count in the lower 12.
    minted: AtomicU64,
    /// What tells this life's ids from those of every other.
    life_bits: u64,
}

/// Tells the time and mints change ids; clones share one state.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

impl Clock {
    /// Starts at the later of the wall clock and `high_water_ms`, the last time that an
    /// earlier life made durable. `life_bits` are drawn at random once a life.
    pub fn new(source: impl TimeSource, high_water_ms: u64, life_bits: u64) -> Self {
        let start = source.wall_ms().max(high_water_ms) as i64;
        let offset = start - (source.monotonic_us() / 1000) as i64;
        Self(Arc::new(Inner {
            source: Box::new(source),
            offset: AtomicI64::new(offset),
            minted: AtomicU64::new(high_water_ms << 12 | u64::from(MAX_N)),
            life_bits,
        }))
    }

    /// Starts on the machine's clocks.
    pub fn machine(high_water_ms: u64, life_bits: u64) -> Self {
        Self::new(MachineTime::new(), high_water_ms, life_bits)
    }

    /// Gives milliseconds since 1970; never less than it gave before.
    pub fn now_ms(&self) -> u64 {
        let monotonic = self.monotonic_ms() as i64;
        let candidate = self.0.source.wall_ms() as i64 - monotonic;
        let before = self.0.offset.fetch_max(candidate, Ordering::AcqRel);
        (monotonic + before.max(candidate)).max(0) as u64
    }

    /// Gives a monotonic count of milliseconds, for measuring how long something took.
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_us() / 1000
    }

    /// Gives the same count in microseconds.
    pub fn monotonic_us(&self) -> u64 {
        self.0.source.monotonic_us()
    }

    /// Gives by how much this clock is ahead of the wall: above zero after the wall was set back.
    pub fn ahead_of_wall_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.0.source.wall_ms())
    }

    /// Mints a change id above every id that this life, and any durable earlier one, minted.
    pub fn mint(&self) -> ChangeId {
        let floor = self.now_ms() << 12;
        let step = |last: u64| Some(floor.max(last + 1));
        let last = self
            .0
            .minted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .expect("step always gives a value");
        let next = floor.max(last + 1);
        let stamp = Stamp { at: next >> 12, n: (next & u64::from(MAX_N)) as u16 };
        ChangeId::of(stamp, self.0.life_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Hands(Arc<(AtomicU64, AtomicU64)>);

    impl Hands {
        fn set(&self, wall: u64, monotonic: u64) {
            self.0.0.store(wall, Ordering::Relaxed);
            self.0.1.store(monotonic, Ordering::Relaxed);
        }
    }

    impl TimeSource for Hands {
        fn wall_ms(&self) -> u64 {
            self.0.0.load(Ordering::Relaxed)
        }
        fn monotonic_us(&self) -> u64 {
            self.0.1.load(Ordering::Relaxed) * 1000
        }
    }

    fn clock_at(wall: u64, high_water: u64) -> (Hands, Clock) {
        let hands = Hands::default();
        hands.set(wall, 100);
        (hands.clone(), Clock::new(hands, high_water, 7))
    }

    #[test]
    fn it_follows_the_wall() {
        let (hands, clock) = clock_at(5_000, 0);
        assert_eq!(clock.now_ms(), 5_000);
        hands.set(6_000, 1_100);
        assert_eq!(clock.now_ms(), 6_000);
        assert_eq!(clock.ahead_of_wall_ms(), 0);
    }

    #[test]
    fn a_wall_set_back_in_a_run_does_not_set_it_back() {
        let (hands, clock) = clock_at(5_000, 0);
        let before = clock.mint();
        hands.set(1_000, 300);
        assert_eq!(clock.now_ms(), 5_200);
        assert_eq!(clock.ahead_of_wall_ms(), 4_200);
        assert!(clock.mint() > before);
    }

    #[test]
    fn a_wall_set_back_between_two_starts_mints_nothing_below() {
        let (_, clock) = clock_at(1_000, 9_000);
        assert!(clock.now_ms() >= 9_000);
        assert!(clock.mint() > ChangeId::of(Stamp { at: 9_000, n: MAX_N }, u64::MAX));
    }

    #[test]
    fn a_wall_that_jumps_ahead_is_believed() {
        let (hands, clock) = clock_at(5_000, 0);
        hands.set(60_000, 200);
        assert_eq!(clock.now_ms(), 60_000);
    }

    #[test]
    fn ids_of_one_millisecond_keep_apart_and_in_order() {
        let (_, clock) = clock_at(5_000, 0);
        let minted: Vec<ChangeId> = (0..10_000).map(|_| clock.mint()).collect();
        assert!(minted.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
