//! WebSocket messages out of bytes and into bytes.
//!
//! The frame format is actix's codec (by way of actix-web-actors, whose deprecated
//! types stay in this file and in the server's `upgrade.rs`); what it leaves to its
//! caller is done here: putting fragments together, the bound on the whole message,
//! UTF-8. Knows nothing of Rally's frames.

use actix_http::ws::{Codec, Item};
use actix_web_actors::ws::{CloseCode, Frame, Message, ProtocolError};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use thiserror::Error;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Header bytes of the longest client frame: 2, 8 of length, 4 of mask.
const HEADER_BYTES: usize = 14;

/// What a peer sent, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
    /// A ping, to be answered with its bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer closes; `None` without a code.
    Close(Option<u16>),
}

/// Why the bytes are no WebSocket messages; each ends the connection with its close code.
#[derive(Debug, Error)]
pub enum WireError {
    /// A message longer than the bound.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// Frames that RFC 6455 forbids.
    #[error("{0}")]
    Protocol(ProtocolError),
}

impl WireError {
    /// Gives the close code of RFC 6455 section 7.4.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TooLong(_) => 1009,
            Self::NotUtf8 => 1007,
            Self::Protocol(_) => 1002,
        }
    }
}

/// The beginning of a fragmented message.
struct Fragments {
    text: bool,
    bytes: BytesMut,
}

/// Takes bytes, gives messages. Between messages it holds no buffer.
pub struct Decoder {
    codec: Codec,
    max: usize,
    pending: BytesMut,
    fragments: Option<Box<Fragments>>,
}

impl Decoder {
    /// Refuses messages of more than `max` bytes.
    pub fn new(max: usize) -> Self {
        let codec = Codec::new().max_size(max);
        Self { codec, max, pending: BytesMut::new(), fragments: None }
    }

