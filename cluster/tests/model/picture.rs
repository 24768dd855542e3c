//! What a store answers to everything that can be asked: two stores are alike when these are.

use std::fmt::Debug;

use rally_cluster::store::Store;
use rally_cluster::twins;
use rally_schema::{ChangeId, ConversationId, UserId};

use crate::acts::{STEP, T0, users};

/// More than any history makes.
const ALL: usize = 10_000;

/// One line a question: the question, and the answer.
pub type Picture = Vec<String>;

/// Says where two pictures part, if they do.
pub fn difference(embedded: &Picture, model: &Picture) -> Option<String> {
    let at = (0..embedded.len().max(model.len())).find(|at| embedded.get(*at) != model.get(*at))?;
    let line = |picture: &Picture| picture.get(at).cloned().unwrap_or("nothing".into());
    Some(format!("the embedded store says\n  {}\nthe model\n  {}", line(embedded), line(model)))
}

/// Asks a store everything.
pub async fn picture(store: &impl Store) -> Picture {
    let mut lines = vec![format!("high water {}", store.high_water_ms())];
    let mut note = |question: String, answer: &dyn Debug| {
        let mut line = format!("{question}: {answer:?}");
        // Long texts are told apart by their beginning.
        while let Some(at) = line.find(" text 1 text 1 ").or(line.find(" text 2 text 2 ")) {
            line.replace_range(at..at + 7, "");
        }
        lines.push(line);
    };
    for user in users() {
        ask_inbox(store, user, &mut note).await;
        ask_log(store, user, &mut note).await;
        for peer in users() {
            ask_conversation(store, user, peer, &mut note).await;
        }
    }
    lines
}

async fn ask_inbox(store: &impl Store, user: UserId, note: &mut impl FnMut(String, &dyn Debug)) {
    let (all, more) = store.inbox(user, None, ALL).await.unwrap();
    assert!(!more);
    note(format!("inbox of {user}"), &all);
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
}

/// A catch-up: the log in pages from some way back, then what it names.
async fn ask_log(store: &impl Store, user: UserId, note: &mut impl FnMut(String, &dyn Debug)) {
    for from in [0, 5, 11] {
        let mut after = ChangeId::first_of(T0 + from * STEP);
        loop {
            let page = store.changes(user, after, 3).await.unwrap();
            note(format!("log of {user} after {after}"), &page);
            let Some(last) = page.last() else { break };
            after = last.change;
            let named = page.iter().map(|change| change.conversation).collect();
            note("entries".into(), &store.inbox_rows(user, named).await.unwrap());
            for change in &page {
                let named = store.messages(change.conversation, vec![change.id]).await.unwrap();
                note(format!("message {}", change.id), &named);
            }
        }
    }
}

async fn ask_conversation(
    store: &impl Store,
    reader: UserId,
    peer: UserId,
    note: &mut impl FnMut(String, &dyn Debug),
) {
    let conversation = ConversationId::direct(reader, peer);
    let all = store.history(conversation, None, ALL).await.unwrap();
    note(format!("history of {reader} and {peer}"), &all);
    let mut once = all.clone();
    twins::fold(&mut once);
    assert!(once.windows(2).all(|pair| pair[0].id > pair[1].id), "one order, each once");
    for (nth, row) in all.iter().enumerate() {
        let page = store.history(conversation, Some(row.id), 2).await.unwrap();
        let older: Vec<_> = all.iter().skip(nth + 1).take(2).cloned().collect();
        assert_eq!(page, older, "every page is the next part of the whole");
        let stamped = store.stamped(conversation, row.id.stamp()).await.unwrap();
        let stamped: Vec<_> = stamped.iter().map(|row| (row.id, row.r#ref)).collect();
        note(format!("stamped {:?}", row.id.stamp()), &stamped);
        let unread = store.unread(conversation, reader, Some(row.id), 3).await.unwrap();
        note(format!("unread by {reader} after {}", row.id), &unread);
        let newest = store.newest_for(conversation, reader, reader == peer, row.id).await.unwrap();
        note(format!("newest for {reader} up to {}", row.id), &newest);
    }
}
