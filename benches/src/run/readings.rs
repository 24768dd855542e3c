//! Clocks of processors and counts of messages at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use crate::date;
use crate::family::Family;
use crate::proc::{Pid, Thread, ThreadId};
use crate::run::book::Balance;
use crate::run::measured::{Measured, ServerSide, ThreadUse};

/// What was read at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    at: Instant,
    unix_ms: u64,
    server_ns: u64,
    threads: Vec<Thread>,
    own_ns: u64,
    acked: u64,
    delivered: u64,
}

impl Reading {
    /// Reads the clocks of some processes and of this one.
    pub fn take(servers: &[Family], balance: &Balance) -> Result<Self> {
        let (mut server_ns, mut threads) = (0, Vec::new());
        for server in servers {
            server_ns += server.cpu_ns()?;
            threads.extend(server.threads()?);
        }
        let own_ns = Pid::own().cpu_ns()?;
        let Balance { acked, delivered, .. } = *balance;
        let (at, unix_ms) = (Instant::now(), date::now_ms());
        Ok(Self { at, unix_ms, server_ns, threads, own_ns, acked, delivered })
    }

    /// Gives the resident bytes of all of them.
    pub fn memory(servers: &[Family]) -> Result<u64> {
        servers.iter().map(|server| server.memory_bytes()).sum()
    }

    /// Enters what was used since an earlier reading.
    pub fn since(self, before: Self, into: &mut Measured) {
        into.begun_unix_ms = Some(before.unix_ms);
        into.window_ns = (self.at - before.at).as_nanos() as u64;
        into.messages = self.acked - before.acked;
        into.deliveries = self.delivered - before.delivered;
        into.own_cpu_ns = self.own_ns - before.own_ns;
        into.server.cpu_ns = self.server_ns.saturating_sub(before.server_ns);
        enter_threads(self.threads, &before.threads, &mut into.server);
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
