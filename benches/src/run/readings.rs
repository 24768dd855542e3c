//! Clocks of processors and counts of messages at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use crate::date;
use crate::family::Family;
use crate::proc::{Pid, Processors, Thread, ThreadId, own_delay_ns};
use crate::run::book::Balance;
use crate::run::measured::{Measured, ServerSide, ThreadUse};
use crate::run::metrics::Asked;
use crate::subject::Probe;

/// What was read at one moment.
#[derive(Debug)]
pub struct Reading {
    at: Instant,
    unix_ms: u64,
    /// Nothing when it is gone.
    server: Option<Clocks>,
    own_ns: u64,
    own_delay_ns: u64,
    processors: Option<Processors>,
    acked: u64,
    delivered: u64,
    metrics: Asked,
}

/// What a server's processes have used.
#[derive(Debug)]
struct Clocks {
    cpu_ns: u64,
    threads: Vec<Thread>,
}

impl Clocks {
    fn of(servers: &[Family]) -> Result<Self> {
        let (mut cpu_ns, mut threads) = (0, Vec::new());
        for server in servers {
            cpu_ns += server.cpu_ns()?;
            threads.extend(server.threads()?);
        }
        Ok(Self { cpu_ns, threads })
    }
}

impl Reading {
    /// Reads the clocks of a server, of this process and of the machine, and asks the server's nodes for
    /// their own figures.
    pub fn take(probe: &Probe, balance: &Balance) -> Result<Self> {
        let metrics = Asked::of(&probe.metrics_at);
        let server = Clocks::of(&probe.families).ok();
        let own_ns = Pid::own().cpu_ns()?;
        let Balance { acked, delivered, .. } = *balance;
        Ok(Self {
            at: Instant::now(),
            unix_ms: date::now_ms(),
            server,
            own_ns,
            own_delay_ns: own_delay_ns(),
            processors: Processors::read(),
            acked,
            delivered,
            metrics,
        })
    }

    /// Gives the resident bytes of all of them.
    pub fn memory(servers: &[Family]) -> Result<u64> {
        servers.iter().map(|server| server.memory_bytes()).sum()
    }

    /// Enters what was used since an earlier reading; gives what its nodes are still being asked for.
    pub fn since(self, before: Self, into: &mut Measured) -> [Asked; 2] {
        into.begun_unix_ms = Some(before.unix_ms);
        into.window_ns = (self.at - before.at).as_nanos() as u64;
        into.messages = self.acked - before.acked;
        into.deliveries = self.delivered - before.delivered;
        into.own_cpu_ns = self.own_ns - before.own_ns;
        into.own_delay_ns = self.own_delay_ns.saturating_sub(before.own_delay_ns);
        into.processors =
            self.processors.zip(before.processors).map(|(now, before)| now.since(before));
        match (self.server, before.server) {
            (Some(now), Some(before)) => {
                into.server.cpu_ns = now.cpu_ns.saturating_sub(before.cpu_ns);
                enter_threads(now.threads, &before.threads, &mut into.server);
            }
            _ => into.server.ended = true,
        }
        [before.metrics, self.metrics]
    }
}

/// Enters what threads used since an earlier reading, by their names and of the busiest alone.
fn enter_threads(threads: Vec<Thread>, before: &[Thread], into: &mut ServerSide) {
    let before: BTreeMap<ThreadId, u64> =
        before.iter().map(|thread| (thread.id, thread.cpu_ns)).collect();
    (into.threads_ns, into.busiest_thread) = (BTreeMap::new(), None);
    for Thread { id, name, cpu_ns } in threads {
        let cpu_ns = cpu_ns.saturating_sub(before.get(&id).copied().unwrap_or(0));
        *into.threads_ns.entry(name.clone()).or_default() += cpu_ns;
        if into.busiest_thread.as_ref().is_none_or(|busiest| busiest.cpu_ns < cpu_ns) {
            into.busiest_thread = Some(ThreadUse { name, cpu_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(pid: u32, tid: u32, name: &str, cpu_ns: u64) -> Thread {
        Thread { id: ThreadId { pid: Pid(pid), tid }, name: name.to_owned(), cpu_ns }
    }

    #[test]
    fn threads_of_one_name_add_up_and_the_busiest_is_one_of_them_alone() {
        let before = [thread(1, 10, "worker", 1_000), thread(2, 20, "worker", 5_000)];
        let after = vec![
            thread(1, 10, "worker", 1_500),
            thread(2, 20, "worker", 5_600),
            thread(1, 11, "commit", 700),
        ];
        let mut server = ServerSide::default();
        enter_threads(after, &before, &mut server);
        assert_eq!((server.threads_ns["worker"], server.threads_ns["commit"]), (1_100, 700));
        let busiest = ThreadUse { name: "commit".to_owned(), cpu_ns: 700 };
        assert_eq!(server.busiest_thread, Some(busiest));
    }
}
