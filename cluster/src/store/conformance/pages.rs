//! Promises about reads that walk a conversation.

use rally_schema::MessageId;

use super::super::{MessageRow, PAGE_BYTES, Store, is_full};
use super::Fixture;
use super::story::{DAY, T0, Talk, commit_all, talk};

/// Reads a whole history in pages of `limit`.
async fn paged(store: &impl Store, talk: Talk, limit: usize) -> Vec<MessageRow> {
    let (mut all, mut before) = (Vec::<MessageRow>::new(), None);
    loop {
        let page = store.history(talk.conversation(), before, limit).await.expect("readable");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        before = Some(last.id);
        all.extend(page);
    }
}

/// Years of messages, with long silences, come in one order whatever the page.
pub async fn history_is_paged_newest_first_over_many_days<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    // Every 3 days, then a silence of 200, and some at the very edges of ten days.
    let regular = (0..40).map(|n| T0 + 3 * n * DAY);
    let edge = (T0 / (10 * DAY) + 50) * 10 * DAY;
    let mut times: Vec<u64> = regular.chain([edge - 1, edge, edge + 1]).collect();
    times.sort_unstable();
    let said: Vec<_> = times.iter().map(|at| ana.says(*at, 0, &at.to_string())).collect();
    // Committed from both ends, so that no order of arrival helps.
    let mixed = (0..said.len()).map(|n| if n % 2 == 0 { n / 2 } else { said.len() - 1 - n / 2 });
    commit_all(store, mixed.map(|n| said[n].sent())).await;
    let newest_first: Vec<_> = said.iter().rev().map(|said| said.row()).collect();
    for limit in [1, 7, 43, 100] {
        assert_eq!(paged(store, ana, limit).await, newest_first, "pages of {limit}");
    }
    let middle = MessageId::first_of(T0 + 60 * DAY);
    let older = store.history(ana.conversation(), Some(middle), 2).await.expect("readable");
    assert_eq!(older, [said[19].row(), said[18].row()], "an id that is none still pages");
    assert_eq!(store.history(ana.conversation(), None, 0).await, Ok(vec![]));
    assert_eq!(store.history(ana.conversation(), Some(said[0].id), 9).await, Ok(vec![]));
}

/// A page ends with the text that fills it, and the next one goes on from there.
pub async fn a_page_of_long_texts_is_shorter_and_loses_nothing<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    let text = "x".repeat(PAGE_BYTES / 4);
    let said: Vec<_> = (0..10).map(|n| ana.says(T0 + n, 0, &text)).collect();
    commit_all(store, said.iter().map(|said| said.sent())).await;
    let newest_first: Vec<_> = said.iter().rev().map(|said| said.row()).collect();
    let page = store.history(ana.conversation(), None, 100).await.expect("readable");
    assert_eq!(page, newest_first[..4]);
    assert!(is_full(&page) && !is_full(&page[..3]));
    assert_eq!(paged(store, ana, 100).await, newest_first);
}

/// One member's other conversations do not show.
pub async fn history_keeps_conversations_apart<F: Fixture>() {
    let fixture = F::empty().await;
    let talks = [talk("ana", "ben"), talk("ana", "cid"), talk("ana", "ana"), talk("ben", "cid")];
    for n in 0..5 {
        let said = talks.map(|talk| talk.says(T0, n, &format!("{n}")).sent());
        fixture.store().commit(said.to_vec()).await.expect("committed");
    }
    for talk in talks {
        let rows = paged(fixture.store(), talk, 3).await;
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.conversation == talk.conversation()));
        assert!(rows.iter().all(|row| row.sender == talk.sender && row.to == talk.to));
    }
}

/// The store leaves the choice between twins to its readers.
pub async fn twins_are_both_in_history<F: Fixture>() {
    let fixture = F::empty().await;
    let talk = talk("ana", "ben");
    let (small, large) = (talk.says(T0, 0, "once"), talk.says(T0 + 9_000, 0, "once"));
    commit_all(fixture.store(), [large.sent(), small.sent()]).await;
    let history = fixture.store().history(talk.conversation(), None, 10).await;
    assert_eq!(history, Ok(vec![large.row(), small.row()]));
}

