//! How a row becomes bytes: one byte of version, then postcard.
//!
//! A row that does not decode, wholly and to its last byte, is an error that names table and
//! key, never a panic. What the key says is not repeated in the row. The structs here and
//! [`MessageCells`](super::super::MessageCells) are the format: another shape is another
//! version.

use rally_schema::{ConversationId, MessageId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{ChangeKind, InboxCells, StoreError};
use super::keys::{Table, shown};

/// The version of every row that is written.
const ROW_VERSION: u8 = 1;

/// An inbox row. The cells come first, so that a row begins with the id of its head.
#[derive(Serialize, Deserialize)]
pub(super) struct InboxValue {
    pub(super) cells: InboxCells,
    pub(super) peer: UserId,
}

/// An entry of a log.
#[derive(Serialize, Deserialize)]
pub(super) struct ChangeValue {
    pub(super) conversation: ConversationId,
    pub(super) id: MessageId,
    pub(super) kind: ChangeKind,
}

/// What an edge's life knows of a user.
#[derive(Serialize, Deserialize)]
pub(super) struct PresenceValue {
    pub(super) online_since: Option<u64>,
    pub(super) last_seen: u64,
}

/// Turns a row into bytes.
pub(super) fn encode(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(ROW_VERSION);
    postcard::to_extend(row, bytes).expect("rows have lengths, and a Vec takes all")
}

/// Reads the row at `key`.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(body(key, bytes)?) {
        Ok((row, [])) => Ok(row),
        Ok((_, rest)) => Err(damaged(key, &format!("{} bytes too many", rest.len()))),
        Err(error) => Err(damaged(key, &error.to_string())),
    }
}

/// Reads only the id of an inbox row's head: choosing among thousands needs no more.
pub(super) fn head_id(key: &[u8], bytes: &[u8]) -> Result<Option<MessageId>, StoreError> {
    let head = postcard::take_from_bytes(body(key, bytes)?);
    head.map(|(id, _)| id).map_err(|error| damaged(key, &error.to_string()))
}

/// Reads only the sender of a message's row, if there is a message: counting needs no more.
pub(super) fn sender(key: &[u8], bytes: &[u8]) -> Result<Option<UserId>, StoreError> {
    let sender = postcard::take_from_bytes(body(key, bytes)?);
    sender.map(|(sender, _)| sender).map_err(|error| damaged(key, &error.to_string()))
}

fn body<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    match bytes.split_first() {
        Some((&ROW_VERSION, body)) => Ok(body),
        Some((other, _)) => Err(damaged(key, &format!("version {other}, not {ROW_VERSION}"))),
        None => Err(damaged(key, "no bytes")),
    }
}

/// Says which row is wrong, and how.
pub(super) fn damaged(key: &[u8], what: &str) -> StoreError {
    StoreError::Damaged { table: Table::name_of(key), what: format!("key {}: {what}", shown(key)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::{Head, MessageCells, MessageWrite, UserRow};
    use super::super::keys;
    use super::*;

    fn cells() -> MessageCells {
        let user: UserId = "ana".parse().unwrap();
        let mut cells = MessageCells::default();
        cells.apply(MessageWrite::Put {
            id: MessageId::first_of(7),
            sender: user,
            to: user,
            r#ref: uuid::Uuid::from_u128(1).into(),
            body: "hello".into(),
            reply_to: None,
        });
        cells
    }

    #[test]
    fn an_inbox_row_begins_with_the_id_of_its_head() {
        let user: UserId = "ana".parse().unwrap();
        let head = Head::of(MessageId::first_of(7), user, "hello");
        let cells = InboxCells { head: Some(head), ..InboxCells::default() };
        let bytes = encode(&InboxValue { cells, peer: user });
        assert_eq!(head_id(&[2], &bytes), Ok(Some(MessageId::first_of(7))));
        let none = encode(&InboxValue { cells: InboxCells::default(), peer: user });
        assert_eq!(head_id(&[2], &none), Ok(None));
    }

    #[test]
    fn a_message_row_begins_with_its_sender_while_there_is_a_message() {
        let (id, sender) = (MessageId::first_of(7), "ana".parse().unwrap());
        let mut row = cells();
        assert_eq!(super::sender(&[1], &encode(&row)), Ok(Some(sender)));
        row.apply(MessageWrite::Delete { id });
        assert_eq!(super::sender(&[1], &encode(&row)), Ok(Some(sender)));
        row.apply(MessageWrite::Remove { id });
        assert_eq!(super::sender(&[1], &encode(&row)), Ok(None));
        assert_eq!(super::sender(&[1], &encode(&MessageCells::default())), Ok(None));
    }

    #[test]
    fn an_error_names_table_and_key() {
        let key = keys::meta("id");
        let error = decode::<u64>(&key, &[9, 1]).unwrap_err().to_string();
        assert_eq!(error, "damaged row in meta: key 006964: version 9, not 1");
        assert!(decode::<u64>(&key, &[]).is_err());
        assert!(decode::<u64>(&key, &[1, 1, 1]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, key: Vec<u8>) {
            let versioned = [&[ROW_VERSION][..], &bytes].concat();
            for bytes in [&bytes, &versioned] {
                let _ = decode::<MessageCells>(&key, bytes);
                let _ = decode::<InboxValue>(&key, bytes);
                let _ = decode::<ChangeValue>(&key, bytes);
                let _ = decode::<PresenceValue>(&key, bytes);
                let _ = decode::<UserRow>(&key, bytes);
                let _ = (head_id(&key, bytes), sender(&key, bytes));
            }
            let _ = (keys::owner(&key), keys::life(&key, 3), keys::last_name(&key, 2));
        }

        #[test]
        fn a_row_with_a_changed_or_missing_byte_never_panics(at: usize, to: u8, cut: usize) {
            let mut bytes = encode(&cells());
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = decode::<MessageCells>(&[1], &bytes);
            bytes.truncate(cut % bytes.len());
            prop_assert!(decode::<MessageCells>(&[1], &bytes).is_err());
        }
    }
}
