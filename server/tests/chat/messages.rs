//! What is written, edited, deleted, marked and typed, as every device of both members sees it.

use rally_schema::frame::{Delete, Edit, HistoryQuery, ServerFrame, Typing};
use rally_schema::{ErrorCode, MessageId};

use super::receipt;
use crate::harness::Server;
use crate::harness::client::new_ref;

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
    carlos.tell(HistoryQuery { r#ref, conversation, before, limit }).await;
    assert_eq!(carlos.refused(r#ref).await.code, ErrorCode::UnknownConversation);
    carlos.read(chat, id).await;
    carlos.fails(ErrorCode::UnknownConversation).await;
    assert_eq!(roger.history(chat, None, 10).await.messages[0].text, "hello");
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
