//! What sessions of one user read together.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;

use harness::{Client, Peers, Plan, TestNode, model};
use rally_actors::Settings;
use rally_actors::admission::Line;
use rally_cluster::clock::{MachineTime, TimeSource};
use rally_schema::frame::{Beat, Sync};
use rally_schema::{ClientFrame, ServerFrame};

const HOUR_MS: u64 = 3_600_000;

/// The machine's time an hour ago.
struct HourAgo(MachineTime);

impl TimeSource for HourAgo {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms() - HOUR_MS
    }

    fn monotonic_us(&self) -> u64 {
        self.0.monotonic_us()
    }
}

/// Asks for what came since a moment, and returns when the session waits for its turn to read.
async fn asks(client: &mut Client, at: &TestNode, since_ms: u64) {
    let cursor = Some(at.node.cursor(since_ms).to_string());
    client.says_all([ClientFrame::from(Sync { cursor }), Beat {}.into()]).await;
    client.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
}

/// Gives the texts that come until a catch-up ends, and its cursor.
async fn reads(client: &mut Client) -> (Vec<String>, String) {
    let mut texts = Vec::new();
    let cursor = client.hears(|frame| match frame {
        ServerFrame::Message(message) => {
            texts.push(message.text);
            None
        }
        ServerFrame::Synced(synced) => Some(synced.cursor),
        _ => None,
    });
    let cursor = cursor.await;
    (texts, cursor)
}

#[actix::test]
async fn who_waits_together_gets_what_each_lacks_and_no_more() {
    let store = Arc::new(model().await);
    let settings = || Settings { catch_ups_at_once: 1, ..Settings::default() };
    let (peers, later) = (Peers::default(), Peers::default());
    let before = Plan::new("before", store.clone(), &peers, settings());
    let before = before.by(HourAgo(MachineTime::new())).start();
    let mut ana = before.join("ana").await;
    let sent = ana.message("ben", "an hour ago");
    ana.says(sent.clone()).await;
    assert_eq!(ana.answer(sent.r#ref).await, Ok(()));

    let here = TestNode::start("here", store, &later, settings());
    let (mut phone, mut laptop) = (here.join("ben").await, here.join("ben").await);
    let (now_ms, place) =
        (here.node.clock.now_ms(), here.node.admission.enter(Line::Reconnect).await);
    asks(&mut laptop, &here, now_ms).await;
    asks(&mut phone, &here, now_ms - 2 * HOUR_MS).await;
    drop(place);
    let (on_phone, phone_knows) = reads(&mut phone).await;
    let (on_laptop, laptop_knows) = reads(&mut laptop).await;
    assert_eq!((on_phone, on_laptop), (vec!["an hour ago".to_owned()], Vec::new()));
    assert_eq!(phone_knows, laptop_knows, "they were read for at one moment");
}
