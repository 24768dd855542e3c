//! The one clock of a node: never behind what it has told before.
//!
//! `now = max(wall, persisted high-water mark + monotonic elapsed)`, so that a wall
//! clock set back, between two starts or in a run, never mints an id below an
//! earlier one. Where the wall goes ahead at once (it was set, or the machine
//! slept), nobody can tell alone whether it is right now: the clock goes on by the
//! monotonic count and is in doubt until it is told to follow the wall or to pass
//! the step over. Nothing that a client sends moves it. Everything that needs a time
//! takes it from here, so that a simulation can put its own time underneath.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rally_schema::ChangeId;
use rally_schema::ids::{MAX_N, Stamp};

use crate::planted::{self, Fault};

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
    /// The largest `wall - monotonic` ever followed: `now` is the monotonic count plus this.
    offset: AtomicI64,
    /// How far the wall may go ahead at once and still be followed.
    step_ms: i64,
    /// What the monotonic count has missed, by the steps that were followed.
    slept_us: AtomicU64,
    /// Whether the wall that is ahead now is known to be wrong.
    passed_over: AtomicBool,
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
    /// earlier life made durable. `life_bits` are drawn at random once a life. A wall that goes
    /// ahead by more than `step_ms` between two uses is not followed unasked.
    pub fn new(source: impl TimeSource, high_water_ms: u64, life_bits: u64, step_ms: u64) -> Self {
        let start = source.wall_ms().max(high_water_ms) as i64;
        let offset = start - (source.monotonic_us() / 1000) as i64;
        Self(Arc::new(Inner {
            source: Box::new(source),
            offset: AtomicI64::new(offset),
            step_ms: step_ms as i64,
            slept_us: AtomicU64::new(0),
            passed_over: AtomicBool::new(false),
            minted: AtomicU64::new(high_water_ms << 12 | u64::from(MAX_N)),
            life_bits,
        }))
    }

    /// Starts on the machine's clocks.
    pub fn machine(high_water_ms: u64, life_bits: u64, step_ms: u64) -> Self {
        Self::new(MachineTime::new(), high_water_ms, life_bits, step_ms)
    }

    /// Gives milliseconds since 1970; never less than it gave before.
    pub fn now_ms(&self) -> u64 {
        let (elapsed, candidate) = self.look();
        let held = self.0.offset.load(Ordering::Acquire);
        let is_step = candidate - held > self.0.step_ms && !planted::on(Fault::StepFollowed);
        let offset = if candidate > held && !is_step {
            self.0.offset.fetch_max(candidate, Ordering::AcqRel).max(candidate)
        } else {
            held
        };
        (elapsed + offset).max(0) as u64
    }

    /// Gives the time that has passed, and what the wall is ahead of it.
    fn look(&self) -> (i64, i64) {
        let elapsed = self.elapsed_ms() as i64;
        (elapsed, self.0.source.wall_ms() as i64 - elapsed)
    }

    /// Gives how far the wall has gone ahead at once; `None` when no step is to be judged.
    pub fn stepped_ms(&self) -> Option<u64> {
        let (_, candidate) = self.look();
        let ahead = candidate - self.0.offset.load(Ordering::Acquire);
        (ahead > self.0.step_ms).then_some(ahead as u64)
    }

    /// Tells whether the wall has gone ahead at once and nobody has judged yet which is right:
    /// no cursor, change id or acknowledgement may rest on this clock then.
    pub fn is_in_doubt(&self) -> bool {
        self.stepped_ms().is_some() && !self.0.passed_over.load(Ordering::Acquire)
    }

    /// Takes the wall for right, whatever step it made: so much time has passed then.
    pub fn follow_wall(&self) {
        if let Some(step_ms) = self.stepped_ms() {
            self.0.slept_us.fetch_add(step_ms * 1_000, Ordering::AcqRel);
        }
        self.0.passed_over.store(false, Ordering::Release);
    }

    /// Takes the wall for wrong, or, with `false`, any later step for one that is to be judged.
    pub fn pass_over_wall(&self, over: bool) {
        self.0.passed_over.store(over, Ordering::Release);
    }

    /// Gives a monotonic count of milliseconds, for measuring how long something took.
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_us() / 1000
    }

    /// Gives the same count in microseconds.
    pub fn monotonic_us(&self) -> u64 {
        self.0.source.monotonic_us()
    }

    /// Gives the monotonic count with what it has missed while the machine slept, as far as is
    /// known. Who counts on what others keep for him for a while measures that by this; who keeps
    /// it, by the monotonic count, and so never for too short.
    pub fn elapsed_ms(&self) -> u64 {
        (self.monotonic_us() + self.0.slept_us.load(Ordering::Acquire)) / 1_000
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

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now_ms", &self.now_ms()).finish()
    }
}

/// Shows how far the clock is ahead of the machine's: an operator has to set that one.
impl Collector for Clock {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ahead = ConstGauge::new(self.ahead_of_wall_ms() as f64 / 1e3);
        let help = "How far this node's clock is ahead of the machine's, which was set back";
        let name = "clock_ahead_of_machine";
        let unit = Some(&Unit::Seconds);
        ahead.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;
    use proptest::prelude::*;
    use rally_schema::ids::MAX_MS;

