//! Whether a session's log-in still holds: its user may have logged out since, there or everywhere.
//!
//! Every node is told of that at once, and what is told may be lost. So each catch-up also reads
//! the account's epoch, and whether the log-in was revoked: a session of an earlier epoch ends, and
//! one of a log-in that was revoked, or has expired (nobody could end it any more). Until the first
//! catch-up has, a client gets no more than the time: the log-in behind its ticket may be over
//! already.

use actix::{Context, Handler};
use rally_cluster::planted::{self, Fault};
use rally_schema::frame::{ByeReason, ClientFrame};

use super::reading::Read;
use super::{End, Session};
use crate::io::Pause;
use crate::node::{Admitted, ByLogIn};
use crate::router::LogOut;

/// By which log-in a session was opened.
#[derive(Debug)]
pub(super) struct LogIn {
    /// Which one, where the ticket says so.
    by: Option<ByLogIn>,
    /// The account's epoch when the ticket was issued. Where the ticket names none, the one that the
    /// first catch-up finds: `None` until then.
    epoch: Option<u64>,
    /// Whether a catch-up has found that it still holds.
    confirmed: bool,
    /// The frame that came before that, and when; nothing is read behind it, however long that
    /// takes, and its client is not silent for that. Rarely there, so boxed: each session would
    /// carry its size.
    early: Option<Box<(ClientFrame, u64)>>,
}

impl LogIn {
    /// Begins unconfirmed.
    pub(super) fn of(admitted: &Admitted) -> Self {
        let Admitted { epoch, log_in, .. } = *admitted;
        Self { by: log_in, epoch, confirmed: false, early: None }
    }

    /// Gives which one it is, as far as that is known.
    pub(super) fn by(&self) -> Option<ByLogIn> {
        self.by
    }

    /// Gives the account's epoch when the ticket was issued, as far as it is known.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Tells whether a catch-up has found that it still holds.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }
}

/// Gives the epoch of a log-in that still holds, by what was read for it; `None` when it is over. One
/// of an unknown epoch is taken for one of the account's.
pub(super) fn still_holds(epoch: Option<u64>, by: Option<ByLogIn>, read: &Read) -> Option<u64> {
    if planted::on(Fault::LogOutUnread) {
        return Some(epoch.unwrap_or(0));
    }
    let stored = read.account.as_ref()?.epoch;
    let epoch = epoch.unwrap_or(stored);
    let is_over = |by: ByLogIn| read.revoked.contains(&by.id) || by.ends_ms <= read.cursor.at;
    (stored <= epoch && !by.is_some_and(is_over)).then_some(epoch)
}

impl Handler<LogOut> for Session {
    type Result = ();

    fn handle(&mut self, log_out: LogOut, ctx: &mut Self::Context) {
        let LogIn { by, epoch, .. } = self.log_in;
        let is_it = by.is_some_and(|by| log_out.log_in == Some(by.id));
        // One that is not known yet may be of before.
        let is_before = epoch.map_or(log_out.epoch > 0, |epoch| epoch < log_out.epoch);
        if is_it || is_before {
            self.log_in_is_over(ctx);
        }
    }
}

impl Session {
    /// Ends the session because its log-in is over.
    pub(super) fn log_in_is_over(&mut self, ctx: &mut Context<Self>) {
        self.end(End { reason: ByeReason::LoggedOut, after_ms: None }, 1000, ctx);
    }

    /// Keeps a frame that comes too early, or gives it back to be taken now.
    pub(super) fn keep_early(
        &mut self,
        frame: ClientFrame,
        received_us: u64,
    ) -> Option<ClientFrame> {
        if self.log_in.confirmed || matches!(frame, ClientFrame::Beat(_)) {
            return Some(frame);
        }
        self.io.pause(Pause::LogIn, true);
        self.log_in.early = Some(Box::new((frame, received_us)));
        None
    }

    /// Takes what came early, and reads on: the log-in holds, and is of this epoch.
    pub(super) fn confirm_log_in(&mut self, epoch: u64, ctx: &mut Context<Self>) {
        self.log_in.epoch = Some(epoch);
        self.log_in.confirmed = true;
        if let Some(early) = self.log_in.early.take()
            && !self.ended
        {
            self.io.pause(Pause::LogIn, false);
            let (frame, received_us) = *early;
            self.take_frame(frame, received_us, ctx);
        }
    }
}
