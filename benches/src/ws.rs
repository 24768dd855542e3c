//! The client's half of WebSocket (RFC 6455), as much of it as a load generator needs.
//!
//! Own code because the generator shares two cores with what it measures: frames are parsed
//! where the socket's bytes lie, and a connection holds no buffer between frames. Knows
//! nothing of sockets or of Rally's frames; refuses what it does not need (fragments, extensions).

use thiserror::Error;

use crate::dice::Dice;

/// The RFC's own sample key: its answer is known, so no hash is needed to check it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Bytes of a response head or a frame beyond which the server is taken for broken.
const LARGEST: usize = 16 * 1024 * 1024;

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// One text message.
    Text = 1,
    /// An answer to a ping.
    Pong = 10,
}

/// What was heard, borrowed from the bytes it came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The upgrade was accepted.
    Opened,
    /// One text message.
    Text(&'a str),
    /// To be answered with a pong of the same content.
    Ping(&'a [u8]),
    /// The server says farewell, with its code if it gave one.
    Closed(Option<u16>),
}

/// What a server must not send.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WsError {
    /// The upgrade was answered otherwise.
    #[error("the server refused the upgrade: {0:?}")]
    Refused(String),
    /// Text that is no UTF-8.
    #[error("a text frame holds no UTF-8")]
    Utf8,
    /// A frame of a kind that is not read here.
    #[error("unexpected frame: first bytes {0:#04x} {1:#04x}")]
    Frame(u8, u8),
    /// More than [`LARGEST`] bytes.
    #[error("a frame or response head of {0} bytes: at most {LARGEST} are read")]
    TooLarge(usize),
}

/// Appends the request that opens a connection; an empty subprotocol is none.
pub fn request(authority: &str, path: &str, subprotocol: &str, out: &mut Vec<u8>) {
    let named = match subprotocol {
        "" => String::new(),
        named => format!("Sec-WebSocket-Protocol: {named}\r\n"),
    };
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{named}\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}

/// Appends one masked frame.
pub fn write(opcode: Opcode, payload: &[u8], dice: &mut Dice, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = dice.mask();
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for four in out[start..].chunks_mut(4) {
        for (byte, key) in four.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// Cuts a connection's bytes into events. Holds bytes only while a frame is incomplete.
#[derive(Debug, Default)]
pub struct Reader {
    opened: bool,
    rest: Vec<u8>,
}

impl Reader {
    /// Takes what a socket gave and tells what it completes.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), WsError> {
        if self.rest.is_empty() {
            let used = self.parse(bytes, &mut each)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.rest);
        held.extend_from_slice(bytes);
        let used = self.parse(&held, &mut each)?;
        // An emptied buffer is dropped: ten thousand idle connections keep none.
        if used < held.len() {
            held.drain(..used);
            self.rest = held;
        }
        Ok(())
    }

    /// Tells every complete event in `bytes`; returns how many bytes they took.
    fn parse(&mut self, bytes: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<usize, WsError> {
        let mut used = 0;
        if !self.opened {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return if bytes.len() > LARGEST {
                    Err(WsError::TooLarge(bytes.len()))
                } else {
                    Ok(0)
                };
            };
            accept(&bytes[..end])?;
            self.opened = true;
            each(Event::Opened);
            used = end + 4;
        }
        while let Some((payload, next)) = frame(&bytes[used..])? {
            let first = bytes[used];
            let payload = &bytes[used..][payload];
            each(event(first, payload)?);
            used += next;
        }
        Ok(used)
    }
}

/// Checks the response head of an upgrade.
fn accept(head: &[u8]) -> Result<(), WsError> {
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().unwrap_or_default();
    let answers = |line: &str| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT
        })
    };
    if status.starts_with("HTTP/1.1 101") && head.lines().any(answers) {
        Ok(())
    } else {
        Err(WsError::Refused(status.chars().take(200).collect()))
    }
}

