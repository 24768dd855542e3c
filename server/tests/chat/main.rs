//! What two people and their devices see, on real sockets against a real server process.

#[path = "../harness/mod.rs"]
mod harness;

mod coming_back;
mod messages;
mod sending;
mod sessions;

use rally_schema::frame::{Receipt, ServerFrame};

/// Finds how far somebody got or read.
fn receipt(frame: &ServerFrame) -> Option<Receipt> {
    match frame {
        ServerFrame::Receipt(receipt) => Some(receipt.clone()),
        _ => None,
    }
}
