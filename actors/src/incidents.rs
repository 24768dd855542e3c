//! What went wrong lately, in words: the last [`KEPT`] incidents of a node.
//!
//! For whoever looks after the cluster; nothing is decided by it. What happens again and again is
//! one incident that says how often, so that a few faults do not push all others out; and what the
//! store fails to do is logged from here, so that thousands of sessions that meet the same failure
//! do not fill the log with it. Nothing that people wrote is in the words.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

/// Incidents that are remembered.
pub const KEPT: usize = 100;

/// Among so many of the last ones it is looked whether something happened before.
const RECENT: usize = 16;

/// How long the log is silent about a failure of the store that it has told.
const SILENT_MS: u64 = 10_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Another node fell silent.
    Suspected,
    /// Another node was given up.
    Offline,
    /// A silent node was heard again.
    Back,
    /// Other nodes take users than before.
    MapChanged,
    /// Parcels from another node were lost.
    GapHeard,
    /// This node's queue at the broker began anew.
    QueueReopened,
    /// This node's clock is too far from the others' to take users.
    ClockOff,
    /// It is near them again.
    ClockNear,
    /// The machine's clock went ahead at once.
    ClockStepped,
    /// The store did not do what it was asked.
    StoreError,
}

impl Kind {
    /// Gives its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Offline => "offline",
            Self::Back => "back",
            Self::MapChanged => "map_changed",
            Self::GapHeard => "gap_heard",
            Self::QueueReopened => "queue_reopened",
            Self::ClockOff => "clock_off",
            Self::ClockNear => "clock_near",
            Self::ClockStepped => "clock_stepped",
            Self::StoreError => "store_error",
        }
    }
}

/// One thing that happened, once or several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// What.
    pub kind: Kind,
    /// The same for people.
    pub words: String,
    /// When it happened first, by the node's clock.
    pub at_ms: u64,
    /// When it happened last.
    pub last_ms: u64,
    /// How often.
    pub times: u64,
    /// Until when the log has told of it, and how often it had happened then.
    logged: (u64, u64),
}

impl Incident {
    /// Gives how often it happened since the log told of it, if the log should tell now.
    fn untold(&mut self, now_ms: u64) -> Option<u64> {
        let (silent_until, told) = self.logged;
        let due = now_ms >= silent_until;
        due.then(|| {
            self.logged = (now_ms + SILENT_MS, self.times);
            self.times - told
        })
    }
}

/// The last incidents of a node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Incidents(Arc<Mutex<VecDeque<Incident>>>);

impl Incidents {
    /// Notes what happened at `now_ms` of the node's clock; the oldest gives way.
    pub fn note(&self, now_ms: u64, kind: Kind, words: String) {
        self.happened(now_ms, kind, words, |_| ());
    }

    /// Notes that the store did not do `what`, and logs it: at once the first time, and then every
    /// ten seconds with how often it happened meanwhile.
    pub fn store_failed(&self, now_ms: u64, what: &str, error: &dyn fmt::Display) {
        let words = format!("{what}: {error}");
        let untold = self.happened(now_ms, Kind::StoreError, words, |it| it.untold(now_ms));
        if let Some(times) = untold {
            warn!(%error, times, "{what}");
        }
    }

    fn happened<T>(
        &self,
        now_ms: u64,
        kind: Kind,
        words: String,
        look: impl FnOnce(&mut Incident) -> T,
    ) -> T {
        let mut kept = self.0.lock();
        let oldest = kept.len().saturating_sub(RECENT);
        let known =
            (oldest..kept.len()).find(|at| kept[*at].kind == kind && kept[*at].words == words);
        let mut incident = known.and_then(|at| kept.remove(at)).unwrap_or(Incident {
            kind,
            words,
            at_ms: now_ms,
            last_ms: now_ms,
            times: 0,
            logged: (0, 0),
        });
        (incident.last_ms, incident.times) = (now_ms, incident.times + 1);
        let seen = look(&mut incident);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(incident);
        seen
    }

    /// Gives those that are remembered, the newest first.
    pub fn newest_first(&self) -> Vec<Incident> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_and_the_newest_comes_first() {
        let incidents = Incidents::default();
        (0..250).for_each(|n| incidents.note(n, Kind::GapHeard, format!("{n}")));
        let kept = incidents.newest_first();
        assert_eq!((kept.len(), &*kept[0].words, &*kept[99].words), (100, "249", "150"));
    }

    #[test]
    fn what_happens_again_and_again_is_one_incident() {
        let incidents = Incidents::default();
        incidents.note(1, Kind::Suspected, "b".to_owned());
        (2..9).for_each(|ms| incidents.note(ms, Kind::StoreError, "no answer".to_owned()));
        let kept = incidents.newest_first();
        assert_eq!(kept.len(), 2);
        assert_eq!((kept[0].at_ms, kept[0].last_ms, kept[0].times), (2, 8, 7));
    }

    #[test]
    fn failures_that_take_turns_leave_the_others_where_they_were() {
        let incidents = Incidents::default();
        incidents.note(1, Kind::Suspected, "b".to_owned());
        for ms in 2..2_000 {
            incidents.note(ms, Kind::StoreError, format!("no answer to question {}", ms % 9));
        }
        let kept = incidents.newest_first();
        assert_eq!((kept.len(), kept[0].last_ms, &*kept[9].words), (10, 1_999, "b"));
    }

    #[test]
    fn the_log_tells_of_a_failure_at_once_and_then_how_often_it_happened_meanwhile() {
        let incidents = Incidents::default();
        let told: Vec<u64> = (0..25)
            .filter_map(|second| {
                incidents.happened(second * 1_000, Kind::StoreError, "no".to_owned(), |it| {
                    it.untold(second * 1_000)
                })
            })
            .collect();
        assert_eq!(told, [1, 10, 10]);
    }
}
