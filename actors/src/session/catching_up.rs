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
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bytes::Bytes;
use rally_cluster::planted::{self, Fault};
use tokio::sync::oneshot;
use tracing::{Instrument as _, info_span};

use super::Session;
use super::catch_up::{CatchUp, Done};
use super::reading::{AGAIN, Asker, Common, Phase, Position, read_together};
use crate::admission::Line;
use crate::metrics::count;
use crate::node::Worker;
use crate::push::Push;
use crate::sweeper::jittered;

/// The longest wait after a failed read. What fails again and again is not mended by asking, and
/// of a store that comes back not everybody should ask at once.
const AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// Where a session's knowledge ends, and what is being done about it.
pub(super) struct Catching {
    /// Where the last completed catch-up began, or what `hello` or `sync` named.
    position: Rc<Cell<Position>>,
    /// What `sync` named while another position was being read from: from where the next one reads.
    asked: Option<Position>,
    /// The reading that it waits for, or waited for last.
    reading: Rc<Common>,
    line: Line,
    reason: &'static str,
    state: State,
    /// How many catch-ups have failed one after the other.
    failed: u32,
    /// Pushes that came meanwhile.
    held: VecDeque<Bytes>,
    held_bytes: usize,
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
            asked: None,
            reading: Rc::default(),
            line: Line::Reconnect,
            reason: "connected",
            state: State::Reading,
            failed: 0,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Tells whether it waits until it may read.
    fn waits(&self) -> bool {
        self.state == State::Reading && self.reading.phase() == Phase::Waits
    }

    /// Takes the position that a client names.
    fn ask(&mut self, position: Position) {
        match self.state {
            State::Reading | State::ReadingInVain if !self.waits() => self.asked = Some(position),
            _ => self.position.set(position),
        }
    }

    /// Tells whether an open session is pushed to although it reads.
    fn is_pushed_to(&self) -> bool {
        let early = self.reading.phase() != Phase::ReadsRows;
        self.state == State::Reading && self.line == Line::Doubt && early
    }
}

/// Says how long the session of this number waits after so many failures: twice as long each time.
fn pause(failed: u32, number: u64) -> Duration {
    let longer = AGAIN.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
    let pause = longer.min(AGAIN_AT_MOST);
    Duration::from_millis(jittered(number, pause.as_millis() as u64))
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
            self.catching.ask(parse(cursor));
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
        if let Some(asked) = self.catching.asked.take() {
            self.catching.position.set(asked);
        }
        let (confirm, confirmed) = oneshot::channel();
        if !self.log_in.is_confirmed() {
            ctx.spawn(confirmed.into_actor(self).map(|confirmed, session, ctx| {
                if let Ok(epoch) = confirmed {
                    session.confirm_log_in(epoch, ctx);
                }
            }));
        }
        let (line, position) = (self.catching.line, &self.catching.position);
        let Worker { node, readings, .. } = &*self.worker;
        let asker = Asker { position: position.clone(), log_in: self.log_in.by().map(|by| by.id) };
        let (reading, common) = read_together(readings, node, self.user, line, asker);
        self.catching.reading = common;
        let run = CatchUp {
            worker: self.worker.clone(),
            io: self.io.clone(),
            user: self.user,
            epoch: self.log_in.epoch(),
            log_in: self.log_in.by(),
            position: position.clone(),
            reading,
        };
        count(&run.worker.node.metrics.catch_ups, self.catching.reason);
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
                    session.worker.node.store_failed("a catch-up could not read the store", &error);
                    session.catching.failed = session.catching.failed.saturating_add(1);
                    let pause = pause(session.catching.failed, session.number);
                    ctx.run_later(pause, |session, ctx| session.begin_catch_up(ctx));
                }
            }
        }));
    }

    fn caught_up(&mut self, done: Done, began_us: u64, ctx: &mut Context<Self>) {
        let took_us = self.now_us() - began_us;
        self.worker.node.metrics.catch_up_seconds.observe(took_us as f64 / 1e6);
        self.catching.position.set(Ok(Some(done.cursor)));
        self.catching.line = Line::Doubt;
        self.catching.failed = 0;
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
        self.doubt_strangers(ctx);
        if again {
            self.doubt("missed_meanwhile", ctx);
        } else {
            self.flush_marks(ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_read_asks_more_and_more_rarely_and_not_all_at_once() {
        let about = |failed, ms: u64| {
            let pauses = (0..100).map(|number| pause(failed, number).as_millis() as u64);
            let (least, most) = pauses.fold((u64::MAX, 0), |(a, b), one| (a.min(one), b.max(one)));
            assert!(ms * 4 / 5 <= least && most <= ms * 6 / 5, "{failed}: {least} to {most} ms");
            assert!(most - least > ms / 5, "spread out");
        };
        for (failed, ms) in [(1, 700), (2, 1_400), (3, 2_800), (4, 5_000), (5, 5_000)] {
            about(failed, ms);
        }
        about(u32::MAX, 5_000);
    }
}
