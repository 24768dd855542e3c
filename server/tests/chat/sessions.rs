//! Who is connected, is shown so, and is sent away.

use rally_schema::ErrorCode;
use rally_schema::frame::{ByeReason, ServerFrame, Unwatch, Watch};
use rally_schema::limits::SESSIONS_PER_USER;
use serde_json::json;
use uuid::Uuid;

use crate::harness::client::{Client, wall_ms};
use crate::harness::{Server, eventually, http};

#[tokio::test]
async fn a_client_that_connects_twice_is_one_session() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let (token, client) = (rafa.token.clone(), rafa.client);
    let mut newer = Client::join_as(server.address, "rafa", token, client, None).await;
    let bye = rafa.goodbye().await;
    assert_eq!((bye.reason, bye.reconnect_after_ms), (ByeReason::Replaced, None));
    assert!(rafa.next().await.is_none());
    let mut roger = server.join("roger").await;
    roger.say("rafa", "hello").await;
    newer.hears("hello").await;
    drop(rafa);
    eventually("the older is gone", async || server.metric("rally_connections").await == 2.0).await;
}

#[tokio::test]
async fn presence_is_for_acquaintances_who_are_allowed_and_does_not_flicker() {
    let server = Server::with(&["--presence-grace-ms=300"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let presence = |frame: &ServerFrame| match frame {
        ServerFrame::Presence(presence) => Some((presence.online, presence.last_seen)),
        _ => None,
    };
    // Strangers see what they would see of nobody.
    rafa.tell(Watch { user: "roger".parse().unwrap() }).await;
    assert_eq!(rafa.wait_for("presence", presence).await, (false, None));
    rafa.tell(Watch { user: "nobody-here".parse().unwrap() }).await;
    assert_eq!(rafa.wait_for("presence", presence).await, (false, None));
    rafa.say("roger", "hello").await;
    rafa.tell(Watch { user: "roger".parse().unwrap() }).await;
    assert_eq!(rafa.wait_for("presence", presence).await, (true, None));
    // A reload within the grace is no news.
    roger = roger.come_back().await;
    roger.caught_up().await;
    assert!(rafa.settled().await.iter().all(|frame| frame.kind() != "presence"));
    let before = wall_ms();
    let token = roger.token.clone();
    drop(roger);
    let (online, last_seen) = rafa.wait_for("offline", presence).await;
    assert!(!online && last_seen.is_some_and(|seen| seen + 5_000 > before), "{last_seen:?}");
    // Who hides himself looks like a stranger, at once.
    let (hide, path) = (json!({"hide_presence": true}), "/api/me");
    let (status, body) =
        http::request(server.address, "PATCH", path, Some(&token), Some(hide)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(rafa.wait_for("hidden", presence).await, (false, None));
    rafa.tell(Unwatch(Watch { user: "roger".parse().unwrap() })).await;
}

#[tokio::test]
async fn a_silent_client_is_ended_and_its_user_goes_offline() {
    let server =
        Server::with(&["--silence-ms=1500", "--ping-interval-ms=300", "--presence-grace-ms=0"]);
    let (mut rafa, roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    rafa.tell(Watch { user: roger.user }).await;
    let mut online = |frame: &ServerFrame| match frame {
        ServerFrame::Presence(presence) => Some(presence.online),
        _ => None,
    };
    assert!(rafa.wait_for("online", &mut online).await);
    // Nobody reads this socket any more, so nobody answers its pings.
    let silent = roger.into_socket();
    assert!(!rafa.wait_for("offline", &mut online).await);
    drop(silent);
    eventually("its session is gone", async || server.metric("rally_connections").await == 1.0)
        .await;
}

#[tokio::test]
async fn a_node_that_leaves_says_goodbye_and_ends_well() {
    let mut server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    assert_eq!(server.terminate(), Some(0));
    for client in [&mut rafa, &mut roger] {
        let bye = client.goodbye().await;
        assert_eq!(bye.reason, ByeReason::Draining);
        assert!(bye.reconnect_after_ms.is_some());
    }
    server.restart();
    let mut roger = server.join("roger").await;
    assert_eq!(roger.whole_history(rafa.chat("roger")).await.len(), 1);
}

#[tokio::test]
async fn logging_out_everywhere_ends_live_sessions() {
    let server = Server::start();
    let (mut rafa, mut tab) = (server.join("rafa").await, server.join("rafa").await);
    let mut roger = server.join("roger").await;
    let token = rafa.token.clone();
    http::post(server.address, "/api/logout-everywhere", Some(&token), json!({})).await;
    for client in [&mut rafa, &mut tab] {
        let bye = client.goodbye().await;
        assert_eq!((bye.reason, bye.reconnect_after_ms), (ByeReason::LoggedOut, None));
    }
    assert_eq!(http::get(server.address, "/api/me", Some(&token)).await.0, 401);
    roger.say("rafa", "still here").await;
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_no_more() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let mut open = Vec::new();
    for _ in 0..SESSIONS_PER_USER {
        let client = Uuid::new_v4().into();
        open.push(Client::join_as(server.address, "rafa", token.clone(), client, None).await);
    }
    let client = Uuid::new_v4().into();
    let mut extra = Client::hello(server.address, "rafa", token, client, None).await;
    extra.fails(ErrorCode::TooManySessions).await;
    assert_eq!(extra.goodbye().await.reason, ByeReason::Refused);
}
