//! Promises about accounts, blocks, presence and tokens.

use rally_schema::Life;
use uuid::Uuid;

use super::super::{PresenceRow, Store, UserChange, UserRow};
use super::Fixture;
use super::story::{T0, user};

fn account(name: &str) -> UserRow {
    UserRow {
        user: user(name),
        name: format!("The one and only {name}"),
        password: Some("a hash".into()),
        epoch: 0,
        hide_presence: false,
    }
}

/// Of two calls at once one succeeds, and the other changes nothing.
pub async fn a_name_is_taken_once<F: Fixture>() {
    let fixture = F::empty().await;
    for round in 0..20 {
        let name = format!("ana{round}");
        let (one, other) = (account(&name), UserRow { name: "Another".into(), ..account(&name) });
        let store = fixture.store();
        let (first, second) =
            tokio::join!(store.create_user(one.clone()), store.create_user(other.clone()));
        let (first, second) = (first.expect("answered"), second.expect("answered"));
        assert!(first != second, "{first} and {second}");
        let winner = if first { one } else { other };
        assert_eq!(store.user(user(&name)).await, Ok(Some(winner.clone())));
        assert_eq!(store.create_user(account(&name)).await, Ok(false));
        assert_eq!(store.user(user(&name)).await, Ok(Some(winner)));
    }
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store().create_user(account("ana0")).await, Ok(false));
    assert_eq!(fixture.store().user(user("ana")).await, Ok(None));
}

/// What a change does not name stays; an unknown account stays unknown.
pub async fn an_account_changes_only_where_told<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    store.create_user(account("ana")).await.expect("created");
    let changes = [
        UserChange { name: Some("Ana".into()), ..UserChange::default() },
        UserChange { raise_epoch: true, ..UserChange::default() },
        UserChange { hide_presence: Some(true), ..UserChange::default() },
        UserChange { password: Some("new".into()), raise_epoch: true, ..UserChange::default() },
        UserChange::default(),
    ];
    let mut expected = account("ana");
    for change in changes {
        expected.change(change.clone());
        assert_eq!(store.change_user(user("ana"), change).await, Ok(Some(expected.clone())));
    }
    assert_eq!((expected.epoch, &*expected.name), (2, "Ana"));
    assert_eq!(store.change_user(user("ben"), UserChange::default()).await, Ok(None));
    assert_eq!(store.user(user("ben")).await, Ok(None));
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store().user(user("ana")).await, Ok(Some(expected)));
}

/// An import of any size counts the new, of equal names the first.
pub async fn an_import_leaves_whom_it_finds<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    store.create_user(account("user7")).await.expect("created");
    let named = |n: usize| UserRow { name: "Imported".into(), ..account(&format!("user{n}")) };
    let mut rows: Vec<UserRow> = (0..2_500).map(named).collect();
    rows.push(UserRow { name: "Twice".into(), ..account("user3") });
    assert_eq!(store.import_users(rows.clone()).await, Ok(2_499));
    assert_eq!(store.user(user("user7")).await, Ok(Some(account("user7"))));
    assert_eq!(store.user(user("user3")).await, Ok(Some(named(3))));
    assert_eq!(store.user(user("user2499")).await, Ok(Some(named(2_499))));
    assert_eq!(store.import_users(rows).await, Ok(0));
    assert_eq!(store.import_users(vec![]).await, Ok(0));
}

/// Names are compared as they are: no mark in them means anything.
pub async fn users_are_found_by_the_beginning_of_their_name<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let longest = "a".repeat(32);
    let names = ["0", "a", "a-", "a-b", "a.", "a_", "aa", "ab", "b", "z", "z9", "zz", &*longest];
    store.import_users(names.map(account).to_vec()).await.expect("imported");
    let find = async |prefix: &str, limit| {
        let rows = store.find_users(prefix.to_owned(), limit).await.expect("readable");
        rows.iter().map(|row| row.user.to_string()).collect::<Vec<_>>()
    };
    for prefix in ["", "0", "a", "a-", "a.", "a_", "aa", "b", "z", "zz", "zzz", "-", "é", "A", "%"]
    {
        let mut expected: Vec<_> = names.into_iter().filter(|n| n.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(find(prefix, 100).await, expected, "{prefix:?}");
        assert_eq!(find(prefix, 2).await, expected[..expected.len().min(2)], "{prefix:?}");
    }
    assert_eq!(find(&longest, 9).await, [&*longest]);
    assert_eq!(find(&"a".repeat(33), 9).await, [""; 0]);
    assert_eq!(find(&"é".repeat(5_000), 9).await, [""; 0]);
}

