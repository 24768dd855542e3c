//! Whether a session's log-in still holds: its user may have logged out everywhere since.
//!
//! Every node is told of that at once, and what is told may be lost. So each catch-up also reads
//! the account's epoch, and a session of an earlier one ends. Until the first catch-up has, a
//! client gets no more than the time: the log-in behind its ticket may be over already.

use actix::{Context, Handler};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::UserRow;
use rally_schema::frame::{ByeReason, ClientFrame};

use super::{End, Session};
use crate::io::Pause;
use crate::router::LogOut;

/// By which log-in a session was opened.
#[derive(Debug)]
pub(super) struct LogIn {
    /// The account's epoch when the ticket was issued.
    epoch: u64,
    /// Whether a catch-up has found that it still holds.
    confirmed: bool,
    /// The frame that came before that, and when; nothing is read behind it, however long that
    /// takes, and its client is not silent for that. Rarely there, so boxed: each session would
    /// carry its size.
    early: Option<Box<(ClientFrame, u64)>>,
}

impl LogIn {
    /// Begins unconfirmed.
    pub(super) fn of(epoch: u64) -> Self {
        Self { epoch, confirmed: false, early: None }
    }

    /// Gives the account's epoch when the ticket was issued.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells whether a catch-up has found that it still holds.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }
}

/// Tells whether a log-in of this epoch is over, by the account as it is stored now.
pub(super) fn is_over(epoch: u64, account: Option<&UserRow>) -> bool {
    let over = account.is_none_or(|account| account.epoch > epoch);
    over && !planted::on(Fault::LogOutUnread)
}

impl Handler<LogOut> for Session {
    type Result = ();

    fn handle(&mut self, log_out: LogOut, ctx: &mut Self::Context) {
        if self.log_in.epoch < log_out.epoch {
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

    /// Takes what came early, and reads on: the log-in holds.
    pub(super) fn confirm_log_in(&mut self, ctx: &mut Context<Self>) {
        self.log_in.confirmed = true;
        if let Some(early) = self.log_in.early.take()
            && !self.ended
        {
            self.io.heard_ms.set(self.now_us() / 1_000);
            self.io.pause(Pause::LogIn, false);
            let (frame, received_us) = *early;
            self.take_frame(frame, received_us, ctx);
        }
    }
}
