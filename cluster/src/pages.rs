//! Pages of an inbox and of a conversation's history, made of what the store has.
//!
//! The same for a session that is asked by frames and for a process that is asked over HTTP.
//! Whoever asks sees only conversations that he is a member of. Knows nothing of who asks how.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rally_schema::frame;
use rally_schema::limits::UNREAD_CAP;
use rally_schema::{ConversationId, MessageId, UserId};

use crate::planted::{self, Fault};
use crate::store::{InboxRow, MessageRow, Store, StoreError, is_full};
use crate::twins;

/// Conversations of which messages are counted or read side by side: one after the other took most of an
/// inbox's time, and all of a page at once would be one reader's flood upon the store.
const SIDE_BY_SIDE: usize = 8;

/// Finds the other member of a conversation that the user is in.
pub async fn find_peer(
    store: &dyn Store,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<UserId>, StoreError> {
    let rows = store.inbox_rows(user, vec![conversation]).await?;
    Ok(rows.first().map(|row| row.peer))
}

/// Reads a page of a user's inbox.
pub async fn inbox(
    store: &dyn Store,
    user: UserId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<frame::Inbox, StoreError> {
    let (rows, more) = store.inbox(user, before, limit).await?;
    let entries = entries(store, user, rows).await?;
    Ok(frame::Inbox { r#ref: None, entries, more })
}

/// Turns rows into what an inbox shows, counting what is unread.
pub async fn entries(
    store: &dyn Store,
    user: UserId,
    rows: Vec<InboxRow>,
) -> Result<Vec<frame::InboxEntry>, StoreError> {
    let entries = rows.into_iter().filter_map(|row| Some((row.head()?, row)));
    let entry = async |(head, row): (frame::Head, InboxRow)| {
        let InboxRow { conversation, peer, cells } = row;
        // Nothing of anybody is newer than the head.
        let all_read = cells.read_up_to >= Some(head.id) || peer == user;
        let unread = match all_read {
            true => 0,
            false => {
                let head = match planted::on(Fault::CountBeyondHead) {
                    false => head.id,
                    true => MessageId::from_bytes([0xff; 16]),
                };
                store.unread(conversation, user, cells.read_up_to, head, UNREAD_CAP).await?
            }
        };
        Ok(frame::InboxEntry {
            conversation,
            peer,
            head,
            unread,
            read_up_to: cells.read_up_to,
            peer_delivered_up_to: cells.peer_delivered_up_to,
            peer_read_up_to: cells.peer_read_up_to,
        })
    };
    stream::iter(entries).map(entry).buffered(SIDE_BY_SIDE).try_collect().await
}

/// Reads messages of one or more conversations as they stand; those of a conversation stand together,
/// and come back in their order, without the smaller ones of twins.
pub async fn messages(
    store: &dyn Store,
    wanted: &[(ConversationId, MessageId)],
) -> Result<Vec<MessageRow>, StoreError> {
    let of_one = async |part: &[(ConversationId, MessageId)]| {
        let ids = part.iter().map(|&(_, id)| id).collect();
        let mut rows = store.messages(part[0].0, ids).await?;
        twins::fold(&mut rows);
        Ok(rows)
    };
    let parts = wanted.chunk_by(|(one, _), (next, _)| one == next);
    let parts: Vec<_> =
        stream::iter(parts).map(of_one).buffered(SIDE_BY_SIDE).try_collect().await?;
    Ok(parts.into_iter().flatten().collect())
}

/// Reads a page of a conversation as it stands, and whether more may follow.
pub async fn rows(
    store: &dyn Store,
    conversation: ConversationId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<MessageRow>, bool), StoreError> {
    let mut rows = store.history(conversation, before, limit + 1).await?;
    let more = rows.len() > limit || is_full(&rows);
    rows.truncate(limit);
    Ok((rows, more))
}

/// Reads a page of a conversation, and which rows on it are the smaller ones of twins: those may
/// be removed, because the larger ones have just been read.
pub async fn history(
    store: &dyn Store,
    conversation: ConversationId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(frame::History, Vec<MessageId>), StoreError> {
    let (mut rows, more) = rows(store, conversation, before, limit).await?;
    let twins = twins::fold(&mut rows);
    let messages = rows.iter().map(|row| row.to_frame()).collect();
    Ok((frame::History { r#ref: None, conversation, messages, more }, twins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{Intent, Pair};
    use crate::store::{Commit, Model};
    use rally_schema::ids::Stamp;
    use rally_schema::{ChangeId, Ref};
    use uuid::Uuid;

    /// Stamped at a millisecond; the same reference has the same text.
    fn sent(pair: Pair, at: u64, r#ref: u64) -> (MessageId, Commit) {
        let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(1, r#ref)), "hello".to_owned());
        let stamp = Stamp { at: 1_790_000_000_000 + at, n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        let mut n = 0;
        let commit = Intent::Send { id, r#ref, text, reply_to: None }.commit(pair, || {
            n += 1;
            ChangeId::of(Stamp { n, ..stamp }, 7)
        });
        (id, commit)
    }

    #[tokio::test]
    async fn a_message_that_is_stored_while_an_entry_is_read_is_not_counted_in_it() {
        let store = Model::new(Uuid::nil().into(), [1; 32]);
        let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
        let (first, commit) = sent(Pair::direct(ana, ben), 1, 1);
        store.commit(vec![commit]).await.unwrap();
        let (rows, _) = store.inbox(ben, None, 10).await.unwrap();
        store.commit(vec![sent(Pair::direct(ana, ben), 2, 2).1]).await.unwrap();
        let entries = entries(&store, ben, rows).await.unwrap();
        assert_eq!((entries[0].head.id, entries[0].unread), (first, 1));
    }

    #[tokio::test]
    async fn messages_of_several_conversations_come_back_in_their_order_and_without_twins() {
        let store = Model::new(Uuid::nil().into(), [1; 32]);
        let mut wanted = Vec::new();
        for (peer, refs) in [("ben", [1, 2, 2]), ("cid", [3, 4, 5]), ("dan", [6, 7, 8])] {
            let pair = Pair::direct("ana".parse().unwrap(), peer.parse().unwrap());
            for (nth, r#ref) in (0..).zip(refs) {
                let (id, commit) = sent(pair, nth, r#ref);
                store.commit(vec![commit]).await.unwrap();
                wanted.push((pair.conversation, id));
            }
        }
        let rows = messages(&store, &wanted).await.unwrap();
        let read: Vec<MessageId> = rows.iter().map(|row| row.id).collect();
        // The same reference twice is one message: the one with the larger id.
        let (_, smaller) = wanted.remove(1);
        assert!(!read.contains(&smaller));
        assert_eq!(read, wanted.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}
