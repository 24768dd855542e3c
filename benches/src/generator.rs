//! The open-loop generator: keeps the schedule, whatever is spoken to.
//!
//! The server and the kernel's own price are driven by this same loop, so that what it does
//! (and costs) cancels out in their ratio. Knows a target only by [`Target`].

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use rustix::thread::set_current_timer_slack;

use crate::ledger::{Balance, Ledger, Told};
use crate::proc::Pid;
use crate::report::histogram;
use crate::schedule::Schedule;
use crate::stop::Stop;

/// How long answers may still come in after the last message.
const DRAIN: Duration = Duration::from_secs(5);

/// How many overdue messages leave before answers are read again.
const BURST: usize = 64;

/// Gives the peer of a user: 0 and 1 talk, 2 and 3, and so on.
pub fn peer_of(user: usize) -> usize {
    user ^ 1
}

/// Gives who sends message `seq`: first one of every pair, then the other of every pair, so that
/// two messages of one conversation do not follow each other at once.
fn sender_of(seq: usize, senders: usize) -> usize {
    let (round, pairs) = (seq % senders, senders / 2);
    if round < pairs { 2 * round } else { 2 * (round - pairs) + 1 }
}

/// Counts nanoseconds since a run began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Gives the nanoseconds since.
    pub fn ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What messages are sent to, in one protocol or another.
pub trait Target {
    /// Sends message `seq` of `sender` to his peer.
    fn send(&mut self, sender: usize, seq: usize) -> Result<()>;

    /// Waits at most `timeout` for answers and adds what they tell.
    fn turn(&mut self, timeout: Duration, clock: &Clock, told: &mut Vec<Told>) -> Result<()>;
}

/// What one run showed.
#[derive(Debug)]
pub struct Outcome {
    /// What became of the messages.
    pub balance: Balance,
    /// Intended time to ack.
    pub ack: Histogram<u64>,
    /// Intended time to delivery.
    pub delivery: Histogram<u64>,
    /// Intended time to the moment of sending: how far the generator itself was behind.
    pub lag: Histogram<u64>,
    /// CPU of the servers over the measured window, in nanoseconds.
    pub server_cpu_ns: u64,
    /// The same by the names of its threads.
    pub threads_ns: BTreeMap<String, u64>,
    /// CPU of this process over the same window.
    pub own_cpu_ns: u64,
    /// Messages acknowledged in the window.
    pub messages: u64,
}

impl Outcome {
    /// Gives the server's CPU a message, in microseconds.
    pub fn server_us(&self) -> f64 {
        self.server_cpu_ns as f64 / 1e3 / self.messages.max(1) as f64
    }

    /// Gives the CPU a message of each thread that used any worth showing, in microseconds.
    pub fn threads_us(&self) -> impl Iterator<Item = (&str, f64)> {
        let us = |ns: u64| ns as f64 / 1e3 / self.messages.max(1) as f64;
        let threads = self.threads_ns.iter().map(move |(name, ns)| (name.as_str(), us(*ns)));
        threads.filter(|(_, us)| *us >= 0.05)
    }

    /// Gives this process's CPU a message, in microseconds.
    pub fn own_us(&self) -> f64 {
        self.own_cpu_ns as f64 / 1e3 / self.messages.max(1) as f64
    }
}

/// CPU clocks and acks at one moment.
#[derive(Debug, Clone)]
struct Reading {
    server_ns: u64,
    threads_ns: BTreeMap<String, u64>,
    own_ns: u64,
    acked: u64,
}

impl Reading {
    fn take(servers: &[Pid], ledger: &Ledger) -> Result<Self> {
        let (mut server_ns, mut threads_ns) = (0, BTreeMap::new());
        for server in servers {
            server_ns += server.cpu_ns()?;
            for (name, ns) in server.threads_ns()? {
                *threads_ns.entry(name).or_default() += ns;
            }
        }
        Ok(Self { server_ns, threads_ns, own_ns: Pid::own().cpu_ns()?, acked: ledger.acked() })
    }
}

/// Gives what each thread used between two readings.
fn spent(before: BTreeMap<String, u64>, mut after: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for (name, ns) in &mut after {
        *ns = ns.saturating_sub(before.get(name).copied().unwrap_or(0));
    }
    after
}

/// Drives `target` through `schedule` with `senders` in turn, reading the CPU of `servers`.
pub fn run(
    target: &mut impl Target,
    schedule: &Schedule,
    senders: usize,
    servers: &[Pid],
    stop: &Stop,
) -> Result<Outcome> {
    let mut ledger = Ledger::new(schedule.total(), senders);
    let (mut lag, mut told) = (histogram(), Vec::new());
    let (mut next, mut begin) = (0, None);
    // The default slack of 50 µs would show as lag. Set here and not earlier: children inherit it.
    set_current_timer_slack(NonZero::new(1))?;
    let clock = Clock::start();
    let counted = schedule.first_measured()..schedule.total();
    let measured = |seq: usize| counted.contains(&seq).then(|| schedule.intended_ns(seq));
    loop {
        let mut now = clock.ns();
        let burst_end = next + BURST;
        while next < burst_end && schedule.is_due(next, now) {
            if let Some(intended) = measured(next) {
                if begin.is_none() {
                    begin = Some(Reading::take(servers, &ledger)?);
                    now = clock.ns();
                }
                lag.saturating_record(now - intended);
            }
            let sender = sender_of(next, senders);
            ledger.sent(next, sender);
            target.send(sender, next)?;
            next += 1;
            now = clock.ns();
        }
        if now >= schedule.end_ns() || stop.asked() {
            break;
        }
        target.turn(schedule.wait(next, now), &clock, &mut told)?;
        told.drain(..).for_each(|told| ledger.told(told, measured(told.seq)));
    }
    let end = Reading::take(servers, &ledger)?;
    let begin = begin.unwrap_or_else(|| end.clone());
    let deadline = clock.ns() + DRAIN.as_nanos() as u64;
    while !ledger.is_settled() && clock.ns() < deadline {
        target.turn(Duration::from_millis(20), &clock, &mut told)?;
        told.drain(..).for_each(|told| ledger.told(told, measured(told.seq)));
    }
    set_current_timer_slack(None)?;
    let (balance, ack, delivery) = ledger.close();
    Ok(Outcome {
        balance,
        ack,
        delivery,
        lag,
        server_cpu_ns: end.server_ns - begin.server_ns,
        threads_ns: spent(begin.threads_ns, end.threads_ns),
        own_cpu_ns: end.own_ns - begin.own_ns,
        messages: end.acked - begin.acked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_sends_once_a_round_and_pairs_are_apart() {
        for senders in [2, 4, 200] {
            let mut all: Vec<usize> = (0..senders).map(|seq| sender_of(seq, senders)).collect();
            for pair in all.windows(2).filter(|_| senders > 2) {
                assert_ne!(peer_of(pair[0]), pair[1]);
            }
            all.sort_unstable();
            assert!(all.into_iter().eq(0..senders));
        }
    }
}
