//! What the actors count, in Prometheus' naming; the prefix `rally_` is the registry's.

/// Registers fields by name, with a line of help.
macro_rules! register {
    ($registry:ident, $metrics:ident: $($field:ident: $name:literal, $help:literal;)*) => {
        $($registry.register($name, $help, $metrics.$field.clone());)*
    };
}

mod cluster;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::incidents::Incidents;
pub use cluster::ClusterMetrics;

/// One label, named by what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// The kind, reason, code or outcome counted.
    pub of: &'static str,
}

/// A counter with one label.
pub type Counts = Family<Label, Counter>;

/// Everything that sessions, routers and committers count.
#[derive(Clone)]
pub struct Metrics {
    /// Sessions that are open.
    pub sessions: Gauge,
    /// Sockets that have not said `hello` yet.
    pub opening: Gauge,
    /// Routers, that is, users with a session (or in their grace).
    pub routers: Gauge,
    /// Messages acknowledged.
    pub messages: Counter,
    /// Frames received, by type.
    pub frames: Counts,
    /// Pushes handed to sessions.
    pub pushes: Counter,
    /// Pushes that a session refused, by why.
    pub pushes_refused: Counts,
    /// Commits by outcome.
    pub commits: Counts,
    /// Commits in flight.
    pub commits_in_flight: Gauge,
    /// Seconds from a commit's begin to its end.
    pub commit_seconds: Histogram,
    /// Errors told to clients, by code.
    pub errors: Counts,
    /// Catch-ups by reason.
    pub catch_ups: Counts,
    /// Seconds that a catch-up took.
    pub catch_up_seconds: Histogram,
    /// Resets told to clients, by why.
    pub resets: Counts,
    /// Sessions whose socket does not drain.
    pub lagging: Gauge,
    /// Times that a session began to lag.
    pub lagged: Counter,
    /// Sessions a push was handed to.
    pub fan_out: Histogram,
    /// Seconds from receiving a send to writing it to a receiver's socket.
    pub delivery_seconds: Histogram,
    /// Seconds that a page of history took.
    pub history_seconds: Histogram,
    /// Seconds that a page of the inbox took.
    pub inbox_seconds: Histogram,
    /// Sessions ended, by why.
    pub ended: Counts,
    /// Times that reading from a session was paused, by why.
    pub paused: Counts,
    /// Marks, by where they landed.
    pub marks: Counts,
    /// Watches, by whom they are of.
    pub watches: Counts,
    /// What is counted of the ways to other nodes.
    pub link: LinkMetrics,
    /// What is counted of the other nodes.
    pub cluster: ClusterMetrics,
    /// What went wrong lately, which is told in words.
    pub incidents: Incidents,
}

/// What is counted of the ways between nodes.
#[derive(Clone)]
pub struct LinkMetrics {
    /// Parcels published.
    pub parcels: Counter,
    /// What became of them: confirmed, returned, refused, unknown.
    pub answers: Counts,
    /// Envelopes in one parcel; none in one that only tells a number.
    pub parcel_envelopes: Histogram,
    /// Envelopes that found no room in a link.
    pub dropped: Counter,
    /// Seconds from publishing a parcel to its answer.
    pub confirm_seconds: Histogram,
    /// Parcels that arrived.
    pub arrived: Counter,
    /// Gaps heard in the numbers of senders.
    pub gaps: Counter,
    /// Parcels that arrived and could not be read.
    pub unreadable: Counter,
    /// Times that this node's queue began anew.
    pub reopened: Counter,
}

