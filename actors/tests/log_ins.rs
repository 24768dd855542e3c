//! Who logs out is out, there or everywhere, also where nobody told of it.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use harness::{Client, Peers, TestNode, life, model, two};
use rally_actors::Settings;
use rally_actors::admission::Line;
use rally_actors::node::{Admitted, ByLogIn};
use rally_actors::router::LogOut;
use rally_cluster::broker::{Arrival, Broker as _, Parcel};
use rally_cluster::membership::{Card, Membership as _};
use rally_cluster::store::{Model, Store as _, UserChange};
use rally_schema::frame::{Beat, ByeReason, ClientFrame, InboxQuery, ServerFrame, Sync, Watch};
use rally_schema::{Envelope, Ref, UserId};
use uuid::Uuid;

fn ben() -> UserId {
    "ben".parse().unwrap()
}

/// Ends every log-in of ben's account; gives its epoch from now on.
async fn raise_epoch(store: &Model) -> u64 {
    let change = UserChange { raise_epoch: true, ..UserChange::default() };
    store.change_user(ben(), change).await.unwrap().expect("an account").epoch
}

#[actix::test]
async fn a_log_out_of_which_a_node_was_not_told_ends_its_sessions_when_they_catch_up() {
    let (store, peers) = (model().await, Peers::default());
    let (one, other) = two(store.clone(), &peers, Settings::default).await;
    let mut there = other.join("ben").await;
    peers.broker.cut();
    let epoch = raise_epoch(&store).await;
    one.node.log_out_everywhere(ben(), LogOut::before(epoch));
    peers.broker.heal();
    assert_eq!(there.hears_bye().await, ByeReason::LoggedOut);
}

