//! Catch-up: reading from the store what a push may have missed.
//!
//! One mechanism for every doubt. The session is attached to its router already, so what
//! is stored after the read began is pushed; pushes that come meanwhile are held, within
//! the outgoing budget, and follow `synced`. When they do not fit, it runs once more.
//!
//! Before the read begins it may have to wait for a place, behind thousands who come back from a
//! node that died. An open session is pushed to meanwhile, and while the log is read: rows are
//! read only afterwards, so none of them is older than what was pushed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bytes::Bytes;
use futures_util::future::{poll_fn, try_join};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{Change, ChangeKind, StoreError};
use rally_cluster::{pages, twins};
use rally_schema::frame::{self, Reset, ServerFrame, Synced};
use rally_schema::limits::{CATCH_UP_CONVERSATION, CATCH_UP_MESSAGES, CURSOR_DAYS};
use rally_schema::{ChangeId, ConversationId, Cursor, MessageId, UserId};
use tokio::sync::oneshot;
use tracing::{Instrument as _, info_span, warn};

use super::Session;
use super::log_in::still_holds;
use crate::admission::Line;
use crate::io::Io;
use crate::metrics::count;
use crate::node::Node;
use crate::push::Push;
use crate::wire;

/// Entries of the log read at once.
const CHANGES_PAGE: usize = 500;

/// Entries of the log in which a catch-up looks for its messages: they may all be of a few, each
/// edited a thousand times.
const CATCH_UP_CHANGES: usize = 4 * CATCH_UP_MESSAGES;

/// Messages read at once: a page of the longest texts is a megabyte.
const MESSAGES_PAGE: usize = 16;

/// Inbox entries read and written at once.
const ENTRIES_PAGE: usize = 50;

/// Messages of the window that replaces a cut conversation's.
const WINDOW: usize = 50;

/// How long to wait after a failed read.
const AGAIN: Duration = Duration::from_millis(700);

/// Where a session's knowledge ends, and what is being done about it.
pub(super) struct Catching {
    /// Where the last completed catch-up began, or what `hello` or `sync` named.
    position: Rc<Cell<Position>>,
    phase: Rc<Cell<Phase>>,
    line: Line,
    reason: &'static str,
    state: State,
    /// Pushes that came meanwhile.
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

/// From where a client wants to know everything, if that can be read.
type Position = Result<Option<Cursor>, ()>;

/// How far the catch-up that runs is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// What is stored by now will be read.
    #[default]
    Waits,
    /// It finds out what it has to read.
    ReadsLog,
    ReadsRows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything that was acknowledged is pushed or being pushed.
    Live,
    /// The socket does not drain; pushes are dropped until it has.
    Lagging,
    /// The store is being read; what comes meanwhile is held.
    Reading,
    /// The store is being read, and something was dropped meanwhile.
    ReadingInVain,
}

