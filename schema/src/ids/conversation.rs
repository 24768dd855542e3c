//! The name of a thread of messages, and how that of two people is found by either of them.

use uuid::Uuid;

use super::UserId;
use super::name::Name;
use super::uuids::uuid_id;

uuid_id! {
    /// Names a thread of messages.
    ConversationId, "conversation id"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
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
}
