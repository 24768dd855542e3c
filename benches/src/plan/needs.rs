//! What a load takes by a model: how many nodes, how much store, and what was assumed.
//!
//! Knows nothing of reports or the command line.

use std::fmt;

use anyhow::{Context as _, Result, ensure};

use super::model::{BEYOND, Model, Work};
use crate::report::shown;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Nodes of RabbitMQ, and of Cassandra, that a cluster has at least: one of them may die, and most
/// are left.
const SERVICES: f64 = 3.0;

/// Up to how many nodes are tried.
const MOST_NODES: u32 = 100_000;

/// Of the lowest rate that was measured, down to which a plan goes without a warning.
const BELOW: f64 = 0.5;

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Users who have an account.
    pub users: f64,
    /// Messages that each of them writes a day.
    pub msgs_per_user_day: f64,
    /// How many times the day's average the busiest hour has.
    pub peak: f64,
    /// Share of the users who are connected then.
    pub online: f64,
    /// Devices of each of them.
    pub devices: f64,
    /// Days that messages are kept.
    pub days: f64,
    /// Copies that the store keeps.
    pub copies: f64,
}

impl Load {
    /// Gives what nodes do in the busiest hour.
    fn at_the_peak(&self) -> Work {
        Work {
            rate: self.users * self.msgs_per_user_day / DAY_S * self.peak,
            deliveries: self.deliveries(),
            connections: self.users * self.online * self.devices,
        }
    }

    /// Gives to how many devices a message is delivered: all of the receiver's, and the sender's others.
    fn deliveries(&self) -> f64 {
        2.0 * self.devices - 1.0
    }

    /// Gives how many messages all copies of the store have at last.
    fn stored(&self) -> f64 {
        self.users * self.msgs_per_user_day * self.days * self.copies
    }
}

/// A machine of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// How many it has.
    pub cores: f64,
    /// Its memory in GiB.
    pub memory_gib: f64,
    /// Share of both that may be used at the peak.
    pub used: f64,
}

/// What a load takes.
#[derive(Debug)]
pub struct Needs {
    load: Load,
    node: Node,
    work: Work,
    /// Nodes that have the cores.
    pub by_cpu: f64,
    /// Nodes that have the memory.
    pub by_memory: f64,
    /// Cores of all nodes.
    pub cores: f64,
    connections_gib: f64,
    node_mib: f64,
    stored_gib: f64,
    /// What makes the plan doubtful.
    pub warnings: Vec<String>,
    /// Whether what is between nodes was not measured.
    of_one_node: bool,
}

impl Needs {
    /// Finds what a load takes on nodes of a kind.
    ///
    /// # Errors
    ///
    /// No number of nodes is enough.
    pub fn of(load: &Load, node: &Node, model: &Model) -> Result<Self> {
        let work = load.at_the_peak();
        let room = node.cores * node.used;
        let fits = |nodes: &f64| model.cores_of(*nodes, &work) <= nodes * room;
        let by_cpu = (1..=MOST_NODES).map(f64::from).find(fits).with_context(|| {
            format!("no number of nodes is enough, up to {MOST_NODES}, with {room} cores of each")
        })?;
        let room_gib = node.memory_gib * node.used - model.node_mib / 1024.0;
        ensure!(
            room_gib > 0.0,
            "no number of nodes is enough: each takes {} MiB itself, more than may be used of its {} GiB",
            shown(model.node_mib),
            node.memory_gib
        );
        let connections_gib = work.connections * model.connection_kib / 1024.0 / 1024.0;
        let by_memory = (connections_gib / room_gib).ceil().max(1.0);
        let nodes = by_cpu.max(by_memory);
        Ok(Self {
            load: *load,
            node: *node,
            work,
            by_cpu,
            by_memory,
            cores: model.cores_of(nodes, &work),
            connections_gib,
            node_mib: model.node_mib,
            stored_gib: load.stored() * model.message_bytes / f64::from(1 << 30),
            warnings: warning(work.rate / nodes, model).into_iter().collect(),
            of_one_node: model.nodes == 1.0,
        })
    }

    /// Gives how many nodes do the work.
    pub fn nodes(&self) -> f64 {
        self.by_cpu.max(self.by_memory)
    }

