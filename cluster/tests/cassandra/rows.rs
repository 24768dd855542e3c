//! What only a store on a cluster can get wrong: pages, bounds, what is left on its disks.

use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::cassandra::{CassandraStore, Options};
use rally_cluster::store::{Commit, Store, StoreError};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, EditId, MessageId, Ref, UserId};
use uuid::Uuid;

use crate::database::{Keyspace, session};

const T0: u64 = 1_790_000_000_000;

fn pair() -> Pair {
    let user = |name: &str| -> UserId { name.parse().unwrap() };
    Pair::direct(user("ana"), user("ben"))
}

fn sent(pair: Pair, n: u64, text: &str) -> (MessageId, Commit) {
    let stamp = Stamp { at: T0 + n, n: 0 };
    let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(1, n)), text.to_owned());
    let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
    let commit = Intent::Send { id, r#ref, text, reply_to: None };
    (id, commit.commit(pair, || ChangeId::of(stamp, 1)))
}

/// The driver's page is 5,000 rows unless one looks, and what was cut was the newest.
#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn no_page_size_cuts_a_history_a_log_or_a_count() {
    const ALL: u64 = 6_100;
    let keyspace = Keyspace::empty().await;
    let store = keyspace.open().await;
    let pair = pair();
    let all: Vec<(MessageId, Commit)> = (0..ALL).map(|n| sent(pair, n, "hi")).collect();
    for part in all.chunks(200) {
        store.commit(part.iter().map(|(_, commit)| commit.clone()).collect()).await.unwrap();
    }
    let history = store.history(pair.conversation, None, usize::MAX).await.unwrap();
    assert!(history.iter().map(|row| row.id).eq(all.iter().rev().map(|(id, _)| *id)));
    let log = store.changes(pair.peer, ChangeId::first_of(0), usize::MAX).await.unwrap();
    assert!(log.iter().map(|change| change.id).eq(all.iter().map(|(id, _)| *id)));
    let (head, _) = all[all.len() - 1];
    let unread = store.unread(pair.conversation, pair.peer, None, head, u32::MAX).await.unwrap();
    assert_eq!(u64::from(unread), ALL);
    let ids: Vec<MessageId> = all.iter().map(|(id, _)| *id).collect();
    let rows = store.messages(pair.conversation, ids.clone()).await.unwrap();
    assert!(rows.iter().map(|row| row.id).eq(ids));
}

/// Not only readers are not shown it: the bytes of a deleted text are gone, in every order.
#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn the_text_of_a_deleted_message_is_not_in_the_table() {
    let keyspace = Keyspace::empty().await;
    let store = keyspace.open().await;
    let pair = pair();
    for (n, order) in
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate()
    {
        let (id, sent) = sent(pair, n as u64, "secret");
        let (text, stamp) = ("also secret".to_owned(), Stamp { at: T0 + 5_000, n: 0 });
        let edit = EditId::of(stamp, pair.actor, pair.conversation, id, Uuid::nil().into(), &text);
        let mint = || ChangeId::of(stamp, 1);
        let edited = Intent::Edit { id, edit, text }.commit(pair, mint);
        let writes = [sent, edited, Intent::Delete { id }.commit(pair, mint)];
        for at in order {
            store.commit(vec![writes[*at].clone()]).await.unwrap();
        }
    }
    let text = format!("SELECT body, edit FROM {}.messages", keyspace.options.keyspace);
    let rows = session().await.query_unpaged(text, ()).await.unwrap().into_rows_result().unwrap();
    let cells: Vec<(Option<String>, Option<Vec<u8>>)> =
        rows.rows().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(cells, vec![(None, None); 6]);
}

/// Busy means that nothing was sent, and the bound is one of requests.
#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn beyond_its_bound_the_store_is_busy_and_has_written_nothing() {
    let keyspace = Keyspace::empty().await;
    let options = Options { in_flight: 2, ..keyspace.options.clone() };
    let store = CassandraStore::open(options).await.unwrap();
    let pair = pair();
    // Two requests: a text that fills one, and what stands beside it.
    let (first, commit) = sent(pair, 1, &"first".repeat(1_000));
    let (second, too_many) = sent(pair, 2, "second");
    let (one, other) = tokio::join!(store.commit(vec![commit]), store.commit(vec![too_many]));
    assert_eq!((one, other), (Ok(()), Err(StoreError::Busy)));
    let rows = store.messages(pair.conversation, vec![first, second]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [first]);
    assert_eq!(store.changes(pair.peer, ChangeId::first_of(0), 9).await.unwrap().len(), 1);
    // One that is larger than the bound goes as well, a few requests at a time.
    let many: Vec<Commit> = (10..60).map(|n| sent(pair, n, "many").1).collect();
    store.commit(many).await.unwrap();
    assert_eq!(store.history(pair.conversation, None, 99).await.unwrap().len(), 51);
}

/// A row that another program wrote is named, and is no panic.
#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn a_damaged_row_is_told_with_its_table() {
    let keyspace = Keyspace::empty().await;
    let store = keyspace.open().await;
    let pair = pair();
    let (id, commit) = sent(pair, 1, "hi");
    store.commit(vec![commit]).await.unwrap();
    let (session, name) = (session().await, &keyspace.options.keyspace);
    let text =
        format!("UPDATE {name}.inbox SET head = 0x00 WHERE user = 'ben' AND conversation = ?");
    session.query_unpaged(text, (Uuid::from(pair.conversation),)).await.unwrap();
    let error = store.inbox(pair.peer, None, 9).await.unwrap_err().to_string();
    assert!(error.starts_with("damaged row in inbox: bad head of"), "{error}");
    let bucket = (id.at() / 864_000_000) as i32;
    let text = format!(
        "UPDATE {name}.messages SET sender = 'Mallory' WHERE conversation = ? AND bucket = ? AND id = ?"
    );
    let key = (Uuid::from(pair.conversation), bucket, Uuid::from(id));
    session.query_unpaged(text, key).await.unwrap();
    let error = store.history(pair.conversation, None, 9).await.unwrap_err().to_string();
    assert_eq!(error, "damaged row in messages: \"Mallory\" is no name");
}

/// Of two calls, one after the other, the second stays, whatever was stamped on the first.
#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn an_unblock_beats_a_block_by_a_node_whose_clock_is_ahead() {
    let keyspace = Keyspace::empty().await;
    let store = keyspace.open().await;
    let pair = pair();
    let text = format!(
        "UPDATE {}.blocks USING TIMESTAMP ? SET active = true WHERE user = 'ana' AND blocked = 'ben'",
        keyspace.options.keyspace
    );
    let next_century: i64 = 4_102_444_800_000_000;
    session().await.query_unpaged(text, (next_century,)).await.unwrap();
    assert_eq!(store.is_blocked(pair.actor, pair.peer).await, Ok(true));
    store.set_block(pair.actor, pair.peer, false).await.unwrap();
    assert_eq!(store.is_blocked(pair.actor, pair.peer).await, Ok(false));
}
