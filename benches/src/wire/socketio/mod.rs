//! Clients of the chat service that people write at home: `benches/peers/socketio/`.
//!
//! They log in by HTTP and then speak Socket.IO over WebSocket (`packet.rs`). Each keeps the newest
//! id that it knows over reconnects, sends again what nobody has answered, and moves its marks as
//! the scenario wants.

mod crowd;
mod packet;
#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

pub use self::crowd::Crowd;
use self::crowd::credentials;
use self::packet::{Answer as Told, Auth, Event, Message, PONG, Packet};
use crate::dice::Dice;
use crate::wire::http::{self, Answer};
use crate::wire::{Act, From, Heard, Line, Next, Wire};
use crate::ws::{self, Opcode, Reader};

/// Where the peer takes WebSockets.
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// Clients of the peer.
pub struct SocketIo {
    door: SocketAddr,
    crowd: Crowd,
    names: Vec<String>,
    lines: Vec<Client>,
    /// Begins this run's refs.
    run: Uuid,
    dice: Dice,
}

/// One device.
struct Client {
    token: Option<String>,
    cursor: Option<u64>,
    stage: Stage,
    /// What nobody has answered, oldest first: packets.
    unanswered: VecDeque<(usize, Vec<u8>)>,
}

/// What a connection is about.
enum Stage {
    LogIn(Answer),
    /// Whether all that was missed has been said.
    Session(Reader, bool),
}

/// What a device has after one feed of bytes.
struct Gained {
    /// The newest message of somebody else: who wrote it, and its id.
    newest: Option<(String, u64)>,
    /// It has caught up.
    ready: bool,
}

/// A message, on its way out.
#[derive(Serialize)]
struct Sent<'a> {
    to: &'a str,
    text: &'a str,
    r#ref: &'a str,
}

/// An answer's id tells what it answers: that of a message is even, that of a question odd.
fn of_message(seq: usize) -> u64 {
    seq as u64 * 2
}

fn of_question(question: usize) -> u64 {
    question as u64 * 2 + 1
}

impl SocketIo {
    /// Makes the clients of a crowd.
    pub fn new(door: SocketAddr, crowd: Crowd) -> Self {
        let client = |_| Client {
            token: None,
            cursor: None,
            stage: Stage::LogIn(Answer::default()),
            unanswered: VecDeque::new(),
        };
        let lines = (0..crowd.users * crowd.devices).map(client).collect();
        let names = (0..crowd.users).map(|n| crowd.name(n)).collect();
        Self { door, crowd, names, lines, run: Uuid::new_v4(), dice: Dice::new(1) }
    }

    fn name_of(&self, line: Line) -> &str {
        &self.names[line / self.crowd.devices]
    }

    /// Whether a device says that it has messages: that they came, and that they were read.
    fn marks_of(&self, line: Line) -> (bool, bool) {
        // A person reads on one device.
        (self.crowd.delivered, self.crowd.read && line.is_multiple_of(self.crowd.devices))
    }

    fn say(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        ws::write(Opcode::Text, packet, &mut self.dice, out);
    }

