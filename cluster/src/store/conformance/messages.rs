//! Promises about one message's row.

use rally_schema::MessageId;

use super::super::Store;
use super::Fixture;
use super::story::{T0, commit_all, orders, talk};

/// A write that returned `Ok` is there after the death of the process.
pub async fn what_was_committed_is_there_after_a_restart<F: Fixture>() {
    let fixture = F::empty().await;
    let said = talk("ana", "ben").says(T0, 0, "hello");
    fixture.store().commit(vec![said.sent()]).await.expect("committed");
    let fixture = fixture.reopened().await;
    assert_eq!(said.read(fixture.store()).await, Some(said.row()));
    let (inbox, more) = fixture.store().inbox(said.talk.to, None, 10).await.expect("readable");
    assert_eq!(inbox[0].cells, said.head());
    assert!(!more);
}

/// The same commits twice leave the same rows, before and after a restart.
pub async fn a_commit_may_be_repeated_at_will<F: Fixture>() {
    let fixture = F::empty().await;
    let said = talk("ana", "ben").says(T0, 0, "hello");
    let other = talk("ben", "ana").says(T0 + 1, 0, "hi");
    let commits = vec![said.sent(), other.sent()];
    for _ in 0..3 {
        fixture.store().commit(commits.clone()).await.expect("committed");
    }
    let fixture = fixture.reopened().await;
    fixture.store().commit(commits).await.expect("committed");
    let history = fixture.store().history(said.conversation(), None, 10).await.expect("readable");
    assert_eq!(history, [other.row(), said.row()]);
    let changes = fixture.store().changes(said.talk.sender, super::story::change_id(0, 0), 10);
    assert_eq!(changes.await.expect("readable").len(), 2);
}

/// Put, edits and deletion may arrive in any order.
pub async fn writes_to_one_message_leave_one_row_in_any_order<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let talk = talk("ana", "ben");
    for (nth, order) in orders(&[0, 1, 2, 3]).into_iter().enumerate() {
        let said = talk.says(T0 + nth as u64, 0, "first words");
        let (_, early) = said.edit(T0 + 1_000, 0, "second words");
        let (last, late) = said.edit(T0 + 1_000, 1, "last words");
        let writes = [said.sent(), early, late, said.sent()];
        commit_all(store, order.iter().map(|at| writes[*at].clone())).await;
        let mut row = said.row();
        row.edit = Some((last, "last words".into()));
        assert_eq!(said.read(store).await, Some(row), "in the order {order:?}");
    }
    for (nth, order) in orders(&[0, 1, 2, 3]).into_iter().enumerate() {
        let said = talk.says(T0 + nth as u64, 1, "regretted words");
        let (_, edit) = said.edit(T0 + 1_000, 0, "other words");
        let writes = [said.sent(), edit, said.deleted(), said.sent()];
        commit_all(store, order.iter().map(|at| writes[*at].clone())).await;
        let mut row = said.row();
        (row.deleted, row.body) = (true, String::new());
        assert_eq!(said.read(store).await, Some(row), "in the order {order:?}");
    }
}

/// A deleted message has no text, whatever arrives later.
pub async fn a_deletion_beats_every_edit_and_no_replay_brings_the_body_back<F: Fixture>() {
    let fixture = F::empty().await;
    let said = talk("ana", "ben").says(T0, 0, "secret");
    let (_, edit) = said.edit(T0 + 1, 0, "less secret");
    let (_, later) = said.edit(T0 + 99_000, 0, "after the deletion");
    let writes = [said.sent(), edit.clone(), said.deleted(), edit, later, said.sent()];
    commit_all(fixture.store(), writes).await;
    let fixture = fixture.reopened().await;
    let row = said.read(fixture.store()).await.expect("still a message");
    assert!(row.deleted);
    assert_eq!((&*row.body, &row.edit, row.text()), ("", &None, ""));
}

/// Nobody sees a message that was never put, by whatever read.
pub async fn an_edit_or_deletion_alone_creates_nothing<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let talk = talk("ana", "ben");
    let (edited, deleted) = (talk.says(T0, 0, "never sent"), talk.says(T0, 1, "nor this"));
    commit_all(store, [edited.edit(T0 + 1, 0, "edit of nothing").1, deleted.deleted()]).await;
    let conversation = talk.conversation();
    assert_eq!(edited.read(store).await, None);
    assert_eq!(deleted.read(store).await, None);
    assert_eq!(store.history(conversation, None, 10).await, Ok(vec![]));
    assert_eq!(store.stamped(conversation, edited.id.stamp()).await, Ok(vec![]));
    assert_eq!(store.newest_for(conversation, talk.to, false, deleted.id).await, Ok(None));
    assert_eq!(store.unread(conversation, talk.to, None, deleted.id, 10).await, Ok(0));
    assert_eq!(store.inbox(talk.to, None, 10).await, Ok((vec![], false)));
}

