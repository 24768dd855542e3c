//! What a store answers to everything that can be asked: two stores are alike when these are.

use rally_cluster::store::{Change, InboxRow, MessageRow, Store};
use rally_cluster::twins;
use rally_schema::{ChangeId, ConversationId, MessageId, UserId};

use crate::acts::{STEP, T0, users};

/// More than any history makes.
const ALL: usize = 10_000;

/// Questions and their answers.
pub type Picture = Vec<(String, Answer)>;

/// What a store says to a question.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Entries(Vec<InboxRow>),
    Log(Vec<Change>),
    Messages(Vec<MessageRow>),
    Id(Option<MessageId>),
    Number(u64),
}

/// Says where two pictures part, if they do.
pub fn difference(store: &Picture, model: &Picture) -> Option<String> {
    let at = (0..store.len().max(model.len())).find(|at| store.get(*at) != model.get(*at))?;
    let line = |picture: &Picture| format!("{:.3000}", format!("{:?}", picture.get(at)));
    Some(format!("the store says\n  {}\nthe model\n  {}", line(store), line(model)))
}

/// Asks a store everything.
pub async fn picture(store: &impl Store) -> Picture {
    let mut picture = vec![("high water".into(), Answer::Number(store.high_water_ms()))];
    for user in users() {
        ask_inbox(store, user, &mut picture).await;
        ask_log(store, user, &mut picture).await;
        for peer in users() {
            ask_conversation(store, user, peer, &mut picture).await;
        }
    }
    picture
}

async fn ask_inbox(store: &impl Store, user: UserId, picture: &mut Picture) {
    let (all, more) = store.inbox(user, None, ALL).await.unwrap();
    assert!(!more);
    let (mut before, mut paged) = (None, Vec::new());
    loop {
        let (page, more) = store.inbox(user, before, 2).await.unwrap();
        before = page.last().and_then(|row| row.cells.head.as_ref()).map(|head| head.id);
        paged.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(paged, all, "every page is the next part of the whole");
    picture.push((format!("inbox of {user}"), Answer::Entries(all)));
}

/// A catch-up: the log in pages from some way back, then what it names.
async fn ask_log(store: &impl Store, user: UserId, picture: &mut Picture) {
    for from in [0, 5, 11] {
        let mut after = ChangeId::first_of(T0 + from * STEP);
        loop {
            let page = store.changes(user, after, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            let question = format!("log of {user} after {after}");
            after = last.change;
            let named = page.iter().map(|change| change.conversation).collect();
            let entries = store.inbox_rows(user, named).await.unwrap();
            picture.push(("entries that it names".into(), Answer::Entries(entries)));
            for change in &page {
                let named = store.messages(change.conversation, vec![change.id]).await.unwrap();
                picture.push((format!("message {}", change.id), Answer::Messages(named)));
            }
            picture.push((question, Answer::Log(page)));
        }
    }
}

async fn ask_conversation(store: &impl Store, reader: UserId, peer: UserId, picture: &mut Picture) {
    let conversation = ConversationId::direct(reader, peer);
    let all = store.history(conversation, None, ALL).await.unwrap();
    let mut once = all.clone();
    twins::fold(&mut once);
    assert!(once.windows(2).all(|pair| pair[0].id > pair[1].id), "one order, each once");
    for (nth, row) in all.iter().enumerate() {
        let page = store.history(conversation, Some(row.id), 2).await.unwrap();
        let older: Vec<_> = all.iter().skip(nth + 1).take(2).cloned().collect();
        assert_eq!(page, older, "every page is the next part of the whole");
        let stamped = store.stamped(conversation, row.id.stamp()).await.unwrap();
        picture.push((format!("stamped as {}", row.id), Answer::Messages(stamped)));
        let unread = store.unread(conversation, reader, Some(row.id), all[0].id, 3).await.unwrap();
        let unread = Answer::Number(unread.into());
        picture.push((format!("unread by {reader} after {}", row.id), unread));
        let newest = store.newest_for(conversation, reader, reader == peer, row.id).await.unwrap();
        picture.push((format!("newest for {reader} up to {}", row.id), Answer::Id(newest)));
    }
    picture.push((format!("history of {reader} and {peer}"), Answer::Messages(all)));
}
