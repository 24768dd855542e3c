//! What is counted of requests to the database, for whoever shows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Semaphore;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One page of a read.
    Read,
    /// A row, or a batch of one partition.
    Write,
    /// A write with a condition, four rounds among replicas.
    Condition,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Refused here: too many were under way.
    Busy,
    /// Nobody answered in time.
    Timeout,
    /// Too few replicas lived.
    Unavailable,
    /// The database had too much to do.
    Overloaded,
    /// There was no connection, or it broke.
    Connection,
    /// Anything else: a statement or answer that should not be.
    Other,
}

impl Kind {
    fn label(self) -> (&'static str, &'static str) {
        let kind = match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Condition => "condition",
        };
        ("kind", kind)
    }
}

impl Failure {
    fn label(self) -> (&'static str, &'static str) {
        let reason = match self {
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Connection => "connection",
            Self::Other => "other",
        };
        ("reason", reason)
    }
}

/// So many labels, of few values each.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Times and failures of requests, and a look at those under way; clones share them.
#[derive(Clone)]
pub struct Metrics {
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    failures: Family<Labels<2>, Counter>,
    slots: Slots,
}

impl Metrics {
    pub(super) fn of(slots: Arc<Semaphore>, all: u32) -> Self {
        // From a node in the same room to the time-out, each step twice the last.
        let seconds: fn() -> Histogram =
            || Histogram::new((0..15).map(|step| 0.000_25 * f64::from(1 << step)));
        let seconds = Family::new_with_constructor(seconds);
        Self { seconds, failures: Family::default(), slots: Slots { free: slots, all } }
    }

    /// Shows them under `registry`, which gives the prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "request",
            "Time from a request to the database to its answer, failed ones included",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "request_failures",
            "Requests to the database that failed, by the reason",
            self.failures.clone(),
        );
        registry.register_collector(Box::new(self.slots.clone()));
    }

    pub(super) fn answered(&self, kind: Kind, took: Duration) {
        self.seconds.get_or_create(&[kind.label()]).observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, kind: Kind, failure: Failure) {
        self.failures.get_or_create(&[kind.label(), failure.label()]).inc();
    }
}

/// Looks at the semaphore when somebody asks.
#[derive(Clone)]
struct Slots {
    free: Arc<Semaphore>,
    all: u32,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.free.available_permits()).field(&self.all).finish()
    }
}

impl Collector for Slots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let taken = i64::from(self.all) - self.free.available_permits() as i64;
        let mut show = |name, help, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        show("requests_in_flight", "Requests to the database that may be under way", taken)?;
        show("requests_limit", "Beyond how many requests one is refused", i64::from(self.all))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn times_failures_and_requests_under_way_are_shown() {
        let slots = Arc::new(Semaphore::new(10));
        let metrics = Metrics::of(slots.clone(), 10);
        let mut registry = Registry::with_prefix("rally");
        metrics.register(registry.sub_registry_with_prefix("store"));
        let _three = slots.try_acquire_many(3).unwrap();
        metrics.answered(Kind::Write, Duration::from_millis(3));
        metrics.failed(Kind::Read, Failure::Timeout);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "rally_store_requests_in_flight 3",
            "rally_store_requests_limit 10",
            "rally_store_request_seconds_count{kind=\"write\"} 1",
            "rally_store_request_seconds_bucket{le=\"0.004\",kind=\"write\"} 1",
            "rally_store_request_seconds_bucket{le=\"0.002\",kind=\"write\"} 0",
            "rally_store_request_failures_total{kind=\"read\",reason=\"timeout\"} 1",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
    }
}
