//! What is spoken to the bare loops: records of fixed size, or pings and their answers.

use std::collections::VecDeque;
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
/// it is; one that comes back sends again what nobody has answered. What was passed on meanwhile it
/// has missed: the loop keeps nothing for who is away.
pub struct Bare {
    address: SocketAddr,
    text_bytes: usize,
    pings: bool,
    /// What one read left over, by line.
    rests: Vec<Vec<u8>>,
    /// To whom and which messages are unanswered, oldest first, by line.
    unanswered: Vec<VecDeque<(usize, u64)>>,
    text: String,
}

impl Bare {
    /// Makes the clients of a scenario: of the loop that pings, or of the one that passes messages.
    pub fn new(address: SocketAddr, scenario: &Scenario, pings: bool) -> Self {
        let text_bytes = scenario.send.text_bytes;
        let rests = vec![Vec::new(); scenario.connections()];
        let unanswered = vec![VecDeque::new(); scenario.connections()];
        Self { address, text_bytes, pings, rests, unanswered, text: String::new() }
    }
}

impl Wire for Bare {
    fn begin(&mut self, line: Line, _from: From) -> SocketAddr {
        self.rests[line].clear();
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
        let unanswered = &mut self.unanswered[line];
        answers(&mut self.rests[line], bytes, |acked, number| match acked {
            true if number == INTRODUCES => {
                unanswered.iter().for_each(|(to, seq)| record(*to, *seq, out));
                tell(Heard::Open);
            }
            true => {
                // The loop answers in order, so it is the first.
                if let Some(at) = unanswered.iter().position(|(_, seq)| *seq == number) {
                    unanswered.remove(at);
                }
                tell(Heard::Acked { seq: number as usize, id: 0 });
            }
            false => {
                text::write(number as usize, text_bytes, said);
                tell(Heard::Message { text: said, id: 0, stored: false });
            }
        });
        Ok(Next::Stay)
    }

    fn act(&mut self, line: Line, act: Act<'_>, out: &mut Vec<u8>) -> bool {
        let Act::Send { seq, to, .. } = act else { return false };
        self.unanswered[line].push_back((to, seq as u64));
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
    fn what_went_down_unanswered_with_a_connection_is_sent_again() {
        let scenario = Scenario { users: 2, ..Scenario::default() };
        let mut bare = Bare::new(([127, 0, 0, 1], 9).into(), &scenario, false);
        let mut out = Vec::new();
        for seq in [3, 4] {
            assert!(bare.act(0, Act::Send { seq, to: 1, text: "" }, &mut out));
        }
        let ack = |number: u64| {
            let mut ack = vec![b'a'; ACK];
            ack[4..12].copy_from_slice(&number.to_le_bytes());
            ack
        };
        bare.feed(0, &ack(3), &mut out, &mut |_| {}).unwrap();
        // Half of an answer goes down with the connection, too.
        bare.feed(0, &ack(4)[..20], &mut out, &mut |_| {}).unwrap();
        bare.begin(0, From::Return);
        let (mut again, mut wanted, mut opened) = (Vec::new(), Vec::new(), false);
        let mut tell = |heard: Heard<'_>| opened |= heard == Heard::Open;
        bare.feed(0, &ack(INTRODUCES), &mut again, &mut tell).unwrap();
        record(1, 4, &mut wanted);
        assert!(opened && again == wanted);
    }

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
