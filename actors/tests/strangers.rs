//! Nodes that were never heard here: gossip is cut, or news went elsewhere.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::{Peers, Plan, TestNode, life, model};
use rally_actors::Settings;
use rally_actors::router::LogOut;
use rally_cluster::broker::{Broker as _, Parcel};
use rally_cluster::clock::{MachineTime, TimeSource};
use rally_cluster::membership::{Card, Membership as _};
use rally_cluster::store::{NodeRow, NodeStatus, PresenceRow, Store as _, UserChange};
use rally_schema::frame::ByeReason;
use rally_schema::{Envelope, Life, UserId};

/// The machine's time, but for what is let pass at once.
#[derive(Clone)]
struct Later {
    machine: Arc<MachineTime>,
    by_ms: Arc<AtomicU64>,
}

impl TimeSource for Later {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms() + self.by_ms.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.machine.monotonic_us() + self.by_ms.load(Ordering::Relaxed) * 1_000
    }
}

#[actix::test]
async fn a_life_that_was_never_heard_is_long_over_only_when_it_has_long_written_nothing() {
    let time = Later { machine: Arc::new(MachineTime::new()), by_ms: Arc::default() };
    let (store, peers) = (model().await, Peers::default());
    let wrote = |node: &str, heartbeat_ms| NodeRow {
        life: life(node),
        address: String::new(),
        status: NodeStatus::Ready,
        status_ms: heartbeat_ms,
        heartbeat_ms,
    };
    let now_ms = time.wall_ms();
    for row in [wrote("gone", now_ms), wrote("cut-off", now_ms + 55_000)] {
        store.set_node(row).await.unwrap();
    }
    let here = Plan::new("here", Arc::new(store), &peers, Settings::default());
    let here = here.by(time.clone()).start();
    let over = || ["gone", "cut-off", "new"].map(|node| here.node.is_long_over(life(node)));
    assert_eq!(over(), [false; 3]);
    time.by_ms.store(60_000, Ordering::Relaxed);
    assert_eq!(over(), [true, false, false], "of one that is not in the store nobody knows");
}

#[actix::test]
async fn of_a_life_that_is_not_remembered_the_store_says_when_it_ended_and_where_it_was() {
    let (store, peers) = (model().await, Peers::default());
    let now_ms = MachineTime::new().wall_ms();
    let (lately_ms, long_ago_ms) = (now_ms - 60_000, now_ms - 8 * 86_400_000);
    let address = |node: &str| format!("https://{node}.example.org");
    use NodeStatus::{Deleted, Offline};
    for (node, status, heartbeat_ms) in
        [("gone", Offline, lately_ms), ("old", Offline, long_ago_ms), ("off", Deleted, lately_ms)]
    {
        let (life, address, status_ms) = (life(node), address(node), heartbeat_ms);
        let row = NodeRow { life, address, status, status_ms, heartbeat_ms };
        store.set_node(row).await.unwrap();
    }
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    assert!(!here.node.is_living(life("gone")));
    assert_eq!(here.node.ended_ms(life("gone")), lately_ms);
    // Whose name was given up long ago may be somebody else's.
    assert_eq!(here.node.page_origins(), [address("gone")]);
}

#[actix::test]
async fn a_former_life_of_a_node_is_over_for_it_though_the_store_says_that_it_wrote_just_now() {
    let (store, peers) = (model().await, Peers::default());
    let former = Life { generation: 0, ..life("here") };
    let heartbeat_ms = MachineTime::new().wall_ms();
    let (address, status) = (String::new(), NodeStatus::Ready);
    for life in [former, life("other")] {
        let (address, status_ms) = (address.clone(), heartbeat_ms);
        let row = NodeRow { life, address, status, status_ms, heartbeat_ms };
        store.set_node(row).await.unwrap();
    }
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let living = [former, life("here"), life("other")].map(|life| here.node.is_living(life));
    assert_eq!(living, [false, true, true]);
}

#[actix::test]
async fn a_log_out_reaches_sessions_on_a_node_that_is_not_heard_by_way_of_their_home() {
    let (store, peers) = (model().await, Peers::default());
    peers.membership.silence(life("far"), true);
    let start = |name| TestNode::start(name, Arc::new(store.clone()), &peers, Settings::default());
    let (home, far) = (start("home"), start("far"));
    for node in [&home, &far] {
        node.knows(&["home"]).await;
    }
    let mut ben = far.join("ben").await;
    let change = UserChange { raise_epoch: true, ..UserChange::default() };
    let account = store.change_user(ben.user, change).await.unwrap().expect("an account");
    home.node.log_out_everywhere(ben.user, LogOut::before(account.epoch));
    assert_eq!(ben.hears_bye().await, ByeReason::LoggedOut);
}

#[actix::test]
async fn who_came_online_while_news_of_him_went_to_another_home_is_shown_with_the_next_map() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let far = life("far");
    let _queue = peers.broker.open(far);
    peers.membership.announce(Card { life: far, ..here.node.card() });
    here.knows(&["far", "here"]).await;
    let mut ana = here.join("ana").await;
    ana.writes("ben", "hello").await;
    assert!(!ana.watches("ben").await);
    let user: UserId = "ben".parse().unwrap();
    // He comes at the far node, which tells one that is dead by now.
    let now_ms = here.node.clock.now_ms();
    let row = PresenceRow { user, life: far, online_since: Some(now_ms), last_seen: now_ms };
    store.set_presence(row, Vec::new()).await.unwrap();
    let envelopes = vec![Envelope::Map { lives: vec![here.node.life] }];
    let next = Parcel { from: far, number: 1, envelopes };
    peers.broker.publish(here.node.life, next).await.unwrap();
    assert!(ana.hears_online().await);
}
