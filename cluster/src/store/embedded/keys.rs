//! Where each row stands in the one ordered key space.
//!
//! A key is its table's tag, then parts of fixed width, names with their length before them,
//! or one last part that ends the key; text is never joined, so no two names can make one
//! key. Everything of one conversation, or of one user in one table, is one range.
//!
//! DESIGN's table `buckets` is left out: it tells a reader of Cassandra which partitions of a
//! conversation exist, and here ids alone order a conversation, however long it is.

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

use rally_schema::{ChangeId, ConversationId, Life, MessageId, NodeId, UserId};
use uuid::Uuid;

/// The tables, by the tag that their keys begin with. Tags are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Meta = 0,
    Messages = 1,
    Inbox = 2,
    Changes = 3,
    Users = 4,
    Blocks = 5,
    Presence = 6,
    Revoked = 7,
    Nodes = 8,
}

impl Table {
    /// Names the table of a key, for errors.
    pub(super) fn name_of(key: &[u8]) -> &'static str {
        const NAMES: [&str; 9] = [
            "meta", "messages", "inbox", "changes", "users", "blocks", "presence", "revoked",
            "nodes",
        ];
        key.first().and_then(|tag| NAMES.get(usize::from(*tag))).copied().unwrap_or("no table")
    }
}

/// A key, kept inline: making one costs no allocation.
#[derive(Clone, Copy)]
pub(super) struct Key {
    len: usize,
    bytes: [u8; Key::MAX],
}

impl Key {
    /// The longest: a presence row (tag, two names with their lengths, generation).
    const MAX: usize = 1 + 33 + 33 + 8;

    fn of(table: Table) -> Self {
        Self { len: 0, bytes: [0; Self::MAX] }.then(&[table as u8])
    }

    /// Takes over the key of a stored row; `None` when it is none of ours.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() <= Self::MAX;
        fits.then(|| Self { len: 0, bytes: [0; Self::MAX] }.then(bytes))
    }

    /// Tells whether this is a key of `table`.
    pub(super) fn is_of(&self, table: Table) -> bool {
        self.first() == Some(&(table as u8))
    }

    /// Appends a part of fixed width, or the last part.
    fn then(mut self, part: &[u8]) -> Self {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
        self
    }

    /// Appends a name with its length before it.
    fn name(self, name: &str) -> Self {
        self.then(&[name.len() as u8]).then(name.as_bytes())
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What the store knows of itself.
pub(super) fn meta(name: &str) -> Key {
    Key::of(Table::Meta).then(name.as_bytes())
}

pub(super) fn message(conversation: ConversationId, id: MessageId) -> Key {
    Key::of(Table::Messages).then(conversation.as_bytes()).then(id.as_bytes())
}

pub(super) fn inbox(user: UserId, conversation: ConversationId) -> Key {
    inbox_of(user).then(conversation.as_bytes())
}

/// The prefix of a user's inbox.
pub(super) fn inbox_of(user: UserId) -> Key {
    Key::of(Table::Inbox).name(user.as_str())
}

pub(super) fn change(user: UserId, id: ChangeId) -> Key {
    Key::of(Table::Changes).name(user.as_str()).then(id.as_bytes())
}

/// The keys of a user's log, from `first` on.
pub(super) fn changes(user: UserId, first: ChangeId) -> RangeInclusive<Key> {
    change(user, first)..=change(user, ChangeId::from_bytes([0xff; 16]))
}

/// The keys of a user's log of a time before `ms`.
pub(super) fn changes_before(user: UserId, ms: u64) -> Range<Key> {
    change(user, ChangeId::from_bytes([0; 16]))..change(user, ChangeId::first_of(ms))
}

/// Where the log of the next user may begin.
pub(super) fn after_changes(user: UserId) -> Key {
    change(user, ChangeId::from_bytes([0xff; 16])).then(&[0])
}

/// Where a table begins, and the one before it ends.
pub(super) fn first(table: Table) -> Key {
    Key::of(table)
}

pub(super) fn user(user: UserId) -> Key {
    Key::of(Table::Users).then(user.as_str().as_bytes())
}

/// The prefix of all users whose name begins so; `None` when no name can.
pub(super) fn users(prefix: &str) -> Option<Key> {
    let fits = prefix.len() <= 32;
    fits.then(|| Key::of(Table::Users).then(prefix.as_bytes()))
}

pub(super) fn block(user: UserId, blocked: UserId) -> Key {
    blocks(user).then(blocked.as_str().as_bytes())
}

/// The prefix of whom a user has blocked.
pub(super) fn blocks(user: UserId) -> Key {
    Key::of(Table::Blocks).name(user.as_str())
}

pub(super) fn presence(user: UserId, life: Life) -> Key {
    presences(user).name(life.node.as_str()).then(&life.generation.to_be_bytes())
}

/// The prefix of a user's presence rows.
pub(super) fn presences(user: UserId) -> Key {
    Key::of(Table::Presence).name(user.as_str())
}

pub(super) fn node(life: Life) -> Key {
    Key::of(Table::Nodes).name(life.node.as_str()).then(&life.generation.to_be_bytes())
}

pub(super) fn revoked(token: Uuid) -> Key {
    Key::of(Table::Revoked).then(token.as_bytes())
}

/// Reads the id that a key ends with.
pub(super) fn last_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk().copied()
}

/// Reads the name that a key ends with, after `prefix` bytes.
pub(super) fn last_name(key: &[u8], prefix: usize) -> Option<UserId> {
    std::str::from_utf8(key.get(prefix..)?).ok()?.parse().ok()
}

/// Reads the user to whose partition a key belongs, in a table that has partitions of users.
pub(super) fn owner(key: &[u8]) -> Option<UserId> {
    let len = usize::from(*key.get(1)?);
    std::str::from_utf8(key.get(2..2 + len)?).ok()?.parse().ok()
}

/// Reads the edge life of a presence key, after the `prefix` bytes of its user.
pub(super) fn life(key: &[u8], prefix: usize) -> Option<Life> {
    let (len, rest) = key.get(prefix..)?.split_first()?;
    let (node, generation) = rest.split_at_checked(usize::from(*len))?;
    let node: NodeId = std::str::from_utf8(node).ok()?.parse().ok()?;
    Some(Life { node, generation: u64::from_be_bytes(generation.try_into().ok()?) })
}

/// Writes a key so that an operator can name the row.
pub(super) fn shown(key: &[u8]) -> String {
    key.iter().fold(String::with_capacity(2 * key.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn the_longest_key_fits() {
        let long = user(&"a".repeat(32));
        let node = "b".repeat(32).parse().unwrap();
        let life = Life { node, generation: u64::MAX };
        let key = presence(long, life);
        assert_eq!(key.len(), Key::MAX);
        assert_eq!(super::life(&key, presences(long).len()), Some(life));
        assert_eq!(owner(&key), Some(long));
    }

    #[test]
    fn no_partition_is_a_prefix_of_another() {
        let id = ConversationId::from_bytes([0x61; 16]);
        for (one, other) in [("a", "aa"), ("a", "a-b"), ("a.", "a"), ("0", "00")] {
            let prefix = inbox_of(user(one));
            assert!(!inbox(user(other), id).starts_with(&prefix), "{one} {other}");
        }
    }

    #[test]
    fn keys_of_strangers_are_refused() {
        for bad in [&[][..], &[3], &[3, 200, 1], &[6, 1, b'a', 9, 9]] {
            assert_eq!(last_id(bad), None);
            assert_eq!(life(bad, 3), None);
            assert!(owner(bad).is_none_or(|user| user.as_str() == "a"));
        }
    }
}
