//! Lives of nodes: themselves, who is online at which, and log-ins that were ended.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use rally_schema::{Life, UserId};
use uuid::Uuid;

use super::super::{NodeRow, NodeStatus, PresenceRow, StoreError};
use super::Inner;
use super::requests::Write;
use super::values::{self, FOREVER, name, timestamp};
use crate::clock::{MachineTime, TimeSource as _};

/// Timestamps for what has no id of its own: the machine's microseconds, always rising. Only
/// facts that one process alone writes rely on them.
pub(super) struct Stamps {
    time: MachineTime,
    last: AtomicI64,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { time: MachineTime::new(), last: AtomicI64::new(0) }
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.time.wall_ms()
    }

    /// Gives one that was never given before.
    pub(super) fn next(&self) -> i64 {
        let now = timestamp(self.wall_ms().saturating_mul(1_000));
        let later = |last: i64| Some(now.max(last + 1));
        match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later) {
            Ok(last) | Err(last) => now.max(last + 1),
        }
    }
}

/// Gives the part of a key that is a life.
fn key(life: Life) -> (String, i64) {
    (life.node.as_str().to_owned(), life.generation.cast_signed())
}

fn read_life(table: &'static str, node: &str, generation: i64) -> Result<Life, StoreError> {
    Ok(Life { node: name(table, node)?, generation: generation.cast_unsigned() })
}

fn ms(ms: u64) -> i64 {
    ms.cast_signed()
}

/// One batch, for it is one partition: only the edge's own life writes its row.
pub(super) async fn set_presence(
    inner: &Inner,
    row: PresenceRow,
    folded: Vec<Life>,
) -> Result<(), StoreError> {
    let (time, user) = (inner.stamps.next(), row.user.as_str());
    let (node, generation) = key(row.life);
    let since = row.online_since.map(ms);
    let values = (user.to_owned(), node, generation, since, ms(row.last_seen), time);
    let mut write = Write::of(&inner.statements.set_presence, values);
    // A life that is written is not dropped, whatever was asked.
    for life in folded.into_iter().filter(|life| *life != row.life) {
        let (node, generation) = key(life);
        let values = (time, user.to_owned(), node, generation);
        write = write.and(&inner.statements.fold_presence, values);
    }
    inner.requests.write([write]).await
}

pub(super) async fn presence(inner: &Inner, user: UserId) -> Result<Vec<PresenceRow>, StoreError> {
    type Record = (String, i64, Option<i64>, Option<i64>);
    let statement = &inner.statements.presence;
    let records = inner.requests.all::<Record>(statement, (user.as_str(),)).await?;
    let row = |(node, generation, since, seen): Record| {
        let life = read_life("presence", &node, generation)?;
        let (online_since, last_seen) =
            (since.map(i64::cast_unsigned), seen.unwrap_or(0).cast_unsigned());
        Ok(PresenceRow { user, life, online_since, last_seen })
    };
    let mut rows: Vec<_> = records.into_iter().map(row).collect::<Result<_, StoreError>>()?;
    rows.sort_by_key(|row| row.life);
    Ok(rows)
}

/// Two facts, each with its own time, in one batch: a partition of all nodes. And how far its clock is
/// by which it may have dated something: of a life that never took users, nowhere.
pub(super) async fn set_node(inner: &Inner, row: NodeRow) -> Result<(), StoreError> {
    let NodeRow { life, address, status, status_ms, heartbeat_ms } = row;
    let (node, generation) = key(life);
    let beat = timestamp(heartbeat_ms.saturating_mul(1_000));
    let judged = match status {
        NodeStatus::Deleted => FOREVER,
        _ => timestamp(status_ms.saturating_mul(1_000)),
    };
    let write = Write::of(
        &inner.statements.beat,
        (beat, address, ms(heartbeat_ms), node.clone(), generation),
    );
    let (dated_ms, dated) = if took_users(&inner.homes, life, status) {
        inner.note_time(heartbeat_ms);
        (heartbeat_ms, beat)
    } else {
        (0, 0)
    };
    let date = (node.clone(), generation, ms(dated_ms), dated);
    let status = values::status(status);
    let values = (judged, status, ms(status_ms), node, generation);
    let write = write.and(&inner.statements.date, date);
    inner.requests.write([write.and(&inner.statements.judge, values)]).await
}

/// Tells whether a life takes users or did: its sessions go on while it leaves, and while its clock is
/// doubted.
fn took_users(homes: &Mutex<HashSet<Life>>, life: Life, status: NodeStatus) -> bool {
    let mut homes = homes.lock();
    match status {
        NodeStatus::Ready => {
            homes.insert(life);
            true
        }
        NodeStatus::Offline | NodeStatus::Deleted => homes.remove(&life),
        _ => homes.contains(&life),
    }
}

/// Gives the latest time by which any life may have dated something, as far as nodes told.
pub(super) async fn latest_ms(inner: &Inner) -> Result<u64, StoreError> {
    type Record = (String, i64, Option<i64>);
    let records = inner.requests.all::<Record>(&inner.statements.dated, ()).await?;
    let dated = |(node, generation, dated_at): Record| {
        let life = read_life("dated", &node, generation)?;
        Ok((life, dated_at.unwrap_or(0).cast_unsigned()))
    };
    let dated: BTreeMap<Life, u64> = records.into_iter().map(dated).collect::<Result<_, _>>()?;
    Ok(latest_of(&nodes(inner).await?, &dated))
}

