//! When each thing is meant to be done: fixed by the scenario, whatever the server does.
//!
//! An open loop. A generator that waits for answers sends less to a slow server and then calls it
//! fast; here a late answer delays nothing, and latency counts from the *intended* time. Knows
//! nothing of what is done.

use std::time::Duration;

use crate::dice::Dice;
use crate::run::scenario::{Arrivals, Scenario};

/// How rates go over the time of a run.
#[derive(Debug, Clone)]
pub struct Course {
    begin_s: f64,
    end_s: f64,
    /// One after the other, without gaps: the ramp, the warm-up, then the profile's.
    parts: Vec<Part>,
}

/// A time over which rates stay, or grow evenly.
#[derive(Debug, Clone, Copy)]
struct Part {
    begin_s: f64,
    end_s: f64,
    /// The factor of rates when it begins, and how much it grows in a second: never down.
    factor: f64,
    growth: f64,
}

impl Part {
    fn factor_at(&self, at_s: f64) -> f64 {
        self.factor + self.growth * (at_s - self.begin_s)
    }
}

impl Course {
    /// Takes it from a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let (ramp_s, begin_s) =
            (scenario.ramp_s as f64, (scenario.ramp_s + scenario.warmup_s) as f64);
        let whole = [1.0];
        let profile = if scenario.profile.is_empty() { &whole } else { &*scenario.profile };
        let (first, long_s) = (profile[0], scenario.seconds as f64 / profile.len() as f64);
        let stays = |begin_s, end_s, factor| Part { begin_s, end_s, factor, growth: 0.0 };
        let ramp = Part { begin_s: 0.0, end_s: ramp_s, factor: 0.0, growth: first / ramp_s };
        let mut parts = vec![ramp, stays(ramp_s, begin_s, first)];
        for (nth, factor) in profile.iter().enumerate() {
            let at_s = |nth: usize| begin_s + nth as f64 * long_s;
            parts.push(stays(at_s(nth), at_s(nth + 1), *factor));
        }
        parts.retain(|part| part.begin_s < part.end_s);
        Self { begin_s, end_s: begin_s + scenario.seconds as f64, parts }
    }

    /// Gives when the measuring begins, in nanoseconds after the start.
    pub fn begin_ns(&self) -> u64 {
        (self.begin_s * 1e9) as u64
    }

    /// Gives when it ends.
    pub fn end_ns(&self) -> u64 {
        (self.end_s * 1e9) as u64
    }

    /// Gives when the factor, summed up from a moment on, has reached so many seconds; at the latest
    /// the end.
    fn after(&self, from_s: f64, seconds: f64) -> f64 {
        let mut at_s = from_s;
        // More than nothing: that is reached even where nothing is done.
        let mut left = seconds.max(f64::MIN_POSITIVE);
        for part in self.parts.iter().filter(|part| part.end_s > from_s) {
            let factor = part.factor_at(at_s);
            // Where factor * long + growth * long^2 / 2 is what is left; infinite where both are 0.
            let root = (factor * factor + 2.0 * part.growth * left).sqrt();
            let long_s = 2.0 * left / (factor + root);
            if at_s + long_s < part.end_s {
                return at_s + long_s;
            }
            let mean = (factor + part.factor_at(part.end_s)) / 2.0;
            left = (left - mean * (part.end_s - at_s)).max(f64::MIN_POSITIVE);
            at_s = part.end_s;
        }
        self.end_s
    }
}

/// The intended times of one kind of thing, one after the other.
#[derive(Debug, Clone)]
pub struct Timetable {
    course: Course,
    arrivals: Arrivals,
    rate: f64,
    dice: Dice,
    /// The exact time of the next, before it is put into a burst.
    at_s: f64,
    next_ns: Option<u64>,
}

impl Timetable {
    /// Has something done at a rate; never, at 0. Equal seeds give equal times.
    pub fn new(course: Course, arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        let (dice, at_s) = (Dice::new(seed), course.after(0.0, 0.0));
        let mut this = Self { course, arrivals, rate, dice, at_s, next_ns: None };
        if rate > 0.0 {
            this.settle();
        }
        this
    }

