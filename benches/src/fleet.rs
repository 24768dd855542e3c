//! Many client sockets on one epoll and one thread.
//!
//! Writes at once and keeps only what a full socket did not take; reads into the caller's
//! scratch buffer. Knows bytes and line numbers, no protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

/// How many ready sockets one turn takes up.
const EVENTS: usize = 256;

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes at the beginning of the scratch buffer.
    Bytes(usize),
    /// Nothing was there after all.
    Nothing,
    /// The line that was dialed is there.
    Connected,
    /// The other side ended the connection.
    Ended,
}

struct Line {
    /// Taken away when the connection ends, which also takes it out of the epoll.
    stream: Option<TcpStream>,
    /// What the socket has not taken yet.
    waiting: Vec<u8>,
    /// Dialed, and not there yet.
    dialing: bool,
    /// Not to be read for now.
    paused: bool,
}

impl Line {
    fn new(stream: TcpStream, dialing: bool) -> Self {
        Self { stream: Some(stream), waiting: Vec::new(), dialing, paused: false }
    }

    const ENDED: Self = Self { stream: None, waiting: Vec::new(), dialing: false, paused: false };
}

/// How a line is dialed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dial {
    /// From which address; the kernel's choice when left out.
    pub source: Option<Ipv4Addr>,
    /// Bytes that the kernel holds of what was not read; its choice when left out.
    pub holds: Option<usize>,
}

/// The sockets. Lines are numbered from 0 in the order in which they were added.
pub struct Fleet {
    epoll: OwnedFd,
    lines: Vec<Line>,
    events: Vec<epoll::Event>,
}

impl Fleet {
    /// Makes an empty fleet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            lines: Vec::new(),
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Connects one more line.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<usize> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let line = self.lines.len();
        let data = epoll::EventData::new_u64(line as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.lines.push(Line::new(stream, false));
        Ok(line)
    }

