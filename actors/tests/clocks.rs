//! A node whose clock is off takes no users until it knows better.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use harness::{Peers, TestNode, life, model};
use rally_actors::Settings;
use rally_cluster::broker::{Arrival, Broker as _};
use rally_cluster::membership::{Card, Membership as _, Status};
use rally_schema::Envelope;

#[actix::test]
async fn a_node_whose_clock_is_off_is_not_right_because_it_hears_nobody() {
    let (store, peers) = (model().await, Peers::default());
    let here = TestNode::start("here", Arc::new(store), &peers, Settings::default());
    let other = life("other");
    let mut queue = peers.broker.open(other);
    let card = here.node.card();
    let elsewhere = Card { life: other, clock_ms: card.clock_ms + 60_000, ..card };
    peers.membership.announce(elsewhere);
    here.knows(&["other"]).await;
    assert_eq!(here.node.status(), Status::Starting);
    peers.membership.silence(other, true);
    // It asks after the one that it does not hear any more.
    let asked = async {
        while let Some(arrival) = queue.next().await {
            let Arrival::Parcel(parcel) = arrival else { continue };
            if parcel.envelopes.iter().any(|envelope| matches!(envelope, Envelope::Ping {})) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it asks");
    assert_eq!(here.node.status(), Status::Starting);
}
