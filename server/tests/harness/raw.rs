//! WebSocket frames as bytes, for clients that keep to nothing.

use rally_schema::ServerFrame;

use super::client::is_unasked;

/// What a frame is, as RFC 6455 numbers it.
pub mod opcode {
    /// More of the message before.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// A question whether the peer is there.
    pub const PING: u8 = 9;
}

/// Writes a whole message of a client.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(0x80 | opcode, payload)
}

/// Writes the beginning of a message that goes on.
pub fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(opcode, payload)
}

/// Writes a text message of a client.
pub fn text(text: &str) -> Vec<u8> {
    frame(opcode::TEXT, text.as_bytes())
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

/// Reads what a server wrote: its text frames but for those by which it only says that it lives, and
/// the code with which it closed.
pub fn parse(mut bytes: &[u8]) -> (Vec<ServerFrame>, Option<u16>) {
    let mut frames = Vec::new();
    let mut code = None;
    while let [first, short, rest @ ..] = bytes {
        let (skip, length) = match (short, rest) {
            (126, [a, b, ..]) => (2, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [..]) if rest.len() >= 8 => {
                (8, u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize)
            }
            (126 | 127, _) => break,
            (short, _) => (0, usize::from(*short)),
        };
        let Some(payload) = rest.get(skip..skip + length) else { break };
        match (first & 0x0f, payload) {
            (opcode::TEXT, text) => {
                let text = std::str::from_utf8(text).expect("the server writes UTF-8");
                frames.push(ServerFrame::decode(text).expect("the server writes frames"));
            }
            (8, [a, b, ..]) => code = Some(u16::from_be_bytes([*a, *b])),
            _ => {}
        }
        bytes = &rest[skip + length..];
    }
    frames.retain(|frame| !is_unasked(frame));
    (frames, code)
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Gives a number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}
