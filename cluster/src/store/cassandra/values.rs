//! How facts become the values of cells.
//!
//! Of two values with one timestamp the database keeps the one with the larger bytes. So what
//! is written here is in the order in which [`InboxCells::merge`](super::super::InboxCells)
//! and [`MessageCells`](super::super::MessageCells) choose: the id first, then what follows it,
//! each part in an order of bytes that is its own.

use rally_schema::ids::MAX_MS;
use rally_schema::{ConversationId, EditId, MessageId, UserId};

use super::super::{ChangeKind, Head, HeadEdit, NodeStatus, StoreError};

/// The last timestamp that an id can give a cell, in microseconds: what is erased with it stays
/// erased, whatever is written later.
pub(super) const FOREVER: i64 = (MAX_MS * 1_000) as i64;

/// Milliseconds of a bucket: ten days.
const BUCKET_MS: u64 = 10 * 24 * 60 * 60 * 1_000;

/// Gives the bucket of a time.
pub(super) fn bucket(at_ms: u64) -> i32 {
    (at_ms / BUCKET_MS) as i32
}

/// Gives the milliseconds with which a bucket begins.
pub(super) fn begin(bucket: i32) -> u64 {
    u64::from(bucket.unsigned_abs()) * BUCKET_MS
}

/// Turns the microseconds of an id into a timestamp.
pub(super) fn timestamp(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(FOREVER)
}

