//! The counters that operators' alerts look at, at zero from the start.
//!
//! A counter with labels is absent until it first counts, and what Prometheus sees appear has not
//! increased: an alert would miss the first of its kind. The alerts are in `docs/operations.md`, and
//! so is what shows somebody hostile; a test holds this list to them.

use rally_actors::Metrics;
use rally_actors::metrics::Label;

use crate::http::HttpMetrics;
use crate::http::metrics::LoginOutcome;

/// Has each of them there before it counts.
pub fn begin_at_zero(metrics: &Metrics, http: &HttpMetrics) {
    for (counts, labels) in [
        (&metrics.cluster.verdicts, &["offline"][..]),
        (&metrics.cluster.leases, &["lapsed"]),
        (&metrics.link.answers, &["unknown", "returned", "refused"]),
        (&metrics.commits, &["unknown", "busy"]),
        (&metrics.catch_ups, &["doubt", "missed_meanwhile"]),
        (&metrics.pushes_refused, &["mailbox_full"]),
        (&metrics.resets, &["other_store", "ahead", "malformed"]),
        (&metrics.errors, &["internal"]),
        (&metrics.ended, &["protocol"]),
        (&metrics.paused, &["rate"]),
        (&metrics.marks, &["short"]),
        (&metrics.watches, &["stranger"]),
    ] {
        for of in labels {
            drop(counts.get_or_create(&Label { of }));
        }
    }
    http.begin_at_zero();
    for outcome in ["busy", "bad"] {
        drop(http.logins.get_or_create(&LoginOutcome { outcome }));
    }
}
