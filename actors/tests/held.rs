//! A send that was refused holds what comes after it, wherever that was when it was refused.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Peers, TestNode, model};
use rally_actors::Settings;
use rally_schema::ErrorCode;

#[actix::test]
async fn what_waited_already_when_a_send_was_refused_is_held_too() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let mut ana = here.join("ana").await;
    let late = ana.message("ben", "first");
    let old = rally_schema::frame::Send { at: late.at - 20_000, ..late.clone() };
    let (second, third) = (ana.message("ben", "second"), ana.message("ben", "third"));
    // Together, so that the second waits while it is found out that the first is too old.
    ana.says_all([old, second.clone(), third.clone()]).await;
    assert_eq!(ana.answer(late.r#ref).await, Err(ErrorCode::Clock));
    assert_eq!(ana.answer(second.r#ref).await, Err(ErrorCode::Held));
    assert_eq!(ana.answer(third.r#ref).await, Err(ErrorCode::Held));
    let first =
        rally_schema::frame::Send { text: late.text, r#ref: late.r#ref, ..ana.message("ben", "") };
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
    let old = rally_schema::frame::Send { at: first.at - 20_000, ..first.clone() };
    let second = ana.message("ben", "second");
    ana.says_all([old, first.clone(), second.clone()]).await;
    assert_eq!(ana.answer(first.r#ref).await, Err(ErrorCode::Clock));
    assert_eq!(ana.answer(first.r#ref).await, Ok(()));
    assert_eq!(ana.answer(second.r#ref).await, Ok(()));
}