impl Catching {
    /// Begins in doubt: with the position that `hello` named, if it did.
    pub(super) fn from_hello(cursor: Option<&str>) -> Self {
        Self {
            position: Rc::new(Cell::new(parse(cursor))),
            phase: Rc::default(),
            line: Line::Reconnect,
            reason: "connected",
            state: State::Reading,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Tells whether it waits until it may read.
    fn waits(&self) -> bool {
        self.state == State::Reading && self.phase.get() == Phase::Waits
    }

    /// Tells whether an open session is pushed to although it reads.
    fn is_pushed_to(&self) -> bool {
        let early = self.phase.get() != Phase::ReadsRows;
        self.state == State::Reading && self.line == Line::Doubt && early
    }
}

fn parse(cursor: Option<&str>) -> Position {
    cursor.map(str::parse).transpose().map_err(|_| ())
}

impl Session {
    /// Tells whether marks and pushes must wait.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.catching.state != State::Live
    }

    /// Notes that something may have been missed, and begins to find out what.
    pub(super) fn doubt(&mut self, reason: &'static str, ctx: &mut Context<Self>) {
        match self.catching.state {
            _ if self.catching.waits() => {}
            State::Live => {
                self.catching.reason = reason;
                self.begin_catch_up(ctx);
            }
            State::Reading if reason != "periodic" => self.catching.state = State::ReadingInVain,
            State::Reading | State::ReadingInVain | State::Lagging => {}
        }
    }

    /// Catches up from the client's own position; a client may know less than its session.
    pub(super) fn take_sync(&mut self, cursor: Option<&str>, ctx: &mut Context<Self>) {
        if cursor.is_some() {
            self.catching.position.set(parse(cursor));
        }
        self.doubt("asked", ctx);
    }

    /// Takes a push that is also in the store.
    pub(super) fn take_push(&mut self, push: Push, ctx: &mut Context<Self>) {
        let budget = self.worker.node.settings.out_budget_bytes;
        match self.catching.state {
            State::Reading if self.catching.is_pushed_to() => {
                if self.io.push(push.bytes) {
                    self.pushed(push.received_us);
                } else if self.catching.waits() {
                    count(&self.worker.node.metrics.pushes_refused, "in_doubt");
                } else {
                    self.catching.state = State::ReadingInVain;
                }
            }
            State::Live => {
                if self.io.push(push.bytes) {
                    self.pushed(push.received_us);
                } else {
                    self.begin_lagging(ctx);
                }
            }
            State::Reading if self.catching.held_bytes + push.bytes.len() <= budget => {
                self.catching.held_bytes += push.bytes.len();
                self.catching.held.push_back(push.bytes);
            }
            State::Reading => self.catching.state = State::ReadingInVain,
            State::ReadingInVain | State::Lagging => {
                count(&self.worker.node.metrics.pushes_refused, "in_doubt");
            }
        }
    }

    fn pushed(&self, received_us: Option<u64>) {
        let metrics = &self.worker.node.metrics;
        metrics.pushes.inc();
        if let Some(received_us) = received_us {
            let took_us = self.now_us().saturating_sub(received_us);
            metrics.delivery_seconds.observe(took_us as f64 / 1e6);
        }
    }

    fn begin_lagging(&mut self, _: &mut Context<Self>) {
        let metrics = &self.worker.node.metrics;
        count(&metrics.pushes_refused, "budget_spent");
        metrics.lagging.inc();
        metrics.lagged.inc();
        self.catching.state = State::Lagging;
    }

    /// Leaves the count of the lagging, if the session was among them.
    pub(super) fn stop_lagging(&mut self) {
        if self.catching.state == State::Lagging {
            self.worker.node.metrics.lagging.dec();
            self.catching.state = State::Live;
        }
    }

    /// Looks, after a write, whether a lagging socket has drained.
    pub(super) fn flushed(&mut self, ctx: &mut Context<Self>) {
        if self.catching.state == State::Lagging && self.io.waiting() == 0 && !self.ended {
            self.stop_lagging();
            if !planted::on(Fault::LagForgotten) {
                self.doubt("lagging", ctx);
            }
        }
    }

    /// Reads what was missed, writes it to the socket, ends with `synced` or `reset`.
    pub(super) fn begin_catch_up(&mut self, ctx: &mut Context<Self>) {
        self.catching.state = State::Reading;
        self.catching.phase = Rc::default();
        let (confirm, confirmed) = oneshot::channel();
        if !self.log_in.is_confirmed() {
            ctx.spawn(confirmed.into_actor(self).map(|confirmed, session, ctx| {
                if let Ok(epoch) = confirmed {
                    session.confirm_log_in(epoch, ctx);
                }
            }));
        }
        let run = CatchUp {
            node: self.worker.node.clone(),
            io: self.io.clone(),
            user: self.user,
            epoch: self.log_in.epoch(),
            line: self.catching.line,
            position: self.catching.position.clone(),
            phase: self.catching.phase.clone(),
        };
        count(&run.node.metrics.catch_ups, self.catching.reason);
        let began_us = self.now_us();
        let span = info_span!(target: "rally_path", "catch_up", reason = self.catching.reason);
        let running = run.run(confirm).instrument(span).into_actor(self);
        ctx.spawn(running.map(move |done, session, ctx| {
            if session.ended {
                return;
            }
            match done {
                Ok(Some(done)) => session.caught_up(done, began_us, ctx),
                Ok(None) => session.log_in_is_over(ctx),
                Err(error) => {
                    warn!(user = %session.user, %error, "a catch-up could not read the store");
                    session.worker.node.store_failed("a catch-up could not read the store", &error);
                    ctx.run_later(AGAIN, |session, ctx| session.begin_catch_up(ctx));
                }
            }
        }));
    }

    fn caught_up(&mut self, done: Done, began_us: u64, ctx: &mut Context<Self>) {
        let took_us = self.now_us() - began_us;
        self.worker.node.metrics.catch_up_seconds.observe(took_us as f64 / 1e6);
        self.catching.position.set(Ok(Some(done.cursor)));
        self.catching.line = Line::Doubt;
        self.answer(done.last);
        let again =
            self.catching.state == State::ReadingInVain && !planted::on(Fault::MissedMeanwhile);
        self.catching.state = State::Live;
        self.catching.held_bytes = 0;
        for bytes in std::mem::take(&mut self.catching.held) {
            if self.catching.state != State::Live {
                break;
            }
            if self.io.push(bytes) {
                self.pushed(None);
            } else {
                self.begin_lagging(ctx);
            }
        }
        if again {
            self.doubt("missed_meanwhile", ctx);
        } else {
            self.flush_marks(ctx);
        }
    }
}

/// How a catch-up ended.
struct Done {
    cursor: Cursor,
    /// `synced` or `reset`.
    last: ServerFrame,
}

/// One reading of the log.
struct CatchUp {
    node: Arc<Node>,
    io: Rc<Io>,
    user: UserId,
    epoch: Option<u64>,
    line: Line,
    position: Rc<Cell<Position>>,
    phase: Rc<Cell<Phase>>,
}

/// What the log names, by conversation.
type Named = BTreeMap<ConversationId, BTreeSet<MessageId>>;

impl CatchUp {
    /// Reads and writes; `None`, with nothing written, when the session's log-in is over. Tells
    /// its epoch as soon as it is known to hold.
    async fn run(self, confirm: oneshot::Sender<u64>) -> Result<Option<Done>, StoreError> {
        let permit = self.node.admission.enter(self.line).await;
        // A cursor ahead of the others' clocks would leave out what they store meanwhile.
        while self.node.clock.is_in_doubt() {
            tokio::time::sleep(AGAIN).await;
        }
        self.phase.set(Phase::ReadsLog);
        let cursor = self.node.cursor(self.node.clock.now_ms());
        let account = self.node.store.user(self.user);
        let (account, log) = try_join(account, self.read_log(cursor.at)).await?;
        drop(permit);
        self.phase.set(Phase::ReadsRows);
        let Some(epoch) = still_holds(self.epoch, account.as_ref()) else { return Ok(None) };
        // Once it is known, nobody listens.
        let _ = confirm.send(epoch);
        let named = match log {
            Ok(named) => named,
            Err(why) => return Ok(Some(self.reset(cursor, why))),
        };
        let mut cut = Vec::new();
        for (conversation, ids) in &named {
            if ids.len() > CATCH_UP_CONVERSATION {
                self.write_window(*conversation).await?;
                cut.push(*conversation);
            } else {
                self.write_messages(*conversation, ids).await?;
            }
        }
        self.write_inbox(named.into_keys().collect()).await?;
        let last = Synced { cursor: cursor.to_string(), cut }.into();
        Ok(Some(Done { cursor, last }))
    }

