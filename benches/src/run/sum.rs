//! What several processes saw of one server in the same time, added up to what one would have seen.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::date::rfc3339;
use crate::run::measured::{Measured, Second, ServerSide};

/// Which share of the longer of two windows both must have had to be added up: what one of them saw
/// of the server is set against what both counted.
const SHARED: f64 = 0.95;

impl Measured {
    /// Adds what another process saw of the same server in the same time.
    ///
    /// # Errors
    ///
    /// It was at another time, or a histogram of the other does not fit.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        ensure!(
            self.window_ns > 0 && other.window_ns > 0,
            "one was cut short before it had measured anything"
        );
        self.ensure_same_time(other)?;
        // What one owed that was cut short breaks nothing; what another one owed does.
        self.excuse();
        let mut other = other.clone();
        other.excuse();
        let other = &other;
        self.most_wanted = Some(self.wanted().max(other.wanted()));
        self.busiest = Some(self.busy().max(other.busy()));
        self.latest_lag_ns = self.lag_ns().max(other.lag_ns());
        self.balance.add(&other.balance);
        for (name, spans) in &other.spans {
            let sum = self.spans.entry(name.clone()).or_default();
            sum.0.add(&spans.0).map_err(|error| anyhow::anyhow!("{name}: {error:?}"))?;
        }
        self.add_seconds(other);
        self.window_ns = self.window_ns.max(other.window_ns);
        self.opening_ns = self.opening_ns.max(other.opening_ns);
        // Whose were never all back was not told how long it took.
        self.all_back_ns = self.all_back_ns.zip(other.all_back_ns).map(|(one, two)| one.max(two));
        self.due += other.due;
        self.messages += other.messages;
        self.deliveries += other.deliveries;
        self.connections += other.connections;
        self.ended += other.ended;
        self.absent += other.absent;
        self.unheard += other.unheard;
        for (sums, more) in [
            (&mut self.noticed, &other.noticed),
            (&mut self.unsupported, &other.unsupported),
            (&mut self.done, &other.done),
            (&mut self.skipped, &other.skipped),
        ] {
            for (name, count) in more {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        self.errors.extend(other.errors.iter().cloned());
        self.server.add(&other.server);
        self.own_cpu_ns += other.own_cpu_ns;
        self.own_delay_ns = self.own_delay_ns.max(other.own_delay_ns);
        // Both saw the same machine.
        self.processors = self.processors.or(other.processors);
        self.shortened |= other.shortened;
        self.begun_unix_ms = self.begun_unix_ms.or(other.begun_unix_ms);
        Ok(())
    }

    /// Forgets what was still owed to one that was cut short, and that it was; its window says it.
    fn excuse(&mut self) {
        if std::mem::take(&mut self.interrupted) {
            (self.balance.unanswered, self.balance.undelivered) = (0, 0);
            (self.absent, self.unheard) = (0, 0);
            self.shortened = true;
        }
    }

    /// Adds another's seconds to those that were the same by the clock; where nobody knows, to those
    /// that were as far from the beginning.
    fn add_seconds(&mut self, other: &Self) {
        let (one, two) = (self.seconds_from_unix_ms, other.seconds_from_unix_ms);
        let later_s = match one.zip(two) {
            Some((one, two)) => ((two as f64 - one as f64) / 1e3).round() as i64,
            None => 0,
        };
        if later_s < 0 {
            let before = (later_s.unsigned_abs()) as usize;
            self.seconds.splice(0..0, std::iter::repeat_n(Second::default(), before));
        }
        let at = later_s.max(0) as usize;
        let end = self.seconds.len().max(at + other.seconds.len());
        self.seconds.resize_with(end, Second::default);
        for (sum, more) in self.seconds[at..].iter_mut().zip(&other.seconds) {
            sum.add(more);
        }
        self.seconds_from_unix_ms = one.zip(two).map(|(one, two)| one.min(two)).or(one).or(two);
    }

    /// Refuses another whose window is another one, where both are known.
    fn ensure_same_time(&self, other: &Self) -> Result<()> {
        let (Some(one), Some(two)) = (self.begun_unix_ms, other.begun_unix_ms) else {
            return Ok(());
        };
        let end = |begun: u64, run: &Self| begun + run.window_ns / 1_000_000;
        let both = end(one, self).min(end(two, other)).saturating_sub(one.max(two));
        let longer = self.window_ns.max(other.window_ns) / 1_000_000;
        ensure!(
            both as f64 >= longer as f64 * SHARED,
            "one was measured from {}, one from {}: {both} of {longer} ms are the same",
            rfc3339(one),
            rfc3339(two)
        );
        Ok(())
    }
}

impl ServerSide {
    /// Adds what another process saw of the same server: no sums. Clocks are those of the process that
    /// saw most; memory is the least before anybody's connections, and the most with everybody's.
    fn add(&mut self, other: &Self) {
        if !self.is_known() {
            *self = other.clone();
        }
        if !other.is_known() {
            return;
        }
        let rss_before = self.rss_before.min(other.rss_before);
        let rss_open = self.rss_open.max(other.rss_open);
        let rss_end = self.rss_end.max(other.rss_end);
        // Each asked the node that it was attached to: one node's are not the server's.
        let metrics = match self.metrics == other.metrics {
            true => self.metrics.clone(),
            false => BTreeMap::new(),
        };
        if other.cpu_ns > self.cpu_ns {
            *self = other.clone();
        }
        (self.rss_before, self.rss_open, self.rss_end) = (rss_before, rss_open, rss_end);
        self.metrics = metrics;
    }
}

