//! What the embedded store counts, for whoever shows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::commit_loop::Job;
use super::queue::Queue;

/// Counters of the commit loop, and a look at its queue; clones share them.
#[derive(Clone)]
pub struct Metrics {
    groups: Counter,
    jobs: Counter,
    fsync_seconds: Histogram,
    queue: Arc<Queue<Job>>,
}

impl Metrics {
    pub(super) fn of(queue: Arc<Queue<Job>>) -> Self {
        // From a fast disk's sync to one that is in trouble, each step twice the last.
        let steps = (0..16).map(|step| 0.000_1 * f64::from(1 << step));
        let (groups, jobs) = (Counter::default(), Counter::default());
        Self { groups, jobs, fsync_seconds: Histogram::new(steps), queue }
    }

    /// Shows them under `registry`, which gives the prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("commit_groups", "Groups written, each synced once", self.groups.clone());
        registry.register("commits", "Writes in all groups", self.jobs.clone());
        registry.register_with_unit(
            "fsync",
            "Time to write a group to the journal and, unless the system may do it later, sync it",
            Unit::Seconds,
            self.fsync_seconds.clone(),
        );
        registry.register_collector(Box::new(Waiting(self.queue.clone())));
    }

    pub(super) fn group(&self, jobs: usize, took: Duration) {
        self.groups.inc();
        self.jobs.inc_by(jobs as u64);
        self.fsync_seconds.observe(took.as_secs_f64());
    }
}

/// Looks at the queue when somebody asks: whoever writes need not count.
struct Waiting(Arc<Queue<Job>>);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.0.waiting()).finish()
    }
}

impl Collector for Waiting {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (jobs, bytes) = self.0.waiting();
        let mut show = |name, help, unit, value: usize| {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        show("queue_writes", "Writes that wait for the next group", None, jobs)?;
        let help = "About how many bytes of writes wait for the next group";
        show("queue", help, Some(&Unit::Bytes), bytes)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::super::queue;
    use super::*;

    #[test]
    fn what_waits_and_what_was_written_is_shown() {
        let queue = Arc::new(Queue::new(1_000));
        let metrics = Metrics::of(queue.clone());
        let mut registry = Registry::with_prefix("rally");
        metrics.register(registry.sub_registry_with_prefix("store"));
        for _ in 0..2 {
            let job: Job = Box::new(|_| Box::new(drop));
            queue.push(queue::Waiting { job, bytes: 70 }).unwrap();
        }
        metrics.group(3, Duration::from_millis(1));
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "rally_store_queue_writes 2",
            "rally_store_queue_bytes 140",
            "rally_store_commit_groups_total 1",
            "rally_store_commits_total 3",
            "rally_store_fsync_seconds_count 1",
            "rally_store_fsync_seconds_bucket{le=\"0.0016\"} 1",
            "rally_store_fsync_seconds_bucket{le=\"0.0008\"} 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
    }
}
