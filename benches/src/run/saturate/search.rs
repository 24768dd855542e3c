//! The search for the highest rate that holds: which rate is tried next, and when it ends.
//!
//! Knows nothing of how a rate is tried.

use std::ops::RangeInclusive;

use anyhow::Result;

use crate::report::{Report, shown};

/// A search ends when its bounds are as near as this.
pub const NEAR: f64 = 1.06;

/// Not below, and not above: no server is so slow, no generator so fast.
pub const RATES: RangeInclusive<f64> = 8.0..=500_000.0;

/// What a rate showed.
pub struct Tried {
    /// Messages a second.
    pub rate: f64,
    /// Of delivery; infinite where nothing was delivered.
    pub p99_ms: f64,
    /// Why it does not hold; nothing where it does.
    pub misses: Vec<String>,
    /// What became of the messages, where something was lost, doubled or out of order.
    pub broken: Option<String>,
    /// The generator was what is slow.
    pub generator: bool,
    /// What was busy.
    pub bounds: String,
}

impl Tried {
    /// Tells whether the server held what was asked of it.
    pub fn holds(&self) -> bool {
        self.misses.is_empty()
    }
}

/// What a search has found until it ended.
#[derive(Default)]
pub struct Found {
    /// The highest rate that held.
    pub holds: Option<Tried>,
    /// The lowest that did not.
    pub fails: Option<Tried>,
    /// At every rate that was tried: what was lost, doubled or out of order there.
    pub broken: Vec<String>,
}

/// Finds the highest rate that holds and the lowest that does not; what it has of them also when a
/// rate cannot be tried, and why that was.
pub fn search(first: f64, mut try_rate: impl FnMut(f64) -> Result<Tried>) -> (Found, Result<()>) {
    let mut found = Found::default();
    while let Some(rate) = found.next(first) {
        match try_rate(rate) {
            Ok(tried) => found.enter(tried),
            Err(error) => return (found, Err(error)),
        }
    }
    (found, Ok(()))
}

impl Found {
    /// Gives which rate to try next; nothing when the bounds are near, or there is none beyond them.
    /// Each lies well between the bounds or well beyond one, so that there is an end.
    fn next(&self, first: f64) -> Option<f64> {
        match (&self.holds, &self.fails) {
            (None, None) => Some(first),
            (Some(low), None) => {
                Some((low.rate * 2.0).min(*RATES.end())).filter(|rate| *rate > low.rate)
            }
            (None, Some(high)) => {
                Some((high.rate / 2.0).max(*RATES.start())).filter(|rate| *rate < high.rate)
            }
            (Some(low), Some(high)) => {
                (high.rate / low.rate > NEAR).then(|| (low.rate * high.rate).sqrt())
            }
        }
    }

    fn enter(&mut self, tried: Tried) {
        let broken = tried.broken.iter().map(|said| format!("{}/s: {said}", shown(tried.rate)));
        self.broken.extend(broken);
        let side = if tried.holds() { &mut self.holds } else { &mut self.fails };
        *side = Some(tried);
    }

    /// Reports the bounds as far as there are any, and what was broken on the way to them.
    pub fn report(&self, report: &mut Report) {
        if let Some(tried) = &self.holds {
            report.add("highest rate that holds", "/s", tried.rate);
            report.add("p99 there", "ms", tried.p99_ms);
        }
        if let Some(tried) = &self.fails {
            report.add("lowest rate that does not", "/s", tried.rate);
            report.add("p99 at that", "ms", tried.p99_ms);
            report.note(format!("does not hold: {}", tried.misses.join("; ")));
            report.note(format!("bounded by: {}", tried.bounds));
        }
        for said in &self.broken {
            report.note(format!("BROKEN at {said}"));
        }
    }

    /// Says what a search that went to its end has not found.
    pub fn remark(&self, report: &mut Report) {
        if self.holds.is_none() {
            report.note("no rate holds, not even the lowest that was tried");
        }
        if self.fails.is_none() {
            report.note(format!(
                "every rate holds that was tried: the search ends at {} a second",
                RATES.end()
            ));
        }
        if self.is_of_the_generator() {
            report.note("THE GENERATOR WAS THE BOTTLENECK: the server may hold more");
        }
    }

