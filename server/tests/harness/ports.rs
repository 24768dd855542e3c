//! Ports for servers that are ended and started again where they were.
//!
//! One that the kernel chose may be chosen again, for a connection of anybody's, while the server is
//! away. So these are below those from which it chooses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Above the ports of the services that tests use.
const LOWEST: u16 = 26_000;

/// Where Linux begins by default.
const CHOSEN_FROM: u16 = 32_768;

/// What was given: a server may not have begun to listen, or be away.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Gives an address of this machine that nobody else is given, and at which nobody listens now, neither
/// by TCP nor by UDP.
pub fn free() -> SocketAddr {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let lowest = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let count = lowest.unwrap_or(CHOSEN_FROM).saturating_sub(LOWEST).max(1_000);
    let draw = || LOWEST + (uuid::Uuid::new_v4().as_u128() % u128::from(count)) as u16;
    let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, draw()));
    let is_free = |at: &SocketAddr| TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok();
    let is_new = |at: &SocketAddr| GIVEN.lock().unwrap().insert(at.port());
    let mut drawn = (0..1_000).map(|_| address()).filter(is_free);
    drawn.find(is_new).expect("some port is free")
}
