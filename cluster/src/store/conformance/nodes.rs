//! Promises about the rows of nodes.

use rally_schema::Life;

use super::super::{NodeRow, NodeStatus, Store};
use super::Fixture;
use super::story::{T0, orders};

fn life(node: &str, generation: u64) -> Life {
    Life { node: node.parse().expect("a node"), generation }
}

/// A row whose heartbeat and verdict are so many milliseconds into the story.
fn row(life: Life, heartbeat: u64, status: NodeStatus, at: u64) -> NodeRow {
    NodeRow {
        life,
        address: "10.0.0.1:6464".into(),
        status,
        status_ms: T0 + at,
        heartbeat_ms: T0 + heartbeat,
    }
}

/// Heartbeat and verdict are two facts: of each the later stays, whoever wrote it, and writes
/// may come in any order and again.
pub async fn of_a_node_the_latest_heartbeat_and_verdict_stay<F: Fixture>() {
    use NodeStatus::{Ready, Starting, Suspect};
    let fixture = F::empty().await;
    let store = fixture.store();
    for (nth, order) in (0..).zip(orders(&[0, 1, 2])) {
        let life = life("n1", nth);
        // It starts, is ready and beats on; meanwhile somebody who heard little suspects it.
        let writes = [row(life, 1, Starting, 1), row(life, 9, Ready, 3), row(life, 5, Suspect, 7)];
        for at in order.iter().chain([&0]) {
            store.set_node(writes[*at].clone()).await.expect("set");
        }
        let read = store.nodes().await.expect("readable");
        let read = read.into_iter().find(|row| row.life == life);
        assert_eq!(read, Some(row(life, 9, Suspect, 7)), "in the order {order:?}");
    }
    let moved = NodeRow { address: "10.0.0.2:6464".into(), ..row(life("n1", 0), 20, Ready, 20) };
    store.set_node(moved.clone()).await.expect("set");
    let fixture = fixture.reopened().await;
    let nodes = fixture.store().nodes().await.expect("readable");
    assert_eq!(nodes[0], moved);
}

/// Two who judge in one millisecond agree afterwards, and the graver verdict stands.
pub async fn of_verdicts_of_one_moment_the_graver_stays<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    for (nth, pair) in (0..).zip(NodeStatus::ALL.windows(2)) {
        for (generation, order) in [[0, 1], [1, 0]].into_iter().enumerate() {
            let life = life(&format!("n{nth}"), generation as u64);
            for at in order {
                store.set_node(row(life, 5, pair[at], 5)).await.expect("set");
            }
        }
    }
    for node in store.nodes().await.expect("readable") {
        let nth: usize = node.life.node.as_str()[1..].parse().expect("a number");
        assert_eq!(node.status, NodeStatus::ALL[nth + 1]);
    }
}

/// What an operator took off the list stays off it; the next life is another row.
pub async fn a_deleted_life_stays_deleted<F: Fixture>() {
    use NodeStatus::{Deleted, Offline, Ready};
    let fixture = F::empty().await;
    let (first, next) = (life("n1", 1), life("n1", u64::MAX));
    let (deleted, later) = (row(first, 5, Deleted, 50), row(first, 70, Ready, 70));
    for write in [row(first, 5, Offline, 40), deleted, later, row(next, 80, Ready, 80)] {
        fixture.store().set_node(write).await.expect("set");
    }
    let fixture = fixture.reopened().await;
    let expected = vec![row(first, 70, Deleted, 50), row(next, 80, Ready, 80)];
    assert_eq!(fixture.store().nodes().await, Ok(expected));
}

/// Nodes come in the order of their lives, and names that begin alike stay apart.
pub async fn nodes_come_in_the_order_of_their_lives<F: Fixture>() {
    let fixture = F::empty().await;
    assert_eq!(fixture.store().nodes().await, Ok(vec![]));
    let lives = [life("n10", 1), life("n-1", u64::MAX), life("n1", 2), life("n1", 1), life("n", 9)];
    for life in lives {
        fixture.store().set_node(row(life, 1, NodeStatus::Ready, 1)).await.expect("set");
    }
    let mut expected = lives;
    expected.sort();
    let nodes = fixture.store().nodes().await.expect("readable");
    assert!(nodes.iter().map(|row| row.life).eq(expected), "{nodes:?}");
}
