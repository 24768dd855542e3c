//! Identifiers as types, so that swapping two of them does not compile.
//!
//! Everything parses here once, at the edge, and is trusted inside. Where an
//! id has a structure (a time, a hash), this file says which and tests it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// Says which value is not an id, and what would be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is no user id.
    #[error("bad user id {0:?}: 1 to 32 of a-z 0-9 _ . - beginning with a letter or digit")]
    User(String),
    /// The text is no node id.
    #[error("bad node id {0:?}: 1 to 32 of a-z 0-9 _ . - beginning with a letter or digit")]
    Node(String),
    /// The text is no UUID in its hyphenated form.
    #[error("bad {kind} {value:?}: expected a uuid")]
    Uuid {
        /// Which id was expected.
        kind: &'static str,
        /// What stood there.
        value: String,
    },
    /// The UUID is of another version than this id has.
    #[error("bad {kind} {value}: expected a uuid of version 7")]
    NotV7 {
        /// Which id was expected.
        kind: &'static str,
        /// What stood there.
        value: Uuid,
    },
    /// The text is no cursor of ours.
    #[error("bad cursor {0:?}: pass what `synced` or `reset` gave, or none")]
    Cursor(String),
}

/// Shows at most 64 characters of a value that came from outside.
fn shown(value: &str) -> String {
    match value.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Names up to 32 bytes of `[a-z0-9][a-z0-9_.-]*`, kept inline: copying costs no allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    len: u8,
    bytes: [u8; Name::MAX],
}

impl Name {
    const MAX: usize = 32;

    fn parse(value: &str) -> Option<Self> {
        let raw = value.as_bytes();
        let head = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let tail = |b: &u8| head(b) || matches!(b, b'_' | b'.' | b'-');
        if raw.len() > Self::MAX || !raw.first().is_some_and(head) || !raw.iter().all(tail) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { len: raw.len() as u8, bytes })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("parsed as ASCII")
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $error:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(type = "string"))]
        pub struct $name(Name);

        impl $name {
            /// Borrows the name.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Name::parse(value).map(Self).ok_or_else(|| $error(shown(value)))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let value = std::borrow::Cow::<'de, str>::deserialize(d)?;
                value.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_id! {
    /// Names a person: `[a-z0-9][a-z0-9_.-]{0,31}`.
    UserId, IdError::User
}
name_id! {
    /// Names a server process across its lives; the same alphabet as [`UserId`].
    NodeId, IdError::Node
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(type = "string"))]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps bytes that one of ours has written before.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Gives the 16 bytes in the order in which ids compare.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }
        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }
        impl From<$name> for Uuid {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Uuid::try_parse(value)
                    .map(Self)
                    .map_err(|_| IdError::Uuid { kind: $kind, value: shown(value) })
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
                } else {
                    self.0.as_bytes().serialize(s)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let value = std::borrow::Cow::<'de, str>::deserialize(d)?;
                    value.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(d).map(Self::from_bytes)
                }
            }
        }
    };
}

uuid_id! {
    /// Names one device or tab; the client makes it itself.
    ClientId, "client id"
}
uuid_id! {
    /// Names a thread of messages.
    ConversationId, "conversation id"
}
uuid_id! {
    /// Names one intent of a client (a message, an edit, a question), however often it is sent.
    Ref, "ref"
}
uuid_id! {
    /// Names a store, so that a cursor made in another one is noticed.
    StoreId, "store id"
}
uuid_id! {
    /// Names a message and fixes its place: a UUIDv7 that orders by time of sending.
    ///
    /// 48 bits of milliseconds, 12 bits `n`, 62 bits of SHA-256 over what was sent. Nothing
    /// in it is drawn by chance, so the same intent is the same id on every attempt.
    MessageId, "message id"
}
uuid_id! {
    /// Names one edit of a message; made as a [`MessageId`] is, so a repeat is the same edit.
    EditId, "edit id"
}
uuid_id! {
    /// Names an entry of a user's log: a UUIDv7 of the clock of the node that writes it.
    ChangeId, "change id"
}

/// Under which UUIDv5 namespace direct conversations are named.
const DIRECT: Uuid = Uuid::from_u128(0x1d6a_57f2_8f0e_4c5b_9b39_6f0f_2f8e_7a41);

impl ConversationId {
    /// Names the conversation of two users, in whichever order they are given.
    ///
    /// UUIDv5 over each name of the sorted pair with its length before it; a user alone with
    /// himself is a set of one member and stands once.
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let mut name = Vec::with_capacity(2 * (Name::MAX + 1));
        let mut push = |user: UserId| {
            name.push(user.as_str().len() as u8);
            name.extend_from_slice(user.as_str().as_bytes());
        };
        push(low);
        if low != high {
            push(high);
        }
        Self(Uuid::new_v5(&DIRECT, &name))
    }
}

/// The largest `n` of a stamp: 12 bits.
pub const MAX_N: u16 = 0x0fff;

/// The largest millisecond count an id holds: 48 bits.
pub const MAX_MS: u64 = (1 << 48) - 1;

