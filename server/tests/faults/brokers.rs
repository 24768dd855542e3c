//! Brokers that die, and queues that somebody deletes.

use super::harness::eventually;
use super::services::{brokers, each, named, rabbitmqctl};
use super::trial::{NODES, Trial, calm, times};

/// Messages that must be acknowledged while the broker is away: two seconds of them.
const WITHOUT_BROKER: usize = 400;

/// How often a node's queue began anew.
const REOPENED: &str = "rally_broker_queue_reopened_total";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that restarts brokers"]
async fn nothing_acknowledged_is_lost_or_doubled_when_every_broker_restarts() {
    let mut trial = Trial::of_three().await;
    let all = || named("rabbitmq", 1..=brokers());
    for _ in 0..times(1) {
        calm().await;
        let begun = trial.load.now();
        each("kill", all()).await;
        // Some were under way when they were killed; those after them are acknowledged without.
        let (load, enough) = (&trial.load, trial.load.acked() + WITHOUT_BROKER);
        eventually("messages are acknowledged without a broker", async || load.acked() >= enough)
            .await;
        each("restart", all()).await;
        let up = trial.load.now();
        let away = (up - begun).as_secs_f64();
        trial.flows_after(begun, up, &format!("every broker was away for {away:.1} s")).await;
    }
    trial.end("every broker restarted").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services with three brokers, and RALLY_TEST_XTASK, the program that kills one"]
async fn nothing_acknowledged_is_lost_or_doubled_when_one_of_several_brokers_is_killed() {
    assert!(brokers() > 1, "RALLY_TEST_AMQP names one broker only: name several");
    let mut trial = Trial::of_three().await;
    let before = trial.nodes.sum(REOPENED).await;
    // Each in turn: nodes choose theirs by chance, and this one or that has none.
    for victim in (1..=brokers()).cycle().take(brokers() * times(1)) {
        calm().await;
        let killed = trial.load.now();
        each("kill", named("rabbitmq", [victim])).await;
        trial.flows(killed, &format!("rabbitmq-{victim} died")).await;
        each("restart", named("rabbitmq", [victim])).await;
    }
    calm().await;
    let moved = trial.nodes.sum(REOPENED).await - before;
    assert!(moved >= NODES as f64, "each node had its queue at one that died: {moved}");
    trial.end("a broker killed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that asks a broker"]
async fn nothing_acknowledged_is_lost_or_doubled_when_a_queue_is_deleted_by_hand() {
    let mut trial = Trial::of_three().await;
    for nth in 0..times(1) {
        calm().await;
        let before = trial.nodes.sum(REOPENED).await;
        let victim = format!("{}.node-{}@", trial.nodes.name(), nth % NODES);
        let queues = rabbitmqctl(&["list_queues", "name", "--no-table-headers"]).await;
        let queue = queues.iter().find(|name| name.contains(&victim)).expect("the node's queue");
        let deleted = trial.load.now();
        rabbitmqctl(&["delete_queue", queue]).await;
        trial.flows(deleted, &format!("{queue} was deleted by hand")).await;
        let nodes = &trial.nodes;
        eventually("the queue is made anew", async || nodes.sum(REOPENED).await > before).await;
    }
    trial.end("a queue was deleted").await;
}
