//! What each read of conversations, inboxes and logs asks for.
//!
//! A conversation is walked along its buckets, newest first, page by page, until the answer is
//! complete. Rows that are no message (`records.rs`) do not count towards a limit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, MessageId, Ref, UserId};
use uuid::Uuid;

use super::super::rows::Page;
use super::super::{Change, InboxRow, MessageRow, StoreError};
use super::Inner;
use super::records::{InboxRecord, MessageRecord, NamedRecord, SenderRecord};
use super::requests::Pages;
use super::values::{self, bucket};

/// How many keys one request asks for.
const KEYS: usize = 100;

/// How many requests for keys are under way at once, for one read.
pub(super) const WIDTH: usize = 8;

/// The buckets of a conversation, newest first.
struct Buckets<'a> {
    pages: Pages<'a, (Uuid, i32)>,
    read: VecDeque<(i32,)>,
}

impl<'a> Buckets<'a> {
    /// Begins with the bucket of `newest`.
    fn from(inner: &'a Inner, conversation: ConversationId, newest: MessageId) -> Self {
        let values = (conversation.into(), bucket(newest.at()));
        let pages = inner.requests.pages(&inner.statements.buckets, values, KEYS);
        Self { pages, read: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<i32>, StoreError> {
        while self.read.is_empty() {
            let Some(page) = self.pages.next().await? else { return Ok(None) };
            self.read = page.into();
        }
        Ok(self.read.pop_front().map(|(bucket,)| bucket))
    }
}

/// Above every id.
const LAST: [u8; 16] = [0xff; 16];

/// Below every id.
const FIRST: [u8; 16] = [0; 16];

pub(super) async fn messages(
    inner: &Inner,
    conversation: ConversationId,
    ids: Vec<MessageId>,
) -> Result<Vec<MessageRow>, StoreError> {
    let mut of_buckets = BTreeMap::<i32, HashSet<MessageId>>::new();
    for id in &ids {
        of_buckets.entry(bucket(id.at())).or_default().insert(*id);
    }
    let parts = of_buckets.into_iter().flat_map(|(bucket, ids)| {
        let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from).collect();
        ids.chunks(KEYS).map(move |part| (bucket, part.to_vec())).collect::<Vec<_>>()
    });
    let read = |(bucket, ids): (i32, Vec<Uuid>)| async move {
        let values = (Uuid::from(conversation), bucket, ids);
        inner.requests.all::<MessageRecord>(&inner.statements.messages, values).await
    };
    let mut found = HashMap::new();
    let mut answers = stream::iter(parts.map(read)).buffer_unordered(WIDTH);
    while let Some(records) = answers.try_next().await? {
        for record in records {
            let row = record.row(conversation)?;
            found.extend(row.map(|row| (row.id, row)));
        }
    }
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

pub(super) async fn stamped(
    inner: &Inner,
    conversation: ConversationId,
    stamp: Stamp,
) -> Result<Vec<MessageRow>, StoreError> {
    let (first, last) = MessageId::range(stamp);
    let (first, last) = (Uuid::from(first), Uuid::from(last));
    let values = (Uuid::from(conversation), bucket(stamp.at), first, last);
    let statement = &inner.statements.messages_between;
    let records = inner.requests.all::<MessageRecord>(statement, values).await?;
    // Newest first, as they stand; the answer is the other way round.
    let rows = records.into_iter().rev().filter_map(|one| one.row(conversation).transpose());
    rows.collect()
}

pub(super) async fn sent(
    inner: &Inner,
    conversation: ConversationId,
    stamp: Stamp,
    sender: UserId,
    r#ref: Ref,
) -> Result<Option<MessageRow>, StoreError> {
    let (first, last) = MessageId::range(stamp);
    let (first, last) = (Uuid::from(first), Uuid::from(last));
    let values = (Uuid::from(conversation), bucket(stamp.at), first, last);
    let named = inner.requests.all::<NamedRecord>(&inner.statements.named_between, values).await?;
    // Newest first, as they stand.
    match named.iter().rev().find_map(|one| one.of(sender, r#ref)) {
        Some(id) => Ok(messages(inner, conversation, vec![id]).await?.pop()),
        None => Ok(None),
    }
}

pub(super) async fn history(
    inner: &Inner,
    conversation: ConversationId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<MessageRow>, StoreError> {
    let before = before.unwrap_or(MessageId::from_bytes(LAST));
    let (mut read, mut buckets) = (Page::of(limit), Buckets::from(inner, conversation, before));
    while read.room() > 0
        && let Some(bucket) = buckets.next().await?
    {
        let values = (Uuid::from(conversation), bucket, Uuid::from(before));
        let statement = &inner.statements.messages_below;
        let mut pages = inner.requests.pages(statement, values, read.likely());
        while read.room() > 0
            && let Some(page) = pages.next::<MessageRecord>().await?
        {
            for record in page {
                record.row(conversation)?.into_iter().for_each(|row| read.add(row));
            }
            pages.ask_for(read.likely());
        }
    }
    Ok(read.into_rows())
}

pub(super) async fn newest_for(
    inner: &Inner,
    conversation: ConversationId,
    reader: UserId,
    alone: bool,
    id: MessageId,
) -> Result<Option<MessageId>, StoreError> {
    // Most often the first few already hold it. Where nobody has answered for long there are many.
    let mut rows = 20;
    let mut buckets = Buckets::from(inner, conversation, id);
    while let Some(bucket) = buckets.next().await? {
        let values = (Uuid::from(conversation), bucket, Uuid::from(id));
        let mut pages = inner.requests.pages(&inner.statements.senders_to, values, rows);
        while let Some(page) = pages.next::<SenderRecord>().await? {
            rows = (2 * rows).min(1_000);
            pages.ask_for(rows);
            for record in page {
                match record.read()? {
                    Some((id, sender)) if alone || sender != reader => return Ok(Some(id)),
                    Some(_) | None => {}
                }
            }
        }
    }
    Ok(None)
}

pub(super) async fn unread(
    inner: &Inner,
    conversation: ConversationId,
    reader: UserId,
    read_up_to: Option<MessageId>,
    head: MessageId,
    cap: u32,
) -> Result<u32, StoreError> {
    let cap = cap as usize;
    let above = read_up_to.unwrap_or(MessageId::from_bytes(FIRST));
    let mut unread = HashSet::new();
    let mut buckets = Buckets::from(inner, conversation, head);
    while unread.len() < cap
        && let Some(of) = buckets.next().await?
        && of >= bucket(above.at())
    {
        let values = (Uuid::from(conversation), of, Uuid::from(above), Uuid::from(head));
        let mut pages = inner.requests.pages(&inner.statements.senders_between, values, cap);
        while unread.len() < cap
            && let Some(page) = pages.next::<SenderRecord>().await?
        {
            for record in page {
                let of_others = record.read()?.filter(|(_, sender)| *sender != reader);
                unread.extend(of_others.map(|(id, sender)| (sender, id.low())));
            }
        }
    }
    Ok(unread.len().min(cap) as u32)
}

/// Reads a user's whole partition, and orders it by head: what an inbox costs grows with all his
/// conversations, not with the page. With 10, 1,000 and 10,000 of them the newest 100 take 0.6,
/// 3.5 and 35 ms (`examples/cassandra_figures.rs`, one database node on two busy cores).
pub(super) async fn inbox(
    inner: &Inner,
    user: UserId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<InboxRow>, bool), StoreError> {
    let head = |row: &InboxRow| row.cells.head.as_ref().map(|head| head.id);
    let mut pages = inner.requests.pages(&inner.statements.inbox, (user.as_str(),), usize::MAX);
    let mut rows = Vec::new();
    while let Some(page) = pages.next::<InboxRecord>().await? {
        for record in page {
            let row = record.row()?;
            rows.extend(row.filter(|row| before.is_none() || head(row) < before));
        }
    }
    rows.sort_by_key(|row| Reverse(head(row)));
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok((rows, more))
}

pub(super) async fn inbox_rows(
    inner: &Inner,
    user: UserId,
    conversations: Vec<ConversationId>,
) -> Result<Vec<InboxRow>, StoreError> {
    let wanted: HashSet<ConversationId> = conversations.iter().copied().collect();
    let wanted: Vec<Uuid> = wanted.into_iter().map(Uuid::from).collect();
    let read = |part: Vec<Uuid>| async move {
        let values = (user.as_str(), part);
        inner.requests.all::<InboxRecord>(&inner.statements.inbox_rows, values).await
    };
    let parts: Vec<Vec<Uuid>> = wanted.chunks(KEYS).map(<[Uuid]>::to_vec).collect();
    let mut answers = stream::iter(parts.into_iter().map(read)).buffer_unordered(WIDTH);
    let mut found = HashMap::new();
    while let Some(records) = answers.try_next().await? {
        for record in records {
            let row = record.row()?;
            found.extend(row.map(|row| (row.conversation, row)));
        }
    }
    Ok(conversations.iter().filter_map(|id| found.get(id).cloned()).collect())
}

pub(super) async fn changes(
    inner: &Inner,
    user: UserId,
    after: ChangeId,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let values = (user.as_str(), Uuid::from(after), limit);
    let statement = &inner.statements.changes;
    let records = inner.requests.all::<(Uuid, Uuid, Uuid, i8)>(statement, values).await?;
    let change = |(change, conversation, id, kind): (Uuid, Uuid, Uuid, i8)| {
        let (conversation, kind) = (conversation.into(), values::read_kind(kind));
        Change { change: change.into(), conversation, id: id.into(), kind }
    };
    Ok(records.into_iter().map(change).collect())
}
