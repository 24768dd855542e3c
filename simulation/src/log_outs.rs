//! Logging out everywhere, at some node and while anything may go wrong; and whether it holds.
//!
//! Each device has a log-in of its own and comes with it until it hears that it is over; so one
//! that was away comes back with an earlier one, as by a ticket from before.

use std::rc::Rc;

use rally_cluster::store::Store as _;
use rally_schema::UserId;

use crate::line::{Line, Surroundings};
use crate::node::SimNode;

/// Of so many wishes one is to log out everywhere.
pub const RARITY: u64 = 50;

/// Has somebody log out everywhere, if a node takes it.
pub fn happen(around: &Surroundings, user: UserId) {
    let ready: Vec<&SimNode> = around.nodes.iter().filter(|node| node.is_ready()).collect();
    if !ready.is_empty() {
        let node = around.world.pick(&ready);
        around.trace(&user, || format!("logs out everywhere, at {}", node.name));
        node.log_out_everywhere(user);
    }
}

/// Gives the epoch of a user's account: that of a log-in that is made now.
pub async fn epoch(around: &Surroundings, user: UserId) -> u64 {
    let account = around.model.user(user).await.expect("the model answers");
    account.expect("every user has an account").epoch
}

/// Finds a session that is open though its log-in is over; to be asked once all has healed.
pub async fn outlived(around: &Surroundings, lines: &[Rc<Line>]) -> Option<String> {
    for line in lines {
        let epoch = epoch(around, line.user()).await;
        if let Some(of) = line.open_log_in().filter(|of| *of < epoch) {
            let device = line.phone.borrow().device;
            return Some(format!("{device} has a session by log-in {of}, and {epoch} is current"));
        }
    }
    None
}
