//! What is spoken to the bare loops: records of fixed size, or pings and their answers.

use std::net::SocketAddr;

use anyhow::Result;

use crate::bare::{ACK, Index, PUSHED, SENT};
use crate::run::scenario::Scenario;
use crate::wire::{Act, From, Heard, Line, Next, Wire, text};

/// Six bytes, as a masked pong has.
const PONG: [u8; 6] = [0x8a, 0x80, 1, 2, 3, 4];

/// Bytes of a ping.
const PING: usize = 2;

/// Clients of a bare loop. The loop numbers connections as they arrive, which is the order of
/// lines; none comes back.
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

    fn connected(&mut self, _line: Line, _out: &mut Vec<u8>) -> Result<bool> {
        Ok(true)
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
        answers(&mut self.rests[line], bytes, |acked, seq| match acked {
            true => tell(Heard::Acked { seq, id: 0 }),
            false => {
                text::write(seq, text_bytes, said);
                tell(Heard::Message { text: said, id: 0 });
            }
        });
        Ok(Next::Stay)
    }

    fn act(&mut self, _line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool {
        let Act::Send { seq, to, .. } = act else { return false };
        let begin = out.len();
        out.resize(begin + SENT, b'r');
        out[begin..begin + 4].copy_from_slice(&(to as Index).to_le_bytes());
        out[begin + 4..begin + 12].copy_from_slice(&(seq as u64).to_le_bytes());
        true
    }
}

/// Cuts acks and pushes out of what was read; the byte after the head tells them apart.
fn answers(rest: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut(bool, usize)) {
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
        each(acked, u64::from_le_bytes(seq) as usize);
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