impl LinkMetrics {
    /// Makes the metrics and registers them.
    fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            parcels: Counter::default(),
            answers: Family::default(),
            parcel_envelopes: Histogram::new(
                [0.0].into_iter().chain(exponential_buckets(1.0, 2.0, 9)),
            ),
            dropped: Counter::default(),
            confirm_seconds: seconds(),
            arrived: Counter::default(),
            gaps: Counter::default(),
            unreadable: Counter::default(),
            reopened: Counter::default(),
        };
        register!(registry, metrics:
            parcels: "parcels_published", "Parcels published to other nodes";
            answers: "parcels_answered", "What became of published parcels";
            parcel_envelopes: "parcel_envelopes", "Envelopes in a published parcel";
            dropped: "envelopes_dropped", "Envelopes that found no room in a link";
            confirm_seconds: "parcel_confirm_seconds", "From publishing a parcel to its answer";
            arrived: "parcels_arrived", "Parcels that arrived from other nodes";
            gaps: "parcel_gaps", "Gaps heard in the numbers of other nodes";
            unreadable: "parcels_unreadable", "Parcels that arrived and could not be read";
            reopened: "broker_queue_reopened", "Times that this node's queue began anew";
        );
        metrics
    }
}

/// Buckets from 100 µs to 26 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 19))
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            sessions: Gauge::default(),
            opening: Gauge::default(),
            routers: Gauge::default(),
            messages: Counter::default(),
            frames: Family::default(),
            pushes: Counter::default(),
            pushes_refused: Family::default(),
            commits: Family::default(),
            commits_in_flight: Gauge::default(),
            commit_seconds: seconds(),
            errors: Family::default(),
            catch_ups: Family::default(),
            catch_up_seconds: seconds(),
            resets: Family::default(),
            lagging: Gauge::default(),
            lagged: Counter::default(),
            fan_out: Histogram::new(exponential_buckets(1.0, 2.0, 6)),
            delivery_seconds: seconds(),
            history_seconds: seconds(),
            inbox_seconds: seconds(),
            ended: Family::default(),
            paused: Family::default(),
            marks: Family::default(),
            watches: Family::default(),
            link: LinkMetrics::new(registry),
            cluster: ClusterMetrics::new(registry),
            incidents: Incidents::default(),
        };
        register!(registry, metrics:
            sessions: "connections", "Open sessions";
            opening: "connections_opening", "Sockets that have not said hello yet";
            routers: "routers", "Users with a session, or in their grace";
            messages: "messages", "Messages acknowledged to their senders";
            frames: "frames_received", "Frames received, by type";
            pushes: "pushes", "Pushes handed to sessions";
            pushes_refused: "pushes_refused", "Pushes that a session refused, by why";
            commits: "commits", "Commits, by outcome";
            commits_in_flight: "commits_in_flight", "Commits in flight";
            commit_seconds: "commit_seconds", "From a commit's begin to its end";
            errors: "errors", "Errors told to clients, by code";
            catch_ups: "catch_ups", "Catch-ups, by reason";
            catch_up_seconds: "catch_up_seconds", "How long a catch-up took";
            resets: "resets", "Resets told to clients, by why";
            lagging: "lagging", "Sessions whose socket does not drain";
            lagged: "lagged", "Times that a session began to lag";
            fan_out: "fan_out", "Sessions that a push was handed to";
            delivery_seconds: "delivery_seconds", "From receiving a send to queueing it for a receiver's socket";
            history_seconds: "history_seconds", "How long a page of history took";
            inbox_seconds: "inbox_seconds", "How long a page of the inbox took";
            ended: "sessions_ended", "Sessions ended, by why";
            paused: "reading_paused", "Times that reading from a session was paused, by why";
            marks: "marks", "Marks, by where they landed: on what they named (exact), or below it (short)";
            watches: "watches", "Watches, by whom they are of: somebody acquainted, or a stranger";
        );
        metrics
    }
}

/// Counts one under a label.
pub(crate) fn count(counts: &Counts, of: &'static str) {
    counts.get_or_create(&Label { of }).inc();
}

/// Counts several under a label.
pub(crate) fn count_by(counts: &Counts, of: &'static str, by: u64) {
    counts.get_or_create(&Label { of }).inc_by(by);
}
