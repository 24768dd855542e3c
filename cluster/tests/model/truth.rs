//! What rows must say whatever the order of the writes, put without the code that merges them:
//! both stores use that, and would be wrong alike.

use std::collections::BTreeSet;

use rally_cluster::store::{
    Commit, InboxCells, InboxRow, MemberWrite, MessageRow, MessageWrite, Store,
};
use rally_schema::{ConversationId, MessageId, UserId, text};

/// Judges every row that `commits` are about.
pub async fn judge(store: &impl Store, commits: &[&Commit]) {
    let writes = |commit: &&Commit| Some((commit.conversation, commit.message.clone()?));
    let writes: Vec<(ConversationId, MessageWrite)> = commits.iter().filter_map(writes).collect();
    let keys: BTreeSet<_> = writes.iter().map(|(of, write)| (*of, write.id())).collect();
    for (conversation, id) in keys {
        let about = |(of, write): &&(_, MessageWrite)| *of == conversation && write.id() == id;
        let mine: Vec<_> = writes.iter().filter(about).map(|(_, write)| write.clone()).collect();
        let rows = store.messages(conversation, vec![id]).await.unwrap();
        judge_message(id, rows.first(), &mine);
    }
    let member = |commit: &&Commit| {
        let of = commit.conversation;
        commit.members.clone().into_iter().map(move |write| (of, write)).collect::<Vec<_>>()
    };
    let members: Vec<(ConversationId, MemberWrite)> = commits.iter().flat_map(member).collect();
    let keys: BTreeSet<_> = members.iter().map(|(of, write)| (write.user, *of)).collect();
    for (user, conversation) in keys {
        let about = |(of, write): &&(_, MemberWrite)| *of == conversation && write.user == user;
        let mine: Vec<_> = members.iter().filter(about).map(|(_, write)| &write.cells).collect();
        let rows = store.inbox_rows(user, vec![conversation]).await.unwrap();
        judge_entry(user, rows.first(), &mine);
    }
}

fn judge_message(id: MessageId, row: Option<&MessageRow>, writes: &[MessageWrite]) {
    let (mut body, mut edits) = (None, Vec::new());
    let (mut deleted, mut removed) = (false, false);
    for write in writes {
        match write {
            // One id is one text.
            MessageWrite::Put { body: text, .. } => body = Some(text),
            MessageWrite::Edit { edit, text, .. } => edits.push((edit, text)),
            MessageWrite::Delete { .. } => deleted = true,
            MessageWrite::Remove { .. } => removed = true,
        }
    }
    let exists = body.is_some() && !removed;
    assert_eq!(row.is_some(), exists, "{id} is there once it was sent, until it is removed");
    let (Some(row), Some(body)) = (row, body) else { return };
    assert_eq!(row.deleted, deleted, "{id} is deleted once and for all");
    let newest = edits.iter().max().map_or(body, |(_, text)| text);
    let text = if deleted { "" } else { newest };
    assert_eq!(row.text(), text, "{id} shows its newest text, and none when deleted");
}

fn judge_entry(user: UserId, row: Option<&InboxRow>, writes: &[&InboxCells]) {
    let newest = |mark: fn(&InboxCells) -> Option<MessageId>| {
        writes.iter().filter_map(|cells| mark(cells)).max()
    };
    let head = newest(|cells| cells.head.as_ref().map(|head| head.id));
    assert_eq!(row.is_some(), head.is_some(), "{user} has a conversation once it has a head");
    let (Some(row), Some(id)) = (row, head) else { return };
    let read = newest(|cells| cells.read_up_to);
    assert_eq!(row.cells.read_up_to, read, "marks of {user} only move forward");
    let delivered = newest(|cells| cells.peer_delivered_up_to);
    assert_eq!(row.cells.peer_delivered_up_to, delivered, "ticks for {user} only move forward");
    let peer_read = newest(|cells| cells.peer_read_up_to);
    assert_eq!(row.cells.peer_read_up_to, peer_read, "ticks for {user} only move forward");

    let changes = writes.iter().filter_map(|cells| cells.head_edit.as_ref());
    let about: Vec<_> = changes.filter(|change| change.target == id).collect();
    let deleted = about.iter().any(|change| change.deleted);
    let shown = row.head().expect("there is a head");
    assert_eq!((shown.id, shown.deleted), (id, deleted), "the head of {user} is the newest");
    let sent = writes.iter().filter_map(|cells| cells.head.as_ref());
    let sent = sent.filter(|head| head.id == id).map(|head| &head.preview).max();
    let edited = about.iter().max_by_key(|change| change.edit).map(|change| &change.preview);
    let preview = edited.or(sent).map_or("", String::as_str);
    assert_eq!(shown.preview, if deleted { "" } else { preview }, "the head shows its text");
    assert_eq!(shown.preview, text::preview(&shown.preview), "a preview is short");
}