/// When a client says that something was sent: milliseconds of the server's time, and a count
/// that keeps apart (and in order) what falls into one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since 1970, at most [`MAX_MS`].
    pub at: u64,
    /// 0 to [`MAX_N`].
    pub n: u16,
}

/// Builds a UUIDv7 from its parts; the low two bits of `low`'s top byte give way to the variant.
fn uuid_v7(stamp: Stamp, low: u64) -> Uuid {
    let high = (stamp.at & MAX_MS) << 16 | 0x7000 | u64::from(stamp.n & MAX_N);
    let low = low & LOW_MASK | 1 << 63;
    Uuid::from_u64_pair(high, low)
}

/// The 62 bits below a UUID's variant.
const LOW_MASK: u64 = (1 << 62) - 1;

/// Takes 62 bits of SHA-256 over parts that are told apart by length, never by a separator.
fn hash62(
    sender: UserId,
    conversation: ConversationId,
    r#ref: Ref,
    target: &[u8],
    text: &str,
) -> u64 {
    let mut hash = Sha256::new();
    hash.update([sender.as_str().len() as u8]);
    hash.update(sender.as_str());
    hash.update(conversation.as_bytes());
    hash.update(r#ref.as_bytes());
    hash.update(target);
    hash.update(text);
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first) & LOW_MASK
}

macro_rules! v7_parts {
    ($name:ident, $kind:literal) => {
        impl $name {
            /// Gives the milliseconds since 1970 that the id begins with.
            pub fn at(&self) -> u64 {
                self.0.as_u64_pair().0 >> 16
            }

            /// Gives the microseconds with which a cell about this id is written.
            pub fn micros(&self) -> u64 {
                self.at() * 1000
            }

            /// Gives the low 62 bits, which two attempts of one intent share.
            pub fn low(&self) -> u64 {
                self.0.as_u64_pair().1 & LOW_MASK
            }

            /// Gives time and count.
            pub fn stamp(&self) -> Stamp {
                Stamp { at: self.at(), n: (self.0.as_u64_pair().0 & u64::from(MAX_N)) as u16 }
            }

            /// Gives the smallest and the largest id of one stamp.
            pub fn range(stamp: Stamp) -> (Self, Self) {
                (Self(uuid_v7(stamp, 0)), Self(uuid_v7(stamp, LOW_MASK)))
            }

            /// Gives the smallest id of a millisecond: where a scan by time begins.
            pub fn first_of(at: u64) -> Self {
                Self(uuid_v7(Stamp { at, n: 0 }, 0))
            }

            /// Refuses a UUID of another version, which would sort anywhere.
            pub fn checked(self) -> Result<Self, IdError> {
                if self.0.get_version_num() == 7 {
                    Ok(self)
                } else {
                    Err(IdError::NotV7 { kind: $kind, value: self.0 })
                }
            }
        }
    };
}
v7_parts!(MessageId, "message id");
v7_parts!(EditId, "edit id");
v7_parts!(ChangeId, "change id");

