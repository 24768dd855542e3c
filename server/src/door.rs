//! The door before HTTP: how many connections there are, in all and from one address.
//!
//! One too many is closed before a byte of it is read. So strangers take neither the files that
//! the store needs, nor the turns of everybody else on the thread that serves them. Counts a
//! connection for as long as it speaks HTTP; one that becomes a WebSocket is counted by the
//! sessions from then on. Knows nothing of requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use actix_http::error::DispatchError;
use parking_lot::Mutex;
use rally_actors::Metrics;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

use crate::http::HttpMetrics;
use crate::http::metrics::Refused;
use crate::limits::Subscriber;

/// Files that are kept for others than clients: the store has up to 900 open, the rest are its
/// journals, the broker's and gossip's sockets.
const RESERVED_FILES: usize = 1_024;

/// Files for which the kernel's table is made at once: half a megabyte of it.
const TABLE: usize = 65_536;

/// Raises the number of files that this process may have as far as it may, and gives how many
/// connections that leaves room for.
pub fn room() -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        warn!(%error, "the number of open files could not be raised");
    }
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let files = files.unwrap_or(usize::MAX);
    if let Err(error) = lay_table(files.min(TABLE)) {
        debug!(%error, "the table of open files grows as it is needed");
    }
    room_within(files)
}

/// Has the kernel's table of this process hold so many files. It would double as they are opened, and
/// have who opens one wait until no processor uses the old table: 10 to 30 ms each time (`expand_files`
/// in Linux's `fs/file.c`).
fn lay_table(files: usize) -> std::io::Result<()> {
    let last = i32::try_from(files.saturating_sub(1)).unwrap_or(i32::MAX);
    let none = std::fs::File::open("/dev/null")?;
    drop(rustix::io::fcntl_dupfd_cloexec(none, last)?);
    Ok(())
}

/// Leaves what others need, but never more than half of it.
fn room_within(files: usize) -> usize {
    files - RESERVED_FILES.min(files / 2)
}

/// How many may be inside.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections in all, WebSockets among them.
    pub all: usize,
    /// Connections that speak HTTP, of one address; none where all come by way of a proxy.
    pub of_address: Option<usize>,
}

/// Counts who comes in.
pub struct Door {
    bounds: Bounds,
    inside: Mutex<HashMap<Subscriber, usize>>,
    http: HttpMetrics,
    sessions: Metrics,
}

impl Door {
    /// Makes the door of a node.
    pub fn new(bounds: Bounds, http: HttpMetrics, sessions: Metrics) -> Arc<Self> {
        Arc::new(Self { bounds, inside: Mutex::default(), http, sessions })
    }

    /// Lets a connection in, for as long as the pass is held; `None` when it is one too many.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Pass> {
        let subscriber = Subscriber::from(from);
        let mut inside = self.inside.lock();
        let of_address = inside.get(&subscriber).copied().unwrap_or(0);
        let refused = if self.open() >= self.bounds.all {
            Some("full")
        } else if self.bounds.of_address.is_some_and(|most| of_address >= most) {
            Some("address")
        } else {
            None
        };
        if let Some(of) = refused {
            self.http.connections_refused.get_or_create(&Refused { of }).inc();
            return None;
        }
        inside.insert(subscriber, of_address + 1);
        self.http.connections.inc();
        Some(Pass { door: self.clone(), subscriber })
    }

    /// Gives how many connections there are, whatever they speak.
    fn open(&self) -> usize {
        let Metrics { sessions, opening, .. } = &self.sessions;
        let open = self.http.connections.get() + sessions.get() + opening.get();
        usize::try_from(open).unwrap_or(0)
    }
}

/// The right of one connection to be there.
pub struct Pass {
    door: Arc<Door>,
    subscriber: Subscriber,
}

impl Pass {
    /// Counts a connection that has ended because it spoke no HTTP, or took too long over it.
    pub fn ended(self, how: &Result<(), DispatchError>) {
        match how {
            Err(DispatchError::Parse(_)) => self.door.http.broken_off("malformed"),
            Err(DispatchError::SlowRequestTimeout) => self.door.http.broken_off("slow"),
            _ => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.http.connections.dec();
        let mut inside = self.door.inside.lock();
        if let Some(count) = inside.get_mut(&self.subscriber) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.subscriber);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn door(all: usize, of_address: Option<usize>) -> Arc<Door> {
        let mut registry = Registry::default();
        let (http, sessions) = (HttpMetrics::new(&mut registry), Metrics::new(&mut registry));
        Door::new(Bounds { all, of_address }, http, sessions)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_does_not_take_the_room_of_another() {
        let door = door(10, Some(2));
        let mut passes = vec![door.enter(address(1)).unwrap(), door.enter(address(1)).unwrap()];
        assert!(door.enter(address(1)).is_none());
        passes.push(door.enter(address(2)).unwrap());
        passes.remove(0);
        assert!(door.enter(address(1)).is_some(), "who leaves makes room");
        drop(passes);
        assert!(door.inside.lock().is_empty(), "nothing is remembered of who has left");
    }

    #[test]
    fn sessions_take_room_too() {
        let door = door(3, None);
        door.sessions.sessions.inc();
        door.sessions.opening.inc();
        let pass = door.enter(address(1));
        assert!(pass.is_some());
        assert!(door.enter(address(2)).is_none());
        let full = door.http.connections_refused.get_or_create(&Refused { of: "full" }).get();
        assert_eq!(full, 1);
    }

    #[test]
    fn the_table_of_files_is_there_before_they_are() {
        room();
        let files = getrlimit(Resource::Nofile).current.map_or(TABLE, |files| files as usize);
        // Linux says how many have a place.
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let places: usize = line.trim().parse().unwrap();
        assert!(places >= files.min(TABLE), "{places} of {files}");
    }

    #[test]
    fn files_are_left_for_the_store() {
        assert_eq!(room_within(20_000), 18_976);
        assert_eq!(room_within(1_024), 512);
        assert_eq!(room_within(usize::MAX), usize::MAX - 1_024);
    }
}
