//! The promises, one a file, each with the function that judges it.

mod acknowledged;
mod bounded;
mod edits;
mod once;
mod order;
mod presence;
mod reference;
mod ticks;
mod unknown;
mod unread;

use thiserror::Error;

use crate::history::{Event, History, View};

pub use bounded::FLOW_MS;

/// One promise.
pub struct Promise {
    /// Its number among the ten.
    pub number: u8,
    /// Its words.
    pub words: &'static str,
    judge: fn(&History) -> Result<(), String>,
    counts: fn(&History) -> String,
}

impl Promise {
    /// Says how much of a history it was judged by.
    pub fn counts(&self, history: &History) -> String {
        (self.counts)(history)
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("promise {number} is broken ({words}): {values}")]
pub struct Breach {
    /// Which.
    pub number: u8,
    /// Its words.
    pub words: &'static str,
    /// What breaks it.
    pub values: String,
}

/// The ten promises.
pub const PROMISES: [Promise; 10] = [
    Promise {
        number: 1,
        words: "acknowledged means readable",
        judge: acknowledged::judge,
        counts: acknowledged::counts,
    },
    Promise {
        number: 2,
        words: "every device of every member shows each message exactly once",
        judge: once::judge,
        counts: once::counts,
    },
    Promise {
        number: 3,
        words: "all devices show a conversation in one order, and a sender's own order is kept",
        judge: order::judge,
        counts: order::counts,
    },
    Promise {
        number: 4,
        words: "the same reference with the same text is the same message",
        judge: reference::judge,
        counts: reference::counts,
    },
    Promise {
        number: 5,
        words: "ticks only move forward, and only over what is stored",
        judge: ticks::judge,
        counts: ticks::counts,
    },
    Promise {
        number: 6,
        words: "unread is a function of marks and messages, equal on every device",
        judge: unread::judge,
        counts: unread::counts,
    },
    Promise {
        number: 7,
        words: "offline shows in time, and nobody shows offline while a session of his lives",
        judge: presence::judge,
        counts: presence::counts,
    },
    Promise {
        number: 8,
        words: "an edit or deletion is never undone",
        judge: edits::judge,
        counts: edits::counts,
    },
    Promise {
        number: 9,
        words: "an unknown outcome is reported as unknown, and resolved by a retry",
        judge: unknown::judge,
        counts: unknown::counts,
    },
    Promise {
        number: 10,
        words: "every queue is bounded, and no client can make another one wait",
        judge: bounded::judge,
        counts: bounded::counts,
    },
];

/// Gives every promise that the history breaks.
pub fn judge(history: &History) -> Vec<Breach> {
    let breach = |promise: &Promise| {
        let Promise { number, words, judge, .. } = promise;
        let values = judge(history).err()?;
        Some(Breach { number: *number, words, values })
    };
    PROMISES.iter().filter_map(breach).collect()
}

/// Counts events.
fn events(history: &History, which: impl Fn(&Event) -> bool) -> usize {
    history.entries.iter().filter(|entry| which(&entry.event)).count()
}

/// Finds what the store holds of a view's conversation.
fn stored<'a>(history: &'a History, view: &View) -> Option<&'a View> {
    history.stored.iter().find(|stored| stored.conversation == view.conversation)
}
