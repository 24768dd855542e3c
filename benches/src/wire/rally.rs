//! Rally's own protocol: discovery, the session, and what people do in it.
//!
//! Stamps as a client must (strictly increasing in a conversation), names each message's number in
//! its `ref`, answers pings and receipts as browsers do, keeps its cursor over reconnects, and
//! sends again what nobody has answered.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use rally_schema::frame::{
    ClientFrame, Delivered, Hello, HistoryQuery, InboxEntry, InboxQuery, Mark, Read, Send,
    ServerFrame, Typing, Unwatch, Watch,
};
use rally_schema::ids::Stamp;
use rally_schema::limits::SUBPROTOCOL;
use rally_schema::{ClientId, ConversationId, UserId};
use serde::Deserialize;
use uuid::Uuid;

use crate::dice::Dice;
use crate::people;
use crate::run::scenario::{Receipts, Scenario};
use crate::wire::http::{self, Answer};
use crate::wire::stamps::{ServerTime, Stamper, name, number};
use crate::wire::{Act, From, Heard, Line, Next, Wire};
use crate::ws::{self, Event, Opcode, Reader};

/// The problem with which discovery and log-ins answer whoever is not let in yet.
const NOT_YET: &str = "urn:rally:problem:busy";

const QUESTION: u64 = 1;
const LOAD: u64 = 2;

/// Clients of a Rally cluster.
pub struct Rally {
    /// Where discovery is asked, and log-ins are made.
    door: SocketAddr,
    devices: usize,
    receipts: Receipts,
    users: Vec<User>,
    lines: Vec<Client>,
    time: ServerTime,
    /// The first half of the refs of this run's messages; `^ QUESTION` of its questions, `^ LOAD`
    /// of the pages that a new client loads.
    run: u64,
    dice: Dice,
    pongs: Vec<u8>,
}

/// What all devices of a user share.
struct User {
    id: UserId,
    token: Option<String>,
    /// The last stamp of his conversation; those who write to each other share the pair's first's.
    stamp: Stamper,
}

/// One device.
struct Client {
    id: ClientId,
    cursor: Option<String>,
    stage: Stage,
    /// What nobody has answered, oldest first.
    unanswered: VecDeque<(usize, Send)>,
    place: Option<Place>,
    /// Pages that a client asked for which began without a cursor, and that have not come.
    loading: usize,
}

/// What follows from the frames of one read.
#[derive(Default)]
struct After {
    /// The newest message that came.
    mark: Option<Mark>,
    say: Vec<ClientFrame>,
    /// Everything that was missed has come.
    caught_up: bool,
}

/// What a connection is about.
enum Stage {
    LogIn(Answer),
    Discover(Answer),
    /// Whether the session has all that its client missed.
    Session(Reader, bool),
}

/// Where a client may open its socket, for the next 30 seconds.
#[derive(Deserialize)]
struct Place {
    address: String,
    ticket: String,
}

impl Rally {
    /// Makes the clients of a scenario, for users who have accounts.
    pub fn new(door: SocketAddr, scenario: &Scenario, users: Vec<UserId>) -> Self {
        let (devices, receipts) = (scenario.devices, scenario.receipts);
        let one = |id| User { id, token: None, stamp: Stamper::default() };
        let client = |_| Client {
            id: ClientId::from(Uuid::new_v4()),
            cursor: None,
            stage: Stage::LogIn(Answer::default()),
            unanswered: VecDeque::new(),
            place: None,
            loading: 0,
        };
        Self {
            door,
            devices,
            receipts,
            users: users.into_iter().map(one).collect(),
            lines: (0..scenario.connections()).map(client).collect(),
            time: ServerTime::begin(),
            run: Uuid::new_v4().as_u64_pair().0,
            dice: Dice::new(1),
            pongs: Vec::new(),
        }
    }

    fn conversation(&self, line: Line, peer: usize) -> ConversationId {
        ConversationId::direct(self.users[line / self.devices].id, self.users[peer].id)
    }

    /// Asks where this client may open its socket.
    fn discover(&mut self, line: Line, out: &mut Vec<u8>) {
        let client = &mut self.lines[line];
        client.stage = Stage::Discover(Answer::default());
        let json = format!("{{\"client\":\"{}\"}}", client.id);
        let token = self.users[line / self.devices].token.as_deref();
        http::post(&self.door.to_string(), "/api/discover", token, &json, out);
    }

    fn say(&mut self, frame: &ClientFrame, out: &mut Vec<u8>) {
        ws::write(Opcode::Text, frame.encode().as_bytes(), &mut self.dice, out);
    }

