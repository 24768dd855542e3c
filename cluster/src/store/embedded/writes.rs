//! What each write of the trait stages in its group.
//!
//! Runs on the commit loop's thread alone, so that a row read here is the row that is
//! replaced. Knows nothing of durability.

use rally_schema::{Life, UserId};
use uuid::Uuid;

use super::super::{
    Change, Commit, InboxCells, MemberWrite, MessageCells, NodeRow, PresenceRow, StoreError,
    UserChange, UserRow,
};
use super::encode::{ChangeValue, InboxValue, PresenceValue};
use super::group::Group;
use super::keys::{self, Key};

/// Merges the cells of `commits` in.
pub(super) fn commit(group: &mut Group<'_>, commits: Vec<Commit>) -> Result<(), StoreError> {
    for Commit { conversation, message, members } in commits {
        if let Some(write) = message {
            let key = keys::message(conversation, write.id());
            let mut cells: MessageCells = group.get(&key)?.unwrap_or_default();
            cells.apply(write);
            group.put(key, &cells);
        }
        for MemberWrite { user, peer, cells, change } in members {
            let key = keys::inbox(user, conversation);
            let empty = || InboxValue { cells: InboxCells::default(), peer };
            let mut row = group.get(&key)?.unwrap_or_else(empty);
            row.cells.merge(&cells);
            group.put(key, &row);
            if let Some(Change { change, conversation, id, kind }) = change {
                group.put(keys::change(user, change), &ChangeValue { conversation, id, kind });
                group.note_change(change.at());
            }
        }
    }
    Ok(())
}

/// About how many bytes commits keep while they wait.
pub(super) fn bytes_of(commits: &[Commit]) -> usize {
    use super::super::MessageWrite::{Delete, Edit, Put, Remove};
    let text = |commit: &Commit| match &commit.message {
        Some(Put { body, .. }) => body.len(),
        Some(Edit { text, .. }) => text.len(),
        Some(Delete { .. } | Remove { .. }) | None => 0,
    };
    let fixed = |commit: &Commit| 256 + commit.members.len() * 512;
    commits.iter().map(|commit| fixed(commit) + text(commit)).sum()
}

/// Adds the account unless its name is taken.
pub(super) fn create_user(group: &mut Group<'_>, row: &UserRow) -> Result<bool, StoreError> {
    let key = keys::user(row.user);
    let free = group.get::<UserRow>(&key)?.is_none();
    if free {
        group.put(key, row);
    }
    Ok(free)
}

/// Changes an account that exists.
pub(super) fn change_user(
    group: &mut Group<'_>,
    user: UserId,
    change: UserChange,
) -> Result<Option<UserRow>, StoreError> {
    let key = keys::user(user);
    let Some(mut row) = group.get::<UserRow>(&key)? else { return Ok(None) };
    row.change(change);
    group.put(key, &row);
    Ok(Some(row))
}

/// Sets or clears a block.
pub(super) fn set_block(group: &mut Group<'_>, user: UserId, blocked: UserId, on: bool) {
    let key = keys::block(user, blocked);
    if on { group.put(key, &()) } else { group.remove(key) }
}

/// Replaces one life's row and drops those of others.
pub(super) fn set_presence(group: &mut Group<'_>, row: PresenceRow, folded: Vec<Life>) {
    for life in folded {
        group.remove(keys::presence(row.user, life));
    }
    let PresenceRow { user, life, online_since, last_seen } = row;
    group.put(keys::presence(user, life), &PresenceValue { online_since, last_seen });
}

/// Merges what is known of a node's life in.
pub(super) fn set_node(group: &mut Group<'_>, row: NodeRow) -> Result<(), StoreError> {
    let key = keys::node(row.life);
    let mut known = group.get(&key)?.unwrap_or_else(|| row.clone());
    known.merge(row);
    group.put(key, &known);
    Ok(())
}

/// Revokes a token; of two times the later stays.
pub(super) fn revoke(group: &mut Group<'_>, token: Uuid, until_ms: u64) -> Result<(), StoreError> {
    let key = keys::revoked(token);
    let before = group.get::<u64>(&key)?.unwrap_or(0);
    group.put(key, &before.max(until_ms));
    Ok(())
}

/// Removes rows whose keys a reader collected.
pub(super) fn remove_all(group: &mut Group<'_>, keys: Vec<Key>) {
    keys.into_iter().for_each(|key| group.remove(key));
}
