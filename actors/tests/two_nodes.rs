//! Two nodes on one store: what is said at one is heard at the other.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt as _, StreamExt as _};
use harness::{Peers, Plan, TestNode, life, model, two};
use rally_actors::Settings;
use rally_actors::router::LogOut;
use rally_cluster::broker::{
    Arrival, Arrivals, Broker, Confirmation, LocalBroker, Parcel, PublishError,
};
use rally_cluster::homes::Homes;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::membership::{Card, Membership as _};
use rally_cluster::store::{Model, Store as _};
use rally_schema::frame::{ByeReason, ServerFrame, Watch};
use rally_schema::ids::Stamp;
use rally_schema::{Envelope, Life, MessageId, Ref};
use tokio::sync::Notify;
use uuid::Uuid;

/// Gives the node at which a user is at home, first, and the other one.
fn at_home<'a>(user: &str, one: &'a TestNode, other: &'a TestNode) -> (&'a TestNode, &'a TestNode) {
    let home = Homes::of([one.node.life, other.node.life]).home(user.parse().unwrap());
    if home == Some(one.node.life) { (one, other) } else { (other, one) }
}

#[actix::test]
async fn a_message_crosses_to_the_home_of_its_receiver_and_back() {
    let (store, peers) = (model().await, Peers::default());
    let (one, other) = two(store, &peers, Settings::default).await;
    let (bens, another) = at_home("ben", &one, &other);
    // Ana sits where Ben is not at home, and her other device where she is.
    let (anas, _) = at_home("ana", &one, &other);
    let mut ben = bens.join("ben").await;
    let mut ana = another.join("ana").await;
    let mut ana_at_home = anas.join("ana").await;

    ana.writes("ben", "hello").await;
    ben.hears_message("hello").await;
    ana_at_home.hears_message("hello").await;
}

fn presence(frame: ServerFrame) -> Option<(bool, bool)> {
    match frame {
        ServerFrame::Presence(told) => Some((told.online, told.last_seen.is_some())),
        _ => None,
    }
}

#[actix::test]
async fn who_is_online_is_seen_from_another_node_while_one_session_is_left() {
    let (store, peers) = (model().await, Peers::default());
    let settings = || Settings { presence_grace_ms: 50, ..Settings::default() };
    let (one, other) = two(store, &peers, settings).await;
    let (home, away) = at_home("ben", &one, &other);
    // Ana watches where Ben is not at home, and he comes where he is, and there too.
    let mut ana = away.join("ana").await;
    ana.writes("ben", "hello").await;
    ana.says(Watch { user: "ben".parse().unwrap() }).await;
    assert_eq!(ana.hears(presence).await, (false, false), "he was never there");
    let at_home = home.join("ben").await;
    assert_eq!(ana.hears(presence).await, (true, false));
    let at_edge = away.join("ben").await;
    drop(at_home);
    // Whether anything was told of that shows with the next that is.
    home.sees_leave("ben").await;
    drop(at_edge);
    assert_eq!(ana.hears(presence).await, (false, true));
}

#[actix::test]
async fn logging_out_everywhere_ends_sessions_on_other_nodes() {
    let (store, peers) = (model().await, Peers::default());
    let (one, other) = two(store, &peers, Settings::default).await;
    let (mut here, mut there) = (one.join("ben").await, other.join("ben").await);
    one.node.log_out_everywhere("ben".parse().unwrap(), LogOut::before(u64::MAX));
    for client in [&mut here, &mut there] {
        assert_eq!(client.hears_bye().await, ByeReason::LoggedOut);
    }
}

/// Stores a message of Ana's to Ben of which no parcel tells.
async fn store_in_silence(store: &Model, here: &TestNode, text: &str) {
    let pair = Pair::direct("ana".parse().unwrap(), "ben".parse().unwrap());
    let at = here.node.clock.now_ms();
    let r#ref = Ref::from(Uuid::new_v4());
    let id = MessageId::of(Stamp { at, n: 0 }, pair.actor, pair.conversation, r#ref, text);
    let intent = Intent::Send { id, r#ref, text: text.to_owned(), reply_to: None };
    store.commit(vec![intent.commit(pair, || here.node.clock.mint())]).await.unwrap();
}

#[actix::test]
async fn a_gap_between_nodes_ends_in_a_catch_up() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let mut ben = here.join("ben").await;
    let text = "you did not hear this";
    store_in_silence(&store, &here, text).await;
    let next = Parcel { from: life("other"), number: 2, envelopes: Vec::new() };
    peers.broker.publish(here.node.life, next).await.unwrap();
    ben.hears_message(text).await;
}

#[actix::test]
async fn the_death_of_a_node_that_had_not_told_what_it_stored_ends_in_a_catch_up() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    // A node that died: its card is still heard, and nobody takes what is sent to it.
    let ben = "ben".parse().unwrap();
    let is_at_home =
        |dead: &Life| Homes::of([here.node.life, *dead]).home(ben) == Some(here.node.life);
    let dead = (0..).map(|n| life(&format!("dead{n}"))).find(is_at_home).unwrap();
    peers.membership.announce(Card { life: dead, ..here.node.card() });
    here.knows(&["here", dead.node.as_str()]).await;
    let mut ben = here.join("ben").await;
    let text = "acknowledged by a node that died before it told you";
    store_in_silence(&store, &here, text).await;
    peers.membership.silence(dead, true);
    ben.hears_message(text).await;
}

