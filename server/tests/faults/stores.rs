//! Stores that die, stand still, and take their time.

use std::time::Duration;

use rally_schema::ErrorCode;
use tokio::time::sleep;

use super::harness::cluster::Cluster;
use super::harness::eventually;
use super::services::{each, named, stores};
use super::slow::SlowWay;
use super::trial::{NODES, OPEN, Trial, calm, seconds, times};

/// How much longer every answer of a slow store takes.
const SLOW: Duration = Duration::from_millis(500);

/// How a send may be refused while the store does not answer: each of these says to send it again.
const NOT_NOW: [ErrorCode; 6] = [
    ErrorCode::Unknown,
    ErrorCode::Held,
    ErrorCode::Busy,
    ErrorCode::Clock,
    ErrorCode::Expired,
    ErrorCode::Rate,
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that kills the store"]
async fn nothing_acknowledged_is_lost_or_doubled_when_a_node_of_the_store_is_killed() {
    let mut trial = Trial::of_three().await;
    for victim in (1..=stores()).cycle().take(times(1)) {
        calm().await;
        let killed = trial.load.now();
        each("kill", named("cassandra", [victim])).await;
        if stores() > 1 {
            trial.flows(killed, &format!("cassandra-{victim} died")).await;
        }
        each("restart", named("cassandra", [victim])).await;
        if stores() == 1 {
            let back = trial.load.now();
            let away = (back - killed).as_secs_f64();
            trial.flows_after(killed, back, &format!("the store was dead for {away:.1} s")).await;
        }
    }
    trial.end("a node of the store killed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that has the store stand still"]
async fn nobody_is_disconnected_and_nothing_is_lost_while_the_store_does_not_answer() {
    let mut trial = Trial::of_three().await;
    for _ in 0..times(1) {
        calm().await;
        let (before, begun) = (trial.load.connects(), trial.load.now());
        each("pause", named("cassandra", 1..=stores())).await;
        // What was under way is answered, one way or another; then nothing is acknowledged.
        sleep(Duration::from_secs(2)).await;
        let acked = trial.load.acked();
        sleep(seconds("RALLY_TEST_PAUSE", 20)).await;
        assert_eq!(trial.load.acked(), acked, "nothing is acknowledged that cannot be stored");
        each("resume", named("cassandra", 1..=stores())).await;
        let back = trial.load.now();
        let away = (back - begun).as_secs_f64();
        trial.flows_after(begun, back, &format!("the store did not answer for {away:.1} s")).await;
        assert_eq!(trial.load.connects(), before, "nobody lost his connection");
    }
    let refusals = trial.load.refusals();
    println!("refused, each until it was sent again: {refusals:?}");
    let is_final = |why: &&&str| !NOT_NOW.iter().any(|code| code.name() == **why);
    let finals: Vec<_> = refusals.keys().filter(is_final).collect();
    assert!(finals.is_empty(), "a store that does not answer refuses nothing for good: {finals:?}");
    trial.end("the store did not answer").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services with one node of Cassandra"]
async fn messages_flow_though_every_answer_of_the_store_takes_half_a_second_longer() {
    assert_eq!(stores(), 1, "nodes find each other past what is put before one of them");
    let way = SlowWay::to_the_store().await;
    let place = format!("--cassandra={}", way.address());
    let flags: Vec<&str> = OPEN.into_iter().chain([&*place]).collect();
    let mut trial = Trial::of(Cluster::with_flags(&["all"; NODES], &flags)).await;
    for _ in 0..times(1) {
        calm().await;
        let (before, begun) = (trial.load.connects(), trial.load.now());
        way.set_delay(SLOW);
        let acked = trial.load.acked();
        trial.flows(begun, &format!("answers take {SLOW:?} longer")).await;
        let load = &trial.load;
        eventually("they go on flowing", async || load.acked() > acked + 1_000).await;
        let quick = trial.load.now();
        way.set_delay(Duration::ZERO);
        trial.flows(quick, "answers come at once again").await;
        assert_eq!(trial.load.connects(), before, "nobody lost his connection");
    }
    trial.end("the store was slow").await;
}
