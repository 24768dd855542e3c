//! The connections of a run: how they are opened, dropped, lost and begun anew.
//!
//! The other half of the engine, which owns them.

use std::collections::{HashSet, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::date::now_ms;
use crate::fleet::Dial;
use crate::run::engine::{Engine, WORDS};
use crate::stop::Stop;
use crate::wire::{From, Line};

/// How many connections may be opening at once before a run: the door is not what is measured.
const OPENING: usize = 64;

/// How long connections may take to open after the last was begun.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before a connection that ended unasked is begun anew, at first and at most.
const AGAIN_NS: (u64, u64) = (100_000_000, 5_000_000_000);

/// How often slow clients read.
pub(super) const SIP_NS: u64 = 100_000_000;

/// Bytes that the kernel may hold for a slow client.
const SLOW_HOLDS: usize = 4_096;

/// Connections from one source address. The kernel has about 28,000 ports for each, keeps those of
/// ended connections for a minute, and searches the longer the fewer are left: 18,000 from one
/// address took 14 s to open, most of it spent there.
const OF_A_SOURCE: usize = 1_000;

/// The addresses that connections come from: those from 127.0.1.0 on that are this machine's.
const SOURCES: (u32, usize) = (0x7f00_0100, 0xff_fe00);

/// Addresses from the first one of a process to the first one of the next: room for more connections
/// than a process has, so that generators of one server, and a run after another, share none.
const OF_A_PROCESS: usize = 64;

/// Gives the source address of a connection; the kernel's choice where there is but one (`::1`).
fn source_of(line: usize, process: u32, to: IpAddr) -> Option<Ipv4Addr> {
    let (first, count) = SOURCES;
    let nth = (process as usize * OF_A_PROCESS + line / OF_A_SOURCE) % count;
    to.is_ipv4().then(|| Ipv4Addr::from(first + nth as u32))
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) open: bool,
    /// Since when and how it is meant to be back, if that is measured.
    pub(super) away: Option<Away>,
    /// How long to wait before it is begun anew.
    pub(super) again_ns: u64,
    /// Whether it is to begin with a log-in then.
    logs_in: bool,
    /// Messages that are due and wait until it is open.
    pub(super) waiting: VecDeque<usize>,
}

/// A connection that is to come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Away {
    /// Since when, in nanoseconds after the start.
    since: u64,
    from: From,
}

impl Away {
    /// Names the histogram of how long that takes: a log-in is another thing than a return.
    fn name(self) -> &'static str {
        match self.from {
            From::LogIn => "log-in",
            From::Return => "reconnect",
        }
    }
}

/// All connections were dropped at once.
#[derive(Debug)]
pub(super) struct Storm {
    /// When.
    since: u64,
    /// Those that have not been back since.
    missing: HashSet<Line>,
}

impl Storm {
    fn of(connections: usize, since: u64) -> Self {
        Self { since, missing: (0..connections).collect() }
    }

    /// Enters that one is back. Gives how long it took, when that was the last of them.
    fn back(&mut self, line: Line, now: u64) -> Option<u64> {
        let last = self.missing.remove(&line) && self.missing.is_empty();
        last.then(|| now.saturating_sub(self.since))
    }
}

