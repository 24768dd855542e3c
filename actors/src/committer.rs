//! Makes intents durable, under the rule of acknowledgement.
//!
//! Each attempt writes the same rows with change ids minted just before it. An attempt
//! counts only when all of it succeeded within half an overlap of those ids; a later or
//! failed one is repeated. Once anything was handed to the store, giving up is `Unknown`.
//!
//! Mailbox: bounded by who waits for an answer: each has one message in it, beyond its room too. In flight:
//! bounded by a setting; beyond it the answer is `Busy`, and nothing was written. Knows nothing of
//! sessions or frames.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use rally_cluster::clock::Clock;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{ChangeKind, Store, StoreError};
use rally_schema::limits::Overlap;
use rally_schema::{ConversationId, UserId};
use thiserror::Error;
use tracing::{Instrument as _, Span, debug};

use crate::metrics::{Metrics, count};
use crate::node::Node;

/// Messages that wait for the committer of one thread, besides one of each who waits for an answer.
const MAILBOX: usize = 1_024;

/// Mark entries remembered before the old ones are swept out for the first time; then at twice as many
/// as are left, so that each is looked at about once.
const NOTED: usize = 16_384;

/// Stores the intents of one actor in one conversation; replies once all are durable.
#[derive(Message)]
#[rtype(result = "Result<(), CommitError>")]
pub struct Write {
    /// Whose, and where.
    pub pair: Pair,
    /// What; written together.
    pub intents: Vec<Intent>,
    /// The span under which the store is waited for.
    pub span: Span,
}

/// Why intents are not known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Nothing was written.
    #[error("too much waits to be written: nothing was")]
    Busy,
    /// Some of it may have been written.
    #[error("the store did not confirm in time")]
    Unknown,
}

impl CommitError {
    /// Gives the stable name under which it is counted and traced.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        }
    }
}

/// Replies with the number of commits in flight.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct InFlight;

/// Until when an acknowledged entry of a user's log stands for later marks of its kind.
struct Noted {
    at: BTreeMap<(UserId, ConversationId, ChangeKind), u64>,
    /// Beyond so many the old ones are swept out.
    sweep_at: usize,
}

impl Default for Noted {
    fn default() -> Self {
        Self { at: BTreeMap::new(), sweep_at: NOTED }
    }
}

impl Noted {
    /// Remembers an entry of now, and forgets those that are `old_ms`.
    fn note(&mut self, key: (UserId, ConversationId, ChangeKind), now: u64, old_ms: u64) {
        self.at.insert(key, now);
        if self.at.len() > self.sweep_at {
            self.at.retain(|_, at| now.saturating_sub(*at) < old_ms);
            self.sweep_at = NOTED.max(2 * self.at.len());
        }
    }
}

/// The committer of one thread.
pub struct Committer {
    core: Rc<Core>,
}

struct Core {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    overlap: Overlap,
    attempt: Duration,
    give_up_ms: u64,
    most_in_flight: usize,
    in_flight: Cell<usize>,
    noted: Rc<RefCell<Noted>>,
}

impl Committer {
    /// Writes to the node's store.
    pub fn new(node: &Node) -> Self {
        Self::over(node.store.clone(), node.clock.clone(), node.metrics.clone(), &node.settings)
    }