    /// Takes an answer of HTTP.
    fn answered(&mut self, line: Line, answer: (u16, String), out: &mut Vec<u8>) -> Result<Next> {
        let (status, body) = answer;
        let logs_in = matches!(self.lines[line].stage, Stage::LogIn(_));
        let what = if logs_in { "logging in" } else { "discovering" };
        if !logs_in && status == 503 && body.contains(NOT_YET) {
            // It has waited for its turn for some seconds, and asks for the next one.
            self.discover(line, out);
            return Ok(Next::Stay);
        }
        if logs_in && status == 503 && body.contains(NOT_YET) {
            // Too many passwords are being checked: people come back in a moment.
            return Ok(Next::Later);
        }
        ensure!(status == 200, "{what} was answered with {status}: {body}");
        if logs_in {
            let token = serde_json::from_str::<people::Token>(&body).context("logging in")?;
            self.users[line / self.devices].token = Some(token.token);
            self.discover(line, out);
            return Ok(Next::Stay);
        }
        let place: Place = serde_json::from_str(&body).context("discovering")?;
        let host = place.address.split('/').nth(2).unwrap_or_default();
        // Another node, if it is on this machine: a bench never leaves that.
        let named = host.parse().ok().filter(|named: &SocketAddr| named.ip().is_loopback());
        let address = named.unwrap_or(self.door);
        let client = &mut self.lines[line];
        client.place = Some(place);
        client.stage = Stage::Session(Reader::default(), false);
        Ok(Next::Go(address))
    }

