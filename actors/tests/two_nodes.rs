//! Two nodes on one store: what is said at one is heard at the other.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Peers, TestNode, life, model, two};
use rally_actors::Settings;
use rally_cluster::broker::{Broker as _, Parcel};
use rally_cluster::homes::Homes;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::membership::{Card, Membership as _};
use rally_cluster::store::{Model, Store as _};
use rally_schema::frame::{ByeReason, ServerFrame, Watch};
use rally_schema::ids::Stamp;
use rally_schema::{Life, MessageId, Ref};
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
    one.node.log_out_everywhere("ben".parse().unwrap(), u64::MAX);
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
