//! The bare epoll loop: what the kernel asks for a message or a ping, whoever programs it.
//!
//! Runs in a child process so that its CPU can be read alone. Plain TCP, no parsing worth the
//! name, no user data, no framework: records of fixed size, one append and one `fdatasync` a
//! turn of the loop, one `write` a recipient. What a server uses beyond this is its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{Timespec, epoll};
use rustix::fs::fdatasync;

/// Bytes that a client sends for a message.
pub const SENT: usize = 180;
/// Bytes that are appended to the file for a message.
pub const STORED: usize = 300;
/// Bytes that the sender gets as acknowledgement.
pub const ACK: usize = 60;
/// Bytes that the peer gets.
pub const PUSHED: usize = 200;

/// Which user a record is for; its first four bytes. The next eight hold the message's number.
pub type Index = u32;

/// The message's number in a record that is none: the first of every connection, which says whose it
/// is where others name the peer, and is acknowledged at once. Connections may arrive in another order
/// than they were begun in.
pub const INTRODUCES: u64 = u64::MAX;

/// The number with which the child's listener is registered.
const LISTENER: u64 = u64::MAX;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Sockets and buffers that both loops share.
struct Bare {
    epoll: OwnedFd,
    listener: TcpListener,
    lines: Vec<TcpStream>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
}