/// Finds where the payload of the first frame lies and where the next frame begins, if it is whole.
fn frame(bytes: &[u8]) -> Result<Option<(std::ops::Range<usize>, usize)>, WsError> {
    let [first, second, tail @ ..] = bytes else { return Ok(None) };
    // A server masks nothing; fragments and extension bits were not agreed on.
    if second & 0x80 != 0 || first & 0xf0 != 0x80 {
        return Err(WsError::Frame(*first, *second));
    }
    let (start, length) = match (second & 0x7f, tail) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let long = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(long).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(short)),
    };
    if length > LARGEST {
        return Err(WsError::TooLarge(length));
    }
    let end = start + length;
    Ok((bytes.len() >= end).then_some((start..end, end)))
}

fn event(first: u8, payload: &[u8]) -> Result<Event<'_>, WsError> {
    match first & 0x0f {
        1 => std::str::from_utf8(payload).map(Event::Text).map_err(|_| WsError::Utf8),
        8 => Ok(Event::Closed(match payload {
            [a, b, ..] => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        })),
        9 => Ok(Event::Ping(payload)),
        _ => Err(WsError::Frame(first, payload.len().min(127) as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Vec<u8> {
        format!("HTTP/1.1 101 Switching\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n").into_bytes()
    }

    fn told(reader: &mut Reader, bytes: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        reader.feed(bytes, |event| told.push(format!("{event:?}"))).unwrap();
        told
    }

    fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(short as u8),
            middle @ 126..=0xffff => {
                frame.push(126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn bytes_may_be_cut_anywhere() {
        let mut stream = head();
        stream.extend(from_server(0x81, "héllo".as_bytes()));
        stream.extend(from_server(0x89, b"p"));
        stream.extend(from_server(0x81, "x".repeat(300).as_bytes()));
        stream.extend(from_server(0x81, "y".repeat(70_000).as_bytes()));
        stream.extend(from_server(0x88, &[0x03, 0xe8]));
        let whole = told(&mut Reader::default(), &stream);
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[0], "Opened");
        assert_eq!(whole[1], "Text(\"héllo\")");
        assert_eq!(whole[5], "Closed(Some(1000))");
        for chunk in [1, 2, 3, 7, 64, 4096] {
            let mut reader = Reader::default();
            let mut pieces = Vec::new();
            for piece in stream.chunks(chunk) {
                pieces.extend(told(&mut reader, piece));
            }
            assert_eq!(pieces, whole, "in pieces of {chunk}");
            assert_eq!(reader.rest.capacity(), 0, "nothing is held between frames");
        }
    }

    #[test]
    fn what_is_written_unmasks_to_what_was_meant() {
        let mut dice = Dice::new(1);
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'a'; length];
            let mut out = Vec::new();
            write(Opcode::Text, &payload, &mut dice, &mut out);
            let start = match length {
                0..126 => 2,
                126..=0xffff => 4,
                _ => 10,
            };
            assert_eq!(out[0], 0x81);
            assert_ne!(out[1] & 0x80, 0, "a client masks");
            let (mask, body) = out[start..].split_at(4);
            assert_eq!(body.len(), length);
            assert!(body.iter().zip(mask.iter().cycle()).all(|(b, m)| b ^ m == b'a'));
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        let mut cases = vec![
            (from_server(0x01, b"half"), WsError::Frame(0x01, 4)),
            (from_server(0xc1, b"zip"), WsError::Frame(0xc1, 3)),
            (from_server(0x82, b"bin"), WsError::Frame(0x82, 3)),
            (vec![0x81, 0x81, 0, 0, 0, 0, 0], WsError::Frame(0x81, 0x81)),
            (from_server(0x81, &[0xff]), WsError::Utf8),
        ];
        let mut huge = vec![0x81, 127];
        huge.extend((1u64 << 40).to_be_bytes());
        cases.push((huge, WsError::TooLarge(1 << 40)));
        for (bytes, expected) in cases {
            let mut reader = Reader { opened: true, rest: Vec::new() };
            assert_eq!(reader.feed(&bytes, |_| ()), Err(expected));
        }
    }

    #[test]
    fn an_upgrade_needs_the_right_answer() {
        for bad in [
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nsec-websocket-accept: wrong\r\n\r\n",
        ] {
            let error = Reader::default().feed(bad.as_bytes(), |_| ()).unwrap_err();
            assert!(matches!(error, WsError::Refused(_)), "{error}");
        }
    }
}