    fn reset(&self, cursor: Cursor, why: &'static str) -> Done {
        count(&self.node.metrics.resets, why);
        Done { cursor, last: Reset { cursor: cursor.to_string() }.into() }
    }

    /// Says from when to read, or why the position is of no use.
    fn check(&self, now: u64) -> Result<u64, &'static str> {
        let cursor = self.position.get().map_err(|()| "malformed")?.ok_or("none")?;
        if cursor.store != self.node.store.id() {
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

    /// Reads the log from an overlap before the position, or says why that is of no use: nothing
    /// can be read from there, or too much comes after it.
    async fn read_log(&self, now: u64) -> Result<Result<Named, &'static str>, StoreError> {
        let from = match self.check(now) {
            Ok(from) => from,
            Err(why) => return Ok(Err(why)),
        };
        let overlap_ms =
            if planted::on(Fault::NoOverlap) { 0 } else { self.node.settings.overlap.ms };
        let mut after = ChangeId::first_of(from.saturating_sub(overlap_ms));
        let mut named = Named::new();
        let mut recent = BTreeSet::new();
        let mut entries = 0;
        loop {
            let page = self.node.store.changes(self.user, after, CHANGES_PAGE).await?;
            for Change { change, conversation, id, kind } in &page {
                let ids = named.entry(*conversation).or_default();
                // A mark names its conversation; what it is about has not changed.
                if matches!(kind, ChangeKind::Message | ChangeKind::Edit | ChangeKind::Delete) {
                    ids.insert(*id);
                    if change.at() >= from {
                        recent.insert(*id);
                    }
                }
            }
            entries += page.len();
            if recent.len() > CATCH_UP_MESSAGES || entries > CATCH_UP_CHANGES {
                return Ok(Err("too_much"));
            }
            match page.last() {
                Some(last) if page.len() == CHANGES_PAGE => after = last.change,
                _ => return Ok(Ok(named)),
            }
        }
    }