    use super::*;

    const STEP_MS: u64 = 2_000;

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
        (hands.clone(), Clock::new(hands, high_water, 7, STEP_MS))
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
    fn a_step_ahead_is_followed_only_when_told_to() {
        let (hands, clock) = clock_at(5_000, 0);
        hands.set(7_000, 100);
        assert_eq!((clock.now_ms(), clock.is_in_doubt()), (7_000, false));
        hands.set(60_000, 200);
        assert_eq!((clock.now_ms(), clock.stepped_ms()), (7_100, Some(52_900)));
        assert!(clock.is_in_doubt());
        clock.pass_over_wall(true);
        assert_eq!((clock.now_ms(), clock.is_in_doubt()), (7_100, false));
        hands.set(60_100, 300);
        clock.follow_wall();
        assert_eq!((clock.now_ms(), clock.is_in_doubt()), (60_100, false));
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
    fn ids_of_one_millisecond_keep_apart_and_in_order() {
        let (_, clock) = clock_at(5_000, 0);
        let minted: Vec<ChangeId> = (0..10_000).map(|_| clock.mint()).collect();
        assert!(minted.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn how_far_it_is_ahead_is_shown() {
        let (hands, clock) = clock_at(5_000, 0);
        hands.set(1_000, 300);
        let mut registry = Registry::with_prefix("rally");
        registry.register_collector(Box::new(clock));
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        let line = "rally_clock_ahead_of_machine_seconds 4.2";
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }

    #[test]
    fn ids_minted_at_once_on_many_threads_are_all_different() {
        let (_, clock) = clock_at(5_000, 0);
        let mint = || (0..5_000).map(|_| clock.mint()).collect::<Vec<_>>();
        let mut minted: Vec<ChangeId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(mint)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        minted.sort_unstable();
        assert!(minted.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// What happens to a clock.
    #[derive(Debug, Clone)]
    enum Event {
        /// Time goes by.
        Pass { ms: u64 },
        /// Somebody sets the machine's clock.
        SetWall { to_ms: u64 },
        /// So many ids are minted; the last ones of them may never become durable.
        Mint { count: usize, durable: usize },
        /// The process ends and starts again, on another monotonic count.
        Restart { monotonic_ms: u64 },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        // Around now, give or take a month; or anything that a machine may believe.
        let wall = prop_oneof![1_787_000_000_000..1_793_000_000_000_u64, 0..MAX_MS / 2];
        let event = prop_oneof![
            3 => (0..100_000_u64).prop_map(|ms| Event::Pass { ms }),
            2 => wall.prop_map(|to_ms| Event::SetWall { to_ms }),
            // More than a millisecond has room for, at times.
            4 => (1..6_000_usize, 0..6_000_usize)
                .prop_map(|(count, durable)| Event::Mint { count, durable }),
            1 => (0..1_000_000_u64).prop_map(|monotonic_ms| Event::Restart { monotonic_ms }),
        ];
        prop::collection::vec(event, 1..40)
    }

    proptest! {
        #[test]
        fn nothing_sets_it_back_and_nothing_is_minted_below_what_is_durable(events in events()) {
            let (mut wall, mut monotonic, mut high_water) = (1_790_000_000_000, 7, 0);
            let hands = Hands::default();
            hands.set(wall, monotonic);
            let (mut clock, mut life) = (Clock::new(hands.clone(), high_water, 0, STEP_MS), 0);
            let (mut last, mut durable, mut told) = (None, None, 0);
            for event in events {
                match event {
                    Event::Pass { ms } => (wall, monotonic) = (wall + ms, monotonic + ms),
                    Event::SetWall { to_ms } => wall = to_ms,
                    Event::Mint { count, durable: kept } => {
                        for nth in 0..count {
                            let id = clock.mint();
                            prop_assert!(Some(id) > last, "{id} is not above {last:?}");
                            prop_assert!(Some(id) > durable, "{id} is not above {durable:?}");
                            last = Some(id);
                            if nth < kept {
                                (durable, high_water) = (last, id.at());
                            }
                        }
                    }
                    Event::Restart { monotonic_ms } => {
                        (monotonic, life) = (monotonic_ms, life + 1);
                        hands.set(wall, monotonic);
                        // What was not durable was told to nobody.
                        (last, told) = (None, high_water);
                        clock = Clock::new(hands.clone(), high_water, life, STEP_MS);
                    }
                }
                hands.set(wall, monotonic);
                if clock.is_in_doubt() {
                    prop_assert!(clock.now_ms() < wall);
                    clock.follow_wall();
                }
                let now = clock.now_ms();
                prop_assert!(now >= told, "{now} was told after {told}");
                prop_assert!(now >= wall, "{now} is behind a wall that says {wall}");
                prop_assert_eq!(clock.ahead_of_wall_ms(), now - wall);
                told = now;
            }
        }
    }
}
