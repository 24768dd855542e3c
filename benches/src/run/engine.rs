//! The generator: does what a scenario says when it says so, whatever the server does.
//!
//! One thread, one epoll, any number of connections. Whatever is spoken to is driven by this same
//! loop, so that what it does (and costs) cancels out when two are compared. Knows a server only by
//! its [`Wire`].

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::thread::set_current_timer_slack;

use crate::dice::Dice;
use crate::family::Family;
use crate::fleet::{Fleet, Got};
use crate::run::book::Book;
use crate::run::connections::{Client, SIP_NS};
use crate::run::measured::{Measured, Spans};
use crate::run::progress::Progress;
use crate::run::readings::Reading;
use crate::run::scenario::Scenario;
use crate::run::timetable::{Course, Timetable, wait};
use crate::stop::Stop;
use crate::wire::{Act, From, Heard, Line, Next, Wire, text};

/// How long answers may still come in after the last message.
const DRAIN: Duration = Duration::from_secs(10);

/// How many overdue messages leave before answers are read again.
const BURST: usize = 64;

/// Things wrong that are kept in words.
pub(super) const WORDS: usize = 5;

/// What has a timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Type,
    Watch,
    Read,
    Reconnect,
    LogIn,
}

const KINDS: [Kind; 6] =
    [Kind::Send, Kind::Type, Kind::Watch, Kind::Read, Kind::Reconnect, Kind::LogIn];

/// Drives a server through a scenario.
pub struct Engine<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) wire: &'a mut dyn Wire,
    pub(super) servers: &'a [Family],
    pub(super) course: Course,
    pub(super) fleet: Fleet,
    pub(super) clients: Vec<Client>,
    pub(super) book: Book<'a>,
    pub(super) measured: Measured,
    pub(super) progress: Progress,
    pub(super) dice: Dice,
    /// Connections that are to be begun anew, by when.
    pub(super) again: BTreeSet<(u64, Line)>,
    /// Questions that are open, and when they were to be asked.
    pub(super) questions: HashMap<usize, u64>,
    pub(super) asked: usize,
    pub(super) open: usize,
    /// Senders whose messages were answered, who send the next one (a closed loop).
    pub(super) answered: Vec<usize>,
    /// Users who have a conversation with their peer: nobody types in one that is not there.
    pub(super) talk: Vec<bool>,
    pub(super) origin: Instant,
    pub(super) out: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) text: String,
}

impl<'a> Engine<'a> {
    /// Puts it together; nothing is opened yet.
    pub fn new(
        scenario: &'a Scenario,
        wire: &'a mut dyn Wire,
        servers: &'a [Family],
    ) -> Result<Self> {
        Ok(Self {
            scenario,
            wire,
            servers,
            course: Course::of(scenario),
            fleet: Fleet::new()?,
            clients: (0..scenario.connections()).map(|_| Client::default()).collect(),
            book: Book::new(scenario),
            measured: Measured::default(),
            progress: Progress::of(scenario),
            dice: Dice::new(7),
            again: BTreeSet::new(),
            questions: HashMap::new(),
            asked: 0,
            open: 0,
            answered: Vec::new(),
            talk: vec![false; scenario.users],
            origin: Instant::now(),
            out: Vec::new(),
            scratch: vec![0; 256 * 1024],
            text: String::new(),
        })
    }