#[actix::test]
async fn a_log_out_of_which_a_node_is_told_late_leaves_the_sessions_of_a_later_log_in_alone() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let mut before = here.join("ben").await;
    let epoch = raise_epoch(&store).await;
    let mut after = here.join("ben").await;
    here.node.log_out(ben(), LogOut::before(epoch));
    assert_eq!(before.hears_bye().await, ByeReason::LoggedOut);
    let message = after.message("ana", "I am back");
    let r#ref = message.r#ref;
    after.says(message).await;
    assert_eq!(after.answer(r#ref).await, Ok(()));
}

#[actix::test]
async fn a_session_whose_ticket_names_no_epoch_ends_by_a_later_log_out_told_or_not() {
    for told in [true, false] {
        let (store, peers) = (model().await, Peers::default());
        let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
        raise_epoch(&store).await;
        let mut ben = here.admit("ben", None).await;
        ben.hears(|frame| matches!(frame, ServerFrame::Reset(_)).then_some(())).await;
        // That is his epoch: what is told late of the log-out before it leaves him alone.
        here.node.log_out(self::ben(), LogOut::before(1));
        let message = ben.message("ana", "I am here");
        let r#ref = message.r#ref;
        ben.says(message).await;
        assert_eq!(ben.answer(r#ref).await, Ok(()));
        let epoch = raise_epoch(&store).await;
        match told {
            true => here.node.log_out(self::ben(), LogOut::before(epoch)),
            false => ben.says(Sync { cursor: None }).await,
        }
        assert_eq!(ben.hears_bye().await, ByeReason::LoggedOut);
    }
}

/// A ticket of ben's by a log-in.
fn by(log_in: Uuid) -> Admitted {
    Admitted {
        user: ben(),
        epoch: Some(0),
        log_in: Some(ByLogIn { id: log_in, ends_ms: u64::MAX }),
    }
}

/// Asserts that a session goes on.
async fn stays(mut client: Client) {
    let message = client.message("ana", "I stay");
    let r#ref = message.r#ref;
    client.says(message).await;
    assert_eq!(client.answer(r#ref).await, Ok(()));
}

#[actix::test]
async fn a_node_that_is_told_of_one_log_out_ends_the_sessions_by_that_log_in_alone() {
    // Nothing says so in the store: what ends is what is told.
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let (his, another) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut left = [here.admit_by(by(his)).await, here.admit_by(by(his)).await];
    let mut others = [here.admit_by(by(another)).await, here.admit("ben", 0).await];
    for client in left.iter_mut().chain(&mut others) {
        client.hears(|frame| matches!(frame, ServerFrame::Reset(_)).then_some(())).await;
    }
    here.node.log_out(ben(), LogOut::of(his));
    for client in &mut left {
        assert_eq!(client.hears_bye().await, ByeReason::LoggedOut);
    }
    let envelopes = vec![Envelope::LoggedOut { user: ben(), epoch: 0, log_in: Some(another) }];
    let parcel = Parcel { from: life("somebody"), number: 1, envelopes };
    let [mut ends, goes_on] = others;
    peers.broker.publish(here.node.life, parcel).await.unwrap();
    assert_eq!(ends.hears_bye().await, ByeReason::LoggedOut);
    stays(goes_on).await;
}

#[actix::test]
async fn a_session_ends_with_the_log_in_that_has_expired() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let now_ms = here.node.clock.now_ms();
    for (ends_ms, is_over) in [(now_ms, true), (now_ms + 86_400_000, false)] {
        let log_in = Some(ByLogIn { id: Uuid::nil(), ends_ms });
        let mut client = here.admit_by(Admitted { log_in, ..by(Uuid::nil()) }).await;
        match is_over {
            true => assert_eq!(client.hears_bye().await, ByeReason::LoggedOut),
            false => stays(client).await,
        }
    }
}

#[actix::test]
async fn who_logs_out_ends_the_sessions_by_that_log_in_and_no_other_on_every_node() {
    for told in [true, false] {
        let (store, peers) = (model().await, Peers::default());
        let (one, other) = two(store.clone(), &peers, Settings::default).await;
        let (his, another) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut left = [one.admit_by(by(his)).await, other.admit_by(by(his)).await];
        let mut stays = other.admit_by(by(another)).await;
        for client in left.iter_mut().chain([&mut stays]) {
            client.hears(|frame| matches!(frame, ServerFrame::Reset(_)).then_some(())).await;
        }
        store.revoke(his, u64::MAX).await.unwrap();
        if !told {
            peers.broker.cut();
        }
        one.node.log_out_everywhere(ben(), LogOut::of(his));
        peers.broker.heal();
        for client in &mut left {
            assert_eq!(client.hears_bye().await, ByeReason::LoggedOut, "told: {told}");
        }
        self::stays(stays).await;
        // A ticket from before opens nothing any more.
        assert_eq!(other.admit_by(by(his)).await.hears_bye().await, ByeReason::LoggedOut);
    }
}

#[actix::test]
async fn a_gap_behind_which_a_log_out_may_be_ends_the_sessions_of_an_earlier_log_in_alone() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let mut before = here.join("ben").await;
    raise_epoch(&store).await;
    let (mut after, mut ana) = (here.join("ben").await, here.join("ana").await);
    let next = Parcel { from: life("somebody"), number: 2, envelopes: Vec::new() };
    peers.broker.publish(here.node.life, next).await.unwrap();
    assert_eq!(before.hears_bye().await, ByeReason::LoggedOut);
    for client in [&mut after, &mut ana] {
        client.hears(|frame| matches!(frame, ServerFrame::Synced(_)).then_some(())).await;
    }
    // Caught up, and live.
    let hello = ana.message("ben", "still here");
    ana.says(hello).await;
    after.hears_message("still here").await;
}

#[actix::test]
async fn a_ticket_of_an_earlier_epoch_shows_nothing_and_lets_nothing_through() {
    let (store, peers) = (model().await, Peers::default());
    let settings = Settings { catch_ups_at_once: 1, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    let mut ana = here.join("ana").await;
    let secret = ana.writes("ben", "for ben alone").await;
    raise_epoch(&store).await;

    // Its catch-up waits for a place, and it does not wait for its catch-up.
    let place = here.node.admission.enter(Line::Doubt).await;
    let mut stale = here.admit("ben", 0).await;
    let query = InboxQuery { r#ref: Ref::from(Uuid::new_v4()), before: None, limit: None };
    let early: [ClientFrame; 5] = [
        Beat {}.into(),
        query.into(),
        stale.message("ana", "not by ben").into(),
        Watch { user: "ana".parse().unwrap() }.into(),
        Sync { cursor: None }.into(),
    ];
    stale.says_all(early).await;
    stale.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    drop(place);
    let reason = stale
        .hears(|frame| match frame {
            ServerFrame::Bye(bye) => Some(bye.reason),
            ServerFrame::Beat(_) => None,
            other => panic!("it was shown {other:?}"),
        })
        .await;
    assert_eq!(reason, ByeReason::LoggedOut);
    let history = store.history(secret.conversation, None, 10).await.unwrap();
    let texts: Vec<String> = history.iter().map(|row| row.to_frame().text).collect();
    assert_eq!(texts, ["for ben alone"]);
}

#[actix::test]
async fn what_comes_right_behind_hello_is_taken_once_the_log_in_is_known_to_hold() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let (mut ana, mut ben) = (here.join("ana").await, here.admit("ben", 0).await);
    let drafts: Vec<_> = (0..20).map(|n| ben.message("ana", &format!("early {n}"))).collect();
    ben.says_all(drafts.clone()).await;
    for draft in &drafts {
        assert_eq!(ben.answer(draft.r#ref).await, Ok(()));
        ana.hears_message(&draft.text).await;
    }
}

#[actix::test]
async fn who_waits_behind_his_first_frame_is_not_silent() {
    let (store, peers) = (model().await, Peers::default());
    let settings = Settings { catch_ups_at_once: 1, silence_ms: 1_000, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    let place = here.node.admission.enter(Line::Doubt).await;
    let mut ben = here.admit("ben", 0).await;
    let query = InboxQuery { r#ref: Ref::from(Uuid::new_v4()), before: None, limit: None };
    let beats = |frame| matches!(frame, ServerFrame::Beat(_)).then_some(());
    ben.says_all::<ClientFrame>([Beat {}.into(), query.into()]).await;
    ben.hears(beats).await;
    // Ana came later and might speak: once she is ended, he would have been.
    let mut ana = here.admit("ana", 0).await;
    assert_eq!(ana.hears_bye().await, ByeReason::Silent);
    // Nor does he take the node for dead: it says that it lives.
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(beat) if beat.unasked).then_some(())).await;
    drop(place);
    ben.hears(|frame| matches!(frame, ServerFrame::Inbox(_)).then_some(())).await;
    ben.says(Beat {}).await;
    ben.hears(beats).await;
}

#[actix::test]
async fn who_leaves_while_he_waits_behind_his_first_frame_is_not_kept() {
    let (store, peers) = (model().await, Peers::default());
    let settings = Settings { catch_ups_at_once: 1, ping_interval_ms: 100, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    let _place = here.node.admission.enter(Line::Doubt).await;
    let mut ben = here.admit("ben", 0).await;
    let query = InboxQuery { r#ref: Ref::from(Uuid::new_v4()), before: None, limit: None };
    ben.says_all::<ClientFrame>([Beat {}.into(), query.into()]).await;
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    assert!(here.node.routers.is_online(self::ben()));
    drop(ben);
    here.sees_leave("ben").await;
}

#[actix::test]
async fn what_waited_for_its_log_in_has_not_come_too_fast() {
    let (store, peers) = (model().await, Peers::default());
    let settings = Settings { catch_ups_at_once: 1, ..Settings::default() };
    // 10 within 10 ms.
    let settings = Settings { sends_per_second: 1_000, sends_burst: 10, ..settings };
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    let mut ben = here.join("ben").await;
    let place = here.node.admission.enter(Line::Doubt).await;
    let mut early = here.admit("ben", 0).await;
    let (draft, later) = (early.message("ana", "early"), ben.message("ana", "later"));
    early.says_all::<ClientFrame>([Beat {}.into(), draft.clone().into()]).await;
    early.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    let received_ms = here.node.clock.monotonic_ms();
    while here.node.clock.monotonic_ms() < received_ms + 20 {
        tokio::task::yield_now().await;
    }
    ben.says(later.clone()).await;
    assert_eq!(ben.answer(later.r#ref).await, Ok(()));
    drop(place);
    assert_eq!(early.answer(draft.r#ref).await, Ok(()));
}

#[actix::test]
async fn a_node_that_is_given_up_is_told_of_a_log_out_because_it_may_be_paused() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let paused = life("paused");
    let mut queue = peers.broker.open(paused);
    peers.membership.announce(Card { life: paused, ..here.node.card() });
    here.knows(&["here", "paused"]).await;
    peers.membership.silence(paused, true);
    here.knows(&["here"]).await;
    assert!(!here.node.is_living(paused));
    here.node.log_out_everywhere(ben(), LogOut::before(7));
    let told = async {
        while let Some(arrival) = queue.next().await {
            let Arrival::Parcel(parcel) = arrival else { continue };
            let told = Envelope::LoggedOut { user: ben(), epoch: 7, log_in: None };
            if parcel.envelopes.contains(&told) {
                return;
            }
        }
        panic!("its queue ended");
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
}
