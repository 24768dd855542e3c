//! What is counted of the other nodes: how they stand, where homes are, and what is said about
//! both.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Counts, Label};

/// What is counted of the other nodes.
#[derive(Clone, Default)]
pub struct ClusterMetrics {
    /// Lives by standing, this one among them.
    pub nodes: Family<Label, Gauge>,
    /// Times that a life fell silent.
    pub suspicions: Counter,
    /// What became of the silent: `offline`, or `back`.
    pub verdicts: Counts,
    /// Times that other lives were ready than before.
    pub maps_changed: Counter,
    /// Users with a router here whose home moved.
    pub homes_moved: Counter,
    /// Attachments: `asked` for here, `answered` to here, `lapsed` at homes here.
    pub leases: Counts,
    /// Presence: `told` and `heard` between nodes, `read` and `written` in the store.
    pub presence: Counts,
    /// Seconds by which this clock is ahead of the median of all.
    pub clock_offset: Gauge<f64, AtomicU64>,
}

impl ClusterMetrics {
    /// Makes the metrics and registers them.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        register!(registry, metrics:
            nodes: "nodes", "Lives of nodes that this one knows, by how they stand";
            suspicions: "suspicions", "Times that another node fell silent";
            verdicts: "verdicts", "What became of silent nodes: given up (offline), or heard again (back)";
            maps_changed: "maps_changed", "Times that the map of homes changed";
            homes_moved: "homes_moved", "Users with a router here whose home moved when the map changed";
            leases: "leases", "Attachments of users to homes elsewhere: asked for and answered, and of those kept here lapsed";
            presence: "presence", "Hints of presence told to and heard from other nodes, and presence read and written";
            clock_offset: "clock_offset_seconds", "How far this node's clock is ahead of the median of all nodes' clocks";
        );
        metrics
    }
}
