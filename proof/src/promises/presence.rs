//! Offline shows in time, and nobody shows offline while one of his sessions lives.
//!
//! Who has no session any more is shown offline no later than [`OFFLINE_MS`] after the last one
//! went, though it went without a word: 25 s until a silent socket is given up, 2 s in which it may
//! read a goodbye, 5 s of grace, in which a reload does not flicker, and 2 s to look, to store and
//! to tell. Who has a session is shown online no later than [`ONLINE_MS`] after it began, and from then on as long as it lives,
//! whoever else goes or dies. To both bounds comes as long as some node stood still meanwhile, did
//! not reach the broker, or could not be told from one that is dead: gossip and broker were bad at
//! once, or a life began while gossip was; as long as the store failed; and as long as the checker
//! itself did not run.
//! Who blocks whom, or did a moment ago, tells him nothing, and is told nothing by him; what is shown
//! then stays until something else is told.
//! A session whose client does not read for a while proves nothing: it is shown nothing new, and
//! its node may take it for silent.

use std::collections::{BTreeMap, BTreeSet};

use rally_schema::UserId;

use super::Count;
use crate::history::{Device, Entry, Event, History, Span};

/// How long after the end of his last session a user may be shown online.
pub const OFFLINE_MS: u64 = 25_000 + 2_000 + 5_000 + 2_000;

/// How long after the begin of a session its user may be shown offline.
pub const ONLINE_MS: u64 = 5_000;

/// How long after its end a block may be felt: for as long as a node may keep one in mind, and until
/// what it hid is told.
const BLOCK_MS: u64 = 10_000 + 5_000;

/// One session of a device, as far as the device knows.
struct Session {
    device: Device,
    /// From when it may have been to when it was no more.
    span: Span,
    /// From when it surely was, if ever.
    synced_ms: Option<u64>,
    /// Whether its client read all the time.
    reads: bool,
    /// What it was told of the users whom it watches, and from when to when that was shown.
    shown: Vec<(UserId, bool, Span)>,
}

pub(super) fn judge(history: &History) -> Result<(), String> {
    let (sessions, blocks) = (sessions(history), blocks(history));
    for watcher in sessions.iter().filter(|watcher| watcher.reads) {
        for (user, online, shown) in &watcher.shown {
            let between = [watcher.device.user, *user];
            let hidden = |(pair, span): &([UserId; 2], Span)| {
                (*pair == between || [pair[1], pair[0]] == between)
                    && span.from_ms < shown.to_ms
                    && shown.from_ms < span.to_ms + BLOCK_MS
            };
            if blocks.iter().any(hidden) {
                continue;
            }
            let his = sessions.iter().filter(|other| other.device.user == *user);
            let wrong = if *online {
                let perhaps: Vec<Span> = his.map(|session| session.span).collect();
                online_too_long(history, &perhaps, *shown)
            } else {
                let surely: Vec<Span> = his.filter_map(Session::surely).collect();
                offline_though_here(history, &surely, *shown)
            };
            if let Some(since_ms) = wrong {
                return Err(format!(
                    "{} was shown {user} {} until {} ms, which was wrong since {since_ms} ms",
                    watcher.device,
                    if *online { "online" } else { "offline" },
                    shown.to_ms
                ));
            }
        }
    }
    Ok(())
}

/// Tells since when nobody lived, if that was too long before the end of what was shown.
fn online_too_long(history: &History, lived: &[Span], shown: Span) -> Option<u64> {
    // Each end of a session may have been the last one's.
    let ends = lived.iter().map(|span| span.to_ms).chain([0]);
    ends.filter(|end| *end < shown.to_ms).find(|end| {
        let next = lived.iter().map(|span| span.from_ms).filter(|from| from >= end).min();
        let until = next.unwrap_or(shown.to_ms).min(shown.to_ms);
        let others = lived.iter().any(|span| span.from_ms < *end && *end < span.to_ms);
        let due = end + OFFLINE_MS + stood_still(history, *end, until);
        !others && until > due.max(shown.from_ms)
    })
}

