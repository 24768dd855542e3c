//! When each message is meant to leave: fixed before the run, whatever the server does.
//!
//! An open loop. A generator that waits for answers sends less to a slow server and then
//! calls it fast; here a late answer delays nothing, and latency counts from the *intended*
//! time. Knows nothing of sockets.

use std::time::Duration;

use clap::ValueEnum;

use crate::dice::Dice;

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// One every 1/rate seconds.
    Even,
    /// At random, as independent people write: 1/rate seconds on average.
    Poisson,
    /// Every millisecond what falls into it at once, as generators do that wait in milliseconds.
    Burst,
}

/// The intended time of every message of a run, in nanoseconds after its start.
#[derive(Debug, Clone)]
pub struct Schedule {
    intended: Vec<u64>,
    warmup: usize,
    end_ns: u64,
}

impl Schedule {
    /// Fixes `rate` messages a second for `warmup` and then `seconds`, of which only the latter count.
    pub fn new(arrivals: Arrivals, rate: u32, warmup: Duration, seconds: Duration) -> Self {
        let start_ns = warmup.as_nanos() as u64;
        let end_ns = start_ns + seconds.as_nanos() as u64;
        let gap = 1e9 / f64::from(rate);
        let mut dice = Dice::new(u64::from(rate));
        let mut intended = Vec::with_capacity((end_ns as f64 / gap) as usize + 1);
        let mut at = 0.0;
        while (at as u64) < end_ns {
            intended.push(at as u64);
            at = match arrivals {
                Arrivals::Even => intended.len() as f64 * gap,
                Arrivals::Burst => (intended.len() as f64 * gap / 1e6).floor() * 1e6,
                Arrivals::Poisson => at - dice.share().ln() * gap,
            };
        }
        let warmup = intended.partition_point(|at| *at < start_ns);
        Self { intended, warmup, end_ns }
    }

    /// Gives how many messages there are.
    pub fn total(&self) -> usize {
        self.intended.len()
    }

    /// Gives the first message that counts; all before it warm up.
    pub fn first_measured(&self) -> usize {
        self.warmup
    }

    /// Gives when message `seq` is meant to leave.
    pub fn intended_ns(&self, seq: usize) -> u64 {
        self.intended[seq]
    }

    /// Tells whether message `seq` exists and is due.
    pub fn is_due(&self, seq: usize, now_ns: u64) -> bool {
        self.intended.get(seq).is_some_and(|at| *at <= now_ns)
    }

    /// Gives how long to wait from `now_ns` until message `seq` is due, or the run's end if it is no more.
    pub fn wait(&self, seq: usize, now_ns: u64) -> Duration {
        let until = self.intended.get(seq).copied().unwrap_or(self.end_ns);
        Duration::from_nanos(until.saturating_sub(now_ns))
    }

    /// Gives when the last second is over.
    pub fn end_ns(&self) -> u64 {
        self.end_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn even_arrivals_do_not_drift() {
        let schedule = Schedule::new(Arrivals::Even, 3_000, SECOND, 3 * SECOND);
        assert_eq!(schedule.total(), 12_000);
        assert_eq!(schedule.first_measured(), 3_000);
        assert_eq!(schedule.intended_ns(3_000), 1_000_000_000);
        assert_eq!(schedule.intended_ns(9_000), 3_000_000_000);
    }

    #[test]
    fn bursts_keep_the_rate_and_begin_with_their_millisecond() {
        let schedule = Schedule::new(Arrivals::Burst, 2_500, Duration::ZERO, SECOND);
        assert_eq!(schedule.total(), 2_500);
        assert_eq!(&schedule.intended[..6], [0, 0, 0, 1_000_000, 1_000_000, 2_000_000]);
    }

    #[test]
    fn random_arrivals_keep_their_rate_and_order() {
        let schedule = Schedule::new(Arrivals::Poisson, 2_000, Duration::ZERO, 10 * SECOND);
        assert!((19_000..21_000).contains(&schedule.total()), "{}", schedule.total());
        assert!((1..schedule.total()).all(|n| schedule.intended[n - 1] <= schedule.intended[n]));
        assert_eq!(schedule.first_measured(), 0);
    }

    #[test]
    fn what_is_overdue_waits_no_longer_and_after_the_last_comes_the_end() {
        let schedule = Schedule::new(Arrivals::Even, 10, Duration::ZERO, SECOND);
        assert!(schedule.is_due(0, 0) && !schedule.is_due(1, 99_999_999));
        assert_eq!(schedule.wait(1, 40_000_000), Duration::from_millis(60));
        assert_eq!(schedule.wait(1, 140_000_000), Duration::ZERO);
        assert!(!schedule.is_due(10, u64::MAX));
        assert_eq!(schedule.wait(10, 950_000_000), Duration::from_millis(50));
    }
}
