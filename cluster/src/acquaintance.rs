//! Who may know whether somebody is online: those he has a conversation with, unless he hides
//! it or has blocked them. To all others he looks like somebody who was never there.
//!
//! The same for a session that watches and for a process that is asked over HTTP.

use std::collections::BTreeSet;

use rally_schema::{ConversationId, UserId};

use crate::store::{Store, StoreError};

/// Tells whether the two have a conversation with a message in it.
pub async fn acquainted(
    store: &dyn Store,
    asker: UserId,
    user: UserId,
) -> Result<bool, StoreError> {
    let rows = store.inbox_rows(asker, vec![ConversationId::direct(asker, user)]).await?;
    Ok(rows.iter().any(|row| row.cells.head.is_some()))
}

/// Gives which of the askers a user lets know whether he is online; that they are acquainted is
/// asked elsewhere.
pub async fn let_know(
    store: &dyn Store,
    user: UserId,
    askers: BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, StoreError> {
    if store.user(user).await?.is_none_or(|row| row.hide_presence) {
        return Ok(BTreeSet::new());
    }
    // One read, however many ask.
    let blocked: BTreeSet<UserId> = match askers.first() {
        Some(asker) if askers.len() == 1 => match store.is_blocked(user, *asker).await? {
            true => [*asker].into(),
            false => BTreeSet::new(),
        },
        _ => store.blocks(user).await?.into_iter().collect(),
    };
    Ok(&askers - &blocked)
}