    /// Says what is taken for granted.
    fn assumed(&self) -> Vec<String> {
        let Self { load, node, .. } = self;
        let mut all = vec![
            format!("the busiest hour has {} times the average of a day", load.peak),
            format!(
                "{:.0} % of users are connected then, on {} devices each",
                load.online * 100.0,
                load.devices
            ),
            format!(
                "nodes like the measured machine's, of {} cores and {} GiB, used to {:.0} % at most",
                node.cores,
                node.memory_gib,
                node.used * 100.0
            ),
            format!(
                "every receiver is connected: a message has {} deliveries, and takes so many times the \
                 CPU of one",
                shown(self.work.deliveries)
            ),
            format!(
                "{SERVICES} nodes of RabbitMQ and of Cassandra each, or as many of Cassandra as there \
                 are copies: one may die, and most are left; what they can take was not measured"
            ),
            "texts as long as those that were measured, and no receipts unless the reports had them"
                .to_owned(),
            "disks that sync as fast as the measured one".to_owned(),
        ];
        if self.of_one_node {
            all.push(
                "between nodes a message costs nothing more: the reports are of one node, so its way \
                 over the broker is not in the CPU, nor Cassandra in place of a store of its own"
                    .to_owned(),
            );
        }
        all
    }
}

/// Says that a node's rate is far from what is known.
fn warning(rate: f64, model: &Model) -> Option<String> {
    let (lowest, highest) = (model.rates.0, model.known_up_to());
    let measure = format!("a node has {} messages a second then", shown(rate));
    if rate < BELOW * lowest {
        let lowest = shown(lowest);
        return Some(format!("{measure}, below {BELOW} times the lowest measured, {lowest}"));
    }
    let highest_shown = shown(highest);
    (rate > BEYOND * highest).then(|| {
        format!("{measure}, above {BEYOND} times the highest measured or checked, {highest_shown}")
    })
}

