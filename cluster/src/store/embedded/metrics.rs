//! What the embedded store counts, for whoever shows it.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Counters of the commit loop; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    groups: Counter,
    jobs: Counter,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a fast disk's sync to one that is in trouble, each step twice the last.
        let seconds = Histogram::new((0..16).map(|step| 0.000_1 * f64::from(1 << step)));
        Self { groups: Counter::default(), jobs: Counter::default(), seconds }
    }
}

impl Metrics {
    /// Shows them under `registry`, which gives the prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("commit_groups", "Groups written, each synced once", self.groups.clone());
        registry.register("commits", "Writes in all groups", self.jobs.clone());
        registry.register_with_unit(
            "commit_group",
            "Time to merge, write and sync a group",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }

    pub(super) fn group(&self, jobs: usize, took: Duration) {
        self.groups.inc();
        self.jobs.inc_by(jobs as u64);
        self.seconds.observe(took.as_secs_f64());
    }
}
