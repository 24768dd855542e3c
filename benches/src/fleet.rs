//! Many client sockets on one epoll and one thread.
//!
//! Writes at once and keeps only what a full socket did not take; reads into the caller's
//! scratch buffer. Knows bytes and line numbers, no protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// How many ready sockets one turn takes up.
const EVENTS: usize = 256;

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes at the beginning of the scratch buffer.
    Bytes(usize),
    /// Nothing was there after all.
    Nothing,
    /// The other side ended the connection.
    Ended,
}

struct Line {
    /// Taken away when the connection ends, which also takes it out of the epoll.
    stream: Option<TcpStream>,
    /// What the socket has not taken yet.
    waiting: Vec<u8>,
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
        self.lines.push(Line { stream: Some(stream), waiting: Vec::new() });
        Ok(line)
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
        let Some(stream) = self.lines[line].stream.as_mut() else { return Ok(Got::Nothing) };
        match stream.read(scratch) {
            Ok(0) => {
                self.end(line);
                Ok(Got::Ended)
            }
            Ok(bytes) => Ok(Got::Bytes(bytes)),
            Err(error) if is_idle(&error) => Ok(Got::Nothing),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
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
            self.listen(line, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    /// Ends a line from this side.
    pub fn end(&mut self, line: usize) {
        self.lines[line] = Line { stream: None, waiting: Vec::new() };
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
            self.listen(line, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    fn listen(&self, line: usize, flags: epoll::EventFlags) -> io::Result<()> {
        let Some(stream) = self.lines[line].stream.as_ref() else { return Ok(()) };
        Ok(epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(line as u64), flags)?)
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
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
