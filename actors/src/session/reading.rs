//! What the store says of a user: his account, which of his log-ins are over, and his log from a
//! position on.
//!
//! After a node's death every session is in doubt at once, and each tab of a user would read the
//! same. So those that wait in one line read together, from the earliest of their positions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{try_join_all, try_join3};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{Change, StoreError, UserRow};
use rally_schema::limits::{CATCH_UP_MESSAGES, CURSOR_DAYS};
use rally_schema::{ChangeId, Cursor, UserId};
use uuid::Uuid;

use crate::admission::Line;
use crate::node::Node;
use crate::together::{Together, Unbegun, Work};

/// How long to wait after a first failed read, and for a clock in doubt.
pub(super) const AGAIN: Duration = Duration::from_millis(700);

/// Entries of the log read at once.
const CHANGES_PAGE: usize = 500;

/// Entries of the log in which a catch-up looks for its messages: they may all be of a few, each
/// edited a thousand times.
const CATCH_UP_CHANGES: usize = 4 * CATCH_UP_MESSAGES;

/// From where a client wants to know everything, if that can be read.
pub(super) type Position = Result<Option<Cursor>, ()>;

/// The readings of one thread that have not begun.
pub type Readings = Together<(UserId, Line), Common, Reading>;

/// How a reading ended.
pub type Reading = Result<Rc<Read>, StoreError>;

/// What the sessions that wait for one reading have in common.
#[derive(Default)]
pub struct Common {
    phase: Cell<Phase>,
    askers: RefCell<Vec<Asker>>,
}

/// A session that waits for a reading.
pub(super) struct Asker {
    /// From where it wants to know everything.
    pub(super) position: Rc<Cell<Position>>,
    /// By which log-in it was opened, as far as that is known.
    pub(super) log_in: Option<Uuid>,
}

/// How far a reading is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// What is stored by now will be read.
    #[default]
    Waits,
    /// It finds out what there is to read.
    ReadsLog,
    /// It has; each session reads the rows.
    ReadsRows,
}

impl Common {
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }
}

/// What was read.
pub struct Read {
    /// Everything that was stored before is read.
    pub(super) cursor: Cursor,
    pub(super) account: Option<UserRow>,
    /// Which log-ins of those who asked are over.
    pub(super) revoked: BTreeSet<Uuid>,
    /// From when the log was read: `None` when no position could be read from.
    pub(super) from: Option<u64>,
    /// `None` when it is too much.
    pub(super) log: Option<Vec<Change>>,
}

/// Has a user's account and log read, from the asker's position at the latest, with who else waits
/// for it.
pub(super) fn read_together(
    readings: &Readings,
    node: &Arc<Node>,
    user: UserId,
    line: Line,
    asker: Asker,
) -> (Work<Reading>, Rc<Common>) {
    let (work, common) = readings.join((user, line), |common, unbegun| {
        let node = node.clone();
        async move { read(&node, user, line, &common, unbegun).await.map(Rc::new) }
    });
    common.askers.borrow_mut().push(asker);
    (work, common)
}

async fn read(
    node: &Node,
    user: UserId,
    line: Line,
    common: &Common,
    unbegun: Unbegun,
) -> Result<Read, StoreError> {
    // A cursor ahead of the others' clocks would leave out what they store meanwhile. Nobody keeps a
    // place for as long as that may take.
    let _permit = loop {
        while node.clock.is_in_doubt() {
            tokio::time::sleep(AGAIN).await;
        }
        let permit = node.admission.enter(line).await;
        if !node.clock.is_in_doubt() {
            break permit;
        }
    };
    drop(unbegun);
    common.phase.set(Phase::ReadsLog);
    let cursor = node.cursor(node.clock.now_ms());
    let askers = common.askers.take();
    let from = |asker: &Asker| from_when(asker.position.get(), node, cursor.at).ok();
    let earliest = askers.iter().filter_map(from).min();
    let log_ins = askers.iter().filter_map(|asker| asker.log_in).collect();
    let log = async {
        match earliest {
            Some(from) => read_log(node, user, from).await,
            None => Ok(None),
        }
    };
    let read = try_join3(node.store.user(user), revoked(node, log_ins), log);
    let (account, revoked, log) = read.await?;
    common.phase.set(Phase::ReadsRows);
    Ok(Read { cursor, account, revoked, from: earliest, log })
}

/// Leaves those log-ins that are over: at most one for each session of a user.
async fn revoked(node: &Node, log_ins: BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, StoreError> {
    let look = |id| node.store.is_revoked(id).map_ok(move |is_revoked| is_revoked.then_some(id));
    let looked = try_join_all(log_ins.into_iter().map(look)).await?;
    Ok(looked.into_iter().flatten().collect())
}

/// Says from when to read, or why the position is of no use.
pub(super) fn from_when(position: Position, node: &Node, now: u64) -> Result<u64, &'static str> {
    let cursor = position.map_err(|()| "malformed")?.ok_or("none")?;
    if cursor.store != node.store.id() {
        return Err("other_store");
    }
    if cursor.at > now {
        return Err("ahead");
    }
    if now - cursor.at > CURSOR_DAYS * 86_400_000 {
        return Err("too_old");
    }
    Ok(cursor.at)
}

/// Names the entry, an overlap before `from`, behind which to read.
pub(super) fn after(node: &Node, from: u64) -> ChangeId {
    let overlap_ms = if planted::on(Fault::NoOverlap) { 0 } else { node.settings.overlap.ms };
    ChangeId::first_of(from.saturating_sub(overlap_ms))
}

/// Reads the log from an overlap before `from`; `None` when too much comes after it.
pub(super) async fn read_log(
    node: &Node,
    user: UserId,
    from: u64,
) -> Result<Option<Vec<Change>>, StoreError> {
    let mut log = Vec::new();
    let mut recent = BTreeSet::new();
    let mut after = after(node, from);
    loop {
        let page = node.store.changes(user, after, CHANGES_PAGE).await?;
        let new = page.iter().filter(|one| one.kind.is_of_message() && one.change.at() >= from);
        recent.extend(new.map(|one| one.id));
        log.extend_from_slice(&page);
        if recent.len() > CATCH_UP_MESSAGES || log.len() > CATCH_UP_CHANGES {
            return Ok(None);
        }
        match page.last() {
            Some(last) if page.len() == CHANGES_PAGE => after = last.change,
            _ => return Ok(Some(log)),
        }
    }
}
