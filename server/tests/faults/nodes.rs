//! Nodes that die, stand still, leave, and do not hear each other.

use super::harness::cluster::Cluster;
use super::trial::{NODES, OPEN, Trial, calm, seconds, times};

/// How often nodes took another one for dead.
const OFFLINE: &str = "rally_verdicts_total{of=\"offline\"}";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn nothing_acknowledged_is_lost_or_doubled_when_nodes_are_killed() {
    let mut trial = Trial::of_three().await;
    for death in 0..times(2) {
        calm().await;
        let victim = death % NODES;
        let killed = trial.load.now();
        trial.to(victim, |node| node.kill());
        let (concerned, pairs) = (trial.load.concerned(victim), trial.load.pairs());
        let what = format!("node {victim} died, where {concerned} of {pairs} pairs had a device");
        trial.flows(killed, &what).await;
        trial.to(victim, |node| node.restart());
    }
    trial.end("killed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn nothing_acknowledged_is_lost_or_doubled_when_a_node_stands_still_and_goes_on() {
    let mut trial = Trial::of_three().await;
    for pause in 0..times(1) {
        calm().await;
        let victim = pause % NODES;
        let paused = trial.load.now();
        trial.to(victim, |node| node.signal("STOP"));
        let (concerned, pairs) = (trial.load.concerned(victim), trial.load.pairs());
        let what =
            format!("node {victim} stands still, where {concerned} of {pairs} pairs had a device");
        trial.flows(paused, &what).await;
        let lasts = seconds("RALLY_TEST_PAUSE", 20);
        tokio::time::sleep(lasts.saturating_sub(trial.load.now() - paused)).await;
        let resumed = trial.load.now();
        trial.to(victim, |node| node.signal("CONT"));
        trial.flows(resumed, &format!("node {victim} goes on after {lasts:?}")).await;
    }
    trial.end("stood still, or went on").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn no_send_fails_when_all_nodes_are_restarted_one_after_the_other() {
    let mut trial = Trial::of_three().await;
    for victim in (0..NODES).cycle().take(NODES * times(1)) {
        calm().await;
        let told = trial.load.now();
        trial.to(victim, |node| {
            assert_eq!(node.terminate(), Some(0), "it leaves by itself");
            node.restart();
        });
        let took = (trial.load.now() - told).as_secs_f64();
        let what = format!("node {victim} left, and was ready again {took:.1} s later");
        trial.flows(told, &what).await;
    }
    trial.end("restarted").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn a_node_that_gossip_does_not_reach_keeps_its_clients() {
    let mut trial = Trial::of(Cluster::behind_relays(&["all"; NODES], &OPEN)).await;
    for cut in 0..times(1) {
        calm().await;
        let victim = cut % NODES;
        let (before, begun) = (trial.load.connects(), trial.load.now());
        trial.nodes.cut_gossip(victim, true);
        tokio::time::sleep(seconds("RALLY_TEST_PAUSE", 20)).await;
        let suspected = trial.nodes.sum("rally_suspicions_total").await;
        let what =
            format!("gossip of node {victim} is cut, which others suspected {suspected} times");
        trial.flows(begun, &what).await;
        assert_eq!(trial.nodes.sum(OFFLINE).await, 0.0, "all know by the broker that it lives");
        trial.nodes.cut_gossip(victim, false);
        assert_eq!(trial.load.connects(), before, "nobody lost his connection");
    }
    trial.end("gossip was cut").await;
}
