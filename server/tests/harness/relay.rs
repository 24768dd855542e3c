//! Ways for gossip that can be cut: UDP to a node, and from it to whoever asked.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// Bytes of the largest packet there is.
const PACKET: usize = 65_536;

/// The node that no way leads to or from, if there is one.
pub type Cut = Arc<Mutex<Option<SocketAddr>>>;

/// Puts an address before a node's gossip, and gives it. The threads end with the test.
pub fn before(node: SocketAddr, cut: &Cut) -> SocketAddr {
    let door = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let (address, cut) = (door.local_addr().unwrap(), cut.clone());
    thread::spawn(move || {
        // Whoever asks has a socket of his own, by which the node answers him.
        let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut packet = vec![0; PACKET];
        while let Ok((length, asks)) = door.recv_from(&mut packet) {
            let way = ways.entry(asks).or_insert_with(|| {
                let way = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                let (back, door, cut) = (way.clone(), door.clone(), cut.clone());
                thread::spawn(move || answer(node, &back, &door, asks, &cut));
                way
            });
            if is_open(&cut, [asks, node]) {
                let _ = way.send_to(&packet[..length], node);
            }
        }
    });
    address
}

/// Brings what a node answers to whoever asked.
fn answer(node: SocketAddr, way: &UdpSocket, door: &UdpSocket, asks: SocketAddr, cut: &Cut) {
    let mut packet = vec![0; PACKET];
    while let Ok((length, _)) = way.recv_from(&mut packet) {
        if is_open(cut, [asks, node]) {
            let _ = door.send_to(&packet[..length], asks);
        }
    }
}

fn is_open(cut: &Cut, between: [SocketAddr; 2]) -> bool {
    cut.lock().unwrap().is_none_or(|cut| !between.contains(&cut))
}
