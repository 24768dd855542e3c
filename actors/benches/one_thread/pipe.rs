//! A client's socket in memory: takes all that is written, and costs no system call.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rally_actors::socket::Socket;
use rally_actors::wire;
use rally_schema::ServerFrame;
use tokio::io::ReadBuf;

/// The mask of every message from here. RFC 6455 asks for chance, and so do counts for none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Default)]
struct Inner {
    to_node: RefCell<Vec<u8>>,
    reader: RefCell<Option<Waker>>,
    from_node: RefCell<Vec<u8>>,
    /// Up to where the client has looked.
    seen: Cell<usize>,
}

/// A socket; clones are its two ends.
#[derive(Clone, Default)]
pub struct Pipe(Rc<Inner>);

impl Pipe {
    /// Sends a WebSocket message, masked already.
    pub fn send(&self, message: &[u8]) {
        self.0.to_node.borrow_mut().extend_from_slice(message);
        if let Some(waker) = self.0.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Tells whether something was written that was not taken yet.
    pub fn has_news(&self) -> bool {
        !self.0.from_node.borrow().is_empty()
    }

    /// Tells whether a frame of this type was written. What was looked at is not looked at again.
    pub fn has(&self, kind: &str) -> bool {
        let written = self.0.from_node.borrow();
        let news = &written[self.0.seen.replace(written.len())..];
        let text = format!("\"type\":\"{kind}\"");
        news.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Throws away all that was written.
    pub fn clear(&self) {
        self.0.seen.set(0);
        self.0.from_node.borrow_mut().clear();
    }

    /// Takes all that was written.
    pub fn take(&self) -> Vec<ServerFrame> {
        self.0.seen.set(0);
        let bytes = std::mem::take(&mut *self.0.from_node.borrow_mut());
        let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
        while let [first, second, after @ ..] = rest {
            let (length, after) = match second {
                126 => {
                    let (length, after) = after.split_first_chunk().expect("a length");
                    (usize::from(u16::from_be_bytes(*length)), after)
                }
                127 => {
                    let (length, after) = after.split_first_chunk().expect("a length");
                    (u64::from_be_bytes(*length) as usize, after)
                }
                length => (usize::from(*length), after),
            };
            let (payload, after) = after.split_at(length);
            if *first == 0x81 {
                let text = std::str::from_utf8(payload).expect("text");
                frames.push(ServerFrame::decode(text).expect("a frame"));
            }
            rest = after;
        }
        frames
    }
}

impl Socket for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.0.to_node.borrow_mut();
        if waiting.is_empty() {
            *self.0.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let take = buf.remaining().min(waiting.len());
        buf.put_slice(&waiting[..take]);
        waiting.drain(..take);
        Poll::Ready(Ok(()))
    }

    fn try_write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.0.from_node.borrow_mut();
        // A ping comes when a timer says so: it is no news.
        let pieces = chunks.iter().filter(|chunk| &chunk[..] != wire::PING);
        pieces.for_each(|piece| written.extend_from_slice(piece));
        Ok(chunks.iter().map(|chunk| chunk.len()).sum())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&mut self) {}
}

/// Makes the WebSocket message of a client's text.
pub fn masked(text: &str) -> Vec<u8> {
    let mut message = vec![0x81];
    match u16::try_from(text.len()).expect("a short text") {
        length @ 0..126 => message.push(0x80 | length as u8),
        length => {
            message.push(0x80 | 126);
            message.extend(length.to_be_bytes());
        }
    }
    message.extend(MASK);
    message.extend(text.bytes().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    message
}