    /// Opens all connections, does what the scenario says, and gives what was seen.
    pub fn run(mut self, stop: &Stop) -> Result<Measured> {
        self.measured.server.rss_before = Reading::memory(self.servers)?;
        self.open_all(stop)?;
        self.measured.server.rss_open = Reading::memory(self.servers)?;
        // The default slack of 50 µs would show as lag. Set here and not earlier: children inherit it.
        set_current_timer_slack(NonZero::new(1))?;
        let went = self.go(stop);
        set_current_timer_slack(None)?;
        went?;
        self.measured.interrupted = stop.asked();
        self.drain()?;
        let (balance, ack, delivery) = self.book.close();
        self.measured.balance = balance;
        for (name, spans) in [("ack", ack), ("delivered", delivery)] {
            self.measured.spans.insert(name.to_owned(), Spans(spans));
        }
        self.measured.seconds = self.progress.end();
        self.measured.spans.retain(|_, spans| !spans.0.is_empty());
        Ok(self.measured)
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Keeps the timetables until the last second is over.
    fn go(&mut self, stop: &Stop) -> Result<()> {
        let Scenario { typing, watches, history, reconnects, logins, .. } = *self.scenario;
        let rates = [self.scenario.send.rate, typing, watches, history, reconnects, logins];
        let mut tables: Vec<Timetable> = (1..)
            .zip(rates)
            .map(|(seed, rate)| {
                Timetable::new(self.course.clone(), self.scenario.arrivals, rate, seed)
            })
            .collect();
        self.origin = Instant::now();
        let (begin_ns, end_ns) = (self.course.begin_ns(), self.course.end_ns());
        let mut drop_at = self.scenario.drop_all_at_s.map(|s| begin_ns + s * 1_000_000_000);
        let (mut begun, mut sip_at) = (None, 0);
        (0..self.scenario.send.in_flight)
            .for_each(|_| self.answered.extend(0..self.scenario.users));
        loop {
            let now = self.now_ns();
            if now >= end_ns || stop.asked() {
                break;
            }
            if begun.is_none() && now >= begin_ns {
                begun = Some(Reading::take(self.servers, self.book.so_far())?);
            }
            for (kind, table) in KINDS.into_iter().zip(&mut tables) {
                for _ in 0..BURST {
                    let Some(intended) = table.take_due(self.now_ns()) else { break };
                    self.act(kind, intended)?;
                }
            }
            self.send_next()?;
            if drop_at.is_some_and(|at| at <= now) {
                drop_at = None;
                self.drop_all(now)?;
            }
            if now >= sip_at && self.scenario.slow.share > 0.0 {
                sip_at = now + SIP_NS;
                self.sip()?;
            }
            self.begin_again()?;
            self.progress.tick(now, self.book.so_far(), self.open);
            let tables: Vec<&Timetable> = tables.iter().collect();
            let most = wait(&tables, end_ns, self.now_ns());
            // Now and then for what has no timetable.
            self.turn(most.min(Duration::from_millis(20)))?;
        }
        self.progress.tick(self.now_ns(), self.book.so_far(), self.open);
        let ended = Reading::take(self.servers, self.book.so_far())?;
        let begun = begun.unwrap_or_else(|| ended.clone());
        ended.since(begun, &mut self.measured);
        self.measured.server.rss_end = Reading::memory(self.servers)?;
        Ok(())
    }

    /// Does one thing that is due.
    fn act(&mut self, kind: Kind, intended: u64) -> Result<()> {
        if kind == Kind::Send {
            let sent = self.book.so_far().sent as usize;
            return self.send(self.scenario.sender_of(sent), intended);
        }
        let users = self.scenario.users as u64;
        let user = (self.dice.roll() % users) as usize;
        let device = self.dice.roll() as usize % self.scenario.devices;
        let (line, peer) = (user * self.scenario.devices + device, self.scenario.peer_of(user));
        let talks = self.talk[user] || !matches!(kind, Kind::Type | Kind::Read);
        if !self.clients[line].open || self.scenario.is_slow(user) || !talks {
            return Ok(());
        }
        match kind {
            Kind::Send => Ok(()),
            Kind::Type => self.say(line, Act::Type { to: peer }, "typing"),
            Kind::Watch => {
                let other = (self.dice.roll() % users) as usize;
                self.say(line, Act::Watch { user: other }, "watches")?;
                self.say(line, Act::Unwatch { user: other }, "watches")
            }
            Kind::Read => {
                let question = self.asked;
                self.asked += 1;
                self.questions.insert(question, intended);
                self.say(line, Act::Read { with: peer, question }, "history")
            }
            Kind::Reconnect => self.drop_one(line, From::Return, Some(intended)),
            Kind::LogIn => self.drop_one(line, From::LogIn, Some(intended)),
        }
    }

    /// Says something on an open connection; counts what the protocol has not.
    fn say(&mut self, line: Line, act: Act<'_>, name: &str) -> Result<()> {
        self.out.clear();
        self.append(line, act, name);
        Ok(self.fleet.write(line, &self.out)?)
    }

    fn append(&mut self, line: Line, act: Act<'_>, name: &str) {
        if !self.wire.act(line, act, &mut self.out) {
            *self.measured.unsupported.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Has who was answered send his next message (a closed loop). Who was answered several times
    /// in one read sends as many in one write, as a client that finds them answered does.
    fn send_next(&mut self) -> Result<()> {
        while let Some(sender) = self.answered.pop() {
            let line = sender * self.scenario.devices;
            let mut count = 1;
            while self.answered.pop_if(|next| *next == sender).is_some() {
                count += 1;
            }
            self.out.clear();
            for _ in 0..count {
                let now = self.now_ns();
                let seq = self.book.send(sender, now, now >= self.course.begin_ns());
                match self.clients[line].open {
                    true => self.append_message(line, seq),
                    false => self.clients[line].waiting.push_back(seq),
                }
            }
            self.fleet.write(line, &self.out)?;
        }
        Ok(())
    }

    /// Sends the next message of a user, from his first device.
    fn send(&mut self, sender: usize, intended: u64) -> Result<()> {
        let now = self.now_ns();
        let counts = intended >= self.course.begin_ns();
        if counts {
            let lag = self.measured.spans.entry("lag".to_owned()).or_default();
            lag.0.saturating_record(now.saturating_sub(intended));
        }
        let seq = self.book.send(sender, intended, counts);
        let line = sender * self.scenario.devices;
        match self.clients[line].open {
            true => self.write_message(line, seq),
            false => {
                self.clients[line].waiting.push_back(seq);
                Ok(())
            }
        }
    }

    pub(super) fn write_message(&mut self, line: Line, seq: usize) -> Result<()> {
        self.out.clear();
        self.append_message(line, seq);
        Ok(self.fleet.write(line, &self.out)?)
    }

    /// Appends a message to what is to be written to a connection next.
    fn append_message(&mut self, line: Line, seq: usize) {
        let mut said = std::mem::take(&mut self.text);
        text::write(seq, self.scenario.send.text_bytes, &mut said);
        let to = self.scenario.peer_of(line / self.scenario.devices);
        self.append(line, Act::Send { seq, to, text: &said }, "send");
        self.text = said;
    }

    /// Waits at most `timeout` for bytes, and takes up what they say.
    pub(super) fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut ready = Vec::new();
        self.fleet.wait(timeout, &mut ready)?;
        ready.into_iter().try_for_each(|line| self.read(line, usize::MAX))
    }

    /// Reads once from a connection.
    pub(super) fn read(&mut self, line: Line, most: usize) -> Result<()> {
        let most = most.min(self.scratch.len());
        let bytes = match self.fleet.read(line, &mut self.scratch[..most])? {
            Got::Nothing => return Ok(()),
            Got::Ended => {
                self.lost(line);
                return Ok(());
            }
            Got::Connected => {
                self.out.clear();
                let open = self.wire.connected(line, &mut self.out)?;
                self.fleet.write(line, &self.out)?;
                return if open { self.opened(line, self.now_ns()) } else { Ok(()) };
            }
            Got::Bytes(bytes) => bytes,
        };
        self.out.clear();
        let now = self.now_ns();
        let Self {
            wire, scratch, out, book, measured, progress, answered, questions, talk, ..
        } = self;
        let (scenario, mut opened) = (self.scenario, false);
        let said = wire.feed(line, &scratch[..bytes], out, &mut |heard| match heard {
            Heard::Open => opened = true,
            Heard::Acked { seq, id } => {
                let first = book.so_far().acked;
                book.acked(seq, id, now);
                talk[line / scenario.devices] = true;
                if scenario.is_closed() && book.so_far().acked > first {
                    answered.push(line / scenario.devices);
                }
            }
            Heard::Refused { seq, code } => {
                book.refused(seq, code);
                progress.trouble();
                if scenario.is_closed() {
                    answered.push(line / scenario.devices);
                }
            }
            Heard::Message { text: said, id } => {
                let seq = text::read(said, scenario.send.text_bytes);
                let took = book.delivered(line, seq, id, now);
                progress.delivered(took);
            }
            Heard::Answered { question } => {
                if let Some(intended) = questions.remove(&question) {
                    let spans = measured.spans.entry("history".to_owned()).or_default();
                    spans.0.saturating_record(now.saturating_sub(intended));
                }
            }
            Heard::Noticed(name) => *measured.noticed.entry(name.to_owned()).or_default() += 1,
        });
        if !self.out.is_empty() {
            self.fleet.write(line, &self.out)?;
        }
        match said {
            Ok(Next::Stay) => {}
            Ok(Next::Go(address)) => self.dial(line, address)?,
            Ok(Next::Ended) => self.lost(line),
            Err(error) => {
                if self.measured.errors.len() < WORDS {
                    self.measured.errors.push(format!("connection {line}: {error:#}"));
                }
                self.lost(line);
            }
        }
        if opened { self.opened(line, now) } else { Ok(()) }
    }

    /// Reads on until nothing more is owed, or it has taken too long.
    fn drain(&mut self) -> Result<()> {
        for line in 0..self.clients.len() {
            self.fleet.pause(line, false)?;
        }
        let deadline = Instant::now() + DRAIN;
        while !(self.book.is_settled() && self.open == self.clients.len())
            && Instant::now() < deadline
        {
            self.turn(Duration::from_millis(20))?;
            self.begin_again()?;
        }
        Ok(())
    }
}