impl Bare {
    /// Listens, and tells the parent where.
    fn listen() -> Result<Self> {
        // A parent that is killed must not leave this process behind.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening")?;
        // The 128 of the library would have some of many connections wait for seconds.
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
        println!("{}", listener.local_addr()?);
        io::stdout().flush()?;
        let events = Vec::with_capacity(256);
        Ok(Self { epoll, listener, lines: Vec::new(), events, scratch: vec![0; 64 * 1024] })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes up every connection that waits, in the order of arrival.
    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let data = epoll::EventData::new_u64(self.lines.len() as u64);
                    epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
                    self.lines.push(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads once from a line: how many bytes came into the scratch buffer.
    fn read(&mut self, line: usize) -> Result<usize> {
        match self.lines[line].read(&mut self.scratch) {
            Ok(bytes) if bytes > 0 => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            // Level-triggered: an ended line would wake the loop for ever. A client that leaves before
            // it has read everything resets it, and takes nobody else along.
            Ok(_) | Err(_) => {
                epoll::delete(&self.epoll, &self.lines[line])?;
                Ok(0)
            }
        }
    }
}

/// Runs the message loop until it is killed: reads 180, appends 300, syncs once a turn, writes 60
/// to the sender and 200 to each device of the peer, and each other one of the sender.
pub fn messages(file: &Path, devices: usize, sync: bool) -> Result<()> {
    let mut file = create(file)?;
    let mut bare = Bare::listen()?;
    let (mut turn, mut stored) = (Vec::<(usize, usize, u64)>::new(), Vec::new());
    // What one read left over of a record, by line.
    let mut rests: Vec<Vec<u8>> = Vec::new();
    // Whose connections are, and where those are.
    let (mut names, mut places) = (Vec::<usize>::new(), Vec::<usize>::new());
    let (mut ack, mut push) = ([b'a'; ACK], [b'm'; PUSHED]);
    loop {
        bare.wait(None)?;
        for n in 0..bare.events.len() {
            let data = bare.events[n].data.u64();
            if data == LISTENER {
                bare.accept()?;
                rests.resize_with(bare.lines.len(), Vec::new);
                names.resize(bare.lines.len(), usize::MAX);
                continue;
            }
            let line = data as usize;
            let bytes = bare.read(line)?;
            let mut introduced = false;
            records(&mut rests[line], &bare.scratch[..bytes], |head| match read(head) {
                (name, INTRODUCES) => {
                    names[line] = name;
                    places.resize(places.len().max(name + 1), usize::MAX);
                    places[name] = line;
                    introduced = true;
                }
                (peer, number) => {
                    turn.push((line, peer, number));
                    stored.resize(stored.len() + STORED, b's');
                }
            });
            if introduced {
                ack[4..12].copy_from_slice(&INTRODUCES.to_le_bytes());
                // What fails is a line that ended, here as below.
                let _ = bare.lines[line].write(&ack);
            }
        }
        if turn.is_empty() {
            continue;
        }
        file.write_all(&stored)?;
        if sync {
            fdatasync(&file)?;
        }
        for (line, peer, number) in turn.drain(..) {
            ack[4..12].copy_from_slice(&number.to_le_bytes());
            push[4..12].copy_from_slice(&number.to_le_bytes());
            // So little never fills a socket that is read; what fails is a line that ended.
            let _ = bare.lines[line].write(&ack);
            let of = |user: usize| user * devices..(user + 1) * devices;
            for to in of(peer).chain(of(names[line] / devices)) {
                let to = places.get(to).filter(|to| **to != line);
                if let Some(to) = to.and_then(|to| bare.lines.get_mut(*to)) {
                    let _ = to.write(&push);
                }
            }
        }
        stored.clear();
    }
}

/// Reads the head of a record: for whom, and which message.
pub fn read(head: [u8; 12]) -> (usize, u64) {
    let (index, number) = head.split_at(4);
    let index = Index::from_le_bytes(index.try_into().expect("four bytes"));
    (index as usize, u64::from_le_bytes(number.try_into().expect("eight bytes")))
}

/// Cuts records out of what was read; keeps an incomplete one.
fn records(rest: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut([u8; 12])) {
    let mut cut = |bytes: &[u8]| {
        let whole = bytes.chunks_exact(SENT);
        let left = whole.remainder().len();
        for record in whole {
            each(*record.first_chunk().expect("a record is longer than its head"));
        }
        bytes.len() - left
    };
    if rest.is_empty() {
        let used = cut(bytes);
        rest.extend_from_slice(&bytes[used..]);
        return;
    }
    rest.extend_from_slice(bytes);
    let used = cut(rest);
    rest.drain(..used);
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(path);
    file.with_context(|| format!("creating {}", path.display()))
}

/// Runs the idle loop until it is killed: a WebSocket ping to every line once an `interval`.
///
/// Every `tick` sends the pings that are due, so that they go out as evenly as a server's
/// sweeper does; a server that wakes less often has an advantage, one that wakes more often none.
pub fn pings(interval: Duration, tick: Duration) -> Result<()> {
    const PING: [u8; 2] = [0x89, 0];
    let mut bare = Bare::listen()?;
    let (begun, mut swept) = (Instant::now(), Duration::ZERO);
    // Where the sweep is, and the fraction of a ping that the last tick could not send.
    let (mut next, mut owed) = (0, 0.0);
    loop {
        let wait = (swept + tick).saturating_sub(begun.elapsed());
        bare.wait(Some(wait))?;
        for n in 0..bare.events.len() {
            match bare.events[n].data.u64() {
                LISTENER => bare.accept()?,
                // Six bytes of masked pong; there is nothing to learn from them.
                line => drop(bare.read(line as usize)?),
            }
        }
        let now = begun.elapsed();
        if now < swept + tick || bare.lines.is_empty() {
            continue;
        }
        let share = (now - swept).as_secs_f64() / interval.as_secs_f64();
        owed = (owed + share * bare.lines.len() as f64).min(bare.lines.len() as f64);
        while owed >= 1.0 {
            owed -= 1.0;
            next = (next + 1) % bare.lines.len();
            let _ = bare.lines[next].write(&PING);
        }
        swept = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_be_cut_anywhere() {
        let stream: Vec<u8> = (0..10u8).flat_map(|n| [n; SENT]).collect();
        for piece in [1, 7, SENT - 1, SENT, SENT + 1, 1000, 10_000] {
            let (mut rest, mut heads) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                records(&mut rest, bytes, |head| heads.push(head[11]));
            }
            assert_eq!(heads, Vec::from_iter(0..10), "in pieces of {piece}");
        }
    }
}