    /// Gives when the next is meant to be done, in nanoseconds after the start; nothing when there
    /// is no more.
    pub fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Takes the next, if it is due.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.next_ns.filter(|at| *at <= now_ns)?;
        let share = match self.arrivals {
            Arrivals::Poisson => -self.dice.share().ln(),
            Arrivals::Even | Arrivals::Burst => 1.0,
        };
        self.at_s = self.course.after(self.at_s, share / self.rate);
        self.settle();
        Some(due)
    }

    /// Finds the time of the next from its exact one.
    fn settle(&mut self) {
        let at_ns = match self.arrivals {
            // A nanosecond more: what adds up to a whole millisecond belongs to it.
            Arrivals::Burst => (self.at_s * 1e3 + 1e-6).floor() * 1e6,
            Arrivals::Even | Arrivals::Poisson => self.at_s * 1e9,
        };
        self.next_ns = (self.at_s < self.course.end_s - 1e-9).then_some(at_ns as u64);
    }
}

/// Gives how long to wait until the first of some tables, or the end.
pub fn wait(tables: &[&Timetable], end_ns: u64, now_ns: u64) -> Duration {
    let first = tables.iter().filter_map(|table| table.next_ns()).min().unwrap_or(end_ns);
    Duration::from_nanos(first.min(end_ns).saturating_sub(now_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, rate: f64, scenario: Scenario) -> Vec<u64> {
        let mut table = Timetable::new(Course::of(&scenario), arrivals, rate, 1);
        std::iter::from_fn(|| table.take_due(u64::MAX)).collect()
    }

    fn seconds(seconds: u64) -> Scenario {
        Scenario { warmup_s: 0, seconds, ..Scenario::default() }
    }

    #[test]
    fn even_arrivals_do_not_drift() {
        let all = times(Arrivals::Even, 3_000.0, seconds(4));
        assert_eq!(all.len(), 12_000);
        assert!(all[9_000].abs_diff(3_000_000_000) < 1_000, "{}", all[9_000]);
    }

    #[test]
    fn bursts_keep_the_rate_and_begin_with_their_millisecond() {
        let all = times(Arrivals::Burst, 2_500.0, seconds(1));
        assert_eq!(all.len(), 2_500);
        assert_eq!(&all[..6], [0, 0, 0, 1_000_000, 1_000_000, 2_000_000]);
    }

    #[test]
    fn random_arrivals_keep_their_rate_and_order() {
        let all = times(Arrivals::Poisson, 2_000.0, seconds(10));
        assert!((19_000..21_000).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted());
        assert_eq!(all, times(Arrivals::Poisson, 2_000.0, seconds(10)), "a seed repeats them");
    }

    #[test]
    fn rates_grow_over_the_ramp_and_follow_the_profile() {
        let scenario =
            Scenario { ramp_s: 2, warmup_s: 1, profile: vec![1.0, 0.0, 3.0], ..seconds(3) };
        let all = times(Arrivals::Even, 1_000.0, scenario);
        let within = |from: u64, to: u64| {
            all.iter().filter(|at| (from * 1_000..to * 1_000).contains(&(*at / 1_000_000))).count()
        };
        assert!(within(0, 1) < within(1, 2) && within(1, 2) < 1_000);
        assert!(within(2, 3).abs_diff(1_000) < 3 && within(3, 4).abs_diff(1_000) < 3);
        assert!(within(4, 5) < 3 && within(5, 6).abs_diff(3_000) < 40);
    }

    /// 2 a second after ten seconds of growing are 10 by then, the nth after the root of 10 n.
    #[test]
    fn a_low_rate_grows_over_a_long_ramp_too() {
        let scenario = Scenario { ramp_s: 10, ..seconds(10) };
        let all = times(Arrivals::Even, 2.0, scenario);
        assert_eq!(all.len(), 30);
        for (nth, at_ns) in all.iter().take(10).enumerate() {
            let due_s = (10.0 * nth as f64).sqrt();
            assert!((*at_ns as f64 / 1e9 - due_s).abs() < 1e-6, "{nth}: {at_ns}");
        }
    }

    #[test]
    fn a_profile_that_begins_with_nothing_begins_later() {
        let scenario = Scenario { ramp_s: 1, profile: vec![0.0, 1.0], ..seconds(4) };
        let all = times(Arrivals::Poisson, 100.0, scenario);
        assert!((130..270).contains(&all.len()) && all[0] >= 3_000_000_000, "{}", all.len());
    }

    #[test]
    fn nothing_is_done_at_a_rate_of_nothing() {
        assert!(times(Arrivals::Even, 0.0, seconds(1)).is_empty());
    }
}
