//! Twins: one intent that was stamped twice and stored twice.
//!
//! A first attempt may surface after its ref was stamped anew. Both rows then carry the
//! same sender and the same low 62 bits; the larger id is the message for every reader.

use std::collections::HashMap;

use rally_schema::{MessageId, UserId};

use crate::planted::{self, Fault};
use crate::store::MessageRow;

/// Drops the smaller rows of twins, keeping the order of the rest; says which were dropped.
pub fn fold(rows: &mut Vec<MessageRow>) -> Vec<MessageId> {
    let mut largest: HashMap<(UserId, u64), MessageId> = HashMap::with_capacity(rows.len());
    for row in rows.iter() {
        let id = largest.entry((row.sender, row.id.low())).or_insert(row.id);
        *id = row.id.max(*id);
    }
    if largest.len() == rows.len() || planted::on(Fault::TwinsShown) {
        return Vec::new();
    }
    let mut dropped = Vec::new();
    rows.retain(|row| {
        let stays = largest[&(row.sender, row.id.low())] == row.id;
        if !stays {
            dropped.push(row.id);
        }
        stays
    });
    dropped
}
