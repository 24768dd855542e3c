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

use std::collections::{BTreeMap, BTreeSet};

use rally_schema::UserId;
use thiserror::Error;

use crate::history::{Device, Event, History};

pub use bounded::FLOW_MS;

/// One promise.
pub struct Promise {
    /// Its number among the ten.
    pub number: u8,
    /// Its words.
    pub words: &'static str,
    judge: fn(&History) -> Result<(), String>,
    count: fn(&History) -> Count,
}

/// How much a promise was judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// 0: nothing was there by which it could have been found broken.
    pub judged: usize,
    /// What there was, for people.
    pub words: String,
}

impl Promise {
    /// Says how much of a history it was judged by.
    pub fn count(&self, history: &History) -> Count {
        (self.count)(history)
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
        count: acknowledged::count,
    },
    Promise {
        number: 2,
        words: "every device of every member shows each message exactly once",
        judge: once::judge,
        count: once::count,
    },
    Promise {
        number: 3,
        words: "all devices show a conversation in one order, and a sender's own order is kept",
        judge: order::judge,
        count: order::count,
    },
    Promise {
        number: 4,
        words: "the same reference with the same text is the same message",
        judge: reference::judge,
        count: reference::count,
    },
    Promise {
        number: 5,
        words: "ticks only move forward, and only over what is stored",
        judge: ticks::judge,
        count: ticks::count,
    },
    Promise {
        number: 6,
        words: "unread is a function of marks and messages, equal on every device",
        judge: unread::judge,
        count: unread::count,
    },
    Promise {
        number: 7,
        words: "offline shows in time, and nobody shows offline while a session of his lives",
        judge: presence::judge,
        count: presence::count,
    },
    Promise {
        number: 8,
        words: "an edit or deletion is never undone",
        judge: edits::judge,
        count: edits::count,
    },
    Promise {
        number: 9,
        words: "an unknown outcome is reported as unknown, and resolved by a retry",
        judge: unknown::judge,
        count: unknown::count,
    },
    Promise {
        number: 10,
        words: "every queue is bounded, and no client can make another one wait",
        judge: bounded::judge,
        count: bounded::count,
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

/// Lists the devices of each user that ever did anything.
fn devices(history: &History) -> BTreeMap<UserId, BTreeSet<Device>> {
    let mut devices: BTreeMap<UserId, BTreeSet<Device>> = BTreeMap::new();
    for device in history.entries.iter().map(|entry| entry.device) {
        devices.entry(device.user).or_default().insert(device);
    }
    devices
}
