//! Promises about a user's view of his conversations.

use rally_schema::{ConversationId, MessageId};

use super::super::{HeadEdit, InboxCells, InboxRow, PresenceRow, Store};
use super::Fixture;
use super::story::{Said, T0, Talk, change_id, commit_all, orders, talk, user};

/// Reads one conversation as its second member has it.
async fn entry(store: &impl Store, talk: Talk) -> Option<InboxRow> {
    let rows = store.inbox_rows(talk.to, vec![talk.conversation()]).await;
    rows.expect("readable").pop()
}

fn marks(read: MessageId, delivered: MessageId, peer_read: MessageId) -> InboxCells {
    InboxCells {
        read_up_to: Some(read),
        peer_delivered_up_to: Some(delivered),
        peer_read_up_to: Some(peer_read),
        ..InboxCells::default()
    }
}

/// Each mark keeps the largest id that it was ever set to.
pub async fn marks_never_move_backwards<F: Fixture>() {
    let fixture = F::empty().await;
    let ana = talk("ana", "ben");
    let said: Vec<_> = (0..4).map(|n| ana.says(T0, n, &format!("{n}"))).collect();
    commit_all(fixture.store(), said.iter().map(Said::sent)).await;
    let id = |n: usize| said[n].id;
    let moves =
        [marks(id(1), id(3), id(0)), marks(id(2), id(1), id(2)), marks(id(0), id(0), id(1))];
    commit_all(fixture.store(), moves.map(|cells| ana.cells(cells))).await;
    let fixture = fixture.reopened().await;
    let cells = entry(fixture.store(), ana).await.expect("there").cells;
    let expected = marks(id(2), id(3), id(2));
    assert_eq!(cells, InboxCells { head: said[3].head().head, ..expected });
}

/// Head, edits of the head and marks may arrive in any order.
pub async fn writes_to_one_entry_leave_one_row_in_any_order<F: Fixture>() {
    let fixture = F::empty().await;
    let names = (0..).map(|n| format!("ben{n}"));
    for (order, name) in orders(&[0, 1, 2, 3, 4]).into_iter().zip(names) {
        let ana = talk("ana", &name);
        let (first, second) = (ana.says(T0, 0, "first"), ana.says(T0, 1, "second"));
        let (_, early) = second.edit(T0 + 5, 0, "second, edited");
        let marks = ana.cells(marks(first.id, first.id, first.id));
        let writes = [first.sent(), second.sent(), early, second.deleted(), marks];
        commit_all(fixture.store(), order.iter().map(|at| writes[*at].clone())).await;
        let row = entry(fixture.store(), ana).await.expect("there");
        let head = row.head().expect("a head");
        assert_eq!((head.id, head.deleted, &*head.preview), (second.id, true, ""), "{order:?}");
        assert_eq!(row.cells.read_up_to, Some(first.id));
        assert_eq!(row.peer, ana.sender);
    }
}

/// A head is whole: the id, sender and text of one message.
pub async fn two_messages_of_one_millisecond_do_not_mix<F: Fixture>() {
    let fixture = F::empty().await;
    let ana = talk("ana", "ben");
    let (one, two) = (ana.says(T0, 0, "zebra"), ana.answered().says(T0, 0, "aardvark"));
    let larger = if one.id > two.id { &one } else { &two };
    for order in orders(&[one.sent(), two.sent()]) {
        commit_all(fixture.store(), order).await;
        for talk in [ana, ana.answered()] {
            let row = entry(fixture.store(), talk).await.expect("there");
            assert_eq!(row.cells, larger.head());
        }
        for said in [&one, &two] {
            assert_eq!(said.read(fixture.store()).await, Some(said.row()));
        }
    }
}

/// An edit or deletion belongs to its target, whatever is the head meanwhile.
pub async fn what_became_of_a_message_shows_only_while_it_is_the_head<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    let (first, second) = (ana.says(T0, 0, "first"), ana.says(T0 + 1, 0, "second"));
    let shown = async || {
        let head = entry(store, ana).await.expect("there").head().expect("a head");
        (head.preview, head.deleted)
    };
    commit_all(store, [first.sent(), first.edit(T0 + 50, 0, "first, edited").1]).await;
    assert_eq!(shown().await, ("first, edited".into(), false));
    store.commit(vec![second.sent()]).await.expect("committed");
    assert_eq!(shown().await, ("second".into(), false));
    // A later fact about the older message: its target's time loses nothing to the new head.
    store.commit(vec![first.deleted()]).await.expect("committed");
    assert_eq!(shown().await, ("second".into(), false));
    store.commit(vec![second.edit(T0 + 60, 0, "second, edited").1]).await.expect("committed");
    assert_eq!(shown().await, ("second, edited".into(), false));
    commit_all(store, [first.edit(T0 + 99, 0, "too late").1, first.sent()]).await;
    assert_eq!(shown().await, ("second, edited".into(), false));
    commit_all(store, [second.deleted(), second.edit(T0 + 99, 0, "too late").1]).await;
    assert_eq!(shown().await, (String::new(), true));
}

