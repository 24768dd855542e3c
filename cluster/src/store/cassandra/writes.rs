//! What a commit writes: a message's row, and each member's partition.
//!
//! All of it goes out at once, and all answers are waited for. A few partitions share a request, an
//! unlogged batch: of a message there are three, and what a request costs both sides is most of what a
//! short write costs. Of a member's inbox cells and change entry, which stand in two tables under one
//! partition key, Cassandra makes one mutation, which a replica has or has not. ScyllaDB makes one a
//! table; should only a part arrive, nobody is told that the commit is done.
//!
//! **Why replays change nothing.** Every cell has the timestamp of the id that it is about, and
//! one id has one value, but for ties, which go to the larger bytes (`values.rs`). `deleted` and
//! `removed` are only ever set, so their time does not matter; readers obey them, whatever else
//! stands in the row. The text is erased with the last timestamp there is.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lru::LruCache;
use parking_lot::Mutex;
use rally_schema::{ConversationId, MessageId};
use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::super::{Change, Commit, InboxCells, MemberWrite, MessageWrite, StoreError};
use super::Inner;
use super::metrics::Kind;
use super::requests::{Write, share};
use super::statements::Statements;
use super::values::{self, FOREVER, bucket, timestamp};

/// Buckets of conversations that this process wrote, so that it does so about once.
pub(super) struct Buckets(Mutex<LruCache<(ConversationId, i32), ()>>);

/// How many buckets are remembered: some 6 MB. One that is forgotten is written again.
const BUCKETS: usize = 65_536;

impl Buckets {
    pub(super) fn new() -> Self {
        let most = std::num::NonZeroUsize::new(BUCKETS).expect("it is not zero");
        Self(Mutex::new(LruCache::new(most)))
    }

    fn knows(&self, bucket: &(ConversationId, i32)) -> bool {
        self.0.lock().get(bucket).is_some()
    }

    fn remember(&self, bucket: (ConversationId, i32)) {
        self.0.lock().put(bucket, ());
    }
}

/// How many requests of one call are under way at once; the rest of a long one follows.
const AT_ONCE: usize = 64;

/// Makes every write of `commits` durable, then returns.
pub(super) async fn commit(inner: &Inner, commits: Vec<Commit>) -> Result<(), StoreError> {
    let (mut writes, mut new_buckets, mut latest_ms) = (Vec::new(), Vec::new(), 0);
    for Commit { conversation, message, members } in commits {
        if let Some(message) = message {
            let of = (conversation, bucket(message.id().at()));
            let creates = matches!(message, MessageWrite::Put { .. });
            if creates && !inner.buckets.knows(&of) && !new_buckets.contains(&of) {
                new_buckets.push(of);
                writes.push(add_bucket(&inner.statements, of));
            }
            writes.push(message_write(&inner.statements, conversation, message));
        }
        for member in members {
            latest_ms = member.change.map_or(0, |entry| entry.change.at()).max(latest_ms);
            writes.push(member_write(&inner.statements, conversation, member));
        }
    }
    writes.retain(|write| !write.is_empty());
    let writes = share(writes);
    let at_once = writes.len().min(AT_ONCE).min(inner.requests.most());
    let _slots = inner.requests.enter(Kind::Write, at_once)?;
    inner.note_time(latest_ms);
    all(inner, writes, at_once).await?;
    new_buckets.into_iter().for_each(|of| inner.buckets.remember(of));
    Ok(())
}

/// Sends so many at once; of failures the first is told, when all are answered.
async fn all(inner: &Inner, writes: Vec<Vec<Write>>, at_once: usize) -> Result<(), StoreError> {
    let mut waiting = writes.into_iter();
    let mut sent = FuturesUnordered::new();
    sent.extend(waiting.by_ref().take(at_once).map(|one| inner.requests.write(one)));
    let mut outcome = Ok(());
    while let Some(answer) = sent.next().await {
        sent.extend(waiting.next().map(|one| inner.requests.write(one)));
        outcome = outcome.and(answer);
    }
    outcome
}

fn add_bucket(statements: &Statements, (conversation, bucket): (ConversationId, i32)) -> Write {
    let time = timestamp(values::begin(bucket) * 1_000);
    Write::of(&statements.add_bucket, (Uuid::from(conversation), bucket, time))
}

