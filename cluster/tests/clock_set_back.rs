//! A machine whose clock is set back between two lives of a node, by more than a day.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rally_cluster::clock::{Clock, TimeSource};
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::Store;
use rally_cluster::store::embedded::{EmbeddedStore, Options};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, MessageId, UserId};
use uuid::Uuid;

const DAY_MS: u64 = 86_400_000;

/// A machine that believes that it is this late, and whose time does not pass.
struct Machine {
    wall_ms: u64,
    monotonic_us: AtomicU64,
}

impl TimeSource for Machine {
    fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.fetch_add(1, Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_log_stays_in_the_order_of_its_writes_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| name.parse::<UserId>().unwrap();
    let pair = Pair::direct(name("ana"), name("ben"));
    let mut sent = Vec::new();
    let noon = 1_790_000_000_000;
    for (life, wall_ms) in [noon, noon - 2 * DAY_MS, noon - 400 * DAY_MS].into_iter().enumerate() {
        let (store, commit_loop) = EmbeddedStore::open(dir.path(), Options::default()).unwrap();
        let running = thread::spawn(move || commit_loop.run());
        let machine = Machine { wall_ms, monotonic_us: AtomicU64::new(0) };
        let clock = Clock::new(machine, store.high_water_ms(), life as u64, 1_875);
        for n in 0..20 {
            let r#ref = Uuid::from_u64_pair(life as u64, n).into();
            let stamp = Stamp { at: clock.now_ms(), n: n as u16 };
            let text = format!("message {n} of life {life}");
            let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
            let intent = Intent::Send { id, r#ref, text, reply_to: None };
            store.commit(vec![intent.commit(pair, || clock.mint())]).await.unwrap();
            sent.push(id);
        }
        let log = store.changes(pair.peer, ChangeId::first_of(0), 1_000).await.unwrap();
        let logged: Vec<MessageId> = log.iter().map(|change| change.id).collect();
        assert_eq!(logged, sent, "in life {life}");
        store.close();
        running.join().unwrap().unwrap();
    }
}
