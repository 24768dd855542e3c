//! Ids that order by time, and say what they are about: of messages, edits, and entries of a log.

use sha2::{Digest, Sha256};

use super::stamp::{LOW_MASK, uuid_v7};
use super::uuids::uuid_id;
use super::{ConversationId, IdError, MAX_N, Ref, Stamp, UserId};

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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn a_ref(n: u128) -> Ref {
        Ref::from(Uuid::from_u128(n))
    }

    fn id(at: u64, n: u16, text: &str) -> MessageId {
        let chat = ConversationId::direct(user("ana"), user("ben"));
        MessageId::of(Stamp { at, n }, user("ana"), chat, a_ref(1), text)
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
}
