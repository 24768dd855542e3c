//! Every bound that a client can run into, in one place.
//!
//! Compile-time values are part of the protocol; `welcome` tells clients the
//! ones they need. Rates are settings of the server and stand in its configuration.

/// The overlap `W` of DESIGN's arithmetic, from which every tolerance about time is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// `W` in milliseconds.
    pub ms: u64,
}

impl Default for Overlap {
    fn default() -> Self {
        Self { ms: 30_000 }
    }
}

impl Overlap {
    /// How old a stamp may be when its message is first written: `W/4`.
    pub fn stamp_behind_ms(self) -> u64 {
        self.ms / 4
    }

    /// How far ahead of the node's clock a stamp may be: `W/8`.
    pub fn stamp_ahead_ms(self) -> u64 {
        self.ms / 8
    }

    /// How long after its change ids were minted a commit may still be acknowledged: `W/2`.
    pub fn ack_within_ms(self) -> u64 {
        self.ms / 2
    }

    /// For how long a mark's change entry stands for later marks of its kind: `W/8`.
    pub fn mark_change_ms(self) -> u64 {
        self.ms / 8
    }

    /// How far a node's clock may be from the median of all for it to take users: `W/8`.
    pub fn clock_tolerance_ms(self) -> u64 {
        self.ms / 8
    }

    /// How far wall and monotonic clock may part between two uses: `W/16`.
    pub fn clock_step_ms(self) -> u64 {
        self.ms / 16
    }
}

/// The WebSocket subprotocol of these frames.
pub const SUBPROTOCOL: &str = "rally.v1";

/// Bytes of one frame from a client; a longer one ends the connection with close code 1009.
pub const FRAME_BYTES: usize = 96 * 1024;

/// Bytes of the frame that opens a connection: nobody knows yet who sends it.
pub const HELLO_BYTES: usize = 8 * 1024;

/// Bytes of one message's text, as UTF-8.
pub const TEXT_BYTES: usize = 64 * 1024;

/// Characters of a message that an inbox entry shows.
pub const PREVIEW_CHARS: usize = 100;

/// Live sessions of one user.
pub const SESSIONS_PER_USER: usize = 32;

/// Users whose presence one session watches.
pub const WATCHES_PER_SESSION: usize = 50;

/// Sends of one session in one conversation that wait behind the one being written.
pub const WAITING_SENDS: usize = 256;

/// Conversations of one session that are being written to, or wait for a send to come again.
pub const OPEN_CONVERSATIONS: usize = 4_096;

/// Messages in one page of history.
pub const HISTORY_PAGE: u32 = 100;

/// Entries in one page of an inbox.
pub const INBOX_PAGE: u32 = 100;

/// Where counting unread messages stops: the badge then reads "999+".
pub const UNREAD_CAP: u32 = 1_000;

/// Days after which an entry of the change log is gone.
pub const CHANGE_DAYS: u64 = 14;

/// Days after which a cursor is answered with `reset`: a day less than the log lives.
pub const CURSOR_DAYS: u64 = 13;

/// Distinct messages after a cursor beyond which catching up is answered with `reset`.
pub const CATCH_UP_MESSAGES: usize = 2_000;

/// Messages of one conversation in a catch-up beyond which its window is replaced.
pub const CATCH_UP_CONVERSATION: usize = 200;

/// Milliseconds that a connection has for its `hello`.
pub const HELLO_MS: u64 = 10_000;

/// Milliseconds for which a ticket is good.
pub const TICKET_MS: u64 = 30_000;