/// A conversation is there once it has a head; what came before takes effect then.
pub async fn a_mark_alone_creates_no_conversation<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    let said = ana.says(T0, 0, "hello");
    store.commit(vec![ana.cells(marks(said.id, said.id, said.id))]).await.expect("committed");
    assert_eq!(store.inbox(ana.to, None, 10).await, Ok((vec![], false)));
    assert_eq!(entry(store, ana).await, None);
    store.commit(vec![said.sent()]).await.expect("committed");
    let row = entry(store, ana).await.expect("there");
    assert_eq!(
        row.cells,
        InboxCells { head: said.head().head, ..marks(said.id, said.id, said.id) }
    );
}

/// The newest conversation comes first, whatever its name; pages neither repeat nor skip.
pub async fn an_inbox_is_ordered_by_head_and_paged<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = user("ana");
    // Names and times run against each other, and some conversations are renewed.
    let names: Vec<String> = (0..20).map(|n| format!("peer{:02}", (n * 7) % 20)).collect();
    for (n, name) in names.iter().enumerate() {
        let said = talk(name, "ana").says(T0 + n as u64, 0, &format!("hello from {name}"));
        store.commit(vec![said.sent()]).await.expect("committed");
    }
    let renewed = talk("ana", &names[3]).says(T0 + 100, 0, "hello back");
    store.commit(vec![renewed.sent()]).await.expect("committed");
    let mut expected: Vec<_> = names.iter().rev().filter(|name| **name != names[3]).collect();
    expected.insert(0, &names[3]);

    for limit in [1, 6, 20, 50] {
        let (mut peers, mut before) = (Vec::new(), None);
        loop {
            let (page, more) = store.inbox(ana, before, limit).await.expect("readable");
            peers.extend(page.iter().map(|row| row.peer.to_string()));
            before = page.last().and_then(|row| row.cells.head.as_ref()).map(|head| head.id);
            assert_eq!(more, peers.len() < 20, "after {} of 20", peers.len());
            if !more {
                break;
            }
        }
        assert!(peers.iter().eq(expected.iter().copied()), "pages of {limit}: {peers:?}");
    }
    assert_eq!(store.inbox(ana, None, 0).await, Ok((vec![], true)));
    assert_eq!(store.inbox(user("nobody"), None, 5).await, Ok((vec![], false)));
}

/// `inbox_rows` answers what the user has of what was asked, as it was asked.
pub async fn inbox_rows_come_in_the_order_asked<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let talks = [talk("ana", "ben"), talk("ana", "cid"), talk("ben", "cid")];
    commit_all(store, talks.map(|talk| talk.says(T0, 0, "hi").sent())).await;
    let asked = vec![
        talks[1].conversation(),
        talks[2].conversation(),
        ConversationId::direct(user("ana"), user("zoe")),
        talks[0].conversation(),
    ];
    let rows = store.inbox_rows(user("ana"), asked).await.expect("readable");
    let peers: Vec<_> = rows.iter().map(|row| row.peer.to_string()).collect();
    assert_eq!(peers, ["cid", "ben"]);
}

/// Partitions of users whose names are prefixes of each other, or differ in a mark, stay apart.
pub async fn names_that_begin_alike_keep_their_partitions<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let names = ["a", "aa", "a-b", "a.b", "a_b", "a-", "a.", "0", "00", "0a"];
    let life = |n: u64| rally_schema::Life { node: "a-b".parse().expect("a node"), generation: n };
    for (n, name) in (0..).zip(names) {
        let said = talk(name, "peer").says(T0, n, &format!("from {name}"));
        store.commit(vec![said.sent()]).await.expect("committed");
        store.set_block(user(name), user("b"), true).await.expect("set");
        let (user, life) = (user(name), life(u64::from(n)));
        let row = PresenceRow { user, life, online_since: None, last_seen: T0 };
        store.set_presence(row, vec![]).await.expect("set");
    }
    for (n, name) in (0..).zip(names) {
        let (rows, more) = store.inbox(user(name), None, 10).await.expect("readable");
        assert_eq!((rows.len(), more), (1, false), "{name}");
        let head = rows[0].cells.head.as_ref().expect("a head");
        assert_eq!(head.preview, format!("from {name}"));
        let changes = store.changes(user(name), change_id(0, 0), 10).await.expect("readable");
        assert_eq!(changes.len(), 1, "{name}");
        assert_eq!(store.blocks(user(name)).await, Ok(vec![user("b")]));
        let presence = store.presence(user(name)).await.expect("readable");
        assert_eq!(presence.iter().map(|row| row.life).collect::<Vec<_>>(), [life(n)]);
    }
    let edit = HeadEdit {
        target: MessageId::first_of(T0),
        deleted: true,
        edit: None,
        preview: String::new(),
    };
    let cells = InboxCells { head_edit: Some(edit), ..InboxCells::default() };
    store.commit(vec![talk("aa", "peer").cells(cells)]).await.expect("committed");
    let (rows, _) = store.inbox(user("a"), None, 10).await.expect("readable");
    assert_eq!(rows[0].cells.head_edit, None);
}