    /// Begins to connect a line of any number, and does not wait: it is ready when it is there, or
    /// when that has failed. What the line was before is ended.
    pub fn dial(&mut self, line: usize, address: SocketAddr, how: Dial) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = how.source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        if let Some(bytes) = how.holds {
            socket.set_recv_buffer_size(bytes)?;
        }
        while self.lines.len() <= line {
            self.lines.push(Line::ENDED);
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            connected => connected?,
        }
        self.lines[line] = Line::new(socket.into(), true);
        let stream = self.lines[line].stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let data = epoll::EventData::new_u64(line as u64);
        Ok(epoll::add(&self.epoll, stream, data, epoll::EventFlags::OUT)?)
    }

    /// Has a line not be read until told otherwise.
    pub fn pause(&mut self, line: usize, paused: bool) -> io::Result<()> {
        if self.lines[line].paused == paused {
            return Ok(());
        }
        self.lines[line].paused = paused;
        self.listen(line)
    }

    /// Waits until lines can be read, at most `timeout`; appends their numbers to `ready`.
    ///
    /// Nanoseconds count (`epoll_pwait2`): in whole milliseconds every schedule above 1,000 a
    /// second would go out in bursts.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for n in 0..self.events.len() {
            let event = self.events[n];
            let (line, flags) = (event.data.u64() as usize, event.flags);
            if self.lines[line].dialing {
                ready.push(line);
                continue;
            }
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush(line)?;
            }
            if flags
                .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            {
                ready.push(line);
            }
        }
        Ok(())
    }

    /// Reads once from a line.
    pub fn read(&mut self, line: usize, scratch: &mut [u8]) -> io::Result<Got> {
        let entry = &mut self.lines[line];
        let Some(stream) = entry.stream.as_mut() else { return Ok(Got::Nothing) };
        if entry.dialing {
            entry.dialing = false;
            if stream.take_error()?.is_some() {
                self.end(line);
                return Ok(Got::Ended);
            }
            self.listen(line)?;
            return Ok(Got::Connected);
        }
        match stream.read(scratch) {
            Ok(0) => {
                self.end(line);
                Ok(Got::Ended)
            }
            Ok(bytes) => Ok(Got::Bytes(bytes)),
            Err(error) if is_idle(&error) => Ok(Got::Nothing),
            Err(error) if is_end(&error) => {
                self.end(line);
                Ok(Got::Ended)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes to a line; what the socket does not take goes out when it drains. Nothing to an ended one.
    pub fn write(&mut self, line: usize, bytes: &[u8]) -> io::Result<()> {
        let entry = &mut self.lines[line];
        let Some(stream) = entry.stream.as_mut() else { return Ok(()) };
        if !entry.waiting.is_empty() {
            entry.waiting.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = match stream.write(bytes) {
            Ok(taken) => taken,
            Err(error) if is_idle(&error) => 0,
            // The read side tells of the end; until then what is written is lost anyway.
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if taken < bytes.len() {
            entry.waiting.extend_from_slice(&bytes[taken..]);
            self.listen(line)?;
        }
        Ok(())
    }

    /// Ends a line from this side.
    pub fn end(&mut self, line: usize) {
        self.lines[line] = Line::ENDED;
    }

    fn flush(&mut self, line: usize) -> io::Result<()> {
        let entry = &mut self.lines[line];
        let Some(stream) = entry.stream.as_mut() else { return Ok(()) };
        match stream.write(&entry.waiting) {
            Ok(taken) => drop(entry.waiting.drain(..taken)),
            Err(error) if is_idle(&error) => {}
            Err(error) if is_end(&error) => entry.waiting = Vec::new(),
            Err(error) => return Err(error),
        }
        if entry.waiting.is_empty() {
            entry.waiting = Vec::new();
            self.listen(line)?;
        }
        Ok(())
    }

    /// Has the kernel tell what is wanted of a line: its bytes, its room.
    fn listen(&self, line: usize) -> io::Result<()> {
        let Line { stream: Some(stream), waiting, paused, .. } = &self.lines[line] else {
            return Ok(());
        };
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, !paused);
        flags.set(epoll::EventFlags::OUT, !waiting.is_empty());
        Ok(epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(line as u64), flags)?)
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn what_a_full_socket_refuses_goes_out_when_it_drains() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut fleet = Fleet::new().unwrap();
        let line = fleet.connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let sent: Vec<u8> = (0..20_000_000u32).map(|n| n as u8).collect();
        fleet.write(line, &sent[..19_000_000]).unwrap();
        assert!(!fleet.lines[line].waiting.is_empty(), "no socket takes so much at once");
        fleet.write(line, &sent[19_000_000..]).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; 20_000_000];
            peer.read_exact(&mut got).unwrap();
            got
        });
        while !fleet.lines[line].waiting.is_empty() {
            fleet.wait(LONG, &mut Vec::new()).unwrap();
        }
        assert!(reader.join().unwrap() == sent);
    }

    #[test]
    fn a_dialed_line_is_told_when_it_is_there_and_when_it_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mut fleet, mut ready, mut scratch) = (Fleet::new().unwrap(), Vec::new(), [0; 16]);
        let source = Ipv4Addr::new(127, 9, 9, 9);
        fleet.dial(3, address, Dial { source: Some(source), holds: Some(4_096) }).unwrap();
        fleet.wait(LONG, &mut ready).unwrap();
        assert_eq!(ready, [3]);
        assert_eq!(fleet.read(3, &mut scratch).unwrap(), Got::Connected);
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), source);
        peer.write_all(b"hello").unwrap();
        fleet.pause(3, true).unwrap();
        ready.clear();
        fleet.wait(Duration::from_millis(20), &mut ready).unwrap();
        assert!(ready.is_empty(), "it is not to be read");
        fleet.pause(3, false).unwrap();
        fleet.wait(LONG, &mut ready).unwrap();
        assert_eq!(fleet.read(3, &mut scratch).unwrap(), Got::Bytes(5));
        drop((listener, peer));
        ready.clear();
        fleet.dial(3, address, Dial::default()).unwrap();
        fleet.wait(LONG, &mut ready).unwrap();
        assert_eq!(fleet.read(3, &mut scratch).unwrap(), Got::Ended);
    }

    #[test]
    fn an_ended_line_is_told_once_and_then_swallows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut fleet = Fleet::new().unwrap();
        let line = fleet.connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        let (mut ready, mut scratch) = (Vec::new(), [0; 16]);
        fleet.wait(LONG, &mut ready).unwrap();
        assert_eq!(ready, [line]);
        assert_eq!(fleet.read(line, &mut scratch).unwrap(), Got::Ended);
        ready.clear();
        fleet.wait(Duration::from_millis(1), &mut ready).unwrap();
        assert!(ready.is_empty());
        fleet.write(line, b"late").unwrap();
    }
}
