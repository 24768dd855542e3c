//! How often something may happen: the generic cell rate algorithm in one atomic.
//!
//! (ITU-T I.371: a theoretical arrival time runs ahead of now by what was taken; it may run
//! ahead by the burst.) On the node's own clock, so that a simulation can hold it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    interval_us: u64,
    burst_us: u64,
}

impl Quota {
    /// Allows `per_second` on the average and `burst` at once; zero of either counts as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval_us = 1_000_000 / u64::from(per_second.max(1));
        Self { interval_us, burst_us: interval_us * u64::from(burst.max(1)) }
    }
}

/// What was taken of a quota.
#[derive(Debug, Default)]
pub struct Taken(AtomicU64);

impl Taken {
    /// Takes one, or says in how many milliseconds one will be there.
    pub fn take(&self, quota: Quota, now_us: u64) -> Result<(), u64> {
        let next = |arrival: u64| {
            let next = arrival.max(now_us) + quota.interval_us;
            (next <= now_us + quota.burst_us).then_some(next)
        };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => Ok(()),
            Err(arrival) => {
                let free_at = arrival.max(now_us) + quota.interval_us - quota.burst_us;
                Err((free_at - now_us).div_ceil(1000))
            }
        }
    }

    /// Takes so many in any case: they have happened. Beyond the quota it says how many milliseconds
    /// nothing more may happen.
    pub fn charge(&self, quota: Quota, many: u64, now_us: u64) -> Result<(), u64> {
        let cost_us = quota.interval_us * many;
        let next = |arrival: u64| Some(arrival.max(now_us) + cost_us);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        let after = before.unwrap_or(0).max(now_us) + cost_us;
        match after.saturating_sub(now_us + quota.burst_us) {
            0 => Ok(()),
            debt_us => Err(debt_us.div_ceil(1000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_average_holds() {
        let (taken, quota) = (Taken::default(), Quota::new(10, 5));
        let mut now_us = 1_000_000;
        assert_eq!((0..9).filter(|_| taken.take(quota, now_us).is_ok()).count(), 5);
        assert_eq!(taken.take(quota, now_us), Err(100));
        let mut allowed = 0;
        for _ in 0..10_000 {
            now_us += 1_000;
            allowed += usize::from(taken.take(quota, now_us).is_ok());
        }
        assert!((99..=101).contains(&allowed), "{allowed} in ten seconds at ten a second");
    }

    #[test]
    fn what_has_happened_is_paid_for_by_waiting() {
        let (taken, quota) = (Taken::default(), Quota::new(10, 5));
        let mut now_us = 1_000_000;
        let mut happened = 0;
        while now_us < 11_000_000 {
            happened += 1;
            if let Err(wait_ms) = taken.charge(quota, 1, now_us) {
                now_us += wait_ms * 1_000;
            }
        }
        assert!((104..=106).contains(&happened), "{happened} in ten seconds at ten a second");
    }
}