/// A block is of one user on one other, and repeating it changes nothing.
pub async fn blocks_are_set_and_cleared<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let (ana, ben) = (user("ana"), user("ben"));
    for name in ["zoe", "ben", "be", "b-e", "ben"] {
        store.set_block(ana, user(name), true).await.expect("set");
    }
    assert_eq!(store.blocks(ana).await, Ok(["b-e", "be", "ben", "zoe"].map(user).to_vec()));
    assert_eq!(store.is_blocked(ana, ben).await, Ok(true));
    assert_eq!(store.is_blocked(ben, ana).await, Ok(false));
    for _ in 0..2 {
        store.set_block(ana, ben, false).await.expect("cleared");
    }
    let fixture = fixture.reopened().await;
    let store = fixture.store();
    assert_eq!(store.is_blocked(ana, ben).await, Ok(false));
    assert_eq!(store.blocks(ana).await, Ok(["b-e", "be", "zoe"].map(user).to_vec()));
    assert_eq!(store.blocks(ben).await, Ok(vec![]));
}

/// Rows of dead lives go only when a row that folds them is written.
pub async fn presence_is_one_row_a_life_until_folded<F: Fixture>() {
    let fixture = F::empty().await;
    let store = fixture.store();
    let life = |node: &str, generation| Life { node: node.parse().expect("a node"), generation };
    let row = |life, since, seen| PresenceRow {
        user: user("ana"),
        life,
        online_since: since,
        last_seen: T0 + seen,
    };
    let lives = [life("n1", 1), life("n1", 2), life("n10", 1), life("n-1", u64::MAX)];
    for life in lives {
        store.set_presence(row(life, Some(T0), 0), vec![]).await.expect("set");
    }
    store.set_presence(row(lives[0], None, 9), vec![]).await.expect("set");
    let read = async |store: &F::Store| {
        let mut rows = store.presence(user("ana")).await.expect("readable");
        rows.sort_by_key(|row| row.life);
        rows
    };
    let mut expected: Vec<_> = lives[1..].iter().map(|life| row(*life, Some(T0), 0)).collect();
    expected.push(row(lives[0], None, 9));
    expected.sort_by_key(|row| row.life);
    assert_eq!(read(store).await, expected);

    let fold = vec![lives[0], lives[2], lives[3], life("never", 1)];
    store.set_presence(row(lives[1], None, 20), fold).await.expect("set");
    let fixture = fixture.reopened().await;
    assert_eq!(read(fixture.store()).await, [row(lives[1], None, 20)]);
    assert_eq!(fixture.store().presence(user("an")).await, Ok(vec![]));
}

/// A token is refused from its revocation on; one that ended may be forgotten.
pub async fn a_revoked_token_stays_revoked<F: Fixture>() {
    let fixture = F::empty().await;
    let tokens: Vec<Uuid> = (0..5).map(Uuid::from_u128).collect();
    for token in &tokens[..4] {
        fixture.store().revoke(*token, T0 + 50).await.expect("revoked");
    }
    fixture.store().revoke(tokens[0], T0 - 50).await.expect("revoked");
    fixture.store().revoke(tokens[1], T0 + 90).await.expect("revoked");
    fixture.store().expire(T0).await.expect("expired");
    let fixture = fixture.reopened().await;
    for token in &tokens[..4] {
        assert_eq!(fixture.store().is_revoked(*token).await, Ok(true));
    }
    assert_eq!(fixture.store().is_revoked(tokens[4]).await, Ok(false));
    fixture.store().expire(T0 + 60).await.expect("expired");
    assert_eq!(fixture.store().is_revoked(tokens[1]).await, Ok(true), "until the later time");
}

/// Cursors name the store, and tokens are signed with its secret: neither ever changes.
pub async fn a_store_keeps_its_identity<F: Fixture>() {
    let fixture = F::empty().await;
    let (id, secret) = (fixture.store().id(), fixture.store().secret());
    assert_eq!(fixture.store().check().await, Ok(()));
    let fixture = fixture.reopened().await;
    assert_eq!((fixture.store().id(), fixture.store().secret()), (id, secret));
    assert_eq!(fixture.store().check().await, Ok(()));
    let other = F::empty().await;
    assert_ne!(other.store().id(), id);
    assert_ne!(other.store().secret(), secret);
}
