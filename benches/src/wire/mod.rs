//! What a load tester says to a server, and hears: one trait, one file a protocol.
//!
//! A wire turns what is to be done into bytes, and bytes into what was heard. It opens no sockets
//! and knows no time but what it is told; the engine owns both (`run/engine.rs`). So every server
//! is driven by the same loop, whose own price cancels out when two are compared.

pub mod bare;
mod http;
pub mod rally;
pub mod socketio;
pub mod stamps;
pub mod text;

use std::net::SocketAddr;

use anyhow::Result;

/// Names a connection: device `line % devices` of user `line / devices`.
pub type Line = usize;

/// What a client does on a connection that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// Writes message `seq` to a user. The text names it, too (`text.rs`).
    Send {
        /// Which message of the run.
        seq: usize,
        /// To whom.
        to: usize,
        /// What it says.
        text: &'a str,
    },
    /// Says that he types to a user.
    Type {
        /// To whom.
        to: usize,
    },
    /// Begins to watch whether a user is there.
    Watch {
        /// Whom.
        user: usize,
    },
    /// Ends that.
    Unwatch {
        /// Whom.
        user: usize,
    },
    /// Asks for the newest messages exchanged with a user.
    Read {
        /// With whom.
        with: usize,
        /// Names the question.
        question: usize,
    },
}

/// What was heard on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It is open: logged in, caught up, and may be used.
    Open,
    /// A message is durable, under this id.
    Acked {
        /// Which message of the run.
        seq: usize,
        /// Its id; servers that tell none give 0.
        id: u128,
    },
    /// A message was not taken, and why.
    Refused {
        /// Which message of the run.
        seq: usize,
        /// The server's name for the reason.
        code: &'a str,
    },
    /// A message came.
    Message {
        /// What it says.
        text: &'a str,
        /// Its id, as above.
        id: u128,
        /// Whether it is from a page of what was stored, and not from what is being said now: pages go
        /// back from the newest message to the oldest.
        stored: bool,
    },
    /// A question was answered.
    Answered {
        /// Which.
        question: usize,
    },
    /// Something that is only counted, by its name.
    Noticed(&'static str),
}

/// What is to become of a connection after it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Stay,
    /// Here it is done with; the client goes on at this address, where it is to be opened again.
    Go(SocketAddr),
    /// The server ends it, and means to.
    Ended,
    /// The server has no time for the log-in now: it is to be tried again.
    Later,
}

/// How a new connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With a log-in of its own, knowing nothing.
    LogIn,
    /// As one that was open before, and wants what it has missed.
    Return,
}

/// A protocol, from its client's side.
pub trait Wire {
    /// Begins a connection anew: forgets what was left of the last one, and says where to connect.
    fn begin(&mut self, line: Line, from: From) -> SocketAddr;

    /// A connection to an address that it named is there: appends what is said first. Gives
    /// whether it is open by that alone.
    fn connected(&mut self, line: Line, out: &mut Vec<u8>) -> Result<bool>;

    /// Takes bytes that came, appends what they are to be answered with, and tells what they say.
    ///
    /// # Errors
    ///
    /// They are not what the server may say.
    fn feed(
        &mut self,
        line: Line,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next>;

    /// Appends what it takes to do something on an open connection. False where the protocol has
    /// nothing of the kind.
    fn act(&mut self, line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool;
}
