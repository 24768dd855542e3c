//! Blocking another user for a while, at some node and while anything may go wrong.
//!
//! Whether a block is felt is for the judges: who is blocked is refused, and what he was refused
//! for good is never stored, whatever a node does with an attempt that it took up before.

use std::rc::Rc;
use std::time::Duration;

use rally_schema::UserId;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::line::{Line, Surroundings};
use crate::node::{Block, SimNode};

/// Of so many wishes one is to block somebody.
pub const RARITY: u64 = 25;

/// How long nobody is asked after one did not do it.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long, at most: often so short that a node which stands still meanwhile knows nothing of it.
const BRIEF_MS: u64 = 3_000;
const LONG_MS: u64 = 30_000;

/// Has the user of a device block another one for a while.
pub fn begin(around: &Rc<Surroundings>, line: &Rc<Line>, blocked: UserId) {
    let most_ms = if around.world.below(2) == 0 { BRIEF_MS } else { LONG_MS };
    begin_for(around, line, blocked, most_ms);
}

/// The same for a moment.
pub fn begin_briefly(around: &Rc<Surroundings>, line: &Rc<Line>, blocked: UserId) {
    begin_for(around, line, blocked, BRIEF_MS);
}

fn begin_for(around: &Rc<Surroundings>, line: &Rc<Line>, blocked: UserId, most_ms: u64) {
    let lasts_ms = 500 + around.world.below(most_ms);
    let block = spawn_local(happen(around.clone(), line.clone(), blocked, lasts_ms));
    around.blocking.borrow_mut().push(block);
}

/// Waits until nobody blocks anybody any more.
pub async fn end(around: &Surroundings) {
    for block in around.blocking.take() {
        block.await.expect("who blocks does not panic");
    }
}

async fn happen(around: Rc<Surroundings>, line: Rc<Line>, blocked: UserId, lasts_ms: u64) {
    let user = line.user();
    line.blocks(blocked, true, &around);
    set(&around, Block { user, blocked, on: true }).await;
    sleep(Duration::from_millis(lasts_ms)).await;
    set(&around, Block { user, blocked, on: false }).await;
    line.blocks(blocked, false, &around);
}

/// Asks one node after the other until one has done it. Who is asked is waited for, however long
/// he stands still: what he does after somebody else did the opposite would hold.
async fn set(around: &Surroundings, block: Block) {
    loop {
        let mut ready: Vec<&SimNode> = around.nodes.iter().filter(|node| node.is_ready()).collect();
        // Mostly one that goes on: of a block that is felt late there is less to see.
        if around.world.below(4) > 0 && ready.iter().any(|node| !node.is_paused()) {
            ready.retain(|node| !node.is_paused());
        }
        if !ready.is_empty() {
            let node = around.world.pick(&ready);
            around.trace(&block.user, || format!("asks {} for {block:?}", node.name));
            if node.block(block).await {
                return;
            }
        }
        sleep(AGAIN).await;
    }
}
