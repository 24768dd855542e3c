//! A process without chat beside one that has it: nobody is at home there, and what it changes is
//! felt where the users are.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Peers, Plan, TestNode, life, model};
use rally_actors::Settings;
use rally_actors::presence_watch::Changed;
use rally_actors::router::LogOut;
use rally_cluster::roles::{Role, Roles};
use rally_cluster::store::{Model, Store as _};
use rally_schema::frame::ByeReason;
use rally_schema::{Stage, UserId};

/// Starts a node with chat, and one without that has all else.
async fn two(store: &Model) -> (TestNode, TestNode) {
    let peers = Peers::default();
    let rest = Roles::of([Role::Discovery, Role::Messaging, Role::Presence]);
    let start = |roles, name| {
        Plan::new(name, Arc::new(store.clone()), &peers, Settings::default()).with(roles).start()
    };
    let (chat, front) = (start(Roles::all(), "chat"), start(rest, "front"));
    for node in [&chat, &front] {
        node.knows(&["chat"]).await;
    }
    (chat, front)
}

#[actix::test]
async fn nobody_is_at_home_at_a_process_without_chat() {
    let store = model().await;
    let (chat, front) = two(&store).await;
    for user in ["ana", "ben", "cid"].map(|user| user.parse::<UserId>().unwrap()) {
        assert_eq!([chat.node.home(user), front.node.home(user)], [life("chat"); 2]);
    }
    let known = |node: &TestNode| node.node.members().len();
    assert_eq!([known(&chat), known(&front)], [2; 2], "they hear each other all the same");
}

#[actix::test]
async fn who_logs_out_everywhere_there_is_out_where_his_sessions_are() {
    let store = model().await;
    let (chat, front) = two(&store).await;
    let mut ben = chat.join("ben").await;
    front.node.log_out_everywhere("ben".parse().unwrap(), LogOut::before(u64::MAX));
    assert_eq!(ben.hears_bye().await, ByeReason::LoggedOut);
}

#[actix::test]
async fn who_hides_there_is_seen_no_more_by_those_who_watch() {
    let store = model().await;
    let (chat, front) = two(&store).await;
    let (mut ana, _ben) = (chat.join("ana").await, chat.join("ben").await);
    ana.writes("ben", "hello").await;
    assert!(ana.watches("ben").await);
    let user: UserId = "ben".parse().unwrap();
    store.set_block(user, "ana".parse().unwrap(), true).await.unwrap();
    front.node.presence.send(Changed { user, stage: Stage::Home }).await.unwrap();
    assert!(!ana.hears_online().await);
}
