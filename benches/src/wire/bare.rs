//! What is spoken to the bare loops: records of fixed size, or pings and their answers.

use std::net::SocketAddr;

use anyhow::Result;

use crate::bare::{ACK, INTRODUCES, Index, PUSHED, SENT};
use crate::run::scenario::Scenario;
use crate::wire::{Act, From, Heard, Line, Next, Wire, text};

/// Six bytes, as a masked pong has.
const PONG: [u8; 6] = [0x8a, 0x80, 1, 2, 3, 4];

/// Bytes of a ping.
const PING: usize = 2;

/// Clients of a bare loop. Each connection to the one that passes messages begins with saying whose
/// it is; none comes back.
pub struct Bare {
    address: SocketAddr,
    text_bytes: usize,
    pings: bool,
    /// What one read left over, by line.
    rests: Vec<Vec<u8>>,
    text: String,
}

impl Bare {
    /// Makes the clients of a scenario: of the loop that pings, or of the one that passes messages.
    pub fn new(address: SocketAddr, scenario: &Scenario, pings: bool) -> Self {
        let text_bytes = scenario.send.text_bytes;
        let rests = vec![Vec::new(); scenario.connections()];
        Self { address, text_bytes, pings, rests, text: String::new() }
    }
}

impl Wire for Bare {
    fn begin(&mut self, _line: Line, _from: From) -> SocketAddr {
        self.address
    }

    fn connected(&mut self, line: Line, out: &mut Vec<u8>) -> Result<bool> {
        if !self.pings {
            record(line, INTRODUCES, out);
        }
        Ok(self.pings)
    }

    fn feed(
        &mut self,
        line: Line,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Next> {
        if self.pings {
            (0..bytes.len() / PING).for_each(|_| out.extend_from_slice(&PONG));
            return Ok(Next::Stay);
        }
        let (text_bytes, said) = (self.text_bytes, &mut self.text);
        answers(&mut self.rests[line], bytes, |acked, number| match acked {
            true if number == INTRODUCES => tell(Heard::Open),
            true => tell(Heard::Acked { seq: number as usize, id: 0 }),
            false => {
                text::write(number as usize, text_bytes, said);
                tell(Heard::Message { text: said, id: 0 });
            }
        });
        Ok(Next::Stay)
    }

    fn act(&mut self, _line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool {
        let Act::Send { seq, to, .. } = act else { return false };
        record(to, seq as u64, out);
        true
    }
}

/// Appends one record.
fn record(index: usize, number: u64, out: &mut Vec<u8>) {
    let end = out.len() + SENT;
    out.extend_from_slice(&(index as Index).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.resize(end, b'r');
}

/// Cuts acks and pushes out of what was read; the byte after the head tells them apart.
fn answers(rest: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut(bool, u64)) {
    rest.extend_from_slice(bytes);
    let mut used = 0;
    while let Some(kind) = rest.get(used + 12) {
        let acked = *kind == b'a';
        let length = if acked { ACK } else { PUSHED };
        if rest.len() < used + length {
            break;
        }
        let mut seq = [0; 8];
        seq.copy_from_slice(&rest[used + 4..used + 12]);
        each(acked, u64::from_le_bytes(seq));
        used += length;
    }
    rest.drain(..used);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_be_cut_anywhere() {
        let record = |kind: u8, length: usize, seq: u64| {
            let mut record = vec![kind; length];
            record[4..12].copy_from_slice(&seq.to_le_bytes());
            record
        };
        let stream = [record(b'a', ACK, 7), record(b'm', PUSHED, 8), record(b'a', ACK, 9)].concat();
        for piece in [1, 13, 60, 61, 320] {
            let (mut rest, mut heard) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                answers(&mut rest, bytes, |acked, seq| heard.push((acked, seq)));
            }
            assert_eq!(heard, [(true, 7), (false, 8), (true, 9)], "in pieces of {piece}");
        }
    }
}
