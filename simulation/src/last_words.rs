//! Last words: a node dies in the middle of telling what it has acknowledged.
//!
//! All has been quiet for longer than a catch-up looks back, and stays quiet afterwards: no later
//! message names what is missing, and nobody connects again for another reason.

use std::rc::Rc;
use std::time::Duration;

use rally_proof::Event;
use rally_schema::{NodeId, UserId};
use tokio::time::{sleep, timeout};

use crate::line::{Line, Surroundings};
use crate::node::SimNode;
use rally_proof::phone::Wish;

/// Longer than a catch-up looks back behind its cursor, and than the others doubt before they
/// give a node up.
const QUIET: Duration = Duration::from_secs(35);

/// How long the node may take to tell something.
const TELLING: Duration = Duration::from_secs(5);

/// Lets it happen; gives the node, which stays down: its next life would have everybody catch up.
pub async fn happen<'a>(
    around: &'a Surroundings,
    lines: &[Rc<Line>],
    users: &[UserId],
) -> &'a SimNode {
    let world = &around.world;
    sleep(QUIET).await;
    let node = &around.nodes[world.below(around.nodes.len() as u64) as usize];
    let here = lines.iter().filter(|line| connected_to(line, around) == Some(node.name));
    for line in here {
        let text = "last words".to_owned();
        line.wish(Wish::Write { to: world.pick(users), text }, around);
    }
    let _ = timeout(TELLING, around.exchange.published(node.name)).await;
    world.delay(0, 3).await;
    around.trace(&"somebody", || format!("kills {} at its last words", node.name));
    node.kill();
    sleep(QUIET).await;
    node
}

fn connected_to(line: &Line, around: &Surroundings) -> Option<NodeId> {
    let device = line.phone.borrow().device;
    let entries = around.entries.borrow();
    let mut own = entries.iter().rev().filter(|entry| entry.device == device);
    own.find_map(|entry| match entry.event {
        Event::Connects { node } => Some(node),
        _ => None,
    })
}