    /// From the next message on, refuses those of more than `max` bytes. To be told between two
    /// messages.
    pub fn allow(&mut self, max: usize) {
        self.codec = Codec::new().max_size(max);
        self.max = max;
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Tells whether bytes wait that make no whole message yet.
    pub fn is_partial(&self) -> bool {
        !self.pending.is_empty() || self.fragments.is_some()
    }

    /// Gives the next whole message, if there is one.
    pub fn decode(&mut self) -> Result<Option<Incoming>, WireError> {
        while !self.pending.is_empty() {
            let Some(frame) = self.frame()? else { return Ok(None) };
            if self.pending.is_empty() {
                self.pending = BytesMut::new();
            }
            if let Some(whole) = self.assemble(frame)? {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Frame>, WireError> {
        match self.codec.decode(&mut self.pending) {
            Ok(Some(frame)) => Ok(Some(frame)),
            // The codec waits for the whole frame, however long it says it is; we do not.
            Ok(None) if self.pending.len() > self.max + HEADER_BYTES => {
                Err(WireError::TooLong(self.max))
            }
            Ok(None) => Ok(None),
            Err(ProtocolError::Overflow) => Err(WireError::TooLong(self.max)),
            Err(error) => Err(WireError::Protocol(error)),
        }
    }

    fn assemble(&mut self, frame: Frame) -> Result<Option<Incoming>, WireError> {
        Ok(Some(match frame {
            Frame::Text(bytes) => Incoming::Text(utf8(bytes)?),
            Frame::Binary(bytes) => Incoming::Binary(bytes),
            Frame::Ping(bytes) => Incoming::Ping(bytes),
            Frame::Pong(_) => Incoming::Pong,
            Frame::Close(reason) => Incoming::Close(reason.map(|r| r.code.into())),
            Frame::Continuation(item) => return self.continued(item),
        }))
    }

    fn continued(&mut self, item: Item) -> Result<Option<Incoming>, WireError> {
        let (part, last) = match item {
            Item::FirstText(bytes) => return self.begin(true, &bytes),
            Item::FirstBinary(bytes) => return self.begin(false, &bytes),
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(fragments) = &mut self.fragments else {
            return Err(WireError::Protocol(ProtocolError::ContinuationNotStarted));
        };
        if fragments.bytes.len() + part.len() > self.max {
            return Err(WireError::TooLong(self.max));
        }
        fragments.bytes.extend_from_slice(&part);
        if !last {
            return Ok(None);
        }
        let whole = self.fragments.take().expect("looked at above");
        let bytes = whole.bytes.freeze();
        Ok(Some(if whole.text { Incoming::Text(utf8(bytes)?) } else { Incoming::Binary(bytes) }))
    }

    fn begin(&mut self, text: bool, first: &Bytes) -> Result<Option<Incoming>, WireError> {
        self.fragments = Some(Box::new(Fragments { text, bytes: BytesMut::from(&first[..]) }));
        Ok(None)
    }
}

fn utf8(bytes: Bytes) -> Result<ByteString, WireError> {
    ByteString::try_from(bytes).map_err(|_| WireError::NotUtf8)
}

fn encode(message: Message, payload: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload + HEADER_BYTES);
    Codec::new().encode(message, &mut bytes).expect("whole server messages always encode");
    bytes.freeze()
}

/// Writes a text message. A server's frames are not masked, so the same bytes serve every session.
pub fn text(text: String) -> Bytes {
    let len = text.len();
    encode(Message::Text(text.into()), len)
}

/// Reads back the text of a message that [`text`] wrote.
pub fn text_of(message: &[u8]) -> &str {
    let header = match message.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    std::str::from_utf8(&message[header..]).expect("it was written from a text")
}

/// Writes a pong that answers a ping.
pub fn pong(bytes: Bytes) -> Bytes {
    let len = bytes.len();
    encode(Message::Pong(bytes), len)
}

/// Writes a binary message.
pub fn binary(bytes: Bytes) -> Bytes {
    let len = bytes.len();
    encode(Message::Binary(bytes), len)
}

/// The two bytes of an empty ping.
pub const PING: &[u8] = &[0x89, 0x00];

/// Writes a close frame; `None` closes without a code.
pub fn close(code: Option<u16>) -> Bytes {
    let reason = code.map(|code| CloseCode::from(code).into());
    encode(Message::Close(reason), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_text_can_be_read_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let written = "é".repeat(len / 2);
            assert_eq!(text_of(&text(written.clone())), written);
        }
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..126 => frame.push(0x80 | n as u8),
            n @ 126..65536 => {
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
        frame.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        frame
    }

    #[test]
    fn a_message_may_arrive_a_byte_at_a_time() {
        let mut decoder = Decoder::new(100);
        let bytes = masked(0x81, b"hello");
        let (last, rest) = bytes.split_last().unwrap();
        for byte in rest {
            decoder.feed(&[*byte]);
            assert_eq!(decoder.decode().unwrap(), None);
        }
        decoder.feed(&[*last]);
        assert_eq!(decoder.decode().unwrap(), Some(Incoming::Text("hello".into())));
        assert!(!decoder.is_partial());
        assert_eq!(decoder.pending.capacity(), 0);
    }

    #[test]
    fn fragments_are_put_together_around_control_frames() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&masked(0x01, b"he"));
        decoder.feed(&masked(0x89, b"?"));
        decoder.feed(&masked(0x80, b"llo"));
        assert_eq!(decoder.decode().unwrap(), Some(Incoming::Ping(Bytes::from_static(b"?"))));
        assert_eq!(decoder.decode().unwrap(), Some(Incoming::Text("hello".into())));
    }

    #[test]
    fn a_long_frame_is_refused_before_it_has_arrived() {
        let mut decoder = Decoder::new(100);
        let bytes = masked(0x81, &[b'x'; 10_000_000]);
        decoder.feed(&bytes[..200]);
        let error = decoder.decode().unwrap_err();
        assert_eq!(error.close_code(), 1009);
    }

    #[test]
    fn many_fragments_are_no_way_around_the_bound() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&masked(0x01, &[b'x'; 60]));
        decoder.feed(&masked(0x00, &[b'x'; 60]));
        assert_eq!(decoder.decode().unwrap_err().close_code(), 1009);
    }

    #[test]
    fn text_must_be_utf8_and_frames_masked() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&masked(0x81, &[0xff, 0xfe]));
        assert_eq!(decoder.decode().unwrap_err().close_code(), 1007);
        let mut decoder = Decoder::new(100);
        decoder.feed(&[0x81, 0x01, b'x']);
        assert_eq!(decoder.decode().unwrap_err().close_code(), 1002);
    }

    #[test]
    fn what_the_server_writes_is_what_rfc_6455_says() {
        assert_eq!(&text("hi".to_owned())[..], b"\x81\x02hi");
        assert_eq!(&close(Some(1001))[..], b"\x88\x02\x03\xe9");
        assert_eq!(&pong(Bytes::from_static(b"x"))[..], b"\x8a\x01x");
    }
}
