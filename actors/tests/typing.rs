//! Who hears that somebody types: nobody whom he could not write to, and not more often than people
//! look.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Client, Peers, TestNode, model};
use rally_actors::Settings;
use rally_cluster::store::{Model, Store as _};
use rally_schema::frame::{Beat, Send, ServerFrame, Typing};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, ErrorCode, Ref};
use uuid::Uuid;

/// Ana, Ben and Cid at one node, which asks the store each time whether somebody may be written to.
async fn people(store: &Model) -> [Client; 3] {
    let settings = Settings { reach_cache_ms: 0, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store.clone()), &Peers::default(), settings);
    [here.join("ana").await, here.join("ben").await, here.join("cid").await]
}

/// Has somebody type so often to somebody, and gives what of it is heard until a message of Cid's.
async fn heard(from: &mut Client, to: &mut Client, cid: &mut Client, times: usize) -> usize {
    let conversation = ConversationId::direct(from.user, to.user);
    for _ in 0..times {
        from.says(Typing { conversation }).await;
        // Whom it is for is known when this is answered: a session takes its frames in order, and this
        // store answers at once.
        from.says(Beat {}).await;
        from.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    }
    cid.writes(to.user.as_str(), "over").await;
    let mut heard = 0;
    to.hears(|frame| match frame {
        ServerFrame::Typing(_) => {
            heard += 1;
            None
        }
        ServerFrame::Message(message) => (message.text == "over").then_some(()),
        _ => None,
    })
    .await;
    heard
}

#[actix::test]
async fn the_peer_hears_of_it_once_however_often_it_is_said_in_a_second() {
    let [mut ana, mut ben, mut cid] = people(&model().await).await;
    ana.writes("ben", "hello").await;
    assert_eq!(heard(&mut ana, &mut ben, &mut cid, 10).await, 1);
}

#[actix::test]
async fn a_stranger_hears_nothing_though_a_message_to_him_was_refused() {
    let [mut ana, mut ben, mut cid] = people(&model().await).await;
    let (r#ref, stamp) = (Ref::from(Uuid::new_v4()), Stamp { at: 0, n: 0 });
    ana.says(Send::first(r#ref, [ana.user, ben.user], stamp, "hello")).await;
    assert_eq!(ana.answer(r#ref).await, Err(ErrorCode::Clock));
    assert_eq!(heard(&mut ana, &mut ben, &mut cid, 1).await, 0);
}

#[actix::test]
async fn who_blocks_somebody_or_is_blocked_by_him_hears_nothing() {
    for by_ben in [true, false] {
        let store = model().await;
        let [mut ana, mut ben, mut cid] = people(&store).await;
        ana.writes("ben", "hello").await;
        let (who, whom) = if by_ben { (ben.user, ana.user) } else { (ana.user, ben.user) };
        store.set_block(who, whom, true).await.unwrap();
        assert_eq!(heard(&mut ana, &mut ben, &mut cid, 1).await, 0, "by ben: {by_ben}");
    }
}
