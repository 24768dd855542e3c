//! A wrong clock: somebody sets a machine's wall clock ahead while its node runs.
//!
//! Who connects there is told a position in the log. Were that by the wrong clock, he would miss what
//! others store by the right one while he is away, and nothing would mend it when he comes back to
//! the same node: elsewhere such a position is seen to be ahead, and he loads everything.

use std::rc::Rc;
use std::time::Duration;

use rally_proof::phone::Wish;
use tokio::time::sleep;

use crate::line::{Line, Surroundings};

/// How far ahead: by more than a catch-up looks back, and less than makes everybody wait for long.
const AHEAD_MS: (u64, u64) = (45_000, 75_000);

/// How long who lost a connection may take to be caught up over another one.
const RETURN: Duration = Duration::from_secs(4);

/// How many write while those who connected to that node are away.
const WRITERS: usize = 8;

/// Lets it happen; the clock is still wrong afterwards.
pub async fn happen(around: &Surroundings, lines: &[Rc<Line>]) {
    let world = &around.world;
    let node = &around.nodes[world.below(around.nodes.len() as u64) as usize];
    let ahead_ms = AHEAD_MS.0 + world.below(AHEAD_MS.1 - AHEAD_MS.0);
    around.trace(&"somebody", || format!("sets the clock of {} ahead by {ahead_ms} ms", node.name));
    node.machine.set_skew(ahead_ms as i64);
    node.break_sockets();
    sleep(RETURN).await;
    let (here, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.is_at(node.name));
    if here.is_empty() || others.is_empty() {
        return;
    }
    here.iter().for_each(|line| line.set_online(false));
    for _ in 0..WRITERS {
        let text = "by the right clock".to_owned();
        world.pick(&others).wish(Wish::Write { to: world.pick(&here).user(), text }, around);
        world.delay(0, 300).await;
    }
    here.iter().for_each(|line| line.set_online(true));
    sleep(RETURN).await;
}
