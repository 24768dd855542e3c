//! First words: somebody writes just after the broker came back, while its queues are not known
//! everywhere yet.
//!
//! Everybody has caught up with what happened until then, and little is said afterwards: what is
//! lost now shows only to who asks whether something was.

use std::rc::Rc;
use std::time::Duration;

use rally_schema::UserId;
use tokio::time::sleep;

use crate::broker::SPREADS_MS;
use crate::line::{Line, Surroundings};
use rally_proof::phone::Wish;

/// How many write.
const WRITERS: usize = 3;

/// How long it may take until nothing is missing.
const MENDING: Duration = Duration::from_secs(5);

/// Lets it happen.
pub async fn happen(around: &Surroundings, lines: &[Rc<Line>], users: &[UserId]) {
    let world = &around.world;
    around.exchange.fall();
    world.delay(50, 1_000).await;
    around.exchange.rise();
    world.delay(SPREADS_MS / 4, SPREADS_MS).await;
    for _ in 0..WRITERS {
        let line = &lines[world.below(lines.len() as u64) as usize];
        let text = "first words".to_owned();
        line.wish(Wish::Write { to: world.pick(users), text }, around);
    }
    sleep(MENDING).await;
}
