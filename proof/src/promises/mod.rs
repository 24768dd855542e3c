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
use std::num::NonZero;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use foldhash::HashSet;
use rally_schema::UserId;
use thiserror::Error;

use crate::history::{Device, Event, History};

pub use bounded::FLOW_MS;

/// One promise.
#[derive(Debug)]
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
    /// Looks whether a history breaks it.
    ///
    /// # Errors
    ///
    /// It does.
    pub fn judge(&self, history: &History) -> Result<(), Breach> {
        let Self { number, words, judge, .. } = self;
        judge(history).map_err(|values| Breach { number: *number, words, values })
    }

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

/// What is said of one promise.
#[derive(Debug)]
pub struct Verdict {
    /// Which.
    pub promise: &'static Promise,
    /// What breaks it, if anything does.
    pub breach: Option<Breach>,
    /// By how much it was judged.
    pub count: Count,
}

/// Judges all promises, and says by how much each: in their order, and on all cores.
pub fn verdicts(history: &History) -> Vec<Verdict> {
    let next = AtomicUsize::new(PROMISES.len());
    let work = || {
        let mut verdicts = Vec::new();
        // From the last on, which takes the longest.
        while let Ok(left) = next.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            let promise = &PROMISES[left - 1];
            let (breach, count) = (promise.judge(history).err(), promise.count(history));
            verdicts.push(Verdict { promise, breach, count });
        }
        verdicts
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(PROMISES.len());
    let mut verdicts = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("judges do not panic"));
        done.flatten().collect::<Vec<_>>()
    });
    verdicts.sort_by_key(|verdict| verdict.promise.number);
    verdicts
}

/// Gives every promise that the history breaks.
pub fn judge(history: &History) -> Vec<Breach> {
    PROMISES.iter().filter_map(|promise| promise.judge(history).err()).collect()
}

/// Counts events.
fn events(history: &History, which: impl Fn(&Event) -> bool) -> usize {
    history.entries.iter().filter(|entry| which(&entry.event)).count()
}

/// Lists the devices of each user that ever did anything.
fn devices(history: &History) -> BTreeMap<UserId, BTreeSet<Device>> {
    let known: HashSet<Device> = history.entries.iter().map(|entry| entry.device).collect();
    let mut devices: BTreeMap<UserId, BTreeSet<Device>> = BTreeMap::new();
    for device in known {
        devices.entry(device.user).or_default().insert(device);
    }
    devices
}