    fn over(
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: Metrics,
        settings: &crate::Settings,
    ) -> Self {
        let core = Core {
            store,
            clock,
            metrics,
            overlap: settings.overlap,
            attempt: Duration::from_millis(settings.commit_timeout_ms),
            give_up_ms: settings.commit_give_up_ms,
            most_in_flight: settings.commits_in_flight,
            in_flight: Cell::new(0),
            noted: Rc::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Actor for Committer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Write> for Committer {
    type Result = ResponseFuture<Result<(), CommitError>>;

    fn handle(&mut self, write: Write, _: &mut Self::Context) -> Self::Result {
        let core = self.core.clone();
        if core.in_flight.get() >= core.most_in_flight {
            count(&core.metrics.commits, "busy");
            return Box::pin(std::future::ready(Err(CommitError::Busy)));
        }
        let place = Place::take(core);
        let span = write.span.clone();
        Box::pin(async move { place.0.write(write).await }.instrument(span))
    }
}

impl Handler<InFlight> for Committer {
    type Result = usize;

    fn handle(&mut self, _: InFlight, _: &mut Self::Context) -> usize {
        self.core.in_flight.get()
    }
}

/// One place among the commits in flight.
struct Place(Rc<Core>);

impl Place {
    fn take(core: Rc<Core>) -> Self {
        core.in_flight.set(core.in_flight.get() + 1);
        core.metrics.commits_in_flight.inc();
        Self(core)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.metrics.commits_in_flight.dec();
    }
}

impl Core {
    async fn write(&self, mut write: Write) -> Result<(), CommitError> {
        let began_us = self.clock.monotonic_us();
        let outcome = self.repeat(&mut write).await;
        let took_us = self.clock.monotonic_us() - began_us;
        self.metrics.commit_seconds.observe(took_us as f64 / 1e6);
        let name = outcome.map_or_else(CommitError::name, |()| "done");
        count(&self.metrics.commits, name);
        debug!(took_us, outcome = name, "commit ended");
        outcome
    }

    async fn repeat(&self, write: &mut Write) -> Result<(), CommitError> {
        let give_up_at = self.clock.monotonic_ms() + self.give_up_ms;
        let mut sent = false;
        let mut pause_ms = 20;
        loop {
            match self.attempt(write).await {
                Ok(true) => return Ok(()),
                Err(StoreError::Busy) if !sent => return Err(CommitError::Busy),
                Ok(false) => {}
                Err(error) => {
                    let now_ms = self.clock.now_ms();
                    self.metrics.incidents.store_failed(
                        now_ms,
                        "a commit was not confirmed",
                        &error,
                    );
                }
            }
            sent = true;
            if self.clock.monotonic_ms() + pause_ms >= give_up_at {
                return Err(CommitError::Unknown);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = (pause_ms * 2).min(1_000);
        }
    }

    /// Writes once. `Ok(false)`: all is written, but too late to say so with these change ids.
    async fn attempt(&self, write: &mut Write) -> Result<bool, StoreError> {
        // Nothing may be dated by a clock of which nobody knows whether it is right.
        if self.clock.is_in_doubt() {
            return Err(StoreError::Busy);
        }
        // Taken before the first id is minted, so no id of this attempt is older.
        let began = self.clock.now_ms();
        let pair = write.pair;
        self.note_marks(pair, &mut write.intents, began);
        let commits = write.intents.iter().map(|i| i.commit(pair, || self.clock.mint())).collect();
        let stored = tokio::time::timeout(self.attempt, self.store.commit(commits)).await;
        let stored =
            stored.unwrap_or_else(|_| Err(StoreError::Unknown("no answer in time".to_owned())));
        if stored.is_err() && planted::on(Fault::AckUnconfirmed) {
            return Ok(true);
        }
        stored?;
        // By the larger of wall and monotonic time: while the wall is ahead nobody knows which it is.
        let took_ms = self.clock.now_ms() - began;
        let in_time = !self.clock.is_in_doubt() && took_ms <= self.overlap.ack_within_ms();
        if in_time {
            self.remember_marks(pair, &write.intents, began);
        }
        Ok(in_time)
    }

    /// Leaves out the log entry of a mark for which a young acknowledged one stands.
    fn note_marks(&self, pair: Pair, intents: &mut [Intent], now: u64) {
        let noted = self.noted.borrow();
        for intent in intents {
            let Intent::Mark { read, note, .. } = intent else { continue };
            let kind = if read.is_some() { ChangeKind::Read } else { ChangeKind::Delivered };
            let stands = noted
                .at
                .get(&(pair.actor, pair.conversation, kind))
                .is_some_and(|at| now.saturating_sub(*at) < self.overlap.mark_change_ms());
            *note = (!stands && !planted::on(Fault::MarkUnlogged)).then_some(kind);
        }
    }

    fn remember_marks(&self, pair: Pair, intents: &[Intent], began: u64) {
        let mut noted = self.noted.borrow_mut();
        for intent in intents {
            if let Intent::Mark { note: Some(kind), .. } = intent {
                let key = (pair.actor, pair.conversation, *kind);
                noted.note(key, began, self.overlap.mark_change_ms());
            }
        }
    }
}
