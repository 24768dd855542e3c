//! What a device writes down of what it is told.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use rally_proof::history::{Device, Event};
use rally_proof::phone::{Host, Phone};
use rally_schema::frame::{History, Message, Reset, Synced};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, MessageId, Ref, UserId};
use uuid::Uuid;

struct World;

impl Host for World {
    fn now_ms(&self) -> u64 {
        1_000
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u128(7)
    }
}

fn ana() -> UserId {
    "ana".parse().unwrap()
}

fn ben() -> UserId {
    "ben".parse().unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::direct(ana(), ben())
}

/// What ana wrote to ben, as it was stamped at a time.
fn message(text: &str, at: u64) -> Message {
    let (r#ref, stamp) = (Ref::from(Uuid::nil()), Stamp { at, n: 0 });
    Message {
        id: MessageId::of(stamp, ana(), conversation(), r#ref, text),
        conversation: conversation(),
        sender: ana(),
        to: ben(),
        r#ref,
        text: text.to_owned(),
        reply_to: None,
        edit: None,
        deleted: false,
        after: None,
    }
}

/// A device of ben's that is connected and caught up.
fn phone() -> Phone<World> {
    let mut phone = Phone::new(Device { user: ben(), number: 0 }, false, World);
    phone.connects("n1".parse().unwrap(), String::new());
    phone.hear(Synced { cursor: "c".to_owned(), cut: Vec::new() }.into());
    phone
}

fn appeared(phone: &mut Phone<World>) -> Vec<MessageId> {
    let entries = phone.take_entries(0);
    let id = |event| if let Event::Appeared { id } = event { Some(id) } else { None };
    entries.filter_map(|entry| id(entry.event)).collect()
}

fn shown(phone: &Phone<World>) -> Vec<MessageId> {
    phone.views().into_iter().flat_map(|view| view.messages).map(|shown| shown.id).collect()
}

#[test]
fn what_is_loaded_anew_is_shown_and_not_written_down_again() {
    let mut phone = phone();
    let (one, other) = (message("one", 1), message("other", 2));
    phone.hear(one.clone().into());
    assert_eq!(appeared(&mut phone), [one.id]);
    phone.hear(Reset { cursor: "c".to_owned() }.into());
    assert!(shown(&phone).is_empty());
    let (messages, r#ref) = (vec![other.clone(), one.clone()], Some(Ref::from(Uuid::nil())));
    let page = History { r#ref, conversation: conversation(), messages, more: false };
    phone.hear(page.into());
    assert_eq!(appeared(&mut phone), [other.id]);
    assert_eq!(shown(&phone), [one.id, other.id]);
}

#[test]
fn of_two_twins_the_later_one_is_shown_whichever_comes_first() {
    let (early, late) = (message("once", 1), message("once", 5));
    assert!(early.id.is_twin_of(&late.id));
    for order in [[&early, &late], [&late, &early]] {
        let mut phone = phone();
        order.into_iter().for_each(|message| phone.hear(message.clone().into()));
        assert_eq!(shown(&phone), [late.id]);
        // Nor does the earlier one come back where its thread begins anew.
        let messages = vec![late.clone(), early.clone()];
        let window = History { r#ref: None, conversation: conversation(), messages, more: false };
        phone.hear(window.into());
        assert_eq!(shown(&phone), [late.id]);
    }
}
