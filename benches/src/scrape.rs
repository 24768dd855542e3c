//! A server's own figures, as `/metrics` shows them.
//!
//! Reads Prometheus' text format as far as counters and histograms without labels need it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Result;

use crate::http::Http;

/// One reading of all metrics.
#[derive(Debug, Clone, Default)]
pub struct Scrape(BTreeMap<String, f64>);

/// How long something took on the server, by its own histogram, between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Took {
    /// How often it was done.
    pub count: f64,
    /// The mean in milliseconds.
    pub mean_ms: f64,
    /// The bound in milliseconds of the bucket in which the 99th of a hundred lies; nothing where
    /// that bucket has none.
    pub p99_ms: Option<f64>,
}

impl Scrape {
    /// Asks a server.
    pub fn of(server: SocketAddr) -> Result<Self> {
        Ok(Self::parse(&Http::connect(server)?.get("/metrics")?))
    }

    /// Reads a page of metrics.
    pub fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| {
                    let (name, value) = line.rsplit_once(' ')?;
                    Some((name.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// Adds what another node of the same server says.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// Gives a value by its name, 0 when it is not there.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Gives what a histogram of seconds gained since an earlier reading.
    pub fn took_since(&self, earlier: &Self, name: &str) -> Took {
        let gained = |key: &str| self.value(key) - earlier.value(key);
        let count = gained(&format!("{name}_count"));
        let prefix = format!("{name}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .keys()
            .filter_map(|key| {
                let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse().ok()?, gained(key)))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let p99 = buckets.iter().find(|(_, below)| *below >= count * 0.99);
        Took {
            count,
            mean_ms: gained(&format!("{name}_sum")) / count.max(1.0) * 1e3,
            p99_ms: p99.map(|(bound, _)| bound * 1e3).filter(|ms| ms.is_finite()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_s_gain_between_two_readings() {
        let page = |a: u32, b: u32, c: u32, sum: f64| {
            Scrape::parse(&format!(
                "# HELP x_seconds How long.\n# TYPE x_seconds histogram\nx_seconds_sum {sum}\n\
                 x_seconds_count {c}\nx_seconds_bucket{{le=\"0.001\"}} {a}\n\
                 x_seconds_bucket{{le=\"0.01\"}} {b}\nx_seconds_bucket{{le=\"+Inf\"}} {c}\n# EOF\n"
            ))
        };
        let took = page(100, 199, 200, 1.5).took_since(&page(0, 0, 0, 0.0), "x_seconds");
        assert_eq!(took, Took { count: 200.0, mean_ms: 7.5, p99_ms: Some(10.0) });
        let took = page(100, 200, 200, 1.5).took_since(&page(100, 100, 100, 0.5), "x_seconds");
        assert_eq!(took, Took { count: 100.0, mean_ms: 10.0, p99_ms: Some(10.0) });
        let took = page(100, 150, 200, 1.5).took_since(&page(0, 0, 0, 0.0), "x_seconds");
        assert_eq!(took.p99_ms, None, "beyond the last bound");
        assert_eq!(page(1, 1, 1, 0.0).value("nothing"), 0.0);
    }
}