/// Gives the write to a message's row.
fn message_write(
    statements: &Statements,
    conversation: ConversationId,
    write: MessageWrite,
) -> Write {
    let id = write.id();
    let time = timestamp(id.micros());
    let (of, bucket, row) = (Uuid::from(conversation), bucket(id.at()), Uuid::from(id));
    let erase = |write: Write| write.and(&statements.erase_text, (FOREVER, of, bucket, row));
    match write {
        MessageWrite::Put { id: _, sender, to, r#ref, body, reply_to } => {
            let (sender, to) = (sender.as_str().to_owned(), to.as_str().to_owned());
            let reply_to = MaybeUnset::from_option(reply_to.map(Uuid::from));
            let r#ref = Uuid::from(r#ref);
            let bytes = body.len();
            let values = (of, bucket, row, sender, to, r#ref, body, reply_to, time);
            Write::of(&statements.put, values).with_text(bytes)
        }
        MessageWrite::Edit { id: _, edit, text } => {
            let (time, edit) = (timestamp(edit.micros()), values::edit(edit, &text));
            Write::of(&statements.edit, (time, edit, of, bucket, row)).with_text(text.len())
        }
        MessageWrite::Delete { id: _ } => {
            erase(Write::of(&statements.delete, (time, of, bucket, row)))
        }
        MessageWrite::Remove { id: _ } => {
            erase(Write::of(&statements.remove, (time, of, bucket, row)))
        }
    }
}

/// Gives the write to a member's partition: cells by their timestamp, and the entry of his log.
fn member_write(
    statements: &Statements,
    conversation: ConversationId,
    member: MemberWrite,
) -> Write {
    let MemberWrite { user, peer, cells, change } = member;
    let mut write = Write::default();
    for (time, cells) in by_time(cells) {
        let id = |id: Option<MessageId>| MaybeUnset::from_option(id.map(Uuid::from));
        let values = (
            time,
            peer.as_str().to_owned(),
            MaybeUnset::from_option(cells.head.as_ref().map(values::head)),
            MaybeUnset::from_option(cells.head_edit.as_ref().map(values::head_edit)),
            id(cells.read_up_to),
            id(cells.peer_delivered_up_to),
            id(cells.peer_read_up_to),
            user.as_str().to_owned(),
            Uuid::from(conversation),
        );
        write = write.and(&statements.inbox_cells, values);
    }
    if let Some(Change { change, conversation, id, kind }) = change {
        let values = (
            user.as_str().to_owned(),
            Uuid::from(change),
            Uuid::from(conversation),
            Uuid::from(id),
            values::kind(kind),
            timestamp(change.micros()),
        );
        write = write.and(&statements.add_change, values);
    }
    write
}

/// Splits cells into those of one timestamp each: that of the id each is about.
fn by_time(cells: InboxCells) -> BTreeMap<i64, InboxCells> {
    let InboxCells { head, head_edit, read_up_to, peer_delivered_up_to, peer_read_up_to } = cells;
    let mut times = BTreeMap::<i64, InboxCells>::new();
    let mut put = |id: Option<MessageId>, set: &mut dyn FnMut(&mut InboxCells)| {
        if let Some(id) = id {
            set(times.entry(timestamp(id.micros())).or_default());
        }
    };
    put(head.as_ref().map(|head| head.id), &mut |cells| cells.head.clone_from(&head));
    let target = head_edit.as_ref().map(|edit| edit.target);
    put(target, &mut |cells| cells.head_edit.clone_from(&head_edit));
    put(read_up_to, &mut |cells| cells.read_up_to = read_up_to);
    put(peer_delivered_up_to, &mut |cells| cells.peer_delivered_up_to = peer_delivered_up_to);
    put(peer_read_up_to, &mut |cells| cells.peer_read_up_to = peer_read_up_to);
    times
}

#[cfg(test)]
mod tests {
    use super::super::super::Head;
    use super::*;

    #[test]
    fn cells_of_one_moment_travel_together_and_no_cell_is_lost() {
        let (early, late) = (MessageId::first_of(1), MessageId::first_of(2));
        let cells = InboxCells {
            head: Some(Head::of(late, "ana".parse().unwrap(), "hi")),
            head_edit: None,
            read_up_to: Some(early),
            peer_delivered_up_to: Some(late),
            peer_read_up_to: Some(early),
        };
        let times = by_time(cells.clone());
        assert_eq!(times.keys().copied().collect::<Vec<_>>(), [1_000, 2_000]);
        assert_eq!(times[&1_000].peer_read_up_to, Some(early));
        assert_eq!(times[&1_000].head, None);
        let mut merged = InboxCells::default();
        times.values().for_each(|part| merged.merge(part));
        assert_eq!(merged, cells);
        assert!(by_time(InboxCells::default()).is_empty());
    }
}
