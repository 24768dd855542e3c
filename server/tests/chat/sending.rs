//! What a send is answered with: once more, stamped wrongly, to nobody, too fast.

use rally_schema::frame::{Ack, Delete, Edit, Forget, Send, ServerFrame};
use rally_schema::{ErrorCode, MessageId};

use crate::harness::client::new_ref;
use crate::harness::{Server, eventually, http};

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
    let again = Send { retry: true, ..draft.clone() };
    assert_eq!(rafa.send(&again).await, first);
    let other = Send { text: "twice".to_owned(), ..again };
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
    let late = Send { retry: true, ..old.clone() };
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
    rafa.send(&Send { at, n, ..far }).await;
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
    let retry = Send { retry: true, ..draft };
    assert_eq!(again.send(&retry).await, ack);
}

#[tokio::test]
async fn who_is_blocked_edits_nothing_any_more_and_may_delete() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let roger = http::log_in(server.address, "roger").await;
    let draft = rafa.draft("roger", "before the block");
    let Ack { conversation, id, .. } = rafa.send(&draft).await;
    let path = "/api/blocks/rafa";
    let (status, _) = http::request(server.address, "PUT", path, Some(&roger), None).await;
    assert_eq!(status, 204);
    let mut again = server.join("rafa").await;
    let Send { at, n, .. } = again.draft("roger", "");
    let text = "what should not reach him".to_owned();
    let edit = Edit { r#ref: new_ref(), conversation, id, at, n, text, retry: false };
    again.tell(edit.clone()).await;
    assert_eq!(again.refused(edit.r#ref).await.code, ErrorCode::Unreachable);
    let delete = Delete { r#ref: new_ref(), conversation, id };
    again.tell(delete.clone()).await;
    assert_eq!(again.acked(delete.r#ref).await.id, id);
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
    let old = Send { retry: true, at: draft.at - 60_000, ..draft.clone() };
    rafa.tell(old).await;
    assert_eq!(rafa.refused(draft.r#ref).await.code, ErrorCode::Expired);
    rafa.tell(draft.clone()).await;
    assert_eq!(rafa.refused(draft.r#ref).await.code, ErrorCode::Unreachable);

    let draft = rafa.draft("roger", "sent just now");
    let retry = Send { retry: true, ..draft };
    rafa.tell(retry.clone()).await;
    let error = rafa.refused(retry.r#ref).await;
    assert_eq!(error.code, ErrorCode::Unknown);
    assert!(error.retry && error.retry_after_ms.is_some(), "{error:?}");
    blocks("DELETE").await;
    rafa.send(&retry).await;
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
