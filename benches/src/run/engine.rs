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

use crate::date::now_ms;
use crate::dice::Dice;
use crate::fleet::{Fleet, Got};
use crate::run::book::Book;
use crate::run::connections::{Client, SIP_NS, Storm};
use crate::run::doing::{KINDS, Question};
use crate::run::measured::{Measured, Spans};
use crate::run::metrics::{Asked, gained};
use crate::run::progress::Progress;
use crate::run::readings::Reading;
use crate::run::scenario::Scenario;
use crate::run::timetable::{Course, Timetable, wait};
use crate::stop::Stop;
use crate::subject::Probe;
use crate::wire::text::{self, Whose, whose};
use crate::wire::{From, Heard, Line, Next, Wire};

/// How long answers may still come in after the last message.
const DRAIN: Duration = Duration::from_secs(10);

/// How many overdue messages leave before answers are read again.
const BURST: usize = 64;

/// Things wrong that are kept in words.
pub(super) const WORDS: usize = 5;

/// Drives a server through a scenario.
pub struct Engine<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) wire: &'a mut dyn Wire,
    pub(super) probe: &'a Probe,
    /// When to begin to measure, in seconds since 1970.
    pub(super) begin_at_s: Option<u64>,
    pub(super) course: Course,
    pub(super) fleet: Fleet,
    pub(super) clients: Vec<Client>,
    pub(super) book: Book<'a>,
    /// The number by which servers know the run's first message.
    pub(super) first: usize,
    pub(super) measured: Measured,
    pub(super) progress: Progress,
    pub(super) dice: Dice,
    /// Connections that are to be begun anew, by when.
    pub(super) again: BTreeSet<(u64, Line)>,
    /// Questions that are open.
    pub(super) questions: HashMap<usize, Question>,
    pub(super) asked: usize,
    pub(super) open: usize,
    /// All connections were dropped, and not all are back.
    pub(super) storm: Option<Storm>,
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
        probe: &'a Probe,
        begin_at_s: Option<u64>,
    ) -> Result<Self> {
        Ok(Self {
            scenario,
            wire,
            probe,
            begin_at_s,
            course: Course::of(scenario),
            fleet: Fleet::new()?,
            clients: (0..scenario.connections()).map(|_| Client::default()).collect(),
            book: Book::new(scenario),
            first: first_of_a_run(),
            measured: Measured::default(),
            progress: Progress::of(scenario),
            dice: Dice::new(7),
            again: BTreeSet::new(),
            questions: HashMap::new(),
            asked: 0,
            open: 0,
            storm: None,
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
        self.measured.server.rss_before = Reading::memory(&self.probe.families)?;
        self.open_all(stop)?;
        self.measured.server.rss_open = Reading::memory(&self.probe.families)?;
        // The default slack of 50 µs would show as lag. Set here and not earlier: children inherit it.
        set_current_timer_slack(NonZero::new(1))?;
        let went = self.go(stop);
        set_current_timer_slack(None)?;
        let metrics = went?;
        self.measured.interrupted = stop.asked();
        self.drain()?;
        if let Some([Some(before), Some(after)]) = metrics.map(|asked| asked.map(Asked::answered)) {
            self.measured.server.metrics = gained(&before, &after);
        }
        self.measured.absent = (self.clients.len() - self.open) as u64;
        self.measured.unheard = self.questions.len() as u64;
        let clients = &self.clients;
        let (balance, times) = self.book.close(|line| clients[line].open);
        self.measured.balance = balance;
        for (name, spans) in times {
            self.measured.spans.insert(name.to_owned(), Spans(spans));
        }
        self.measured.seconds = self.progress.end();
        self.measured.spans.retain(|_, spans| !spans.0.is_empty());
        Ok(self.measured)
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Keeps the timetables until the last second is over. Gives what the server's nodes are asked for,
    /// when the measured time begins and when it ends, if it began.
    fn go(&mut self, stop: &Stop) -> Result<Option<[Asked; 2]>> {
        let Scenario { typing, watches, history, reconnects, logins, .. } = *self.scenario;
        let rates = [self.scenario.send.rate, typing, watches, history, reconnects, logins];
        let mut tables: Vec<Timetable> = (1..)
            .zip(rates)
            .map(|(seed, rate)| {
                Timetable::new(self.course.clone(), self.scenario.arrivals, rate, seed)
            })
            .collect();
        self.wait_for_begin(stop)?;
        self.origin = Instant::now();
        self.measured.seconds_from_unix_ms = Some(now_ms());
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
                begun = Some(Reading::take(self.probe, self.book.so_far())?);
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
        // What was due and has not left any more is owed by whoever was too slow.
        while let Some(intended) = tables[0].take_due(self.now_ns().min(end_ns)) {
            self.measured.due += u64::from(self.counts(intended));
        }
        let ended = Reading::take(self.probe, self.book.so_far())?;
        let asked = begun.map(|begun| ended.since(begun, &mut self.measured));
        match Reading::memory(&self.probe.families) {
            Ok(bytes) => self.measured.server.rss_end = bytes,
            Err(_) => self.measured.server.ended = true,
        }
        Ok(asked)
    }

    /// Tells whether what was to be done at a time is within the measured time.
    pub(super) fn counts(&self, intended: u64) -> bool {
        intended >= self.course.begin_ns()
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
            wire,
            scratch,
            out,
            book,
            measured,
            progress,
            answered,
            questions,
            talk,
            course,
            ..
        } = self;
        let (scenario, first, mut opened) = (self.scenario, self.first, false);
        let text_bytes = scenario.send.text_bytes;
        let said = wire.feed(line, &scratch[..bytes], out, &mut |heard| match heard {
            Heard::Open => opened = true,
            Heard::Acked { seq, id } => {
                let before = book.so_far().acked;
                book.acked(seq.wrapping_sub(first), id, now);
                talk[line / scenario.devices] = true;
                if scenario.is_closed() && book.so_far().acked > before {
                    answered.push(line / scenario.devices);
                }
            }
            Heard::Refused { seq, code } => {
                book.refused(seq.wrapping_sub(first), code);
                progress.trouble();
                if scenario.is_closed() {
                    answered.push(line / scenario.devices);
                }
            }
            Heard::Message { text: said, id, stored } => {
                let run = first..first + book.so_far().sent as usize;
                match whose(text::read(said, text_bytes), &run, stored) {
                    Whose::Ours(seq) => {
                        progress.delivered(book.delivered(line, Some(seq), id, stored, now))
                    }
                    Whose::Nobodys => _ = book.delivered(line, None, id, stored, now),
                    Whose::Others => {}
                }
            }
            Heard::Answered { question } => {
                let asked = questions.remove(&question).map(|question| question.intended);
                if let Some(intended) = asked.filter(|intended| *intended >= course.begin_ns()) {
                    let spans = measured.spans.entry("history".to_owned()).or_default();
                    spans.0.saturating_record(now.saturating_sub(intended));
                }
            }
            Heard::Noticed(name) => *measured.noticed.entry(name.to_owned()).or_default() += 1,
        });
        if !self.out.is_empty() {
            self.fleet.write(line, &self.out)?;
        }
        if opened {
            self.opened(line, now)?;
        }
        match said {
            Ok(Next::Stay) => {}
            Ok(Next::Go(address)) => self.dial(line, address)?,
            Ok(Next::Ended) => self.lost(line),
            Ok(Next::Later) => self.comes_later(line, From::LogIn),
            Err(error) => {
                if self.measured.errors.len() < WORDS {
                    self.measured.errors.push(format!("connection {line}: {error:#}"));
                }
                self.lost(line);
            }
        }
        Ok(())
    }

    /// Reads on until nothing more is owed and everybody is back, or it has taken too long.
    fn drain(&mut self) -> Result<()> {
        for line in 0..self.clients.len() {
            self.fleet.pause(line, false)?;
        }
        let deadline = Instant::now() + DRAIN;
        let owed = |this: &Self| {
            let absent = this.open < this.clients.len();
            absent || !this.book.is_settled() || !this.questions.is_empty()
        };
        while owed(self) && Instant::now() < deadline {
            self.turn(Duration::from_millis(20))?;
            self.begin_again()?;
        }
        Ok(())
    }
}

/// Gives the number of a run's first message: above those of all earlier runs, as long as they had
/// less than a million messages a second, and exact as a double, which is what JSON has.
fn first_of_a_run() -> usize {
    (now_ms() as usize) << 10
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::family::Family;
    use crate::proc::Pid;
    use crate::wire::bare::Bare;

    /// A server that takes connections and says nothing.
    fn silent() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in [(); 2].map(|()| listener.accept().unwrap().0) {
                while stream.read(&mut [0; 8]).is_ok_and(|bytes| bytes > 0) {}
            }
        });
        address
    }

    fn idle(seconds: u64) -> Scenario {
        Scenario { users: 2, warmup_s: 0, seconds, ..Scenario::default() }
    }

    #[test]
    fn a_run_of_which_the_server_s_process_is_gone_is_reported() {
        let mut sleeps = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        let families = vec![Family(Pid(sleeps.id()))];
        let probe = Probe { families, metrics_at: Vec::new() };
        std::thread::spawn(move || sleeps.wait().unwrap());
        let scenario = idle(1);
        let mut wire = Bare::new(silent(), &scenario, true);
        let engine = Engine::new(&scenario, &mut wire, &probe, None).unwrap();
        let seen = engine.run(&Stop::default()).unwrap();
        assert!(seen.server.ended && !seen.server.is_known());
        assert_eq!((seen.connections, seen.absent), (2, 0));
        assert!(seen.window_ns > 900_000_000);
    }

    #[test]
    fn several_generators_begin_to_measure_at_the_moment_that_they_are_told() {
        let (scenario, probe) = (idle(1), Probe::default());
        let begun = |begin_at_s| {
            let mut wire = Bare::new(silent(), &scenario, true);
            Engine::new(&scenario, &mut wire, &probe, Some(begin_at_s))
                .unwrap()
                .run(&Stop::default())
        };
        let at_s = now_ms() / 1_000 + 2;
        let begun_ms = begun(at_s).unwrap().begun_unix_ms.unwrap();
        assert!((at_s * 1_000..at_s * 1_000 + 500).contains(&begun_ms), "{begun_ms}");
        let error = begun(at_s - 10).unwrap_err().to_string();
        assert!(error.contains(&format!("--begin-at {}", at_s - 10)), "{error}");
        assert!(error.contains("too late"), "{error}");
    }

    #[test]
    fn a_later_run_numbers_its_messages_above_those_of_an_earlier_one() {
        let first = first_of_a_run();
        let later = std::iter::repeat_with(first_of_a_run).find(|later| *later != first).unwrap();
        assert!(first < later && later < 1 << 51);
    }
}