/// Tells since when one session lived all through, if it was shown offline for too long of that.
fn offline_though_here(history: &History, lived: &[Span], shown: Span) -> Option<u64> {
    lived.iter().find_map(|span| {
        let from = span.from_ms.max(shown.from_ms);
        let until = span.to_ms.min(shown.to_ms);
        (until > from + ONLINE_MS + stood_still(history, from, until)).then_some(from)
    })
}

/// Sums up for how long some node stood still in a span of time.
fn stood_still(history: &History, from: u64, to: u64) -> u64 {
    let within = |stall: &Span| stall.to_ms.min(to).saturating_sub(stall.from_ms.max(from));
    history.stalls.iter().map(within).sum()
}

/// Gives when who blocked whom.
fn blocks(history: &History) -> Vec<([UserId; 2], Span)> {
    let mut blocks = Vec::<([UserId; 2], Span)>::new();
    for entry in &history.entries {
        let Event::Blocks { user, blocked } = &entry.event else { continue };
        let pair = [entry.device.user, *user];
        if *blocked {
            let span = Span { from_ms: entry.at_ms, to_ms: history.ended_ms };
            blocks.push((pair, span));
        } else if let Some((_, span)) = blocks.iter_mut().rev().find(|(other, _)| *other == pair) {
            span.to_ms = entry.at_ms;
        }
    }
    blocks
}

fn sessions(history: &History) -> Vec<Session> {
    let mut over = Vec::new();
    let mut open: BTreeMap<Device, Session> = BTreeMap::new();
    let mut deaf = BTreeSet::new();
    for entry in &history.entries {
        let (device, at_ms) = (entry.device, entry.at_ms);
        match &entry.event {
            Event::Connects { .. } => {
                let span = Span { from_ms: at_ms, to_ms: history.ended_ms };
                let shown = Vec::new();
                let reads = !deaf.contains(&device);
                let began = Session { device, span, synced_ms: None, reads, shown };
                over.extend(open.insert(device, began).map(|session| end(session, at_ms)));
            }
            Event::Synced => {
                if let Some(session) = open.get_mut(&device) {
                    session.synced_ms.get_or_insert(at_ms);
                }
            }
            Event::Disconnected => {
                over.extend(open.remove(&device).map(|session| end(session, at_ms)));
            }
            Event::StopsReading => {
                deaf.insert(device);
                if let Some(session) = open.get_mut(&device) {
                    session.reads = false;
                }
            }
            Event::Reads => drop(deaf.remove(&device)),
            Event::Watches { user } => shows(&mut open, entry, *user, false, history.ended_ms),
            Event::Presence { user, online } => {
                shows(&mut open, entry, *user, *online, history.ended_ms);
            }
            _ => {}
        }
    }
    over.extend(open.into_values());
    over
}

impl Session {
    /// Gives when it surely was.
    fn surely(&self) -> Option<Span> {
        let synced_ms = self.synced_ms.filter(|_| self.reads);
        synced_ms.map(|from_ms| Span { from_ms, ..self.span })
    }

    /// Ends what was shown of a user until now.
    fn told(&mut self, user: UserId, at_ms: u64) {
        let before = self.shown.iter_mut().rev().find(|(other, _, _)| *other == user);
        if let Some((_, _, span)) = before {
            span.to_ms = at_ms;
        }
    }
}

/// Notes what a device shows of a user from now on: nothing but that he is offline, until it is told.
fn shows(
    open: &mut BTreeMap<Device, Session>,
    entry: &Entry,
    user: UserId,
    online: bool,
    ended_ms: u64,
) {
    if let Some(session) = open.get_mut(&entry.device) {
        session.told(user, entry.at_ms);
        let span = Span { from_ms: entry.at_ms, to_ms: ended_ms };
        session.shown.push((user, online, span));
    }
}

fn end(mut session: Session, at_ms: u64) -> Session {
    session.span.to_ms = at_ms;
    for (_, _, span) in &mut session.shown {
        span.to_ms = span.to_ms.min(at_ms);
    }
    session
}

pub(super) fn count(history: &History) -> Count {
    let watched = super::events(history, |event| matches!(event, Event::Watches { .. }));
    let told = super::events(history, |event| matches!(event, Event::Presence { .. }));
    Count { judged: watched, words: format!("{watched} watched, {told} told") }
}