impl Second {
    /// Adds the same second of another process. Of percentiles the worse one is kept: they cannot
    /// be added.
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.troubles += other.troubles;
        self.open += other.open;
        let worse = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        self.p50_ms = worse(self.p50_ms, other.p50_ms);
        self.p99_ms = worse(self.p99_ms, other.p99_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::measured::tests::measured;

    #[test]
    fn two_processes_add_up_to_what_one_would_have_seen() {
        let mut sum = measured(&[1, 2, 3]);
        sum.add(&measured(&[100, 200])).unwrap();
        let whole = measured(&[1, 2, 3, 100, 200]);
        assert_eq!(sum.spans["ack"].0, whole.spans["ack"].0);
        assert_eq!((sum.messages, sum.window_ns), (5, whole.window_ns));
    }

    #[test]
    fn two_generators_that_are_half_busy_are_no_bottleneck() {
        let half = Measured { own_cpu_ns: 500_000_000, ..measured(&[1]) };
        let mut sum = half.clone();
        sum.add(&half).unwrap();
        sum.add(&half).unwrap();
        assert_eq!((sum.own_cpu_ns, sum.bottleneck()), (1_500_000_000, None));
        let busy = Measured { own_cpu_ns: 950_000_000, ..measured(&[1]) };
        sum.add(&busy).unwrap();
        assert!(sum.bottleneck().unwrap().contains("95 %"));
    }

    #[test]
    fn a_generator_that_was_late_shows_beside_others_that_were_not() {
        let lag = |ms: u64, messages: usize| {
            let mut run = measured(&[1]);
            let lag = run.spans.entry("lag".to_owned()).or_default();
            (0..messages).for_each(|_| lag.0.record(ms * 1_000_000).unwrap());
            run
        };
        let mut sum = lag(1, 100_000);
        sum.add(&lag(50, 100)).unwrap();
        sum.add(&lag(1, 100_000)).unwrap();
        assert!(sum.spans["lag"].0.value_at_quantile(0.99) < 2_000_000, "it hides among others");
        assert!(sum.bottleneck().unwrap().contains("up to 50"), "{:?}", sum.bottleneck());
    }

    #[test]
    fn memory_of_a_server_is_counted_from_before_the_first_process_to_after_the_last() {
        let of = |cpu_ns, rss_before, rss_open, rss_end| {
            let mut run = measured(&[1]);
            run.server = ServerSide { cpu_ns, rss_before, rss_open, rss_end, ..run.server };
            run
        };
        for turned in [false, true] {
            let (one, two) = (of(50, 100, 300, 310), of(60, 250, 400, 390));
            let (mut sum, more) = if turned { (two, one) } else { (one, two) };
            sum.add(&more).unwrap();
            sum.add(&of(0, 0, 0, 0)).unwrap();
            let ServerSide { cpu_ns, rss_before, rss_open, rss_end, .. } = sum.server;
            assert_eq!((cpu_ns, rss_before, rss_open, rss_end), (60, 100, 400, 390));
        }
        let mut sum = of(0, 0, 0, 0);
        sum.add(&of(50, 100, 300, 310)).unwrap();
        assert_eq!((sum.server.rss_before, sum.server.rss_end), (100, 310), "nobody looked before");
    }

    #[test]
    fn seconds_are_added_to_those_that_were_the_same_by_the_clock() {
        let of = |from_ms: u64, sent: &[u64]| Measured {
            seconds: sent.iter().map(|sent| Second { sent: *sent, ..Second::default() }).collect(),
            seconds_from_unix_ms: Some(from_ms),
            ..measured(&[1])
        };
        let (early, late) = (of(60_000, &[1, 2, 3]), of(61_900, &[10, 20, 30]));
        for (mut sum, more) in [(early.clone(), &late), (late.clone(), &early)] {
            sum.add(more).unwrap();
            let sent: Vec<u64> = sum.seconds.iter().map(|second| second.sent).collect();
            assert_eq!((sent, sum.seconds_from_unix_ms), (vec![1, 2, 13, 20, 30], Some(60_000)));
        }
    }

    #[test]
    fn what_was_measured_at_another_time_is_not_added() {
        let at = |begun_unix_ms| Measured { begun_unix_ms, ..measured(&[1]) };
        let mut sum = at(Some(60_000));
        sum.add(&at(Some(60_040))).unwrap();
        sum.add(&at(None)).unwrap();
        for other in [59_000, 59_900, 60_100, 60_600, 61_500] {
            let error = sum.add(&at(Some(other))).unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:0"), "{error}");
        }
        assert_eq!((sum.messages, sum.begun_unix_ms), (3, Some(60_000)), "nothing of them");
    }
}
