//! Who waits: for a place to catch up, or for a thread that stood still.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Peers, TestNode, model};
use rally_actors::Settings;
use rally_actors::admission::Line;
use rally_actors::push::Push;
use rally_schema::frame::{Beat, Sync};
use rally_schema::{ClientFrame, ServerFrame};

#[actix::test]
async fn an_open_session_in_doubt_is_pushed_to_while_it_waits_for_its_turn_to_read() {
    let (store, peers) = (model().await, Peers::default());
    let settings = Settings { catch_ups_at_once: 1, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store), &peers, settings);
    let (mut ana, mut ben) = (here.join("ana").await, here.join("ben").await);
    // As if thousands came back: whoever wants to read waits.
    let place = here.node.admission.enter(Line::Reconnect).await;
    // A session takes its frames in order: once the beat is answered it is in doubt.
    ben.says_all([ClientFrame::from(Sync { cursor: None }), Beat {}.into()]).await;
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    let sent = ana.message("ben", "meanwhile");
    ana.says(sent.clone()).await;
    assert_eq!(ana.answer(sent.r#ref).await, Ok(()));
    let first = ben.hears(|frame| match frame {
        ServerFrame::Message(message) => Some(message.text),
        ServerFrame::Synced(_) | ServerFrame::Reset(_) => Some("caught up".to_owned()),
        _ => None,
    });
    assert_eq!(first.await, "meanwhile");
    drop(place);
    ben.hears(|frame| matches!(frame, ServerFrame::Synced(_)).then_some(())).await;
}

#[actix::test]
async fn what_comes_for_a_busy_user_while_his_thread_stands_still_needs_no_catch_up() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let (mut ana, mut ben) = (here.join("ana").await, here.join("ben").await);
    ana.writes("ben", "first").await;
    let heard = |frame| match frame {
        ServerFrame::Message(message) => Some(Some(message)),
        ServerFrame::Synced(_) | ServerFrame::Reset(_) => Some(None),
        _ => None,
    };
    let mut message = ben.hears(heard).await.unwrap();
    // What one who is written to 500 times a second has waiting after a second. None of it is in the store.
    for nth in 0..500 {
        message.text = format!("{nth}");
        here.node.routers.deliver(ben.user, Push::stored(&message.clone().into()));
    }
    for nth in 0..500 {
        let pushed = ben.hears(heard).await.expect("nothing is left out, so nothing is read again");
        assert_eq!(pushed.text, format!("{nth}"));
    }
}
