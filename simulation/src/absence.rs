//! An absence: one of each user's two devices is away while the other one reads all there is.
//!
//! It begins with everybody just caught up, and nothing changes for longer than a catch-up looks
//! back. So what was read meanwhile is all that the catch-up of who comes back can find, and it
//! finds that in the log alone.

use std::rc::Rc;
use std::time::Duration;

use rally_schema::UserId;
use tokio::time::sleep;

use crate::line::{Line, Surroundings};
use rally_proof::phone::Wish;

/// Longer than a catch-up looks back behind its cursor.
const LOOK_BACK: Duration = Duration::from_secs(35);

/// How long the reading of one device takes to reach whoever is there.
const READING: Duration = Duration::from_secs(3);

/// How long who comes back may take to be connected, and so no longer to look at rest.
const RETURN: Duration = Duration::from_secs(10);

/// Lets it happen; `lines` has each user's devices side by side.
pub async fn happen(around: &Surroundings, lines: &[Rc<Line>], users: &[UserId]) {
    around.nodes.iter().for_each(|node| node.break_sockets());
    sleep(LOOK_BACK).await;
    let away = || lines.iter().skip(1).step_by(2);
    away().for_each(|line| line.set_online(false));
    sleep(READING).await;
    for reader in lines.iter().step_by(2) {
        users.iter().for_each(|at| reader.wish(Wish::Look { at: *at }, around));
    }
    sleep(READING).await;
    away().for_each(|line| line.set_online(true));
    sleep(RETURN).await;
}
