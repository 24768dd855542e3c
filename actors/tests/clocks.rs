//! A node whose clock is off takes no users until it knows better.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use harness::{Peers, Plan, TestNode, life, model};
use rally_actors::Settings;
use rally_cluster::broker::{Arrival, Broker as _};
use rally_cluster::clock::{MachineTime, TimeSource};
use rally_cluster::membership::{Card, Membership as _, Status};
use rally_schema::Envelope;

/// The machine's time, with a wall clock that somebody sets ahead.
#[derive(Clone)]
struct SetAhead {
    machine: Arc<MachineTime>,
    by_ms: Arc<AtomicU64>,
}

impl SetAhead {
    fn new() -> Self {
        Self { machine: Arc::new(MachineTime::new()), by_ms: Arc::default() }
    }

    fn set(&self, by_ms: u64) {
        self.by_ms.store(by_ms, Ordering::Relaxed);
    }
}

impl TimeSource for SetAhead {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms() + self.by_ms.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.machine.monotonic_us()
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            // A clock tells nobody that its doubt is over, so it is looked at: this is how often.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), held).await.expect(what);
}

#[actix::test]
async fn a_node_alone_follows_a_clock_that_is_set_ahead() {
    let (time, peers) = (SetAhead::new(), Peers::default());
    let store = Arc::new(model().await);
    let alone = Plan::new("alone", store, &peers, Settings::default()).by(time.clone()).start();
    alone.knows(&["alone"]).await;
    let before_ms = alone.node.clock.now_ms();
    time.set(60_000);
    assert!(alone.node.clock.is_in_doubt());
    eventually("it follows", || !alone.node.clock.is_in_doubt()).await;
    assert!(alone.node.clock.now_ms() >= before_ms + 60_000);
}

/// Starts two nodes and sets the clock of the first a minute ahead.
async fn one_of_two_set_ahead(peers: &Peers) -> (TestNode, TestNode) {
    let (time, store) = (SetAhead::new(), Arc::new(model().await));
    let here = Plan::new("here", store.clone(), peers, Settings::default()).by(time.clone());
    let here = here.start();
    let other = TestNode::start("other", store, peers, Settings::default());
    here.knows(&["here", "other"]).await;
    time.set(60_000);
    (here, other)
}

#[actix::test]
async fn a_node_with_others_believes_them() {
    let peers = Peers::default();
    let (here, other) = one_of_two_set_ahead(&peers).await;
    assert!(here.node.clock.is_in_doubt());
    eventually("it is decided", || !here.node.clock.is_in_doubt()).await;
    let apart_ms = here.node.clock.now_ms().abs_diff(other.node.clock.now_ms());
    assert!(apart_ms < 5_000, "{apart_ms} ms from the other, which is right");
    assert_eq!(here.node.status(), Status::Ready);
}

#[actix::test]
async fn what_the_others_said_of_a_step_holds_when_nobody_is_left() {
    let peers = Peers::default();
    let (here, other) = one_of_two_set_ahead(&peers).await;
    eventually("it is decided", || !here.node.clock.is_in_doubt()).await;
    peers.broker.cut();
    peers.membership.silence(other.node.life, true);
    here.knows(&["here"]).await;
    // It looks at its clock before it writes its next card.
    let (alone_ms, mut heard) = (here.node.clock.now_ms(), peers.membership.heard());
    let next = async {
        loop {
            let cards = heard.next().await.expect("the table outlives the test");
            let own = cards.into_iter().find(|card| card.life == here.node.life);
            if let Some(card) = own.filter(|card| card.clock_ms > alone_ms) {
                return card.clock_ms;
            }
        }
    };
    let next_ms = tokio::time::timeout(Duration::from_secs(20), next).await.expect("a card");
    let apart_ms = next_ms.abs_diff(other.node.clock.now_ms());
    assert!(apart_ms < 5_000, "{apart_ms} ms from the other, which is right");
}

#[actix::test]
async fn a_node_whose_clock_is_off_is_not_right_because_it_hears_nobody() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let other = life("other");
    let mut queue = peers.broker.open(other);
    let card = here.node.card();
    let elsewhere = Card { life: other, clock_ms: card.clock_ms + 60_000, ..card };
    peers.membership.announce(elsewhere);
    here.knows(&["other"]).await;
    assert_eq!(here.node.status(), Status::Starting);
    peers.membership.silence(other, true);
    // It asks after the one that it does not hear any more.
    let asked = async {
        while let Some(arrival) = queue.next().await {
            let Arrival::Parcel(parcel) = arrival else { continue };
            if parcel.envelopes.iter().any(|envelope| matches!(envelope, Envelope::Ping {})) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it asks");
    assert_eq!(here.node.status(), Status::Starting);
}
