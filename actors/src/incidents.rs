//! What went wrong lately, in words: the last [`KEPT`] incidents of a node.
//!
//! For whoever looks after the cluster; nothing is decided by it. What happens again and again is
//! one incident that says how often, so that one fault does not push all others out. Nothing that
//! people wrote is in the words.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Incidents that are remembered.
pub const KEPT: usize = 100;

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

/// One thing that happened, once or several times in a row.
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
}

/// The last incidents of a node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Incidents(Arc<Mutex<VecDeque<Incident>>>);

impl Incidents {
    /// Notes what happened at `now_ms` of the node's clock; the oldest gives way.
    pub fn note(&self, now_ms: u64, kind: Kind, words: String) {
        let mut kept = self.0.lock();
        if let Some(last) = kept.back_mut().filter(|last| last.kind == kind && last.words == words)
        {
            (last.last_ms, last.times) = (now_ms, last.times + 1);
            return;
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Incident { kind, words, at_ms: now_ms, last_ms: now_ms, times: 1 });
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
}