impl MessageId {
    /// Makes the id of what `sender` wrote: the same arguments are the same message.
    pub fn of(
        stamp: Stamp,
        sender: UserId,
        conversation: ConversationId,
        r#ref: Ref,
        text: &str,
    ) -> Self {
        Self(uuid_v7(stamp, hash62(sender, conversation, r#ref, &[], text)))
    }

    /// Tells whether both are attempts of one intent, stamped twice (a *twin*).
    pub fn is_twin_of(&self, other: &Self) -> bool {
        self != other && self.low() == other.low()
    }
}

impl EditId {
    /// Makes the id of an edit of `target`.
    pub fn of(
        stamp: Stamp,
        sender: UserId,
        conversation: ConversationId,
        target: MessageId,
        r#ref: Ref,
        text: &str,
    ) -> Self {
        Self(uuid_v7(stamp, hash62(sender, conversation, r#ref, target.as_bytes(), text)))
    }
}

impl ChangeId {
    /// Makes an id from a stamp of the node's clock and the node life's own 62 bits.
    pub fn of(stamp: Stamp, life_bits: u64) -> Self {
        Self(uuid_v7(stamp, life_bits))
    }
}

/// One run of a node: the same node starts again as another life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Which process.
    pub node: NodeId,
    /// Which run of it; a later run has a larger number.
    pub generation: u64,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.generation)
    }
}

/// Where a client's knowledge ends: a store, and the server's clock when the read began.
///
/// Opaque to clients. It claims nothing but its owner's own position, so it is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// In which store the position is.
    pub store: StoreId,
    /// Milliseconds since 1970 by the server's clock.
    pub at: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = [0; 24];
        raw[..16].copy_from_slice(self.store.as_bytes());
        raw[16..].copy_from_slice(&self.at.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(raw))
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        let bad = || IdError::Cursor(shown(value));
        let raw = URL_SAFE_NO_PAD.decode(value).map_err(|_| bad())?;
        let (store, at) = raw.split_at_checked(16).ok_or_else(bad)?;
        Ok(Self {
            store: StoreId::from_bytes(store.try_into().map_err(|_| bad())?),
            at: u64::from_be_bytes(at.try_into().map_err(|_| bad())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn a_ref(n: u128) -> Ref {
        Ref(Uuid::from_u128(n))
    }

    fn id(at: u64, n: u16, text: &str) -> MessageId {
        let chat = ConversationId::direct(user("ana"), user("ben"));
        MessageId::of(Stamp { at, n }, user("ana"), chat, a_ref(1), text)
    }

    #[test]
    fn user_ids_keep_to_their_alphabet() {
        for good in ["a", "rafa", "0", "a-b_c.d", "a2345678901234567890123456789012"] {
            assert_eq!(user(good).as_str(), good);
        }
        let too_long = "a23456789012345678901234567890123";
        for bad in ["", "Rafa", "-a", ".a", "a b", "ä", "a\0", "a/b", too_long] {
            let error = bad.parse::<UserId>().unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn user_ids_order_as_their_text_does() {
        assert!(user("a") < user("a-b"));
        assert!(user("ab") < user("b"));
    }

    #[test]
    fn a_direct_conversation_does_not_depend_on_who_begins() {
        let (ana, ben) = (user("ana"), user("ben"));
        assert_eq!(ConversationId::direct(ana, ben), ConversationId::direct(ben, ana));
        // The value itself is part of the protocol: clients may compute it.
        assert_eq!(
            ConversationId::direct(ana, ben).to_string(),
            "f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6"
        );
    }

    #[test]
    fn names_that_would_collide_when_joined_stay_apart() {
        let one = ConversationId::direct(user("a-b"), user("c"));
        let two = ConversationId::direct(user("a"), user("b-c"));
        assert_ne!(one, two);
        assert_ne!(
            ConversationId::direct(user("aa"), user("aa")),
            ConversationId::direct(user("a"), user("aaa"))
        );
    }

    #[test]
    fn message_ids_order_by_time_then_count_then_hash() {
        assert!(id(1, 4095, "z") < id(2, 0, "a"));
        assert!(id(5, 7, "z") < id(5, 8, "a"));
        assert_ne!(id(5, 7, "a"), id(5, 7, "b"));
        let bytes = |id: MessageId| *id.as_bytes();
        assert!(bytes(id(5, 7, "a")) < bytes(id(6, 0, "a")));
        assert!(id(5, 7, "a").to_string() < id(6, 0, "a").to_string());
    }

    #[test]
    fn a_message_id_gives_back_its_stamp_and_is_a_uuid_v7() {
        let made = id(1_790_000_000_123, 4095, "hi");
        assert_eq!(made.stamp(), Stamp { at: 1_790_000_000_123, n: 4095 });
        assert_eq!(Uuid::from(made).get_version_num(), 7);
        assert_eq!(Uuid::from(made).get_variant(), uuid::Variant::RFC4122);
        assert!(made.checked().is_ok());
        assert!(MessageId(Uuid::nil()).checked().is_err());
    }

    #[test]
    fn the_hash_covers_sender_conversation_ref_and_text() {
        let (ana, ben, cid) = (user("ana"), user("ben"), user("cid"));
        let chat = ConversationId::direct(ana, ben);
        let stamp = Stamp { at: 9, n: 0 };
        let base = MessageId::of(stamp, ana, chat, a_ref(1), "hi");
        assert_eq!(base, MessageId::of(stamp, ana, chat, a_ref(1), "hi"));
        assert_ne!(base, MessageId::of(stamp, ben, chat, a_ref(1), "hi"));
        let other = ConversationId::direct(ana, cid);
        assert_ne!(base, MessageId::of(stamp, ana, other, a_ref(1), "hi"));
        assert_ne!(base, MessageId::of(stamp, ana, chat, a_ref(2), "hi"));
        assert_ne!(base, MessageId::of(stamp, ana, chat, a_ref(1), "hi!"));
    }

    #[test]
    fn an_intent_stamped_twice_is_a_twin() {
        assert!(id(5, 7, "a").is_twin_of(&id(9, 0, "a")));
        assert!(!id(5, 7, "a").is_twin_of(&id(5, 7, "a")));
        assert!(!id(5, 7, "a").is_twin_of(&id(9, 0, "b")));
    }

    #[test]
    fn a_stamp_s_range_holds_just_its_ids() {
        let (low, high) = MessageId::range(Stamp { at: 5, n: 7 });
        let inside = id(5, 7, "a");
        assert!(low <= inside && inside <= high);
        assert!(id(5, 8, "a") > high && id(5, 6, "a") < low);
    }

    #[test]
    fn cursors_survive_the_wire_and_strangers_do_not() {
        let cursor = Cursor { store: StoreId(Uuid::from_u128(7)), at: 1_790_000_000_123 };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        for bad in ["", "x", "AAAA", "!!!!", &"A".repeat(1000)] {
            assert!(matches!(bad.parse::<Cursor>(), Err(IdError::Cursor(_))));
        }
    }
}
