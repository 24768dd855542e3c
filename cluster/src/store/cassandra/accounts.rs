//! Accounts, and who has blocked whom.
//!
//! Accounts are written with conditions (LOCAL_SERIAL), so that of two who want a name one gets
//! it. The answer to such a write may be lost although it took effect; it is then asked again,
//! a few times, and `version`, drawn for the call, tells whether it was this one that won.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rally_schema::UserId;
use uuid::Uuid;

use super::super::{StoreError, UserChange, UserRow};
use super::Inner;
use super::requests::Write;
use super::values::name;

/// How often a condition is asked again when its answer is missing or somebody else was first.
const ATTEMPTS: u32 = 5;

/// How many accounts of an import are written at once.
pub(super) const IMPORT_WIDTH: usize = 32;

/// How many accounts that were found are read at once.
pub(super) const FIND_WIDTH: usize = 16;

/// What is read of an account.
type Record = (String, Option<String>, Option<String>, Option<i64>, Option<bool>, Option<Uuid>);

/// Reads an account, and the version of its row.
async fn read(inner: &Inner, user: UserId) -> Result<Option<(UserRow, Uuid)>, StoreError> {
    let record = inner.requests.one::<Record>(&inner.statements.user, (user.as_str(),)).await?;
    let Some((user, name, password, epoch, hide_presence, version)) = record else {
        return Ok(None);
    };
    let missing =
        |what: &str| StoreError::Damaged { table: "users", what: format!("no {what} of {user}") };
    let row = UserRow {
        user: super::values::name("users", &user)?,
        name: name.ok_or_else(|| missing("name"))?,
        password,
        epoch: epoch.ok_or_else(|| missing("epoch"))?.cast_unsigned(),
        hide_presence: hide_presence.unwrap_or_default(),
    };
    Ok(Some((row, version.ok_or_else(|| missing("version"))?)))
}

pub(super) async fn user(inner: &Inner, user: UserId) -> Result<Option<UserRow>, StoreError> {
    Ok(read(inner, user).await?.map(|(row, _)| row))
}

/// Waits longer after each attempt: whoever met another writer should not meet him again.
async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
}

/// Creates an account unless the name is taken. The name is written to its index first: a reader
/// skips a name without an account, and nobody finds an account without a name.
pub(super) async fn create_user(inner: &Inner, row: &UserRow) -> Result<bool, StoreError> {
    let user = row.user.as_str();
    let values = (user[..1].to_owned(), user.to_owned(), inner.stamps.next());
    let index = Write::of(&inner.statements.add_name, values);
    inner.requests.write([index]).await?;
    let version = Uuid::new_v4();
    let values =
        (user, &row.name, &row.password, row.epoch.cast_signed(), row.hide_presence, version);
    let mut attempt = 0;
    loop {
        match inner.requests.write_if(&inner.statements.create_user, &values).await {
            Ok(true) => return Ok(true),
            Ok(false) => {
                // An earlier attempt may be what took the name.
                let there = read(inner, row.user).await.map_err(unknown)?;
                return Ok(there.is_some_and(|(_, theirs)| theirs == version));
            }
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => pause(attempt).await,
        }
        attempt += 1;
    }
}

/// A read that failed in the middle of a write leaves it unknown.
fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::Read(what) => StoreError::Unknown(what),
        error => error,
    }
}

/// Creates those that are missing, each by a condition of its own; of equal names the first.
pub(super) async fn import_users(inner: &Inner, rows: Vec<UserRow>) -> Result<u64, StoreError> {
    let mut seen = HashSet::new();
    let first = rows.into_iter().filter(|row| seen.insert(row.user));
    let import = |row: UserRow| async move {
        let there = read(inner, row.user).await.map_err(unknown)?.is_some();
        Ok::<_, StoreError>(!there && create_user(inner, &row).await?)
    };
    let created = stream::iter(first.map(import)).buffer_unordered(IMPORT_WIDTH);
    created.try_fold(0, |new, created| async move { Ok(new + u64::from(created)) }).await
}