#[actix::test]
async fn a_queue_that_begins_anew_ends_in_a_catch_up() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let mut ben = here.join("ben").await;
    peers.broker.cut();
    let text = "the broker was away when this was said";
    store_in_silence(&store, &here, text).await;
    peers.broker.heal();
    ben.hears_message(text).await;
}

/// The ways of a node that receives, and for a while cannot publish.
#[derive(Clone)]
struct Mute {
    broker: LocalBroker,
    is_mute: Arc<AtomicBool>,
    /// Told when a question is lost.
    lost: Arc<Notify>,
}

fn asks(parcel: &Parcel) -> bool {
    parcel.envelopes.iter().any(|envelope| matches!(envelope, Envelope::Ping {}))
}

impl Broker for Mute {
    fn open(&self, life: Life) -> Arrivals {
        self.broker.open(life)
    }

    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation {
        if !self.is_mute.load(Ordering::Relaxed) {
            return self.broker.publish(to, parcel);
        }
        if asks(&parcel) {
            self.lost.notify_one();
        }
        Box::pin(std::future::ready(Err(PublishError::Unknown("no way out".to_owned()))))
    }
}

/// Waits until this life is asked something.
async fn is_asked(arrivals: &mut Arrivals) {
    let asked = async {
        while let Some(arrival) = arrivals.next().await {
            if matches!(arrival, Arrival::Parcel(parcel) if asks(&parcel)) {
                return;
            }
        }
        panic!("its queue ended");
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.expect("asked in time");
}

#[actix::test]
async fn whose_way_out_comes_back_after_its_queue_asks_until_it_hears_what_it_missed() {
    let (store, peers) = (model().await, Peers::default());
    let (is_mute, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let ways = Mute { broker: peers.broker.clone(), is_mute, lost };
    let plan = Plan::new("here", Arc::new(store.clone()), &peers, Settings::default());
    let here = plan.over(ways.clone()).start();
    // Two others that say only what is said here for them, and whose home Ben's is not.
    let is_at_home = |one: &Life, other: &Life| {
        Homes::of([here.node.life, *one, *other]).home("ben".parse().unwrap())
            == Some(here.node.life)
    };
    let mut named = (0..).map(|n| (life(&format!("answers{n}")), life(&format!("silent{n}"))));
    let (answers, silent) = named.find(|(one, other)| is_at_home(one, other)).unwrap();
    let (mut of_answers, mut of_silent) = (peers.broker.open(answers), peers.broker.open(silent));
    for other in [answers, silent] {
        peers.membership.announce(Card { life: other, ..here.node.card() });
    }
    here.knows(&["here", answers.node.as_str(), silent.node.as_str()]).await;
    let mut ben = here.join("ben").await;

    ways.is_mute.store(true, Ordering::Relaxed);
    peers.broker.cut();
    peers.broker.heal();
    ways.lost.notified().await;
    // Meanwhile somebody had it confirmed into the queue that is gone.
    let text = "said between two queues";
    store_in_silence(&store, &here, text).await;
    ways.is_mute.store(false, Ordering::Relaxed);
    is_asked(&mut of_answers).await;
    let answer = Parcel { from: answers, number: 2, envelopes: vec![Envelope::Pong {}] };
    peers.broker.publish(here.node.life, answer).await.unwrap();
    ben.hears_message(text).await;

    // Whoever was heard is left in peace, and who was not is asked on.
    while let Some(Some(_)) = of_answers.next().now_or_never() {}
    while let Some(Some(_)) = of_silent.next().now_or_never() {}
    is_asked(&mut of_silent).await;
    let mut more = std::iter::from_fn(|| of_answers.next().now_or_never()?);
    assert!(!more.any(|one| matches!(one, Arrival::Parcel(parcel) if asks(&parcel))));
}