    /// Takes the answer of a log-in; the session is opened on a connection of its own.
    fn logged_in(&mut self, line: Line, (status, body): (u16, String)) -> Result<Next> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: String,
        }
        ensure!(status == 200, "logging in was answered with {status}: {body}");
        let Token { token } = serde_json::from_str(&body).context("logging in")?;
        let client = &mut self.lines[line];
        client.token = Some(token);
        client.stage = Stage::Session(Reader::default(), false);
        Ok(Next::Go(self.door))
    }

    /// Takes bytes of a session.
    fn session(
        &mut self,
        line: Line,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        let Stage::Session(reader, ready) = &mut self.lines[line].stage else {
            bail!("bytes of a session that is none");
        };
        let (mut reader, was_ready) = (std::mem::take(reader), *ready);
        let mut gained = Gained { newest: None, ready: was_ready };
        let mut heard = Ok(Next::Stay);
        reader.feed(bytes, |event| {
            // After an end or an error nothing counts.
            if matches!(heard, Ok(Next::Stay)) {
                heard = match event {
                    ws::Event::Opened => Ok(Next::Stay),
                    ws::Event::Ping(content) => {
                        ws::write(Opcode::Pong, content, &mut self.dice, out);
                        Ok(Next::Stay)
                    }
                    ws::Event::Closed(_) => Ok(Next::Ended),
                    ws::Event::Text(text) => {
                        let packet = Packet::read(text).map_err(anyhow::Error::from);
                        packet.and_then(|packet| self.heard(line, packet, out, &mut gained, tell))
                    }
                };
            }
        })?;
        self.lines[line].stage = Stage::Session(reader, gained.ready);
        let next = heard?;
        if let Some((peer, id)) = gained.newest {
            self.mark(line, &peer, id, out);
        }
        Ok(next)
    }

    /// Does what a packet asks for, and tells what it says.
    fn heard(
        &mut self,
        line: Line,
        packet: Packet<'_>,
        out: &mut Vec<u8>,
        gained: &mut Gained,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        match packet {
            Packet::Opened => {
                let client = &self.lines[line];
                let token = client.token.as_deref().context("a session without a log-in")?;
                let packet = packet::connect(&Auth { token, cursor: client.cursor });
                self.say(&packet, out);
            }
            Packet::Ping => self.say(PONG.as_bytes(), out),
            Packet::Connected | Packet::Idle => {}
            Packet::Refused(why) => bail!("the session was refused: {why}"),
            Packet::Event(event) => self.happened(line, event, out, gained, tell),
            Packet::Answer(id, answer) => self.answered(line, id, &answer, tell)?,
            Packet::Ended => return Ok(Next::Ended),
        }
        Ok(Next::Stay)
    }

    fn happened(
        &mut self,
        line: Line,
        event: Event<'_>,
        out: &mut Vec<u8>,
        gained: &mut Gained,
        tell: &mut dyn FnMut(Heard<'_>),
    ) {
        let marks = self.marks_of(line) != (false, false);
        let me = &self.names[line / self.crowd.devices];
        let cursor = &mut self.lines[line].cursor;
        let mut message = |message: &Message<'_>, stored: bool| {
            *cursor = (*cursor).max(Some(message.id));
            let newer = || gained.newest.as_ref().is_none_or(|(_, id)| *id < message.id);
            if marks && message.from != *me && newer() {
                gained.newest = Some((message.from.clone().into_owned(), message.id));
            }
            tell(Heard::Message { text: &message.text, id: message.id.into(), stored });
        };
        match event {
            Event::Message(one) => message(&one, false),
            Event::Missed(page) => page.iter().for_each(|one| message(one, true)),
            Event::Ready { cursor: newest } => {
                *cursor = (*cursor).max(Some(newest));
                if !gained.ready {
                    gained.ready = true;
                    self.send_again(line, out);
                    tell(Heard::Open);
                }
            }
            Event::Receipt(_) => tell(Heard::Noticed("receipts")),
            Event::Typing(_) => tell(Heard::Noticed("typing")),
            Event::Presence(_) => tell(Heard::Noticed("presence")),
        }
    }

    fn answered(
        &mut self,
        line: Line,
        id: u64,
        answer: &Told<'_>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<()> {
        let number = (id / 2) as usize;
        if id == of_question(number) {
            ensure!(answer.error.is_none(), "question {number} was answered with {answer:?}");
            tell(Heard::Answered { question: number });
            return Ok(());
        }
        self.lines[line].unanswered.retain(|(open, _)| *open != number);
        match (answer.id, &answer.error) {
            (Some(id), None) => tell(Heard::Acked { seq: number, id: id.into() }),
            (_, Some(code)) => tell(Heard::Refused { seq: number, code }),
            (None, None) => bail!("message {number} was answered with neither an id nor an error"),
        }
        Ok(())
    }

    /// Moves the marks that a person's app would move when a message came.
    fn mark(&mut self, line: Line, peer: &str, id: u64, out: &mut Vec<u8>) {
        let (_, read) = self.marks_of(line);
        let marks = json!({ "peer": peer, "delivered": id, "read": if read { id } else { 0 } });
        self.say(&packet::event(None, "mark", &marks), out);
    }

    /// Sends again what nobody has answered, in its order; the peer knows it by its ref.
    fn send_again(&mut self, line: Line, out: &mut Vec<u8>) {
        for (_, packet) in &self.lines[line].unanswered {
            ws::write(Opcode::Text, packet, &mut self.dice, out);
        }
    }
}

impl Wire for SocketIo {
    fn begin(&mut self, line: Line, from: From) -> SocketAddr {
        let client = &mut self.lines[line];
        if from == From::LogIn {
            (client.token, client.cursor) = (None, None);
        }
        client.stage = match client.token {
            None => Stage::LogIn(Answer::default()),
            Some(_) => Stage::Session(Reader::default(), false),
        };
        self.door
    }

    fn connected(&mut self, line: Line, out: &mut Vec<u8>) -> Result<bool> {
        let host = self.door.to_string();
        match self.lines[line].stage {
            Stage::LogIn(_) => {
                http::post(&host, "/login", None, &credentials(self.name_of(line)), out);
            }
            Stage::Session(..) => ws::request(&host, PATH, "", out),
        }
        Ok(false)
    }

    fn feed(
        &mut self,
        line: Line,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        match &mut self.lines[line].stage {
            Stage::LogIn(answer) => match answer.feed(bytes)? {
                None => Ok(Next::Stay),
                Some(answer) => self.logged_in(line, answer),
            },
            Stage::Session(..) => self.session(line, bytes, out, tell),
        }
    }

    fn act(&mut self, line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool {
        let packet = match act {
            Act::Send { seq, to, text } => {
                let r#ref = format!("{}-{seq}", self.run.simple());
                let sent = Sent { to: &self.names[to], text, r#ref: &r#ref };
                let packet = packet::event(Some(of_message(seq)), "send", &sent);
                self.lines[line].unanswered.push_back((seq, packet.clone()));
                packet
            }
            Act::Type { to } => packet::event(None, "typing", &json!({ "to": self.names[to] })),
            Act::Watch { user } => {
                packet::event(None, "watch", &json!({ "user": self.names[user] }))
            }
            Act::Unwatch { user } => {
                packet::event(None, "unwatch", &json!({ "user": self.names[user] }))
            }
            Act::Read { with, question } => {
                let peer = json!({ "peer": self.names[with] });
                packet::event(Some(of_question(question)), "history", &peer)
            }
        };
        self.say(&packet, out);
        true
    }
}