impl fmt::Display for Needs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, work, by_cpu, by_memory, .. } = self;
        let (rate, connections) = (shown(work.rate), shown(work.connections));
        writeln!(out, "at the peak: {rate} messages a second, {connections} connections")?;
        writeln!(
            out,
            "nodes: {} and one more, so that one may die ({by_cpu} by CPU: {:.2} cores in all; \
             {by_memory} by memory: {:.2} GiB of connections, and {} MiB of each node)",
            self.nodes(),
            self.cores,
            self.connections_gib,
            shown(self.node_mib)
        )?;
        writeln!(
            out,
            "store: {} GiB after {} days, {} copies; {rate} writes a second at the peak",
            shown(self.stored_gib),
            load.days,
            load.copies
        )?;
        writeln!(
            out,
            "broker: {} envelopes a second at the peak, so at most as many parcels, if every peer is at \
             home on another node",
            shown(work.rate * load.devices)
        )?;
        let cassandra = SERVICES.max(load.copies).ceil();
        writeln!(out, "services: {SERVICES} nodes of RabbitMQ, {cassandra} of Cassandra")?;
        write!(out, "assumed:")?;
        self.assumed().iter().try_for_each(|assumed| write!(out, "\n  {assumed}"))?;
        self.warnings
            .iter()
            .try_for_each(|said| write!(out, "\nwarning: {said}: measure nearer to it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages take 0.01 * rate^0.5 cores, so 1,000 a second 0.32; a connection 10 KiB and nothing else.
    const MODEL: Model = Model {
        nodes: 1.0,
        k: 0.01,
        p: 0.5,
        rates: (500.0, 2_000.0),
        checked: 0.0,
        connection_kib: 10.0,
        connection_cpu: 0.0,
        node_mib: 512.0,
        message_bytes: 1024.0,
    };

    const NODE: Node = Node { cores: 2.0, memory_gib: 4.0, used: 0.5 };

    /// So many messages a second at the peak, and connections.
    fn load(rate: f64, connections: f64) -> Load {
        let users = 1_000_000.0;
        Load {
            users,
            msgs_per_user_day: rate * DAY_S / users / 4.0,
            peak: 4.0,
            online: connections / users,
            devices: 1.0,
            days: 10.0,
            copies: 3.0,
        }
    }

    fn needs(rate: f64, connections: f64) -> Needs {
        Needs::of(&load(rate, connections), &NODE, &MODEL).unwrap()
    }

    #[test]
    fn nodes_are_as_many_as_have_the_cores() {
        // Of a node one core may be used, which is enough for 10,000 a second.
        assert_eq!(needs(9_900.0, 0.0).by_cpu, 1.0);
        let two = needs(19_602.0, 0.0);
        assert_eq!((two.by_cpu, two.nodes()), (2.0, 2.0));
        assert!((two.cores - 2.0 * 0.99).abs() < 1e-6, "each has 9,801: {}", two.cores);
        let model = Model { connection_cpu: 1e-5, ..MODEL };
        let needs = Needs::of(&load(9_900.0, 50_000.0), &NODE, &model).unwrap();
        assert_eq!(needs.by_cpu, 2.0, "half a core of connections besides");
    }

    #[test]
    fn a_message_of_several_devices_is_delivered_to_all_but_the_one_that_sends() {
        let of = |devices: f64| Load { devices, ..load(1_000.0, 0.0) }.at_the_peak();
        assert_eq!((of(1.0).deliveries, of(3.0).deliveries), (1.0, 5.0));
        assert!((of(3.0).rate - 1_000.0).abs() < 1e-6);
    }

    /// 1.5 GiB of the 2 that may be used are left for connections: 157,286 of them.
    #[test]
    fn memory_of_the_server_itself_is_not_there_for_connections() {
        let by_memory = |connections| needs(1_000.0, connections).by_memory;
        assert_eq!([150_000.0, 160_000.0, 200_000.0].map(by_memory), [1.0, 2.0, 2.0]);
        let needs = needs(1_000.0, 400_000.0);
        assert_eq!((needs.by_cpu, needs.by_memory, needs.nodes()), (1.0, 3.0, 3.0));
        let said = needs.to_string();
        assert!(said.contains("nodes: 3 and one more") && said.contains("512.0 MiB"), "{said}");
    }

    #[test]
    fn what_no_number_of_nodes_can_do_is_an_error() {
        let refused =
            |node: Node| Needs::of(&load(1_000.0, 1_000.0), &node, &MODEL).unwrap_err().to_string();
        assert!(refused(Node { cores: 1e-9, ..NODE }).contains("no number of nodes"));
        let error = refused(Node { memory_gib: 1.0, ..NODE });
        assert!(error.contains("512.0 MiB itself") && error.contains("1 GiB"), "{error}");
    }

    #[test]
    fn a_node_far_from_what_was_measured_is_warned_of_in_both_directions() {
        let warned = |rate: f64, model: &Model| {
            let needs = Needs::of(&load(rate, 0.0), &NODE, model).unwrap();
            assert_eq!(needs.warnings.is_empty(), !needs.to_string().contains("warning: "));
            needs.warnings.join("; ")
        };
        assert_eq!([300.0, 3_900.0].map(|rate| warned(rate, &MODEL)), ["", ""]);
        assert!(warned(200.0, &MODEL).contains("200.0 messages a second then, below 0.5 times"));
        assert!(warned(4_100.0, &MODEL).contains("4100 messages a second then, above 2 times"));
        // What counts is what a node has, not all of them.
        let small = Model { k: 0.1, ..MODEL };
        assert!(warned(10_000.0, &small).contains("below"), "each of a hundred has a hundredth");
        let mut checked = MODEL;
        checked.was_right_at(4_000.0);
        checked.was_right_at(3_000.0);
        assert_eq!(warned(7_900.0, &checked), "");
        assert!(warned(8_100.0, &checked).contains("checked, 4000"));
    }

    #[test]
    fn a_plan_from_one_node_says_that_nothing_between_nodes_was_measured() {
        let said = |nodes| {
            let model = Model { nodes, ..MODEL };
            Needs::of(&load(1_000.0, 100.0), &NODE, &model).unwrap().to_string()
        };
        let between = "the reports are of one node";
        assert!(said(1.0).contains(between) && !said(2.0).contains(between));
    }

    #[test]
    fn the_store_has_every_message_of_all_days_in_every_copy() {
        // 500 a second on average: 43.2 million of a KiB a day, for 10 days, thrice.
        let needs = needs(2_000.0, 0.0);
        assert!((needs.stored_gib - 1235.96).abs() < 0.01, "{}", needs.stored_gib);
        assert!(needs.to_string().contains("2000 envelopes a second"), "{needs}");
    }
}
