//! Real nodes over real services, under load, and what happens to them.
//!
//! Three `rally-server` processes over the RabbitMQ and the Cassandra that `cargo xtask services up`
//! starts; `RALLY_TEST_AMQP` and `RALLY_TEST_CASSANDRA` name others. Ten pairs write, 200 messages
//! a second together (`RALLY_TEST_RATE`). Each test kills or restarts something again and again
//! (`RALLY_TEST_FAULTS` times) and prints after how long messages flowed again.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod device;
#[path = "../harness/mod.rs"]
mod harness;
mod load;

use std::process::Command;
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
#[ignore = "needs services, and RALLY_TEST_XTASK, the program that restarts the broker"]
async fn nothing_acknowledged_is_lost_or_doubled_when_the_broker_restarts() {
    let xtask = std::env::var("RALLY_TEST_XTASK").expect("the path of xtask's program");
    let nodes = three();
    let load = Load::begin(&nodes, setting("RALLY_TEST_RATE", 200)).await;
    let mut flows = Vec::new();
    for restart in 0..setting("RALLY_TEST_FAULTS", 1) {
        sleep(calm()).await;
        let begun = load.now();
        let killed = Command::new(&xtask).args(["services", "kill", "rabbitmq-1"]).status();
        assert!(killed.unwrap().success());
        // Some were under way when it was killed; those after them are acknowledged without it.
        let enough = load.acked() + WITHOUT_BROKER;
        eventually("messages are acknowledged without a broker", async || load.acked() >= enough)
            .await;
        let xtask = xtask.clone();
        let again =
            move || Command::new(xtask).args(["services", "restart", "rabbitmq-1"]).status();
        assert!(tokio::task::spawn_blocking(again).await.unwrap().unwrap().success());
        let up = load.now();
        let flow = load.flows_again(up, FLOW).await;
        println!(
            "restart {}: the broker was away for {:.1} s; flowing again {:.2} s after it was back",
            restart + 1,
            (up - begun).as_secs_f64(),
            flow.as_secs_f64()
        );
        flows.push(flow);
    }
    sleep(calm()).await;
    load.end_and_judge().await;
    nodes.all().for_each(|(_, node)| node.assert_no_panic());
    summary("broker restarted", flows);
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