/// Changes an account, whoever else does so at the same time.
///
/// Should the answer be lost, and somebody else change the account before this call looks, an
/// epoch may be raised twice: all log-ins end, as was asked.
pub(super) async fn change_user(
    inner: &Inner,
    user: UserId,
    change: UserChange,
) -> Result<Option<UserRow>, StoreError> {
    let version = Uuid::new_v4();
    let (mut attempt, mut last) = (0, None);
    loop {
        let Some((mut row, before)) = read(inner, user).await.map_err(unknown)? else {
            return Ok(None);
        };
        if change == UserChange::default() || before == version {
            return Ok(Some(row));
        }
        if attempt > ATTEMPTS {
            let crowded = || StoreError::Unknown("others change this account all the time".into());
            return Err(last.unwrap_or_else(crowded));
        }
        row.change(change.clone());
        let UserRow { name, password, epoch, hide_presence, .. } = &row;
        let epoch = epoch.cast_signed();
        let values = (name, password, epoch, hide_presence, version, user.as_str(), before);
        match inner.requests.write_if(&inner.statements.change_user, values).await {
            Ok(true) => return Ok(Some(row)),
            Ok(false) => {}
            Err(error) => last = Some(error),
        }
        pause(attempt).await;
        attempt += 1;
    }
}

/// Tells whether a name can begin so.
fn begins_a_name(prefix: &str) -> bool {
    prefix.is_empty() || prefix.parse::<UserId>().is_ok()
}

/// Walks the names with one first letter, or those with any.
pub(super) async fn find_users(
    inner: &Inner,
    prefix: String,
    limit: usize,
) -> Result<Vec<UserRow>, StoreError> {
    let mut found = Vec::new();
    if !begins_a_name(&prefix) {
        return Ok(found);
    }
    let letters = match prefix.chars().next() {
        Some(letter) => vec![letter],
        None => ('0'..='9').chain('a'..='z').collect(),
    };
    // Above every character that a name may hold.
    let end = format!("{prefix}\u{7f}");
    for letter in letters {
        let values = (letter.to_string(), &prefix, &end);
        let mut pages = inner.requests.pages(&inner.statements.names, values, limit);
        while found.len() < limit
            && let Some(page) = pages.next::<(String,)>().await?
        {
            let accounts =
                page.into_iter().map(|(user,)| async move { user_of(inner, &user).await });
            let mut accounts = stream::iter(accounts).buffered(FIND_WIDTH);
            while let Some(account) = accounts.try_next().await? {
                found.extend(account);
            }
        }
    }
    found.truncate(limit);
    Ok(found)
}

async fn user_of(inner: &Inner, text: &str) -> Result<Option<UserRow>, StoreError> {
    user(inner, name("users_by_letter", text)?).await
}

/// Blocks or unblocks. What is written is later than what was read, so that of two calls, one
/// after the other, the second stays, wherever each was made and however their clocks differ.
pub(super) async fn set_block(
    inner: &Inner,
    user: UserId,
    blocked: UserId,
    on: bool,
) -> Result<(), StoreError> {
    let key = (user.as_str(), blocked.as_str());
    let before = inner.requests.one::<(Option<bool>, Option<i64>)>(&inner.statements.block, key);
    let before = before.await.map_err(unknown)?.and_then(|(_, time)| time).unwrap_or(0);
    let time = inner.stamps.next().max(before + 1);
    let values = (time, on, user.as_str().to_owned(), blocked.as_str().to_owned());
    inner.requests.write([Write::of(&inner.statements.set_block, values)]).await
}

pub(super) async fn blocks(inner: &Inner, user: UserId) -> Result<Vec<UserId>, StoreError> {
    let statement = &inner.statements.blocks;
    let rows = inner.requests.all::<(String, Option<bool>)>(statement, (user.as_str(),)).await?;
    let active = rows.into_iter().filter(|(_, active)| *active == Some(true));
    active.map(|(blocked, _)| name("blocks", &blocked)).collect()
}

pub(super) async fn is_blocked(
    inner: &Inner,
    user: UserId,
    blocked: UserId,
) -> Result<bool, StoreError> {
    let key = (user.as_str(), blocked.as_str());
    let row = inner.requests.one::<(Option<bool>, Option<i64>)>(&inner.statements.block, key);
    Ok(row.await?.is_some_and(|(active, _)| active == Some(true)))
}