/// What a read mark may name: a message of the peer, at or below what was seen.
pub async fn the_newest_for_a_reader_is_of_somebody_else<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let (ana, ben) = (talk("ana", "ben"), talk("ben", "ana"));
    let said =
        [ana.says(T0, 0, "a"), ben.says(T0, 1, "b"), ana.says(T0, 2, "c"), ben.says(T0, 3, "d")];
    commit_all(store, said.iter().map(|said| said.sent())).await;
    let newest =
        |reader: Talk, alone, id| store.newest_for(reader.conversation(), reader.sender, alone, id);
    assert_eq!(newest(ana, false, said[3].id).await, Ok(Some(said[3].id)));
    assert_eq!(newest(ana, false, said[2].id).await, Ok(Some(said[1].id)));
    assert_eq!(newest(ana, false, said[0].id).await, Ok(None));
    assert_eq!(newest(ben, false, said[1].id).await, Ok(Some(said[0].id)));
    let future = MessageId::from_bytes([0xff; 16]);
    assert_eq!(newest(ben, false, future).await, Ok(Some(said[2].id)));
    let deleted = said[2].deleted();
    store.commit(vec![deleted]).await.expect("committed");
    assert_eq!(newest(ben, false, future).await, Ok(Some(said[2].id)), "deleted is still there");

    let alone = talk("ana", "ana");
    let note = alone.says(T0, 0, "note to self");
    store.commit(vec![note.sent()]).await.expect("committed");
    assert_eq!(newest(alone, true, future).await, Ok(Some(note.id)));
    assert_eq!(newest(alone, false, future).await, Ok(None));
}

/// Unread is a function of mark and messages, and stops where told.
pub async fn unread_counts_what_others_wrote_above_the_mark<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let (ana, ben) = (talk("ana", "ben"), talk("ben", "ana"));
    let said: Vec<_> = (0..10).map(|n| ana.says(T0, n, &format!("{n}"))).collect();
    let own = ben.says(T0, 5, "mine");
    commit_all(store, said.iter().chain([&own]).map(|said| said.sent())).await;
    let last = MessageId::from_bytes([0xff; 16]);
    let up_to = |mark, head, cap| store.unread(ben.conversation(), ben.sender, mark, head, cap);
    let unread = |mark, cap| up_to(mark, last, cap);
    assert_eq!(unread(None, 1_000).await, Ok(10));
    assert_eq!(unread(Some(said[3].id), 1_000).await, Ok(6));
    assert_eq!(unread(Some(said[9].id), 1_000).await, Ok(0));
    assert_eq!(unread(None, 4).await, Ok(4));
    assert_eq!(unread(None, 10).await, Ok(10));
    assert_eq!(unread(None, 0).await, Ok(0));
    assert_eq!(up_to(None, said[6].id, 1_000).await, Ok(7), "what came after the head is not");
    assert_eq!(up_to(Some(said[3].id), said[6].id, 1_000).await, Ok(3));
    assert_eq!(up_to(Some(said[6].id), said[6].id, 1_000).await, Ok(0));
    assert_eq!(up_to(Some(said[8].id), said[6].id, 1_000).await, Ok(0), "nor is what is read");
    let sender = store.unread(ana.conversation(), ana.sender, None, last, 1_000).await;
    assert_eq!(sender, Ok(1), "only what ben wrote");

    store.commit(vec![said[8].deleted()]).await.expect("committed");
    assert_eq!(unread(Some(said[7].id), 1_000).await, Ok(2), "deleted is still unread");
    let twin = ana.says(T0 + 5_000, 0, "9");
    assert!(twin.id.is_twin_of(&said[9].id));
    store.commit(vec![twin.sent()]).await.expect("committed");
    assert_eq!(unread(Some(said[7].id), 1_000).await, Ok(2), "twins are one message");
    assert_eq!(unread(Some(said[9].id), 1_000).await, Ok(1), "the larger twin counts");
}
