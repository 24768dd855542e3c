//! What all parts of one simulated cluster share: chance, who is dead, and what is cut.
//!
//! Every choice is drawn from one generator, so a seed replays exactly. Knows nothing of users.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rally_cluster::clock::TimeSource;
use rally_proof::phone::Host;
use rally_schema::{Life, NodeId};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::time::Instant;
use uuid::Uuid;

/// The wall clock when every simulation begins: a day in November 2026.
pub const EPOCH_MS: u64 = 1_795_000_000_000;

/// How likely things go wrong, in thousandths. All zero: nothing does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// A parcel never arrives, and nobody confirms it.
    pub parcel_lost: u32,
    /// A parcel arrives, and nobody confirms it.
    pub parcel_unconfirmed: u32,
    /// A parcel arrives twice.
    pub parcel_doubled: u32,
    /// A parcel takes up to two seconds.
    pub parcel_late: u32,
    /// A write is never done, and times out.
    pub write_lost: u32,
    /// A write is done, and times out.
    pub write_unconfirmed: u32,
    /// A write is done in part, times out, and the rest surfaces up to a minute later.
    pub write_late: u32,
    /// A read fails.
    pub read_failed: u32,
    /// Parcels arrive only at multiples of so many milliseconds: what came between comes at once.
    pub burst_ms: u64,
}

/// One simulated world; clones share it.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    start: Instant,
    state: Mutex<State>,
    happened: AtomicU64,
}

struct State {
    rng: StdRng,
    weather: Weather,
    dead: BTreeSet<Life>,
    paused: BTreeSet<NodeId>,
    /// Who cannot reach the broker.
    off_broker: BTreeSet<NodeId>,
    /// Who does not hear whose gossip.
    deaf: BTreeSet<(NodeId, NodeId)>,
}

impl Host for World {
    fn now_ms(&self) -> u64 {
        self.now_ms()
    }

    fn uuid(&self) -> Uuid {
        self.uuid()
    }
}

impl World {
    /// Begins a world; must be called inside the runtime whose clock it has.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            weather: Weather::default(),
            dead: BTreeSet::new(),
            paused: BTreeSet::new(),
            off_broker: BTreeSet::new(),
            deaf: BTreeSet::new(),
        };
        let (start, state) = (Instant::now(), Mutex::new(state));
        Self(Arc::new(Inner { start, state, happened: AtomicU64::new(0) }))
    }

    /// Gives milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.0.start.elapsed().as_millis() as u64
    }

    /// Draws a number below `limit`, which is not zero.
    pub fn below(&self, limit: u64) -> u64 {
        self.0.state.lock().rng.random_range(0..limit)
    }

    /// Draws one of `many`, which are not none.
    pub fn pick<T: Copy>(&self, many: &[T]) -> T {
        many[self.below(many.len() as u64) as usize]
    }

    /// Draws an id.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.state.lock().rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Tells, by chance, whether something of this likelihood in thousandths happens; counts it.
    pub fn happens(&self, likely: impl Fn(&Weather) -> u32) -> bool {
        let mut state = self.0.state.lock();
        let likely = likely(&state.weather);
        let happens = likely > 0 && state.rng.random_range(0..1_000) < likely;
        drop(state);
        self.0.happened.fetch_add(u64::from(happens), Ordering::Relaxed);
        happens
    }

    /// Waits for some milliseconds, drawn between two bounds.
    pub async fn delay(&self, least_ms: u64, most_ms: u64) {
        let ms = least_ms + self.below(most_ms - least_ms + 1);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Makes a delay one that ends with a burst, if parcels come in bursts.
    pub fn in_bursts(&self, delay_ms: u64) -> u64 {
        let burst_ms = self.0.state.lock().weather.burst_ms;
        let now_ms = self.now_ms();
        match burst_ms {
            0 => delay_ms,
            _ => (now_ms + delay_ms).next_multiple_of(burst_ms) - now_ms,
        }
    }

    /// Counts the small faults that happened.
    pub fn faults(&self) -> u64 {
        self.0.happened.load(Ordering::Relaxed)
    }

    /// Changes the weather.
    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.0.state.lock().weather);
    }

    /// Notes that a life is over: nothing of it has an effect any more.
    pub fn kill(&self, life: Life) {
        self.0.state.lock().dead.insert(life);
    }

    /// Tells whether a life is over.
    pub fn is_dead(&self, life: Life) -> bool {
        self.0.state.lock().dead.contains(&life)
    }

    /// Stops a node, or lets it go on.
    pub fn set_paused(&self, node: NodeId, paused: bool) {
        set(&mut self.0.state.lock().paused, node, paused);
    }

    /// Tells whether a node stands still.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.0.state.lock().paused.contains(&node)
    }

    /// Cuts a node off the broker, or joins it again.
    pub fn set_off_broker(&self, node: NodeId, off: bool) {
        set(&mut self.0.state.lock().off_broker, node, off);
    }

    /// Tells whether a node reaches the broker.
    pub fn reaches_broker(&self, node: NodeId) -> bool {
        !self.0.state.lock().off_broker.contains(&node)
    }

    /// Makes a node deaf to another's gossip, or hear it again.
    pub fn set_deaf(&self, node: NodeId, to: NodeId, deaf: bool) {
        set(&mut self.0.state.lock().deaf, (node, to), deaf);
    }

    /// Tells whether a node hears another's gossip.
    pub fn hears(&self, node: NodeId, other: NodeId) -> bool {
        !self.0.state.lock().deaf.contains(&(node, other))
    }

    /// Ends every cut.
    pub fn heal(&self) {
        let mut state = self.0.state.lock();
        state.weather = Weather::default();
        state.off_broker.clear();
        state.deaf.clear();
        state.paused.clear();
    }
}

fn set<T: Ord>(all: &mut BTreeSet<T>, one: T, on: bool) {
    match on {
        true => drop(all.insert(one)),
        false => drop(all.remove(&one)),
    }
}

/// The clock of one node's machine: simulated time, and how wrong it is.
#[derive(Clone)]
pub struct Machine {
    start: Instant,
    skew_ms: Arc<AtomicI64>,
    slept_us: Arc<AtomicU64>,
}

impl Machine {
    /// Makes a machine whose wall clock is right.
    pub fn new(world: &World) -> Self {
        Self { start: world.0.start, skew_ms: Arc::default(), slept_us: Arc::default() }
    }

    /// Has slept for so long: its wall clock went on, and its monotonic count did not.
    pub fn slept(&self, ms: u64) {
        self.slept_us.fetch_add(ms * 1_000, Ordering::Relaxed);
    }

    /// Sets the wall clock so much ahead, or behind.
    pub fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl TimeSource for Machine {
    fn wall_ms(&self) -> u64 {
        let right = EPOCH_MS + self.start.elapsed().as_millis() as u64;
        right.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }

    fn monotonic_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 - self.slept_us.load(Ordering::Relaxed)
    }
}