/// A life of a version that told only of heartbeats counts by those, if it took users when it was
/// judged last, or was leaving.
fn latest_of(nodes: &[NodeRow], dated: &BTreeMap<Life, u64>) -> u64 {
    let untold = nodes.iter().filter(|row| !dated.contains_key(&row.life));
    let homes = untold.filter(|row| matches!(row.status, NodeStatus::Ready | NodeStatus::Draining));
    homes.map(|row| row.heartbeat_ms).chain(dated.values().copied()).max().unwrap_or(0)
}

pub(super) async fn nodes(inner: &Inner) -> Result<Vec<NodeRow>, StoreError> {
    type Record = (String, i64, Option<String>, Option<i8>, Option<i64>, Option<i64>);
    let records = inner.requests.all::<Record>(&inner.statements.nodes, ()).await?;
    let row = |(node, generation, address, status, status_at, heartbeat_at): Record| {
        let life = read_life("nodes", &node, generation)?;
        let bad =
            |what: &str| StoreError::Damaged { table: "nodes", what: format!("{what} of {life}") };
        let ms = |ms: Option<i64>, what| ms.map(i64::cast_unsigned).ok_or_else(|| bad(what));
        Ok(NodeRow {
            life,
            address: address.ok_or_else(|| bad("no address"))?,
            status: status.and_then(values::read_status).ok_or_else(|| bad("no status"))?,
            status_ms: ms(status_at, "no status_at")?,
            heartbeat_ms: ms(heartbeat_at, "no heartbeat_at")?,
        })
    };
    let mut rows: Vec<_> = records.into_iter().map(row).collect::<Result<_, StoreError>>()?;
    rows.sort_by_key(|row| row.life);
    Ok(rows)
}

/// Lives a day longer than the token would, by this machine's clock: clocks differ by less.
pub(super) async fn revoke(inner: &Inner, token: Uuid, until_ms: u64) -> Result<(), StoreError> {
    const DAY_S: u64 = 24 * 60 * 60;
    // The longest that Cassandra takes: 20 years.
    const LONGEST_S: u64 = 20 * 365 * DAY_S;
    let left_s = until_ms.saturating_sub(inner.stamps.wall_ms()) / 1_000;
    let ttl = (left_s + DAY_S).min(LONGEST_S) as i32;
    let time = timestamp(until_ms.saturating_mul(1_000));
    let values = (token, ms(until_ms), time, ttl);
    inner.requests.write([Write::of(&inner.statements.revoke, values)]).await
}

pub(super) async fn is_revoked(inner: &Inner, token: Uuid) -> Result<bool, StoreError> {
    let row = inner.requests.one::<(Option<i64>,)>(&inner.statements.revoked, (token,));
    Ok(row.await?.is_some())
}

/// Writes a row and reads it: another node's check may have come between, which is as good.
pub(super) async fn check(inner: &Inner) -> Result<(), StoreError> {
    let time = inner.stamps.next();
    inner.requests.write([Write::of(&inner.statements.write_check, (time, time))]).await?;
    let read = inner.requests.one::<(Option<i64>,)>(&inner.statements.read_check, ()).await?;
    match read {
        Some((Some(_),)) => Ok(()),
        Some((None,)) | None => {
            Err(StoreError::Read("what was just written is not there".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_whose_clock_was_off_raises_no_mark_and_one_that_was_a_home_does() {
        const NOW: u64 = 1_790_000_000_000;
        const CENTURY: u64 = 4_102_444_800_000;
        let life = |node: &str| Life { node: node.parse().unwrap(), generation: 1 };
        let row = |node: &str, status, heartbeat_ms| {
            let (life, address) = (life(node), String::new());
            NodeRow { life, address, status, status_ms: NOW, heartbeat_ms }
        };
        use NodeStatus::{Draining, Offline, Ready, Starting};
        // None of them took users, and each said so.
        let off =
            [row("a", Starting, CENTURY), row("b", Draining, CENTURY), row("c", Offline, CENTURY)];
        let mut dated: BTreeMap<Life, u64> = off.iter().map(|row| (row.life, 0)).collect();
        assert_eq!(latest_of(&off, &dated), 0);
        dated.insert(life("c"), NOW);
        assert_eq!(latest_of(&off, &dated), NOW);
        for status in [Ready, Draining] {
            let of_before = [off.as_slice(), &[row("d", status, NOW + 5)]].concat();
            assert_eq!(latest_of(&of_before, &dated), NOW + 5, "it said nothing of the kind");
        }
    }

    #[test]
    fn who_took_users_dates_on_while_he_leaves_or_is_doubted_and_who_never_did_does_not() {
        use NodeStatus::{Draining, Offline, Ready, Starting};
        let homes = Mutex::default();
        let life = Life { node: "a".parse().unwrap(), generation: 1 };
        let took = |status| took_users(&homes, life, status);
        assert_eq!([Starting, Draining, Offline].map(took), [false; 3]);
        assert_eq!([Ready, Starting, Draining, Offline].map(took), [true; 4]);
        assert!(!took(Starting), "what is over is not kept in mind");
    }

    #[test]
    fn stamps_only_ever_rise() {
        let stamps = Stamps::new();
        let given: Vec<i64> = (0..5_000).map(|_| stamps.next()).collect();
        assert!(given.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(given[0] > 1_700_000_000_000_000, "microseconds since 1970");
    }
}
