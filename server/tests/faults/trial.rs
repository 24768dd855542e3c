//! A cluster under load, to which something is done again and again.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::harness::Server;
use super::harness::cluster::Cluster;
use super::load::Load;

/// How many seconds messages flow undisturbed before the first fault, and between two
/// (`RALLY_TEST_CALM`).
const CALM: usize = 4;

/// Within how long everything must flow again after a fault.
const FLOW: Duration = Duration::from_secs(60);

/// How many nodes there are.
pub const NODES: usize = 3;

/// Flags of nodes that let a load through, however great.
pub const OPEN: [&str; 6] = [
    "--demo=false",
    "--rate-sends-per-second=1000000",
    "--rate-sends-burst=1000000",
    "--rate-frames-per-second=1000000",
    "--rate-frames-burst=1000000",
    // All clients of a trial come from one address.
    "--max-http-connections-address=1000000",
];

/// A cluster, its load, and what was done to it.
pub struct Trial {
    pub nodes: Cluster,
    pub load: Load,
    faults: Vec<Fault>,
}

/// When something was done, and how long after its end messages flowed again.
struct Fault {
    begun: Duration,
    flow: Duration,
}

impl Trial {
    /// Begins with three nodes.
    pub async fn of_three() -> Self {
        Self::of(Cluster::with_flags(&["all"; NODES], &OPEN)).await
    }

    /// Begins with these.
    pub async fn of(nodes: Cluster) -> Self {
        let load = Load::begin(&nodes, count("RALLY_TEST_RATE", 200)).await;
        Self { nodes, load, faults: Vec::new() }
    }

    /// Does something to a node that takes its time, while the load goes on.
    pub fn to(&mut self, node: usize, what: impl FnOnce(&mut Server)) {
        block_in_place(|| what(self.nodes.nth(node)));
    }

    /// Waits until every pair got something that was meant after `since`, and says how long after.
    pub async fn flows(&mut self, since: Duration, what: &str) {
        self.flows_after(since, since, what).await;
    }

    /// The same for what began earlier: whatever was meant from then on counts as its own.
    pub async fn flows_after(&mut self, begun: Duration, since: Duration, what: &str) {
        let flow = self.load.flows_again(since, FLOW).await;
        let (nth, after) = (self.faults.len() + 1, flow.as_secs_f64());
        println!("{nth}: {what}; flowing again after {after:.2} s");
        self.faults.push(Fault { begun, flow });
    }

    /// Ends the load, judges all of it, and sums up.
    pub async fn end(mut self, what: &str) {
        calm().await;
        let verdict = self.load.end_and_judge().await;
        for (index, Fault { begun, flow }) in self.faults.iter().enumerate() {
            let until = self.faults.get(index + 1).map_or(Duration::MAX, |next| next.begun);
            let (nth, figures) = (index + 1, verdict.between(*begun, until));
            let after = flow.as_secs_f64();
            println!("{nth}: flowing again after {after:.2} s; from then to the next: {figures}");
        }
        verdict.say();
        self.nodes.all().for_each(|(_, node)| node.assert_no_panic());
        self.faults.sort_unstable_by_key(|fault| fault.flow);
        let at = |index: usize| self.faults[index].flow.as_secs_f64();
        if let Some(last) = self.faults.len().checked_sub(1) {
            println!(
                "{what} {} times: flowing again after {:.2} s (median; {:.2} to {:.2})",
                last + 1,
                at(last / 2),
                at(0),
                at(last)
            );
        }
    }
}

/// Waits while nothing is done to anybody.
pub async fn calm() {
    sleep(seconds("RALLY_TEST_CALM", CALM)).await;
}

/// Gives how often the fault of a test is to happen.
pub fn times(default: usize) -> usize {
    count("RALLY_TEST_FAULTS", default)
}

/// Gives how long something lasts that has a short form and a long one.
pub fn seconds(name: &str, default: usize) -> Duration {
    Duration::from_secs(count(name, default) as u64)
}

/// Gives how many there are of what is few in the short form and many in the long one.
pub fn count(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}