    /// Opens the session: the handshake, and at once what comes first in it.
    fn enter(&mut self, line: Line, out: &mut Vec<u8>) -> Result<()> {
        let client = &mut self.lines[line];
        let place = client.place.take().context("a session without a place")?;
        let mut parts = place.address.splitn(4, '/').skip(2);
        let (host, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        ws::request(host, &format!("/{path}"), SUBPROTOCOL, out);
        let cursor = client.cursor.clone();
        let hello = Hello { ticket: place.ticket, client: client.id, cursor };
        self.say(&ClientFrame::from(hello), out);
        Ok(())
    }

    /// Sends again what nobody has answered, in its order.
    fn send_again(&mut self, line: Line, out: &mut Vec<u8>) {
        let unanswered = std::mem::take(&mut self.lines[line].unanswered);
        for (_, send) in &unanswered {
            let again = Send { retry: true, ..send.clone() };
            self.say(&ClientFrame::from(again), out);
        }
        self.lines[line].unanswered = unanswered;
    }

    /// Tells what a frame says.
    fn heard(
        &mut self,
        line: Line,
        frame: ServerFrame,
        after: &mut After,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        let me = self.users[line / self.devices].id;
        let client = &mut self.lines[line];
        let mut message = |message: &rally_schema::frame::Message, stored: bool| {
            if message.sender != me {
                let Mark { conversation, id } =
                    Mark { conversation: message.conversation, id: message.id };
                let newest = after.mark.as_ref().map_or(id, |mark| mark.id.max(id));
                after.mark = Some(Mark { conversation, id: newest });
            }
            let id = Uuid::from(message.id).as_u128();
            tell(Heard::Message { text: &message.text, id, stored });
        };
        match frame {
            ServerFrame::Welcome(welcome) => self.time.hear(welcome.now),
            ServerFrame::Message(one) => message(&one, false),
            ServerFrame::History(page) => {
                let question = page.r#ref.and_then(|r#ref| number(self.run ^ QUESTION, r#ref));
                if let Some(question) = question {
                    tell(Heard::Answered { question });
                } else {
                    // A page that is loaded, or the window that replaces a cut one.
                    let falls = page.messages.is_sorted_by(|newer, older| newer.id > older.id);
                    ensure!(falls, "a page of history is not in the order of its messages");
                    page.messages.iter().rev().for_each(|one| message(one, true));
                    client.loading =
                        client.loading.saturating_sub(usize::from(page.r#ref.is_some()));
                    // All that the run sent is wanted, also what is on an older page.
                    let oldest = page.messages.last().map(|oldest| oldest.id);
                    let before = oldest.filter(|id| page.more && id.at() >= self.time.at_origin_ms);
                    if before.is_some() {
                        let (conversation, r#ref) =
                            (page.conversation, name(self.run ^ LOAD, line));
                        let query = HistoryQuery { r#ref, conversation, before, limit: None };
                        client.loading += 1;
                        after.say.push(query.into());
                    }
                    after.caught_up |= page.r#ref.is_some() && client.loading == 0;
                }
            }
            ServerFrame::Inbox(page) if page.r#ref.is_some() => {
                let ask = |entry: &InboxEntry| {
                    let (conversation, r#ref) = (entry.conversation, name(self.run ^ LOAD, line));
                    HistoryQuery { r#ref, conversation, before: None, limit: None }.into()
                };
                client.loading = (client.loading + page.entries.len()).saturating_sub(1);
                after.say.extend(page.entries.iter().map(ask));
                let oldest = page.entries.last().map(|entry| entry.head.id);
                let before = oldest.filter(|id| page.more && id.at() >= self.time.at_origin_ms);
                if before.is_some() {
                    let r#ref = name(self.run ^ LOAD, line);
                    client.loading += 1;
                    after.say.push(InboxQuery { r#ref, before, limit: None }.into());
                }
                after.caught_up |= client.loading == 0;
            }
            ServerFrame::Ack(ack) => {
                let seq = number(self.run, ack.r#ref).context("nobody sent that")?;
                client.unanswered.retain(|(open, _)| *open != seq);
                tell(Heard::Acked { seq, id: Uuid::from(ack.id).as_u128() });
            }
            ServerFrame::Error(error) => {
                let named = error.r#ref.and_then(|r#ref| number(self.run, r#ref));
                let Some(seq) = named else { bail!("{}: {}", error.code, error.text) };
                client.unanswered.retain(|(open, _)| *open != seq);
                tell(Heard::Refused { seq, code: error.code.name() });
            }
            ServerFrame::Synced(synced) => {
                client.cursor = Some(synced.cursor);
                after.caught_up |= client.loading == 0;
            }
            ServerFrame::Reset(reset) => {
                (client.cursor, client.loading) = (Some(reset.cursor), 1);
                let r#ref = name(self.run ^ LOAD, line);
                after.say.push(InboxQuery { r#ref, before: None, limit: None }.into());
            }
            ServerFrame::Receipt(_) => tell(Heard::Noticed("receipts")),
            ServerFrame::Presence(_) => tell(Heard::Noticed("presence")),
            ServerFrame::Typing(_) => tell(Heard::Noticed("typing")),
            ServerFrame::Bye(_) => return Ok(Next::Ended),
            _ => {}
        }
        Ok(Next::Stay)
    }

    /// Answers what came with the marks that a browser would send.
    fn mark(&mut self, line: Line, mark: Option<Mark>, out: &mut Vec<u8>) {
        let Some(mark) = mark else { return };
        if self.receipts != Receipts::None {
            self.say(&ClientFrame::from(Delivered(mark.clone())), out);
        }
        // A person reads on one device.
        if self.receipts == Receipts::Read && line.is_multiple_of(self.devices) {
            self.say(&ClientFrame::from(Read(mark)), out);
        }
    }

    /// Takes bytes of a session.
    fn session(
        &mut self,
        line: Line,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        let Stage::Session(reader, opened) = &mut self.lines[line].stage else {
            bail!("bytes of a session that is none");
        };
        let (mut reader, was_open) = (std::mem::take(reader), *opened);
        let (mut next, mut after, mut trouble) = (Next::Stay, After::default(), None);
        let mut pongs = std::mem::take(&mut self.pongs);
        reader.feed(bytes, |event| match event {
            Event::Opened => {}
            Event::Ping(content) => ws::write(Opcode::Pong, content, &mut self.dice, &mut pongs),
            Event::Closed(_) => next = Next::Ended,
            Event::Text(text) => {
                let frame = ServerFrame::decode(text).map_err(anyhow::Error::from);
                match frame.and_then(|frame| self.heard(line, frame, &mut after, tell)) {
                    Ok(Next::Stay) => {}
                    Ok(other) => next = other,
                    Err(error) => trouble = Some(error),
                }
            }
        })?;
        out.append(&mut pongs);
        self.pongs = pongs;
        let is_open = was_open || after.caught_up;
        self.lines[line].stage = Stage::Session(reader, is_open);
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        after.say.iter().for_each(|frame| self.say(frame, out));
        self.mark(line, after.mark, out);
        if is_open && !was_open {
            self.send_again(line, out);
            tell(Heard::Open);
        }
        Ok(next)
    }
}

impl Wire for Rally {
    fn begin(&mut self, line: Line, from: From) -> SocketAddr {
        if from == From::LogIn {
            let client = &mut self.lines[line];
            (client.id, client.cursor) = (ClientId::from(Uuid::new_v4()), None);
        }
        self.lines[line].loading = 0;
        // Another device of the user's may be on its way with the token that he has.
        self.lines[line].stage = match &self.users[line / self.devices].token {
            Some(_) if from == From::Return => Stage::Discover(Answer::default()),
            _ => Stage::LogIn(Answer::default()),
        };
        self.door
    }

    fn connected(&mut self, line: Line, out: &mut Vec<u8>) -> Result<bool> {
        match self.lines[line].stage {
            Stage::LogIn(_) => {
                let json = people::log_in_json(self.users[line / self.devices].id);
                http::post(&self.door.to_string(), "/api/login", None, &json, out);
            }
            Stage::Discover(_) => self.discover(line, out),
            Stage::Session(..) => self.enter(line, out)?,
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
            Stage::LogIn(answer) | Stage::Discover(answer) => match answer.feed(bytes)? {
                None => Ok(Next::Stay),
                Some(answer) => self.answered(line, answer, out),
            },
            Stage::Session(..) => self.session(line, bytes, out, tell),
        }
    }

    fn act(&mut self, line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool {
        let me = line / self.devices;
        let frame = match act {
            Act::Send { seq, to, text } => {
                let (at, n) = self.users[me.min(to)].stamp.next(self.time.now_ms());
                let pair = [me, to].map(|user| self.users[user].id);
                let send = Send::first(name(self.run, seq), pair, Stamp { at, n }, text);
                self.lines[line].unanswered.push_back((seq, send.clone()));
                ClientFrame::from(send)
            }
            Act::Type { to } => Typing { conversation: self.conversation(line, to) }.into(),
            Act::Watch { user } => Watch { user: self.users[user].id }.into(),
            Act::Unwatch { user } => Unwatch(Watch { user: self.users[user].id }).into(),
            Act::Read { with, question } => {
                let conversation = self.conversation(line, with);
                let r#ref = name(self.run ^ QUESTION, question);
                HistoryQuery { r#ref, conversation, before: None, limit: None }.into()
            }
        };
        self.say(&frame, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_let_in_yet_asks_again_and_any_other_refusal_ends_the_run() {
        let scenario = Scenario { users: 1, ..Scenario::default() };
        let users = vec!["ana".parse().unwrap()];
        let mut rally = Rally::new("127.0.0.1:9".parse().unwrap(), &scenario, users);
        let mut feed = |kind: &str| {
            let body = format!("{{\"type\":\"urn:rally:problem:{kind}\"}}");
            let head = format!("HTTP/1.1 503 Busy\r\ncontent-length: {}\r\n\r\n", body.len());
            rally.lines[0].stage = Stage::Discover(Answer::default());
            let mut out = Vec::new();
            let next = rally.feed(0, (head + &body).as_bytes(), &mut out, &mut |_| {});
            (next, String::from_utf8(out).unwrap())
        };
        let (next, asked) = feed("busy");
        assert_eq!(next.unwrap(), Next::Stay);
        assert!(asked.starts_with("POST /api/discover"), "{asked}");
        assert!(feed("not-ready").0.unwrap_err().to_string().contains("503"));
        let busy = (503, format!("{{\"type\":\"{NOT_YET}\"}}"));
        rally.lines[0].stage = Stage::LogIn(Answer::default());
        let next = rally.answered(0, busy, &mut Vec::new()).unwrap();
        assert_eq!(next, Next::Later, "a log-in is tried again");
    }

    #[test]
    fn what_the_run_sent_is_read_back_page_by_page_and_nothing_before_it() {
        use rally_schema::MessageId;
        use rally_schema::frame::{History, Message};
        let (ana, ben): (UserId, UserId) = ("ana".parse().unwrap(), "ben".parse().unwrap());
        let scenario = Scenario { users: 1, ..Scenario::default() };
        let mut rally = Rally::new("127.0.0.1:9".parse().unwrap(), &scenario, vec![ana]);
        rally.time.at_origin_ms = 1_000;
        let conversation = ConversationId::direct(ana, ben);
        let mut asked = |oldest_at: u64, more: bool| {
            let message = |at: u64| {
                let (r#ref, text) = (name(9, at as usize), "a".to_owned());
                let id = MessageId::of(Stamp { at, n: 0 }, ben, conversation, r#ref, &text);
                let (sender, to, reply_to, edit, deleted, after) =
                    (ben, ana, None, None, false, None);
                Message {
                    id,
                    conversation,
                    sender,
                    to,
                    r#ref,
                    text,
                    reply_to,
                    edit,
                    deleted,
                    after,
                }
            };
            let messages = vec![message(oldest_at + 1), message(oldest_at)];
            let page = History { r#ref: None, conversation, messages, more };
            let (mut after, mut heard) = (After::default(), 0);
            rally.lines[0].loading = 0;
            rally.heard(0, page.into(), &mut after, &mut |_| heard += 1).unwrap();
            (heard, after.say.len(), rally.lines[0].loading)
        };
        assert_eq!(asked(2_000, true), (2, 1, 1), "there is more of the run");
        assert_eq!(asked(2_000, false), (2, 0, 0));
        assert_eq!(asked(500, true), (2, 0, 0), "what is older is of others");
    }
}
