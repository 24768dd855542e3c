//! What the clients of the generator do when it is due: send messages, ask for older ones, type, look who
//! is there, come back.

use anyhow::Result;

use crate::run::engine::Engine;
use crate::wire::text;
use crate::wire::{Act, From, Line};

/// What has a timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Send,
    Type,
    Watch,
    Read,
    Reconnect,
    LogIn,
}

pub(super) const KINDS: [Kind; 6] =
    [Kind::Send, Kind::Type, Kind::Watch, Kind::Read, Kind::Reconnect, Kind::LogIn];

impl Kind {
    /// Names many of it.
    fn name(self) -> &'static str {
        match self {
            Self::Send => "messages",
            Self::Type => "typing",
            Self::Watch => "watches",
            Self::Read => "history",
            Self::Reconnect => "reconnects",
            Self::LogIn => "log-ins",
        }
    }
}

/// A question for the newest messages exchanged with a user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// Who asked.
    pub(super) line: Line,
    pub(super) with: usize,
    /// When it was to be asked.
    pub(super) intended: u64,
}

impl Engine<'_> {
    /// Does one thing that is due.
    pub(super) fn act(&mut self, kind: Kind, intended: u64) -> Result<()> {
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
            if self.counts(intended) {
                *self.measured.skipped.entry(kind.name().to_owned()).or_default() += 1;
            }
            return Ok(());
        }
        if self.counts(intended) {
            *self.measured.done.entry(kind.name().to_owned()).or_default() += 1;
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
                let number = self.asked;
                self.asked += 1;
                self.ask(number, Question { line, with: peer, intended })
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

    /// Appends what it takes to do something; gives whether the protocol has such a thing.
    fn append(&mut self, line: Line, act: Act<'_>, name: &str) -> bool {
        let has = self.wire.act(line, act, &mut self.out);
        if !has {
            *self.measured.unsupported.entry(name.to_owned()).or_default() += 1;
        }
        has
    }

    /// Asks a question on an open connection; its answer is owed from now on.
    fn ask(&mut self, number: usize, question: Question) -> Result<()> {
        let Question { line, with, .. } = question;
        self.out.clear();
        if self.append(line, Act::Read { with, question: number }, "history") {
            self.questions.insert(number, question);
        }
        Ok(self.fleet.write(line, &self.out)?)
    }

    /// Asks again what went down unanswered with a connection that is back.
    pub(super) fn ask_again(&mut self, line: Line) -> Result<()> {
        let lost = self.questions.iter().filter(|(_, question)| question.line == line);
        let lost: Vec<(usize, Question)> =
            lost.map(|(number, question)| (*number, *question)).collect();
        lost.into_iter().try_for_each(|(number, question)| self.ask(number, question))
    }

    /// Has who was answered send his next message (a closed loop). Who was answered several times
    /// in one read sends as many in one write, as a client that finds them answered does.
    pub(super) fn send_next(&mut self) -> Result<()> {
        while let Some(sender) = self.answered.pop() {
            let line = sender * self.scenario.devices;
            let mut count = 1;
            while self.answered.pop_if(|next| *next == sender).is_some() {
                count += 1;
            }
            self.out.clear();
            for _ in 0..count {
                let now = self.now_ns();
                let counts = self.counts(now);
                self.measured.due += u64::from(counts);
                let seq = self.book.send(sender, now, counts);
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
        let counts = self.counts(intended);
        if counts {
            self.measured.due += 1;
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
        let seq = self.first + seq;
        text::write(seq, self.scenario.send.text_bytes, &mut said);
        let to = self.scenario.peer_of(line / self.scenario.devices);
        self.append(line, Act::Send { seq, to, text: &said }, "send");
        self.text = said;
    }
}
