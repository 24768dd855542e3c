//! What two people and their devices see, on real sockets against a real server process.

mod harness;

use harness::client::{Client, new_ref, wall_ms};
use harness::{Server, eventually, http};
use rally_schema::frame::{
    ByeReason, Delete, Edit, Forget, Receipt, ServerFrame, Typing, Unwatch, Watch,
};
use rally_schema::{ErrorCode, MessageId};
use serde_json::json;

fn receipt(frame: &ServerFrame) -> Option<Receipt> {
    match frame {
        ServerFrame::Receipt(receipt) => Some(receipt.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_message_gets_its_ticks_and_the_badge_its_end() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let id = rafa.say("roger", "hello").await;
    let heard = roger.hears("hello").await;
    assert_eq!((heard.id, heard.sender, heard.to), (id, rafa.user, roger.user));
    let chat = rafa.chat("roger");
    assert_eq!(roger.inbox().await.entries[0].unread, 1);
    roger.delivered(chat, id).await;
    let got = rafa.wait_for("delivered", receipt).await;
    assert_eq!((got.delivered_up_to, got.read_up_to), (Some(id), None));
    roger.read(chat, id).await;
    let read = rafa.wait_for("read", receipt).await;
    assert_eq!((read.user, read.read_up_to), (roger.user, Some(id)));
    assert_eq!(roger.inbox().await.entries[0].unread, 0);
    assert_eq!(rafa.inbox().await.entries[0].peer_read_up_to, Some(id));
}

#[tokio::test]
async fn every_device_shows_each_message_once_and_the_sender_is_only_acked() {
    let server = Server::start();
    let (mut rafa, mut tab) = (server.join("rafa").await, server.join("rafa").await);
    let (mut roger, mut phone) = (server.join("roger").await, server.join("roger").await);
    let draft = rafa.draft("roger", "hello");
    let id = rafa.send(&draft).await.id;
    for device in [&mut tab, &mut roger, &mut phone] {
        let heard = device.hears("hello").await;
        assert_eq!((heard.id, heard.r#ref), (id, draft.r#ref));
    }
    for device in [&mut rafa, &mut tab, &mut roger, &mut phone] {
        let again = device.settled().await;
        let messages = again.iter().filter(|frame| frame.kind() == "message").count();
        assert_eq!(messages, 0, "{again:?}");
    }
}

#[tokio::test]
async fn an_edit_and_a_deletion_reach_everybody_and_stay() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let (id, chat) = (rafa.say("roger", "helo").await, rafa.chat("roger"));
    let (at, n) = rafa.stamp();
    let text = "hello".to_owned();
    let edit = Edit { r#ref: new_ref(), conversation: chat, id, at, n, text, retry: false };
    rafa.tell(edit.clone()).await;
    rafa.acked(edit.r#ref).await;
    let edited = |frame: &ServerFrame| match frame {
        ServerFrame::Edited(edited) => Some(edited.clone()),
        _ => None,
    };
    let (mine, his) =
        (rafa.wait_for("edited", edited).await, roger.wait_for("edited", edited).await);
    assert_eq!((&mine, &*his.text), (&his, "hello"));
    assert_eq!(roger.inbox().await.entries[0].head.preview, "hello");

    let delete = Delete { r#ref: new_ref(), conversation: chat, id };
    rafa.tell(delete.clone()).await;
    rafa.acked(delete.r#ref).await;
    roger.wait_for("deleted", |f| (f.kind() == "deleted").then_some(())).await;
    let late = Edit { r#ref: edit.r#ref, retry: true, ..edit };
    rafa.tell(late.clone()).await;
    assert_eq!(rafa.refused(late.r#ref).await.code, ErrorCode::MessageDeleted);
    let page = roger.history(chat, None, 10).await;
    assert!(page.messages[0].deleted && page.messages[0].text.is_empty());
    assert!(roger.inbox().await.entries[0].head.deleted);
}

#[tokio::test]
async fn only_the_sender_may_change_a_message_and_strangers_learn_nothing() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let mut carlos = server.join("carlos").await;
    let (id, chat) = (rafa.say("roger", "hello").await, rafa.chat("roger"));
    let missing = MessageId::first_of(5);
    for (who, id) in [("roger", id), ("carlos", id), ("carlos", missing)] {
        let client = if who == "roger" { &mut roger } else { &mut carlos };
        let delete = Delete { r#ref: new_ref(), conversation: chat, id };
        client.tell(delete.clone()).await;
        assert_eq!(client.refused(delete.r#ref).await.code, ErrorCode::UnknownMessage);
        let (at, n) = client.stamp();
        let text = "mine now".to_owned();
        let edit = Edit { r#ref: new_ref(), conversation: chat, id, at, n, text, retry: false };
        client.tell(edit.clone()).await;
        assert_eq!(client.refused(edit.r#ref).await.code, ErrorCode::UnknownMessage);
    }
    let mut send = carlos.draft("roger", "let me in");
    send.conversation = chat;
    carlos.tell(send.clone()).await;
    assert_eq!(carlos.refused(send.r#ref).await.code, ErrorCode::UnknownConversation);
    send.to = None;
    carlos.tell(send.clone()).await;
    assert_eq!(carlos.refused(send.r#ref).await.code, ErrorCode::UnknownConversation);
    let r#ref = new_ref();
    let (conversation, before, limit) = (chat, None, None);
    carlos.tell(rally_schema::frame::HistoryQuery { r#ref, conversation, before, limit }).await;
    assert_eq!(carlos.refused(r#ref).await.code, ErrorCode::UnknownConversation);
    carlos.read(chat, id).await;
    carlos.fails(ErrorCode::UnknownConversation).await;
    assert_eq!(roger.history(chat, None, 10).await.messages[0].text, "hello");
}

#[tokio::test]
async fn what_is_sent_right_behind_hello_is_not_lost_and_keeps_its_order() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let drafts: Vec<_> = (0..50).map(|i| rafa.draft("roger", &format!("m{i}"))).collect();
    let mut rafa = rafa.come_back().await;
    for draft in &drafts {
        rafa.tell(draft.clone()).await;
    }
    for draft in &drafts {
        rafa.acked(draft.r#ref).await;
    }
    let ids: Vec<MessageId> = {
        let mut ids = Vec::new();
        for i in 0..50 {
            ids.push(roger.hears(&format!("m{i}")).await.id);
        }
        ids
    };
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn a_retry_is_the_same_message_and_another_text_is_an_error() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let draft = rafa.draft("roger", "once");
    let first = rafa.send(&draft).await;
    let again = rally_schema::frame::Send { retry: true, ..draft.clone() };
    assert_eq!(rafa.send(&again).await, first);
    let other = rally_schema::frame::Send { text: "twice".to_owned(), ..again };
    rafa.tell(other).await;
    assert_eq!(rafa.refused(draft.r#ref).await.code, ErrorCode::RefConflict);
    assert_eq!(roger.whole_history(draft.conversation).await.len(), 1);
}

#[tokio::test]
async fn stamps_are_held_to_the_servers_clock_and_hold_what_follows() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let mut old = rafa.draft("roger", "old");
    old.at -= 60_000;
    rafa.tell(old.clone()).await;
    let error = rafa.refused(old.r#ref).await;
    assert_eq!((error.code, error.retry), (ErrorCode::Clock, true));
    assert!(error.now.is_some_and(|now| now > old.at));

    let next = rafa.draft("roger", "next");
    rafa.tell(next.clone()).await;
    assert_eq!(rafa.refused(next.r#ref).await.code, ErrorCode::Held);
    let late = rally_schema::frame::Send { retry: true, ..old.clone() };
    rafa.tell(late).await;
    assert_eq!(rafa.refused(old.r#ref).await.code, ErrorCode::Expired);
    rafa.tell(Forget { r#ref: old.r#ref, conversation: old.conversation }).await;
    rafa.send(&next).await;

    let mut far = rafa.draft("roger", "from the year 9999");
    far.at = 253_370_764_800_000;
    rafa.tell(far.clone()).await;
    let error = rafa.refused(far.r#ref).await;
    assert_eq!(error.code, ErrorCode::Ahead);
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 1_000_000));
    let (at, n) = rafa.stamp();
    rafa.send(&rally_schema::frame::Send { at, n, ..far }).await;
    // Nothing that a client sends moves the server's clock.
    let mut roger = server.join("roger").await;
    assert_eq!(roger.whole_history(rafa.chat("roger")).await.len(), 2);
    roger.say("rafa", "the clock is as it was").await;
}

#[tokio::test]
async fn unknown_and_blocked_are_answered_alike_and_a_retry_of_the_stored_is_acked() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let roger = http::log_in(server.address, "roger").await;
    let draft = rafa.draft("roger", "before the block");
    let ack = rafa.send(&draft).await;
    let (status, _) =
        http::request(server.address, "PUT", "/api/blocks/rafa", Some(&roger), None).await;
    assert_eq!(status, 204);
    let mut again = server.join("rafa").await;
    let mut errors = Vec::new();
    for peer in ["roger", "nobody-here"] {
        let draft = again.draft(peer, "hello?");
        again.tell(draft.clone()).await;
        let error = again.refused(draft.r#ref).await;
        errors.push((error.code, error.text.replace(peer, "PEER"), error.retry));
    }
    assert_eq!(errors[0], errors[1]);
    assert_eq!(errors[0].0, ErrorCode::Unreachable);
    let retry = rally_schema::frame::Send { retry: true, ..draft };
    assert_eq!(again.send(&retry).await, ack);
}

/// A node that stood still may take the first attempt once the block has ended.
#[tokio::test]
async fn a_retry_to_who_blocks_is_refused_for_good_only_when_no_attempt_can_be_taken_any_more() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let roger = http::log_in(server.address, "roger").await;
    let blocks = async |method: &str| {
        let path = "/api/blocks/rafa";
        let (status, _) = http::request(server.address, method, path, Some(&roger), None).await;
        assert_eq!(status, 204);
    };
    blocks("PUT").await;
    let draft = rafa.draft("roger", "sent a while ago");
    let old = rally_schema::frame::Send { retry: true, at: draft.at - 60_000, ..draft.clone() };
    rafa.tell(old).await;
    assert_eq!(rafa.refused(draft.r#ref).await.code, ErrorCode::Expired);
    rafa.tell(draft.clone()).await;
    assert_eq!(rafa.refused(draft.r#ref).await.code, ErrorCode::Unreachable);

    let draft = rafa.draft("roger", "sent just now");
    let retry = rally_schema::frame::Send { retry: true, ..draft };
    rafa.tell(retry.clone()).await;
    let error = rafa.refused(retry.r#ref).await;
    assert_eq!(error.code, ErrorCode::Unknown);
    assert!(error.retry && error.retry_after_ms.is_some(), "{error:?}");
    blocks("DELETE").await;
    rafa.send(&retry).await;
}

#[tokio::test]
async fn marks_from_the_future_cover_what_is_there_and_never_go_back() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let chat = rafa.chat("roger");
    let first = rafa.say("roger", "one").await;
    let second = rafa.say("roger", "two").await;
    roger.hears("two").await;
    let mine = roger.say("rafa", "mine").await;
    assert!(mine > second);
    let future: MessageId = "ffffffff-ffff-7fff-bfff-ffffffffffff".parse().unwrap();
    roger.read(chat, future).await;
    let receipt_of = rafa.wait_for("read", receipt).await;
    // It lands on the newest message of the peer, not on one's own later one.
    assert_eq!(receipt_of.read_up_to, Some(second));
    roger.read(chat, first).await;
    let third = rafa.say("roger", "three").await;
    roger.hears("three").await;
    let entry = roger.inbox().await.entries.remove(0);
    assert_eq!((entry.read_up_to, entry.unread), (Some(second), 1));
    roger.read(chat, third).await;
    assert_eq!(rafa.wait_for("read", receipt).await.read_up_to, Some(third));
}

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
async fn a_client_that_comes_back_gets_what_it_missed() {
    let server = Server::start();
    let (mut rafa, roger) = (server.join("rafa").await, server.join("roger").await);
    let chat = rafa.chat("roger");
    let kept = rafa.say("roger", "while here").await;
    let (address, token, client, cursor) =
        (server.address, roger.token.clone(), roger.client, roger.cursor.clone());
    drop(roger);
    let (edited, gone) = (rafa.say("roger", "helo").await, rafa.say("roger", "oops").await);
    let (at, n) = rafa.stamp();
    let text = "hello".to_owned();
    let edit = Edit { r#ref: new_ref(), conversation: chat, id: edited, at, n, text, retry: false };
    rafa.tell(edit.clone()).await;
    rafa.acked(edit.r#ref).await;
    let delete = Delete { r#ref: new_ref(), conversation: chat, id: gone };
    rafa.tell(delete.clone()).await;
    rafa.acked(delete.r#ref).await;
    let mut roger = Client::join_as(address, "roger", token, client, cursor).await;
    let frames = roger.settled().await;
    let mut messages: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Message(message) => Some((message.id, &*message.text, message.deleted)),
            _ => None,
        })
        .collect();
    messages.sort();
    let wanted = [(kept, "while here", false), (edited, "hello", false), (gone, "", true)];
    assert_eq!(messages, wanted);
    let entry = frames.iter().find_map(|frame| match frame {
        ServerFrame::Inbox(page) => page.entries.first(),
        _ => None,
    });
    assert_eq!(entry.expect("the entry is sent with what it covers").head.id, gone);
}

#[tokio::test]
async fn a_cursor_of_no_use_is_answered_with_reset() {
    let server = Server::start();
    let rafa = server.join("rafa").await;
    let good: rally_schema::Cursor = rafa.cursor.clone().unwrap().parse().unwrap();
    let store = rally_schema::StoreId::from_bytes([7; 16]);
    let old = good.at - 13 * 86_400_000 - 60_000;
    for cursor in [
        "garbage".to_owned(),
        rally_schema::Cursor { store, ..good }.to_string(),
        rally_schema::Cursor { at: good.at + 3_600_000, ..good }.to_string(),
        rally_schema::Cursor { at: old, ..good }.to_string(),
    ] {
        let (token, client) = (rafa.token.clone(), uuid::Uuid::new_v4().into());
        let mut back =
            Client::hello(server.address, "rafa", token, client, Some(cursor.clone())).await;
        let kind = back
            .wait_for("an end", |frame| {
                let kind = frame.kind();
                matches!(kind, "synced" | "reset").then_some(kind)
            })
            .await;
        assert_eq!(kind, "reset", "{cursor}");
    }
}

#[tokio::test]
async fn much_in_one_conversation_is_cut_and_much_altogether_is_a_reset() {
    let server = Server::with(&["--rate-sends-per-second=100000", "--rate-sends-burst=100000"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    roger.say("rafa", "before").await;
    let chat = rafa.chat("roger");
    let mut roger = roger.come_back().await;
    roger.caught_up().await;
    let (address, token, client, cursor) =
        (server.address, roger.token.clone(), roger.client, roger.cursor.clone());
    drop(roger);
    let mut sent = 0;
    for (burst, end) in [(250, "synced"), (1_800, "reset")] {
        let drafts: Vec<_> =
            (sent..sent + burst).map(|i| rafa.draft("roger", &format!("m{i}"))).collect();
        sent += burst;
        for chunk in drafts.chunks(100) {
            for draft in chunk {
                rafa.tell(draft.clone()).await;
            }
            for draft in chunk {
                rafa.acked(draft.r#ref).await;
            }
        }
        let mut roger =
            Client::hello(address, "roger", token.clone(), client, cursor.clone()).await;
        let (kind, cut) = roger
            .wait_for("an end", |frame| match frame {
                ServerFrame::Synced(synced) => Some(("synced", synced.cut.clone())),
                ServerFrame::Reset(_) => Some(("reset", Vec::new())),
                _ => None,
            })
            .await;
        assert_eq!(kind, end);
        if kind == "synced" {
            assert_eq!(cut, [chat]);
            let frames = roger.settled().await;
            let window = frames.iter().find_map(|frame| match frame {
                ServerFrame::History(page) => Some(page),
                _ => None,
            });
            let window = window.expect("a cut conversation comes with its newest page");
            assert_eq!(&*window.messages[0].text, "m249");
            assert!(window.more);
        }
    }
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
async fn typing_reaches_the_peer_and_is_not_kept() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    rafa.tell(Typing { conversation: rafa.chat("roger") }).await;
    let who = roger.wait_for("typing", |frame| match frame {
        ServerFrame::Typing(typing) => Some(typing.user),
        _ => None,
    });
    assert_eq!(who.await, rafa.user);
}

#[tokio::test]
async fn who_talks_to_himself_has_a_conversation_of_one() {
    let server = Server::start();
    let (mut rafa, mut tab) = (server.join("rafa").await, server.join("rafa").await);
    let id = rafa.say("rafa", "note to self").await;
    assert_eq!(tab.hears("note to self").await.id, id);
    let entry = tab.inbox().await.entries.remove(0);
    assert_eq!((entry.peer, entry.unread), (rafa.user, 0));
}

#[tokio::test]
async fn too_fast_is_answered_with_when_to_come_again() {
    let server = Server::with(&["--rate-sends-per-second=1", "--rate-sends-burst=3"]);
    let (mut rafa, mut tab) = (server.join("rafa").await, server.join("rafa").await);
    rafa.say("roger", "1").await;
    tab.say("carlos", "2").await;
    rafa.say("roger", "3").await;
    // The limit is the user's, not the device's.
    let draft = tab.draft("andy", "4");
    tab.tell(draft.clone()).await;
    let error = tab.refused(draft.r#ref).await;
    assert_eq!(error.code, ErrorCode::Rate);
    let wait_ms = error.retry_after_ms.unwrap();
    assert!((1..=1_000).contains(&wait_ms), "{wait_ms}");
    let after = tab.draft("andy", "5");
    tab.tell(after.clone()).await;
    assert_eq!(tab.refused(after.r#ref).await.code, ErrorCode::Held);
    eventually("the rate allows it again", async || {
        tab.tell(draft.clone()).await;
        let r#ref = draft.r#ref;
        tab.wait_for("an answer", |frame| match frame {
            ServerFrame::Ack(ack) if ack.r#ref == r#ref => Some(true),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => Some(false),
            _ => None,
        })
        .await
    })
    .await;
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
    for _ in 0..rally_schema::limits::SESSIONS_PER_USER {
        let client = uuid::Uuid::new_v4().into();
        open.push(Client::join_as(server.address, "rafa", token.clone(), client, None).await);
    }
    let client = uuid::Uuid::new_v4().into();
    let mut extra = Client::hello(server.address, "rafa", token, client, None).await;
    extra.fails(ErrorCode::TooManySessions).await;
    assert_eq!(extra.goodbye().await.reason, ByeReason::Refused);
}
