//! What Rally promises, and how a record of what happened is judged by it.
//!
//! A [`History`] is what devices did and saw, written down by whoever drove them: a simulation,
//! or a checker from outside. Each promise is one file under `promises/`, with one function that
//! reads a history and finds nothing, or the breach: the promise, and the values that break it.
//! `phone/` is the client that all of them drive: what it keeps to, no driver has to know. Knows
//! nothing of servers, stores or actors.

pub mod file;
pub mod history;
pub mod phone;
pub mod promises;
mod spans;

pub use history::{Device, Event, History, Queue, Shown, Span, View};
pub use promises::{Breach, FLOW_MS, PROMISES, Promise, Verdict, judge, verdicts};
