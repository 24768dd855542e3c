//! Offline shows in time, and nobody shows offline while one of his sessions lives.
//!
//! Who has no session any more is shown offline no later than [`OFFLINE_MS`] after the last one
//! went, though it went without a word: 25 s until a silent socket is given up, 2 s in which it may
//! read a goodbye, 5 s of grace, in which a reload does not flicker, and 2 s to look, to store and
//! to tell. Who has a session is shown online no later than [`ONLINE_MS`] after it began, and from
//! then on as long as it lives, whoever else goes or dies. To both bounds comes as long as some node
//! stood still meanwhile, did not reach the broker, or could not be told from one that is dead:
//! gossip and broker were bad at once, or a life began while gossip was; as long as the store failed;
//! and as long as the checker itself did not run.
//! Who blocks whom, or did a moment ago, tells him nothing, and is told nothing by him; what is shown
//! then stays until something else is told.
//! A session whose client does not read for a while proves nothing: it is shown nothing new, and
//! its node may take it for silent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rally_schema::UserId;

use super::Count;
use crate::history::{Device, Entry, Event, History, Span};
use crate::spans::Spans;

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
    /// Where in there the last of each is.
    last: HashMap<UserId, usize>,
}

/// A wrong presence that a device showed.
struct Wrong {
    watcher: Device,
    user: UserId,
    online: bool,
    since_ms: u64,
    until_ms: u64,
    /// For how long, less what excuses it.
    late_ms: u64,
}

pub(super) fn judge(history: &History) -> Result<(), String> {
    let bound = |wrong: &Wrong| if wrong.online { OFFLINE_MS } else { ONLINE_MS };
    let mut late = None;
    every_wrong(history, |wrong| {
        if late.is_none() && wrong.late_ms > bound(&wrong) {
            late = Some(wrong);
        }
    });
    let Some(Wrong { watcher, user, online, since_ms, until_ms, .. }) = late else { return Ok(()) };
    let state = if online { "online" } else { "offline" };
    Err(format!(
        "{watcher} was shown {user} {state} until {until_ms} ms, which was wrong since {since_ms} ms"
    ))
}

/// Finds everything that was wrong when it was shown, as all of it is for a moment.
fn every_wrong(history: &History, mut found: impl FnMut(Wrong)) {
    let (sessions, blocks) = (sessions(history), blocks(history));
    let (lives, stalls) = (lives(&sessions), Spans::union(history.stalls.iter().copied()));
    let nobody = Lives::default();
    for watcher in sessions.iter().filter(|watcher| watcher.reads) {
        for (user, online, shown) in &watcher.shown {
            let between = pair(watcher.device.user, *user);
            let blocked = blocks.get(&between);
            if blocked.is_some_and(|spans| !spans.within(shown.from_ms, shown.to_ms).is_empty()) {
                continue;
            }
            let his = lives.get(user).unwrap_or(&nobody);
            let mut wrong = |since_ms: u64, until_ms: u64| {
                if let Some(wrong_ms) = until_ms.checked_sub(since_ms) {
                    let late_ms = wrong_ms - stalls.covered(since_ms, until_ms);
                    let (watcher, user, online) = (watcher.device, *user, *online);
                    found(Wrong { watcher, user, online, since_ms, until_ms, late_ms });
                }
            };
            if *online {
                for gap in his.perhaps.gaps(shown.from_ms, shown.to_ms) {
                    wrong(gap.from_ms, gap.to_ms.min(shown.to_ms));
                }
            } else {
                for span in his.surely(*shown) {
                    wrong(span.from_ms.max(shown.from_ms), span.to_ms.min(shown.to_ms));
                }
            }
        }
    }
}

/// When a user had sessions.
#[derive(Default)]
struct Lives {
    /// When there may have been one.
    perhaps: Spans,
    /// When there surely was one, each device's in their order. One session has to last: two
    /// that follow each other are two that have to be shown.
    surely: BTreeMap<u8, Vec<Span>>,
}

impl Lives {
    /// Gives the sessions that surely were, and have a part within a span.
    fn surely(&self, within: Span) -> impl Iterator<Item = Span> {
        self.surely.values().flat_map(move |spans| {
            let first = spans.partition_point(|span| span.to_ms <= within.from_ms);
            spans[first..].iter().copied().take_while(move |span| span.from_ms < within.to_ms)
        })
    }
}

fn lives(sessions: &[Session]) -> HashMap<UserId, Lives> {
    let mut perhaps: HashMap<UserId, Vec<Span>> = HashMap::new();
    let mut lives: HashMap<UserId, Lives> = HashMap::new();
    for session in sessions {
        let Device { user, number } = session.device;
        perhaps.entry(user).or_default().push(session.span);
        if let Some(span) = session.surely() {
            lives.entry(user).or_default().surely.entry(number).or_default().push(span);
        }
    }
    for (user, spans) in perhaps {
        lives.entry(user).or_default().perhaps = Spans::union(spans);
    }
    lives
}

fn pair(one: UserId, other: UserId) -> [UserId; 2] {
    if one < other { [one, other] } else { [other, one] }
}

/// Gives for how long a block between two users may have been felt, whichever of them blocks. One
/// counts until it is lifted as often as it was begun: by several devices, perhaps.
fn blocks(history: &History) -> HashMap<[UserId; 2], Spans> {
    let mut open: HashMap<[UserId; 2], (u64, u32)> = HashMap::new();
    let mut felt: HashMap<[UserId; 2], Vec<Span>> = HashMap::new();
    for entry in &history.entries {
        let Event::Blocks { user, blocked } = &entry.event else { continue };
        let who = [entry.device.user, *user];
        let (since_ms, times) = open.remove(&who).unwrap_or((entry.at_ms, 0));
        let times = if *blocked { times + 1 } else { times.saturating_sub(1) };
        if times > 0 {
            open.insert(who, (since_ms, times));
        } else {
            let span = Span { from_ms: since_ms, to_ms: entry.at_ms.saturating_add(BLOCK_MS) };
            felt.entry(pair(who[0], who[1])).or_default().push(span);
        }
    }
    for (who, (from_ms, _)) in open {
        let span = Span { from_ms, to_ms: u64::MAX };
        felt.entry(pair(who[0], who[1])).or_default().push(span);
    }
    felt.into_iter().map(|(pair, spans)| (pair, Spans::union(spans))).collect()
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
                let (shown, last) = (Vec::new(), HashMap::new());
                let reads = !deaf.contains(&device);
                let began = Session { device, span, synced_ms: None, reads, shown, last };
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

    /// Shows something else of a user from now on.
    fn shows(&mut self, user: UserId, online: bool, span: Span) {
        if let Some(before) = self.last.insert(user, self.shown.len()) {
            self.shown[before].2.to_ms = span.from_ms;
        }
        self.shown.push((user, online, span));
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
        session.shows(user, online, Span { from_ms: entry.at_ms, to_ms: ended_ms });
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
    let mut late_ms = [0; 2];
    every_wrong(history, |wrong| {
        let most = &mut late_ms[usize::from(wrong.online)];
        *most = wrong.late_ms.max(*most);
    });
    let [online, offline] = late_ms;
    let words = format!(
        "{watched} watched, {told} told; offline shown {offline} ms late at most, online {online} ms"
    );
    Count { judged: watched, words }
}
