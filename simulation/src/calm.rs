//! The calm after the faults: nothing is done to the cluster, but three clients do not read.
//!
//! Two of them come back to a full page of what they missed and read none of it; a third one
//! stops in the middle. Meanwhile everybody at one node has to connect again, and the others go
//! on writing, mostly to those who do not read. Nobody else may wait for them.

use std::rc::Rc;
use std::time::Duration;

use rally_proof::{FLOW_MS, Span};
use rally_schema::UserId;
use tokio::time::sleep;

use crate::line::{Line, Surroundings};
use rally_proof::phone::Wish;

/// Messages written while the two are away, and while the three do not read.
const BEFORE: usize = 30;
const MEANWHILE: usize = 20;

/// Lets it happen; gives when.
pub async fn happen(around: &Surroundings, lines: &[Rc<Line>]) -> Span {
    let world = &around.world;
    let from_ms = world.now_ms();
    // Two devices of different users, and one of a third.
    let first = world.below(lines.len() as u64) as usize;
    let slow: Vec<&Rc<Line>> = (0..3).map(|nth| &lines[(first + nth * 2) % lines.len()]).collect();
    let others: Vec<&Rc<Line>> =
        lines.iter().filter(|line| !slow.iter().any(|slow| Rc::ptr_eq(slow, line))).collect();
    let (away, stuck) = slow.split_at(2);
    for line in away {
        line.set_reads(false, around);
        line.set_online(false);
    }
    write(around, away, &others, BEFORE).await;
    away.iter().for_each(|line| line.set_online(true));
    stuck.iter().for_each(|line| line.set_reads(false, around));
    sleep(Duration::from_millis(2_500)).await;
    around.nodes[world.below(around.nodes.len() as u64) as usize].break_sockets();
    write(around, &slow, &others, MEANWHILE).await;
    sleep(Duration::from_millis(FLOW_MS)).await;
    let to_ms = world.now_ms();
    slow.iter().for_each(|line| line.set_reads(true, around));
    Span { from_ms, to_ms }
}

/// Has the others write long messages, four of five to those who do not read.
async fn write(around: &Surroundings, slow: &[&Rc<Line>], others: &[&Rc<Line>], count: usize) {
    let world = &around.world;
    for nth in 0..count {
        let to: UserId = match world.below(5) {
            0 => world.pick(others).user(),
            _ => world.pick(slow).user(),
        };
        let text = format!("calm {nth} {}", "long ".repeat(40));
        world.pick(others).wish(Wish::Write { to, text }, around);
        world.delay(0, 100).await;
    }
}
