//! A send that was refused holds what comes after it, wherever that was when it was refused.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Peers, TestNode, model};
use rally_actors::Settings;
use rally_schema::frame::{ByeReason, ClientFrame, Delete, Forget, Send};
use rally_schema::limits::OPEN_CONVERSATIONS;
use rally_schema::{ErrorCode, UserId};
use uuid::Uuid;

#[actix::test]
async fn what_waited_already_when_a_send_was_refused_is_held_too() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let mut ana = here.join("ana").await;
    let late = ana.message("ben", "first");
    let old = Send { at: late.at - 20_000, ..late.clone() };
    let (second, third) = (ana.message("ben", "second"), ana.message("ben", "third"));
    // Together, so that the second waits while it is found out that the first is too old.
    ana.says_all([old, second.clone(), third.clone()]).await;
    assert_eq!(ana.answer(late.r#ref).await, Err(ErrorCode::Clock));
    assert_eq!(ana.answer(second.r#ref).await, Err(ErrorCode::Held));
    assert_eq!(ana.answer(third.r#ref).await, Err(ErrorCode::Held));
    let first = Send { text: late.text, r#ref: late.r#ref, ..ana.message("ben", "") };
    ana.says_all([first.clone(), second.clone()]).await;
    assert_eq!(ana.answer(first.r#ref).await, Ok(()));
    assert_eq!(ana.answer(second.r#ref).await, Ok(()));
}

#[actix::test]
async fn a_send_that_comes_again_in_the_same_breath_holds_nothing() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let mut ana = here.join("ana").await;
    let first = ana.message("ben", "first");
    let old = Send { at: first.at - 20_000, ..first.clone() };
    let second = ana.message("ben", "second");
    ana.says_all([old, first.clone(), second.clone()]).await;
    assert_eq!(ana.answer(first.r#ref).await, Err(ErrorCode::Clock));
    assert_eq!(ana.answer(first.r#ref).await, Ok(()));
    assert_eq!(ana.answer(second.r#ref).await, Ok(()));
}

#[actix::test]
async fn what_came_before_a_send_that_is_too_fast_is_not_held_by_it() {
    let (store, peers) = (model().await, Peers::default());
    let few = Settings { sends_burst: 3, sends_per_second: 1, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store), &peers, few);
    let mut ana = here.join("ana").await;
    let sends: Vec<Send> = (0..5).map(|nth| ana.message("ben", &format!("{nth}"))).collect();
    // Together: the second and the third wait for the first when the fourth is refused.
    ana.says_all(sends.clone()).await;
    for send in &sends[..3] {
        assert_eq!(ana.answer(send.r#ref).await, Ok(()), "{}", send.text);
    }
    assert_eq!(ana.answer(sends[3].r#ref).await, Err(ErrorCode::Rate));
    let fifth = ana.answer(sends[4].r#ref).await;
    assert!(matches!(fifth, Err(ErrorCode::Held | ErrorCode::Rate)), "{fifth:?}");
}

#[actix::test]
async fn a_send_that_is_given_up_while_an_edit_is_written_holds_nothing() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let mut ana = here.join("ana").await;
    let old = ana.message("ben", "too old");
    let old = Send { at: old.at - 20_000, ..old };
    ana.says(old.clone()).await;
    assert_eq!(ana.answer(old.r#ref).await, Err(ErrorCode::Clock));
    let conversation = old.conversation;
    let next = ana.message("ben", "next");
    let edit = Delete { r#ref: Uuid::new_v4().into(), conversation, id: Uuid::nil().into() };
    // In one breath: the deletion is being looked for when the rest is read.
    let frames: [ClientFrame; 3] =
        [edit.into(), Forget { r#ref: old.r#ref, conversation }.into(), next.clone().into()];
    ana.says_all(frames).await;
    assert_eq!(ana.answer(next.r#ref).await, Ok(()));
}

#[actix::test]
async fn who_leaves_more_conversations_open_than_a_session_keeps_comes_back_later() {
    let (store, peers) = (model().await, Peers::default());
    let rates = Settings { sends_burst: 10_000, frames_burst: 10_000, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store), &peers, rates);
    let mut ana = here.join("ana").await;
    // Stamped too long ago: each holds its conversation.
    let mut to = |n: usize| {
        let to: UserId = format!("user{n}").parse().unwrap();
        let draft = ana.message(to.as_str(), "too old");
        Send { at: draft.at - 20_000, ..draft }
    };
    let drafts: Vec<Send> = (0..OPEN_CONVERSATIONS + 2).map(&mut to).collect();
    let (kept, beyond) = drafts.split_at(OPEN_CONVERSATIONS);
    for some in kept.chunks(256) {
        ana.says_all(some.to_vec()).await;
        let last = some.last().expect("a chunk has some").r#ref;
        assert_eq!(ana.answer(last).await, Err(ErrorCode::Clock));
    }
    // One that is given up makes room for one.
    ana.says(Forget { r#ref: kept[0].r#ref, conversation: kept[0].conversation }).await;
    ana.says(beyond[0].clone()).await;
    assert_eq!(ana.answer(beyond[0].r#ref).await, Err(ErrorCode::Clock));
    ana.says(beyond[1].clone()).await;
    assert_eq!(ana.answer(beyond[1].r#ref).await, Err(ErrorCode::Busy));
    assert_eq!(ana.hears_bye().await, ByeReason::Refused);
}