/// Edits of one millisecond, and edits that arrive backwards, end in the largest id.
pub async fn of_edits_the_largest_id_stays<F: Fixture>() {
    let fixture = F::empty().await;
    let said = talk("ana", "ben").says(T0, 0, "hello");
    let edits: Vec<_> =
        (0..6_u16).map(|n| said.edit(T0 + u64::from(n / 2), n, &format!("edit {n}"))).collect();
    let (largest, _) = edits.iter().max_by_key(|(id, _)| *id).expect("six");
    fixture.store().commit(vec![said.sent()]).await.expect("committed");
    commit_all(fixture.store(), edits.iter().rev().map(|(_, commit)| commit.clone())).await;
    let row = said.read(fixture.store()).await.expect("there");
    assert_eq!(row.edit, Some((*largest, "edit 5".into())));
    assert_eq!(row.body, "hello");
}

/// The smaller twin goes for good, and the larger one stays.
pub async fn a_removed_twin_stays_removed<F: Fixture>() {
    let fixture = F::empty().await;
    let talk = talk("ana", "ben");
    let (small, large) = (talk.says(T0, 0, "once"), talk.says(T0 + 9_000, 0, "once"));
    assert!(small.id.is_twin_of(&large.id));
    commit_all(fixture.store(), [small.sent(), large.sent(), small.removed()]).await;
    let late = [small.sent(), small.edit(T0 + 9_500, 0, "late").1, small.deleted()];
    commit_all(fixture.store(), late).await;
    let fixture = fixture.reopened().await;
    assert_eq!(small.read(fixture.store()).await, None);
    let history = fixture.store().history(talk.conversation(), None, 10).await;
    assert_eq!(history, Ok(vec![large.row()]));
    for (said, found) in [(&small, None), (&large, Some(large.row()))] {
        let (stamp, sender) = (said.id.stamp(), said.talk.sender);
        let sent = fixture.store().sent(talk.conversation(), stamp, sender, said.r#ref).await;
        assert_eq!(sent, Ok(found));
    }
}

/// A message's id does not cover what it answers: a value stays over none.
pub async fn a_reply_stays_a_reply<F: Fixture>() {
    let fixture = F::empty().await;
    let plain = talk("ana", "ben").says(T0, 0, "yes");
    let mut reply = plain.clone();
    reply.reply_to = Some(MessageId::first_of(T0 - 5));
    for order in orders(&[plain.sent(), reply.sent()]) {
        commit_all(fixture.store(), order).await;
        assert_eq!(reply.read(fixture.store()).await, Some(reply.row()));
    }
}

/// `messages` answers what exists of what was asked, as it was asked.
pub async fn messages_come_in_the_order_asked<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let here = talk("ana", "ben");
    let elsewhere = talk("ana", "cid").says(T0, 7, "elsewhere");
    let said: Vec<_> = (0..4).map(|n| here.says(T0, n, &format!("no {n}"))).collect();
    let unsent = here.says(T0, 9, "unsent");
    let commits = said.iter().map(|said| said.sent()).chain([elsewhere.sent()]).collect();
    store.commit(commits).await.expect("committed");
    let asked = [&said[2], &unsent, &said[0], &elsewhere, &said[3], &said[0]];
    let ids = asked.iter().map(|said| said.id).collect();
    let rows = store.messages(here.conversation(), ids).await;
    assert_eq!(rows, Ok(vec![said[2].row(), said[0].row(), said[3].row(), said[0].row()]));
    assert_eq!(store.messages(here.conversation(), vec![]).await, Ok(vec![]));
}

/// `stamped` finds what any sender wrote at a stamp, to the millisecond and count, and `sent` of
/// that the one that its sender calls so.
pub async fn a_stamp_finds_its_messages_and_no_others<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    let mut same = [
        ana.says(T0, 5, "of ana"),
        ana.says(T0, 5, "also of ana"),
        ana.answered().says(T0, 5, "of ben"),
    ];
    let others = [ana.says(T0, 4, "a"), ana.says(T0, 6, "b"), ana.says(T0 + 1, 5, "c")];
    let elsewhere = talk("ana", "cid").says(T0, 5, "of ana");
    let all = same.iter().chain(&others).chain([&elsewhere]).map(|said| said.sent());
    store.commit(all.collect()).await.expect("committed");
    same.sort_by_key(|said| said.id);
    let found = store.stamped(ana.conversation(), same[0].id.stamp()).await;
    assert_eq!(found, Ok(same.each_ref().map(|said| said.row()).to_vec()));
    for row in found.expect("readable") {
        let sent = |by| store.sent(ana.conversation(), row.id.stamp(), by, row.r#ref);
        assert_eq!(sent(row.sender).await, Ok(Some(row.clone())));
        assert_eq!(sent(row.to).await, Ok(None), "nobody else calls it so");
    }
}
