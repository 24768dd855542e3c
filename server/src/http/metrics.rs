//! What the HTTP side counts; the prefix `rally_` is the registry's.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A request that was answered. Routes are patterns, never paths: there are few of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The route's pattern, `/api/users/{user}`.
    pub route: String,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// Where a request went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    /// The route's pattern.
    pub route: String,
    /// The method, or `other`.
    pub method: &'static str,
}

/// How an attempt to log in ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LoginOutcome {
    /// `good`, `bad`, or `busy`.
    pub outcome: &'static str,
}

/// Why a connection was closed at the door.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    /// `full`: the node has as many as it may; `address`: that address has.
    pub of: &'static str,
}

/// Why a connection ended in the middle of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokenOff {
    of: &'static str,
}

/// Everything that is counted here.
#[derive(Clone)]
pub struct HttpMetrics {
    /// Requests answered.
    pub requests: Family<Answered, Counter>,
    /// How long they took.
    pub request_seconds: Family<Asked, Histogram, fn() -> Histogram>,
    /// Attempts to log in.
    pub logins: Family<LoginOutcome, Counter>,
    /// Tickets issued.
    pub tickets: Counter,
    /// Connections that speak HTTP, or have said nothing yet.
    pub connections: Gauge,
    /// Connections that were closed before anything was read.
    pub connections_refused: Family<Refused, Counter>,
    /// Connections that ended because of what came, or did not.
    broken_off: Family<BrokenOff, Counter>,
}

impl HttpMetrics {
    /// Makes the metrics and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            // 0.5 ms to 4 s, doubling: a hash takes some ten milliseconds, a queue some seconds.
            request_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
            }),
            logins: Family::default(),
            tickets: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Family::default(),
            broken_off: Family::default(),
        };
        registry.register("http_requests", "HTTP requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long an HTTP request took to answer",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        registry.register("logins", "Attempts to log in, by outcome", metrics.logins.clone());
        registry.register("tickets", "Tickets issued", metrics.tickets.clone());
        registry.register(
            "http_connections",
            "Connections that speak HTTP, or have said nothing yet",
            metrics.connections.clone(),
        );
        registry.register(
            "http_connections_refused",
            "Connections closed before anything was read, by why",
            metrics.connections_refused.clone(),
        );
        registry.register(
            "http_broken_off",
            "Connections that ended because they spoke no HTTP (malformed), or half a request (slow)",
            metrics.broken_off.clone(),
        );
        metrics
    }

    /// Counts an attempt to log in.
    pub fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&LoginOutcome { outcome }).inc();
    }

    /// Has what nobody may ever cause there before it counts.
    pub fn begin_at_zero(&self) {
        for of in ["malformed", "slow"] {
            drop(self.broken_off.get_or_create(&BrokenOff { of }));
        }
        for of in ["full", "address"] {
            drop(self.connections_refused.get_or_create(&Refused { of }));
        }
    }

    /// Counts a connection that was broken off: `malformed` or `slow`.
    pub fn broken_off(&self, of: &'static str) {
        self.broken_off.get_or_create(&BrokenOff { of }).inc();
    }
}
