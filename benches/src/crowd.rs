//! Clients of a server: sockets that speak frames, all on one thread.
//!
//! Opens sessions, answers pings as browsers do, and hands on decoded frames. Knows nothing of
//! what is said; a session that ends, or says what is no frame, ends the bench.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rally_schema::frame::{ClientFrame, Hello, ServerFrame};
use rally_schema::limits::SUBPROTOCOL;

use crate::dice::Dice;
use crate::fleet::{Fleet, Got};
use crate::people::{Door, Login};
use crate::stop::Stop;
use crate::ws::{self, Event, Opcode, Reader};

/// How long sessions may take to open after the last was begun.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many sessions may be opening at once: the server's door is not what is measured.
const OPENING: usize = 64;

/// The server's time, as `welcome` told it.
#[derive(Debug, Clone, Copy)]
pub struct ServerTime {
    origin: Instant,
    /// What the server's clock was at `origin`; never later than it was.
    at_origin_ms: u64,
}

impl ServerTime {
    /// Gives the server's time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.at_origin_ms + self.origin.elapsed().as_millis() as u64
    }

    fn hear(&mut self, now_ms: u64) {
        // A frame is heard after it was stamped: the largest estimate is the best.
        let at_origin_ms = now_ms.saturating_sub(self.origin.elapsed().as_millis() as u64);
        self.at_origin_ms = self.at_origin_ms.max(at_origin_ms);
    }
}

/// Many clients of one server.
pub struct Crowd {
    server: SocketAddr,
    fleet: Fleet,
    readers: Vec<Reader>,
    dice: Dice,
    scratch: Vec<u8>,
    ready: Vec<usize>,
    out: Vec<u8>,
    time: ServerTime,
}

impl Crowd {
    /// Makes an empty crowd in front of a server.
    pub fn before(server: SocketAddr) -> Result<Self> {
        Ok(Self {
            server,
            fleet: Fleet::new()?,
            readers: Vec::new(),
            dice: Dice::new(1),
            scratch: vec![0; 256 * 1024],
            ready: Vec::new(),
            out: Vec::new(),
            time: ServerTime { origin: Instant::now(), at_origin_ms: 0 },
        })
    }

    /// Gives the server's time. Only after a session was opened.
    pub fn time(&self) -> ServerTime {
        self.time
    }

    /// Opens a session for each log-in, one line each in their order, and waits until all have
    /// what a new client is told: `welcome`, then `reset`.
    pub fn open(&mut self, logins: &[Login], stop: &Stop) -> Result<()> {
        let mut door = Door::of(self.server)?;
        let mut open = 0;
        for (begun, login) in logins.iter().enumerate() {
            open = self.wait_for(open, (begun + 1).saturating_sub(OPENING), stop)?;
            self.begin(&mut door, login)?;
            open += self.opened(Duration::ZERO)?;
        }
        self.wait_for(open, logins.len(), stop).map(|_| ())
    }

    /// Waits until of `open` sessions there are `enough`; gives how many there are.
    fn wait_for(&mut self, mut open: usize, enough: usize, stop: &Stop) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            stop.check()?;
            if open >= enough {
                return Ok(open);
            }
            let missing = enough - open;
            ensure!(Instant::now() < deadline, "{missing} sessions did not open in {PATIENCE:?}");
            open += self.opened(Duration::from_millis(10))?;
        }
    }

    /// Begins to open one session; its first frames will come by [`Crowd::turn`].
    fn begin(&mut self, door: &mut Door, login: &Login) -> Result<()> {
        let place = door.discover(login)?;
        let hello = Hello { ticket: place.ticket, client: place.client, cursor: None };
        let line = self.fleet.connect(place.server)?;
        self.readers.push(Reader::default());
        self.out.clear();
        ws::request(&place.server.to_string(), &place.path, SUBPROTOCOL, &mut self.out);
        let hello = ClientFrame::from(hello).encode();
        ws::write(Opcode::Text, hello.as_bytes(), &mut self.dice, &mut self.out);
        Ok(self.fleet.write(line, &self.out)?)
    }

    /// Counts sessions that were told where they begin.
    fn opened(&mut self, timeout: Duration) -> Result<usize> {
        let mut opened = 0;
        let mut refused = None;
        self.turn(timeout, |_, frame| match frame {
            ServerFrame::Reset(_) => opened += 1,
            ServerFrame::Error(error) => refused = Some(error),
            _ => {}
        })?;
        match refused {
            None => Ok(opened),
            Some(error) => bail!("a session was refused: {}: {}", error.code, error.text),
        }
    }

    /// Sends a frame.
    pub fn say(&mut self, line: usize, frame: &ClientFrame) -> Result<()> {
        self.out.clear();
        ws::write(Opcode::Text, frame.encode().as_bytes(), &mut self.dice, &mut self.out);
        Ok(self.fleet.write(line, &self.out)?)
    }

    /// Waits at most `timeout` for frames and hands on what came, by line.
    pub fn turn(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(usize, ServerFrame),
    ) -> Result<()> {
        let Self { fleet, readers, dice, scratch, ready, out, time, .. } = self;
        ready.clear();
        fleet.wait(timeout, ready)?;
        for line in ready.drain(..) {
            let bytes = match fleet.read(line, scratch)? {
                Got::Bytes(bytes) => bytes,
                Got::Nothing | Got::Connected => continue,
                Got::Ended => bail!("the server ended the connection of line {line}"),
            };
            let mut trouble = None;
            out.clear();
            readers[line].feed(&scratch[..bytes], |event| match event {
                Event::Opened => {}
                Event::Ping(content) => ws::write(Opcode::Pong, content, dice, out),
                Event::Closed(code) => trouble = Some(format!("closed with code {code:?}")),
                Event::Text(text) => match ServerFrame::decode(text) {
                    Ok(ServerFrame::Bye(bye)) => trouble = Some(format!("bye: {:?}", bye.reason)),
                    Ok(ServerFrame::Welcome(welcome)) => time.hear(welcome.now),
                    Ok(frame) => each(line, frame),
                    Err(error) => trouble = Some(error.to_string()),
                },
            })?;
            if let Some(trouble) = trouble {
                bail!("line {line}: {trouble}");
            }
            if !out.is_empty() {
                fleet.write(line, out)?;
            }
        }
        Ok(())
    }
}