    /// Waits until the client has read what it got, so that a catch-up is no way around the
    /// budget; then for a place among those that read the store.
    async fn turn(&self) -> crate::admission::Permit {
        if planted::on(Fault::PlaceKept) {
            let permit = self.node.admission.enter(self.line).await;
            // A cursor ahead of the others' clocks would leave out what they store meanwhile.
            while self.node.clock.is_in_doubt() {
                tokio::time::sleep(AGAIN).await;
            }
            poll_fn(|cx| self.io.poll_uncongested(cx)).await;
            return permit;
        }
        poll_fn(|cx| self.io.poll_uncongested(cx)).await;
        self.node.admission.enter(Line::Begun).await
    }

    fn write(&self, frame: impl Into<ServerFrame>) {
        self.io.answer(wire::text(frame.into().encode()));
    }

    async fn write_messages(
        &self,
        conversation: ConversationId,
        ids: &BTreeSet<MessageId>,
    ) -> Result<(), StoreError> {
        let ids: Vec<MessageId> = ids.iter().copied().collect();
        for page in ids.chunks(MESSAGES_PAGE) {
            let _permit = self.turn().await;
            let mut rows = self.node.store.messages(conversation, page.to_vec()).await?;
            twins::fold(&mut rows);
            rows.iter().for_each(|row| self.write(row.to_frame()));
        }
        Ok(())
    }

    async fn write_window(&self, conversation: ConversationId) -> Result<(), StoreError> {
        let _permit = self.turn().await;
        let (mut rows, more) = pages::rows(&*self.node.store, conversation, None, WINDOW).await?;
        twins::fold(&mut rows);
        let messages = rows.iter().map(|row| row.to_frame()).collect();
        self.write(frame::History { r#ref: None, conversation, messages, more });
        Ok(())
    }

    async fn write_inbox(&self, conversations: Vec<ConversationId>) -> Result<(), StoreError> {
        for page in conversations.chunks(ENTRIES_PAGE) {
            let _permit = self.turn().await;
            let rows = self.node.store.inbox_rows(self.user, page.to_vec()).await?;
            let entries = pages::entries(&*self.node.store, self.user, rows).await?;
            self.write(frame::Inbox { r#ref: None, entries, more: false });
        }
        Ok(())
    }
}
