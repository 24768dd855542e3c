//! Promises about the log of what concerns a user.

use rally_schema::Life;

use super::super::{Change, ChangeKind, NodeRow, NodeStatus, Store};
use super::Fixture;
use super::story::{Said, T0, change_id, commit_all, talk, user};

/// A log is read above a position, in pages, oldest first, whatever the order of arrival.
pub async fn changes_come_oldest_first_in_pages<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let ana = talk("ana", "ben");
    let said = ana.says(T0, 0, "hello");
    let kinds = [
        ChangeKind::Message,
        ChangeKind::Edit,
        ChangeKind::Delivered,
        ChangeKind::Read,
        ChangeKind::Delete,
    ];
    let entries: Vec<Change> = (0..25_u16)
        .map(|n| Change {
            kind: kinds[usize::from(n) % kinds.len()],
            ..said.change(change_id(T0 + u64::from(n / 3), n))
        })
        .collect();
    let commit = |entry: &Change| ana.commit(None, said.head(), Some(*entry));
    let mixed = entries.iter().rev().step_by(2).chain(entries.iter().rev().skip(1).step_by(2));
    commit_all(store, mixed.map(commit)).await;
    commit_all(store, [talk("cid", "ben").says(T0 + 1, 1, "to ben alone").sent()]).await;

    for limit in [1, 4, 25, 100] {
        let (mut read, mut after) = (Vec::new(), change_id(0, 0));
        loop {
            let page = store.changes(user("ana"), after, limit).await.expect("readable");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.change;
            read.extend(page);
        }
        assert_eq!(read, entries, "pages of {limit}");
    }
    let above = store.changes(user("ana"), entries[9].change, 2).await.expect("readable");
    assert_eq!(above, entries[10..12]);
    let ben = store.changes(user("ben"), change_id(0, 0), 100).await.expect("readable");
    assert_eq!(ben.len(), 26);
    assert_eq!(store.changes(user("zoe"), change_id(0, 0), 100).await, Ok(vec![]));
}

/// Old entries go, younger ones never; a store whose rows go by themselves may say 0.
pub async fn changes_expire_by_age<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let names = ["a", "aa", "b", "zoe"];
    for name in names {
        let at = |n: u16| talk(name, name).says(T0 + u64::from(n), n, &format!("{n}"));
        let said: Vec<_> = (0..10).map(|n| at(n).sent()).collect();
        store.commit(said).await.expect("committed");
    }
    let log = async |name: &str| {
        let entries = store.changes(user(name), change_id(0, 0), 100).await.expect("readable");
        entries.iter().map(|entry| entry.change.at() - T0).collect::<Vec<_>>()
    };
    let dropped = store.expire(T0 + 4).await.expect("expired");
    for name in names {
        let left = log(name).await;
        assert!(left.ends_with(&[4, 5, 6, 7, 8, 9]), "{name}: {left:?}");
        assert!(dropped == 0 || left.len() == 6, "{name}: {left:?}");
    }
    assert!(dropped == 0 || dropped == 16, "dropped {dropped}");
    let again = store.expire(T0 + 4).await.expect("expired");
    assert_eq!(again, 0, "what is gone is not counted again");
    let history = store.history(talk("a", "a").conversation(), None, 100).await.expect("readable");
    assert_eq!(history.len(), 10, "messages do not expire");
}

/// Clocks start above it: no restart, and no expiry, sets it back. Where nodes share the store
/// each of them writes heartbeats, and the latest of those of homes is the mark of whoever opens
/// it: one whose clock is off is none.
pub async fn the_high_water_mark_is_the_latest_change_ever<F: Fixture>() {
    let fixture = F::empty().await;
    assert_eq!(fixture.store().high_water_ms(), 0);
    let ana = talk("ana", "ben");
    let said = [ana.says(T0 + 7, 0, "late"), ana.says(T0, 0, "early")];
    commit_all(fixture.store(), said.iter().map(Said::sent)).await;
    assert_eq!(fixture.store().high_water_ms(), T0 + 7);
    if F::SHARED {
        use NodeStatus::{Ready, Starting};
        let rows = [("n1", T0 + 7, Ready), ("n2", T0 + 3, Ready), ("n3", 2 * T0, Starting)];
        for (node, heartbeat_ms, status) in rows {
            let life = Life { node: node.parse().expect("a node"), generation: 1 };
            let address = "10.0.0.1:6464".into();
            let row = NodeRow { life, address, status, status_ms: T0, heartbeat_ms };
            fixture.store().set_node(row).await.expect("set");
        }
    }
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store().high_water_ms(), T0 + 7);
    fixture.store().expire(T0 + 100).await.expect("expired");
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store().high_water_ms(), T0 + 7);
}
