//! Clocks of processors and counts of messages at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use crate::family::Family;
use crate::proc::Pid;
use crate::run::book::Balance;
use crate::run::measured::Measured;

/// What was read at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    at: Instant,
    server_ns: u64,
    threads_ns: BTreeMap<String, u64>,
    own_ns: u64,
    acked: u64,
    delivered: u64,
}

impl Reading {
    /// Reads the clocks of some processes and of this one.
    pub fn take(servers: &[Family], balance: &Balance) -> Result<Self> {
        let (mut server_ns, mut threads_ns) = (0, BTreeMap::new());
        for server in servers {
            server_ns += server.cpu_ns()?;
            for (name, ns) in server.threads_ns()? {
                *threads_ns.entry(name).or_default() += ns;
            }
        }
        let own_ns = Pid::own().cpu_ns()?;
        let Balance { acked, delivered, .. } = *balance;
        Ok(Self { at: Instant::now(), server_ns, threads_ns, own_ns, acked, delivered })
    }

    /// Gives the resident bytes of all of them.
    pub fn memory(servers: &[Family]) -> Result<u64> {
        servers.iter().map(|server| server.memory_bytes()).sum()
    }

    /// Enters what was used since an earlier reading.
    pub fn since(self, before: Self, into: &mut Measured) {
        into.window_ns = (self.at - before.at).as_nanos() as u64;
        into.messages = self.acked - before.acked;
        into.deliveries = self.delivered - before.delivered;
        into.own_cpu_ns = self.own_ns - before.own_ns;
        into.server.cpu_ns = self.server_ns.saturating_sub(before.server_ns);
        into.server.threads_ns = self.threads_ns;
        for (name, ns) in &mut into.server.threads_ns {
            *ns = ns.saturating_sub(before.threads_ns.get(name).copied().unwrap_or(0));
        }
    }
}
