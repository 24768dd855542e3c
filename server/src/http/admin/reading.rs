//! What the registry says at one moment, as numbers.
//!
//! Reads the page that Prometheus reads, so that both tell the same. Knows no metric by name.

use std::collections::BTreeMap;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use super::super::problem::{Kind, Problem};

/// A page of metrics.
pub struct Reading(String);

/// A histogram: observations up to each bound, bounds in microseconds, so that they have an order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    up_to: BTreeMap<u64, f64>,
    count: f64,
    sum: f64,
}

impl Reading {
    /// Reads the registry.
    pub fn of(registry: &Registry) -> Result<Self, Problem> {
        let mut page = String::new();
        prometheus_text::encode(&mut page, registry)
            .map_err(|_| Problem::new(Kind::Internal, "a metric cannot be written"))?;
        Ok(Self(page))
    }

    /// Sums a metric over its labels.
    pub fn sum(&self, name: &str) -> f64 {
        // Not `sum`, which gives -0.0 where there is nothing.
        self.samples(name).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Reads a histogram of seconds.
    pub fn seconds(&self, name: &str) -> Histogram {
        let bucket = format!("{name}_bucket");
        let bounded = self.samples(&bucket).filter_map(|(labels, value)| {
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?.parse::<f64>().ok()?;
            bound.is_finite().then_some(((bound * 1e6).round() as u64, value))
        });
        Histogram {
            up_to: bounded.collect(),
            count: self.sum(&format!("{name}_count")),
            sum: self.sum(&format!("{name}_sum")),
        }
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> + 'a {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels, value.parse().ok()?))
        })
    }
}

impl Histogram {
    /// Gives what was observed since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound| earlier.up_to.get(bound).copied().unwrap_or_default();
        let up_to = self.up_to.iter().map(|(bound, count)| (*bound, count - before(bound)));
        Self {
            up_to: up_to.collect(),
            count: self.count - earlier.count,
            sum: self.sum - earlier.sum,
        }
    }

    /// Gives how many observations there are.
    pub fn count(&self) -> u64 {
        self.count as u64
    }

    /// Gives the mean in seconds, if anything was observed.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// Gives a bound in seconds below which this share of the observations lies; none when
    /// nothing was observed, or it is beyond all bounds.
    pub fn below(&self, share: f64) -> Option<f64> {
        let enough = |(_, count): &(&u64, &f64)| **count >= share * self.count;
        let bound = self.up_to.iter().find(enough).filter(|_| self.count > 0.0);
        bound.map(|(bound, _)| *bound as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::histogram::Histogram as Observed;

    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels_and_no_other_name_counts() {
        let mut registry = Registry::with_prefix("rally");
        let frames = Family::<Vec<(String, String)>, Counter>::default();
        registry.register("frames", "Frames", frames.clone());
        registry.register("frames_lost", "Others", Counter::<u64>::default());
        for (of, count) in [("send", 3), ("read", 4)] {
            frames.get_or_create(&vec![("of".to_owned(), of.to_owned())]).inc_by(count);
        }
        let reading = Reading::of(&registry).unwrap();
        assert_eq!(reading.sum("rally_frames_total"), 7.0);
        assert!(reading.sum("rally_fram").is_sign_positive());
    }

    #[test]
    fn a_histogram_tells_of_what_came_since_an_earlier_reading() {
        let mut registry = Registry::with_prefix("rally");
        let took = Observed::new([0.1, 1.0]);
        registry.register("took_seconds", "Time", took.clone());
        let read = || Reading::of(&registry).unwrap().seconds("rally_took_seconds");
        (0..50).for_each(|_| took.observe(0.7));
        let before = read();
        assert_eq!((before.count(), before.below(0.5)), (50, Some(1.0)));
        (0..99).for_each(|_| took.observe(0.05));
        took.observe(5.0);
        let since = read().since(&before);
        assert_eq!((since.count(), since.below(0.99), since.below(1.0)), (100, Some(0.1), None));
        assert!((since.mean().unwrap() - 0.0995).abs() < 1e-9, "{since:?}");
        let none = read().since(&read());
        assert_eq!((none.mean(), none.below(0.99)), (None, None));
    }
}