/// Splits 16 bytes off.
fn id(bytes: &[u8]) -> Option<([u8; 16], &[u8])> {
    bytes.split_first_chunk().map(|(id, rest)| (*id, rest))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// An edit: its id, then the text.
pub(super) fn edit(id: EditId, text: &str) -> Vec<u8> {
    [id.as_bytes(), text.as_bytes()].concat()
}

pub(super) fn read_edit(bytes: &[u8]) -> Option<(EditId, String)> {
    let (edit, rest) = id(bytes)?;
    Some((EditId::from_bytes(edit), text(rest)?))
}

/// A head: id, sender, a zero byte (which no name holds, so that names keep their order), preview.
pub(super) fn head(head: &Head) -> Vec<u8> {
    [head.id.as_bytes(), head.sender.as_str().as_bytes(), &[0], head.preview.as_bytes()].concat()
}

pub(super) fn read_head(bytes: &[u8]) -> Option<Head> {
    let (message, rest) = id(bytes)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let sender: UserId = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let preview = text(&rest[end + 1..])?;
    Some(Head { id: MessageId::from_bytes(message), sender, preview })
}

/// What became of a head: target, deletion, whether there is an edit and which, preview.
pub(super) fn head_edit(edit: &HeadEdit) -> Vec<u8> {
    let flags = [u8::from(edit.deleted), u8::from(edit.edit.is_some())];
    let named = edit.edit.as_ref().map_or(&[][..], |edit| edit.as_bytes());
    [edit.target.as_bytes(), &flags[..], named, edit.preview.as_bytes()].concat()
}

pub(super) fn read_head_edit(bytes: &[u8]) -> Option<HeadEdit> {
    let (target, rest) = id(bytes)?;
    let ([deleted @ (0 | 1), named @ (0 | 1)], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (edit, rest) = match named {
        0 => (None, rest),
        _ => id(rest).map(|(edit, rest)| (Some(EditId::from_bytes(edit)), rest))?,
    };
    let (target, preview) = (MessageId::from_bytes(target), text(rest)?);
    Some(HeadEdit { target, deleted: *deleted == 1, edit, preview })
}

/// The number of a kind of change in its cell.
pub(super) fn kind(kind: ChangeKind) -> i8 {
    match kind {
        ChangeKind::Message => 0,
        ChangeKind::Edit => 1,
        ChangeKind::Delete => 2,
        ChangeKind::Delivered => 3,
        ChangeKind::Read => 4,
    }
}

/// Reads one of a later version, which may write beside this one, as an edit: something about the
/// message has changed, and its row is read anew.
pub(super) fn read_kind(number: i8) -> ChangeKind {
    use ChangeKind::{Delete, Delivered, Edit, Message, Read};
    let known = [Message, Edit, Delete, Delivered, Read];
    known.into_iter().find(|one| kind(*one) == number).unwrap_or(Edit)
}

/// The number of a status in its cell: the graver the larger, as [`NodeStatus`] orders them.
pub(super) fn status(status: NodeStatus) -> i8 {
    status as i8
}

pub(super) fn read_status(number: i8) -> Option<NodeStatus> {
    NodeStatus::ALL.into_iter().find(|one| status(*one) == number)
}

/// Reads a name that one of ours has written.
pub(super) fn name<T: std::str::FromStr>(table: &'static str, text: &str) -> Result<T, StoreError> {
    let what = || format!("{text:.64?} is no name");
    text.parse().map_err(|_| StoreError::Damaged { table, what: what() })
}

/// Says that a cell is missing or not what it should be.
pub(super) fn damaged(table: &'static str, what: &str, id: &ConversationId) -> StoreError {
    StoreError::Damaged { table, what: format!("{what} of {id}") }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn user() -> impl Strategy<Value = UserId> {
        prop::sample::select(vec!["a", "ab", "a-b", "a.b", "b", "0"])
            .prop_map(|name| name.parse().unwrap())
    }

    fn ids() -> impl Strategy<Value = [u8; 16]> {
        (0..3_u8).prop_map(|n| [n; 16])
    }

    fn previews() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "a", "ab", "\0", "é"]).prop_map(str::to_owned)
    }

    fn heads() -> impl Strategy<Value = Head> {
        (ids(), user(), previews()).prop_map(|(id, sender, preview)| Head {
            id: MessageId::from_bytes(id),
            sender,
            preview,
        })
    }

    fn head_edits() -> impl Strategy<Value = HeadEdit> {
        (ids(), any::<bool>(), prop::option::of(ids()), previews()).prop_map(
            |(target, deleted, edit, preview)| HeadEdit {
                target: MessageId::from_bytes(target),
                deleted,
                edit: edit.map(EditId::from_bytes),
                preview,
            },
        )
    }

    proptest! {
        #[test]
        fn cells_come_back_and_compare_as_what_they_hold(
            heads in [heads(), heads()],
            edits in [head_edits(), head_edits()],
            texts in [(ids(), previews()), (ids(), previews())],
        ) {
            let order = |one: Vec<u8>, other: Vec<u8>| -> Ordering { one.cmp(&other) };
            prop_assert_eq!(read_head(&head(&heads[0])), Some(heads[0].clone()));
            prop_assert_eq!(order(head(&heads[0]), head(&heads[1])), heads[0].cmp(&heads[1]));
            prop_assert_eq!(read_head_edit(&head_edit(&edits[0])), Some(edits[0].clone()));
            let written = order(head_edit(&edits[0]), head_edit(&edits[1]));
            prop_assert_eq!(written, edits[0].cmp(&edits[1]));
            let [one, other] = texts.map(|(id, text)| (EditId::from_bytes(id), text));
            prop_assert_eq!(read_edit(&edit(one.0, &one.1)), Some(one.clone()));
            prop_assert_eq!(order(edit(one.0, &one.1), edit(other.0, &other.1)), one.cmp(&other));
        }

        #[test]
        fn bytes_of_strangers_never_panic(bytes: Vec<u8>) {
            let _ = (read_head(&bytes), read_head_edit(&bytes), read_edit(&bytes));
        }
    }

    #[test]
    fn numbers_name_one_kind_and_one_status() {
        for number in i8::MIN..=i8::MAX {
            assert_eq!(kind(read_kind(number)), if (0..5).contains(&number) { number } else { 1 });
            assert!(read_status(number).is_none_or(|one| status(one) == number));
        }
        assert!(NodeStatus::ALL.map(status).is_sorted());
        assert_eq!(read_status(5), Some(NodeStatus::Deleted));
        assert_eq!(read_kind(4), ChangeKind::Read);
    }

    #[test]
    fn a_kind_of_a_later_version_says_that_the_message_changed() {
        assert!(read_kind(5).is_of_message());
    }

    #[test]
    fn the_last_timestamp_is_not_below_that_of_any_id() {
        let last = MessageId::from_bytes([0xff; 16]);
        assert_eq!(timestamp(last.micros()), FOREVER);
        assert_eq!(bucket(last.at()), 325_781);
    }
}