    /// Tells whether the rate that did not hold says nothing of the server.
    pub fn is_of_the_generator(&self) -> bool {
        self.fails.as_ref().is_some_and(|tried| tried.generator)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::proc::Machine;
    use crate::stop::Stopped;

    pub fn tried(rate: f64, holds: bool) -> Tried {
        let misses = if holds { Vec::new() } else { vec!["acked 7 of 9 due".to_owned()] };
        Tried { rate, p99_ms: 1.0, misses, broken: None, generator: false, bounds: String::new() }
    }

    /// The bounds that are found when everything up to a limit holds, and how many rates it took.
    fn found(limit: f64, first: f64) -> (Option<f64>, Option<f64>, usize) {
        let mut times = 0;
        let tried = |rate| {
            times += 1;
            assert!(times < 40 && RATES.contains(&rate), "no end: {rate} after {times} others");
            Ok(tried(rate, rate <= limit))
        };
        let (Found { holds, fails, .. }, ended) = search(first, tried);
        ended.unwrap();
        (holds.map(|t| t.rate), fails.map(|t| t.rate), times)
    }

    fn said(found: &Found) -> String {
        let machine = Machine::look(std::path::Path::new("/"));
        let mut report = Report::new("saturate", machine, String::new());
        found.report(&mut report);
        found.remark(&mut report);
        report.table()
    }

    #[test]
    fn a_search_that_is_stopped_keeps_what_it_has_found() {
        let mut times = 0;
        let (found, ended) = search(100.0, |rate| {
            times += 1;
            if times > 4 { Err(Stopped.into()) } else { Ok(tried(rate, rate < 700.0)) }
        });
        assert!(ended.unwrap_err().is::<Stopped>());
        assert_eq!((found.holds.unwrap().rate, found.fails.unwrap().rate), (400.0, 800.0));
    }

    #[test]
    fn a_search_says_what_it_has_not_found_and_why_a_rate_does_not_hold() {
        let (found, _) = search(100.0, |rate| Ok(tried(rate, true)));
        assert!(said(&found).contains("ends at 500000 a second"), "{}", said(&found));
        let (found, _) = search(100.0, |rate| Ok(tried(rate, false)));
        assert!(said(&found).contains("no rate holds"));
        assert!(said(&found).contains("does not hold: acked 7 of 9 due"), "{}", said(&found));
        let late = |rate| Ok(Tried { generator: true, ..tried(rate, rate < 700.0) });
        let (found, _) = search(100.0, late);
        assert!(found.is_of_the_generator() && said(&found).contains("THE GENERATOR"));
    }

    #[test]
    fn what_was_broken_at_any_rate_is_kept() {
        let lost = |rate| {
            let broken = (rate == 800.0).then(|| "lost 3".to_owned());
            Ok(Tried { broken, ..tried(rate, rate < 500.0) })
        };
        let (found, _) = search(100.0, lost);
        assert!(found.fails.as_ref().unwrap().rate < 800.0, "it went on below that");
        assert!(said(&found).contains("BROKEN at 800.0/s: lost 3"), "{}", said(&found));
    }

    #[test]
    fn a_search_closes_in_on_the_limit_from_either_side() {
        for first in [100.0, 4_000.0, 100_000.0] {
            let (holds, fails, times) = found(10_000.0, first);
            let (holds, fails) = (holds.unwrap(), fails.unwrap());
            assert!(holds <= 10_000.0 && fails > 10_000.0 && fails / holds <= NEAR);
            assert!(times < 16, "{times} runs from {first}");
        }
        assert_eq!(found(0.0, 100.0).0, None);
        assert_eq!(found(f64::INFINITY, 100.0).1, None);
    }

    /// Whole rates are further apart there than the bounds may be.
    #[test]
    fn a_search_ends_at_low_rates_too() {
        for first in [8.0, 10.0, 16.0, 17.0, 100.0, 3_000.0] {
            for limit in (0..=9).map(|n| 8.5 + f64::from(n)) {
                let (holds, fails, _) = found(limit, first);
                let (holds, fails) = (holds.unwrap(), fails.unwrap());
                let is_near = holds <= limit && fails > limit && fails / holds <= NEAR;
                assert!(is_near, "{holds} and {fails} for {limit} from {first}");
            }
        }
    }
}
