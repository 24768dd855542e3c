//! A node that can hear nobody any more does not go on by what it heard last.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use harness::{Peers, Plan, model};
use rally_actors::Settings;
use rally_cluster::membership::{Card, Heard, Membership};

/// Gossip that has ended.
struct Ended;

impl Membership for Ended {
    fn announce(&self, _: Card) {}

    fn heard(&self) -> Heard {
        stream::empty().boxed()
    }
}

#[actix::test]
#[ignore = "started by the test below, and ends"]
async fn deaf() {
    let (store, peers) = (model().await, Peers::default());
    let plan = Plan::new("deaf", Arc::new(store), &peers, Settings::default());
    let _node = plan.hearing(Ended).start();
    tokio::time::sleep(Duration::from_secs(20)).await;
}

#[test]
fn a_process_whose_gossip_ended_ends_as_one_whose_store_failed() {
    let program = std::env::current_exe().unwrap();
    let deaf = Command::new(program).args(["deaf", "--exact", "--ignored"]).output().unwrap();
    assert_eq!(deaf.status.code(), Some(74));
}
