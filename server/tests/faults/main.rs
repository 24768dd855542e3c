//! Real nodes over real services, under load, and what happens to them.
//!
//! Three `rally-server` processes over the RabbitMQ and the Cassandra that `cargo xtask services up`
//! starts; `RALLY_TEST_AMQP`, with commas where there are several brokers, and
//! `RALLY_TEST_CASSANDRA` name others. Ten pairs write, 200 messages
//! a second together (`RALLY_TEST_RATE`). Each test kills or restarts something again and again
//! (`RALLY_TEST_FAULTS` times) and prints after how long messages flowed again.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod device;
#[path = "../harness/mod.rs"]
mod harness;
mod load;

use std::process::{Child, Command};
use std::time::Duration;

use harness::cluster::Cluster;
use harness::eventually;
use load::Load;
use tokio::time::sleep;

/// How many seconds messages flow undisturbed before the first fault, and between two
/// (`RALLY_TEST_CALM`).
const CALM: usize = 4;

/// Within how long everything must flow again after a fault.
const FLOW: Duration = Duration::from_secs(60);

/// Messages that must be acknowledged while the broker is away: two seconds of them.
const WITHOUT_BROKER: usize = 400;

/// How many nodes there are.
const NODES: usize = 3;

fn three() -> Cluster {
    let flags = [
        "--demo=false",
        "--rate-sends-per-second=1000000",
        "--rate-sends-burst=1000000",
        "--rate-frames-per-second=1000000",
        "--rate-frames-burst=1000000",
    ];
    Cluster::with_flags(&["all"; NODES], &flags)
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn nothing_acknowledged_is_lost_or_doubled_when_nodes_are_killed() {
    let mut nodes = three();
    let load = Load::begin(&nodes, setting("RALLY_TEST_RATE", 200)).await;
    let deaths = setting("RALLY_TEST_FAULTS", 2);
    let mut flows = Vec::new();
    for death in 0..deaths {
        sleep(calm()).await;
        let victim = death % NODES;
        let killed = load.now();
        nodes.nth(victim).kill();
        let concerned = load.concerned(&format!("node-{victim}"));
        let flow = load.flows_again(killed, FLOW).await;
        println!(
            "death {}: node {victim} died, {concerned} of {} pairs had a device there; \
                  flowing again after {:.2} s",
            death + 1,
            load.pairs(),
            flow.as_secs_f64()
        );
        flows.push(flow);
        nodes.nth(victim).restart();
    }
    sleep(calm()).await;
    load.end_and_judge().await;
    nodes.all().for_each(|(_, node)| node.assert_no_panic());
    summary("killed", flows);
}

#[tokio::test]
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that restarts brokers"]
async fn nothing_acknowledged_is_lost_or_doubled_when_every_broker_restarts() {
    let nodes = three();
    let load = Load::begin(&nodes, setting("RALLY_TEST_RATE", 200)).await;
    let all: Vec<usize> = (1..=brokers()).collect();
    let mut flows = Vec::new();
    for restart in 0..setting("RALLY_TEST_FAULTS", 1) {
        sleep(calm()).await;
        let begun = load.now();
        services("kill", &all).await;
        // Some were under way when they were killed; those after them are acknowledged without.
        let enough = load.acked() + WITHOUT_BROKER;
        eventually("messages are acknowledged without a broker", async || load.acked() >= enough)
            .await;
        services("restart", &all).await;
        let up = load.now();
        let flow = load.flows_again(up, FLOW).await;
        println!(
            "restart {}: every broker was away for {:.1} s; flowing again {:.2} s after they were \
             back",
            restart + 1,
            (up - begun).as_secs_f64(),
            flow.as_secs_f64()
        );
        flows.push(flow);
    }
    sleep(calm()).await;
    load.end_and_judge().await;
    nodes.all().for_each(|(_, node)| node.assert_no_panic());
    summary("every broker restarted", flows);
}

#[tokio::test]
#[ignore = "needs services with three brokers, and RALLY_TEST_XTASK, the program that kills one"]
async fn nothing_acknowledged_is_lost_or_doubled_when_one_of_several_brokers_is_killed() {
    assert!(brokers() > 1, "RALLY_TEST_AMQP names one broker only: name several");
    let nodes = three();
    let load = Load::begin(&nodes, setting("RALLY_TEST_RATE", 200)).await;
    let (mut flows, before) = (Vec::new(), reopened(&nodes).await);
    // Each in turn: nodes choose theirs by chance, and this one or that has none.
    for death in 0..setting("RALLY_TEST_FAULTS", 1) * brokers() {
        sleep(calm()).await;
        let victim = death % brokers() + 1;
        let reopened = reopened(&nodes).await;
        let killed = load.now();
        services("kill", &[victim]).await;
        let flow = load.flows_again(killed, FLOW).await;
        flows.push(flow);
        services("restart", &[victim]).await;
        sleep(calm()).await;
        let moved = self::reopened(&nodes).await - reopened;
        println!(
            "death {}: rabbitmq-{victim} died with the queues of {moved} nodes; flowing again \
             after {:.2} s",
            death + 1,
            flow.as_secs_f64()
        );
    }
    let moved = reopened(&nodes).await - before;
    assert!(moved >= NODES as f64, "each node had its queue at one that died: {moved}");
    load.end_and_judge().await;
    nodes.all().for_each(|(_, node)| node.assert_no_panic());
    summary("a broker killed", flows);
}

/// How often a node's queue began anew.
async fn reopened(nodes: &Cluster) -> f64 {
    let mut all = 0.0;
    for (_, node) in nodes.all() {
        all += node.metric("rally_broker_queue_reopened_total").await;
    }
    all
}

/// How many brokers there are.
fn brokers() -> usize {
    std::env::var("RALLY_TEST_AMQP").map_or(1, |urls| urls.split(',').count())
}

/// Does something to brokers, at once, and waits until it is done.
async fn services(what: &'static str, brokers: &[usize]) {
    let xtask = std::env::var("RALLY_TEST_XTASK").expect("the path of xtask's program");
    let mut children: Vec<Child> = brokers
        .iter()
        .map(|broker| {
            let name = format!("rabbitmq-{broker}");
            Command::new(&xtask).args(["services", what, &name]).spawn().unwrap()
        })
        .collect();
    let wait = move || children.iter_mut().all(|child| child.wait().unwrap().success());
    assert!(tokio::task::spawn_blocking(wait).await.unwrap(), "services {what} {brokers:?}");
}

fn calm() -> Duration {
    Duration::from_secs(setting("RALLY_TEST_CALM", CALM) as u64)
}

fn summary(what: &str, mut flows: Vec<Duration>) {
    if flows.is_empty() {
        return;
    }
    flows.sort_unstable();
    let at = |index: usize| flows[index].as_secs_f64();
    println!(
        "{what} {} times: flowing again after {:.2} s (median; {:.2} to {:.2})",
        flows.len(),
        at(flows.len() / 2),
        at(0),
        at(flows.len() - 1)
    );
}