impl Engine<'_> {
    /// Opens all connections, a few at a time.
    pub(super) fn open_all(&mut self, stop: &Stop) -> Result<()> {
        let all = self.clients.len();
        self.measured.connections = all as u64;
        let mut begun = 0;
        let mut progressed = Instant::now();
        while self.open < all {
            stop.check()?;
            while begun < all && begun - self.open < OPENING {
                self.begin(begun, From::LogIn)?;
                begun += 1;
            }
            let before = self.open;
            self.turn(Duration::from_millis(10))?;
            self.begin_again()?;
            if self.open > before {
                progressed = Instant::now();
                self.progress.opening(self.open, all);
            }
            let errors = &self.measured.errors;
            ensure!(
                progressed.elapsed() < PATIENCE && errors.len() < WORDS,
                "{} of {all} connections did not open: {}",
                all - self.open,
                errors.first().map_or("nothing was answered", String::as_str)
            );
        }
        self.measured.opening_ns = self.now_ns();
        // What went wrong before all were open once is no part of the run.
        self.measured.errors.clear();
        self.measured.spans.clear();
        self.measured.ended = 0;
        Ok(())
    }

    /// Waits for the moment at which the ramp is to begin, if one was told, and reads on meanwhile.
    ///
    /// # Errors
    ///
    /// It has passed, or not all connections are open at it.
    pub(super) fn wait_for_begin(&mut self, stop: &Stop) -> Result<()> {
        let Some(begin_s) = self.begin_at_s else { return Ok(()) };
        let ramp_at =
            begin_s.saturating_mul(1_000).saturating_sub(self.course.begin_ns() / 1_000_000);
        let left = |now_ms: u64| ramp_at.checked_sub(now_ms);
        left(now_ms()).with_context(|| {
            let late_ms = now_ms() - ramp_at;
            format!(
                "--begin-at {begin_s}: all connections were open {late_ms} ms too late for the \
                 warm-up before it; name a later moment"
            )
        })?;
        while let Some(left_ms) = left(now_ms()).filter(|left| *left > 0 && !stop.asked()) {
            self.turn(Duration::from_millis(left_ms.min(20)))?;
            self.begin_again()?;
        }
        let away = self.clients.len() - self.open;
        ensure!(away == 0, "--begin-at {begin_s}: {away} connections were not open by then");
        Ok(())
    }

    /// Begins a connection.
    pub(super) fn begin(&mut self, line: Line, from: From) -> Result<()> {
        let address = self.wire.begin(line, from);
        self.dial(line, address)
    }

    pub(super) fn dial(&mut self, line: Line, address: SocketAddr) -> Result<()> {
        let slow = self.scenario.is_slow(line / self.scenario.devices);
        let source = source_of(line, std::process::id(), address.ip());
        let how = Dial { source, holds: slow.then_some(SLOW_HOLDS) };
        match self.fleet.dial(line, address, how) {
            // Of a server that is gone the kernel may say so at once.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.lost(line),
            dialed => dialed?,
        }
        Ok(())
    }

    /// Drops a connection, which comes back at once.
    pub(super) fn drop_one(&mut self, line: Line, from: From, since: Option<u64>) -> Result<()> {
        self.closed(line);
        self.fleet.end(line);
        self.clients[line].away = since.map(|since| Away { since, from });
        self.begin(line, from)
    }

    pub(super) fn drop_all(&mut self, now: u64) -> Result<()> {
        // Those that wait are begun now as well, and once.
        self.again.clear();
        self.storm = Some(Storm::of(self.clients.len(), now));
        (0..self.clients.len()).try_for_each(|line| self.drop_one(line, From::Return, Some(now)))
    }

    pub(super) fn closed(&mut self, line: Line) {
        let client = &mut self.clients[line];
        self.open -= usize::from(std::mem::take(&mut client.open));
    }

    /// A connection ended unasked: it comes back after a while, later each time.
    pub(super) fn lost(&mut self, line: Line) {
        self.measured.ended += 1;
        self.progress.trouble();
        self.comes_later(line, From::Return);
    }

    /// Ends a connection that is to be begun anew after a while.
    pub(super) fn comes_later(&mut self, line: Line, from: From) {
        self.closed(line);
        self.fleet.end(line);
        let now = self.now_ns();
        let client = &mut self.clients[line];
        client.logs_in = from == From::LogIn;
        client.again_ns = (client.again_ns * 2).clamp(AGAIN_NS.0, AGAIN_NS.1);
        client.away.get_or_insert(Away { since: now, from: From::Return });
        self.again.insert((now + client.again_ns, line));
    }

    /// Begins anew what has waited for long enough.
    pub(super) fn begin_again(&mut self) -> Result<()> {
        let now = self.now_ns();
        while let Some((_, line)) = self.again.first().copied().filter(|(at, _)| *at <= now) {
            self.again.pop_first();
            let logs_in = std::mem::take(&mut self.clients[line].logs_in);
            self.begin(line, if logs_in { From::LogIn } else { From::Return })?;
        }
        Ok(())
    }

    /// Has slow clients read their share.
    pub(super) fn sip(&mut self) -> Result<()> {
        let bytes = self.scenario.slow.bytes_per_second * (SIP_NS as usize / 1_000_000) / 1_000;
        for line in 0..self.clients.len() {
            let slow = self.scenario.is_slow(line / self.scenario.devices);
            if slow && self.clients[line].open {
                self.fleet.pause(line, true)?;
                self.read(line, bytes.max(1))?;
            }
        }
        Ok(())
    }

    /// A connection may be used: what waited for it leaves.
    pub(super) fn opened(&mut self, line: Line, now: u64) -> Result<()> {
        let client = &mut self.clients[line];
        self.open += usize::from(!std::mem::replace(&mut client.open, true));
        client.again_ns = 0;
        let waiting = std::mem::take(&mut client.waiting);
        let away = client.away.take();
        if let Some(away) = away.filter(|away| self.counts(away.since)) {
            let spans = self.measured.spans.entry(away.name().to_owned()).or_default();
            spans.0.saturating_record(now.saturating_sub(away.since));
        }
        if let Some(took) = self.storm.as_mut().and_then(|storm| storm.back(line, now)) {
            self.measured.all_back_ns = Some(took);
        }
        waiting.into_iter().try_for_each(|seq| self.write_message(line, seq))?;
        self.ask_again(line)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn generators_of_one_server_do_not_share_the_ports_of_an_address() {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let mut of_a_source = std::collections::HashMap::<_, usize>::new();
        for process in [4_194_303, 4_194_304, 1, 2] {
            (0..18_000).for_each(|line| {
                *of_a_source.entry(source_of(line, process, here)).or_default() += 1;
            });
        }
        assert!(of_a_source.values().all(|count| *count == OF_A_SOURCE), "{of_a_source:?}");
        assert!(of_a_source.keys().all(|source| source.is_some_and(|ip| ip.is_loopback())));
        assert_eq!(source_of(999, 0, here), Some(Ipv4Addr::new(127, 0, 1, 0)));
        assert_eq!(source_of(1_000, 4, here), Some(Ipv4Addr::new(127, 0, 2, 1)));
    }

    #[test]
    fn to_a_server_of_ipv6_the_kernel_chooses_the_source() {
        assert_eq!(source_of(0, 7, Ipv6Addr::LOCALHOST.into()), None);
    }

    #[test]
    fn a_storm_is_over_once_when_the_last_of_all_is_back() {
        let mut storm = Storm::of(3, 100);
        assert_eq!(
            [(0, 110), (2, 120), (0, 130)].map(|(line, at)| storm.back(line, at)),
            [None; 3]
        );
        assert_eq!(storm.back(1, 150), Some(50));
        // Each of them may go and come again later.
        assert_eq!(storm.back(1, 900), None);
    }
}
