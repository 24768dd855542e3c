//! The messages that arrive on a socket, as a stream.
//!
//! Reads into one scratch buffer a thread, so that an idle session holds none. A paused
//! session reads nothing, not even what is decoded already: the peer waits in its kernel.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::io::ReadBuf;

use crate::io::Io;
use crate::wire::{Decoder, Incoming, WireError};

/// Bytes read at once. Larger than most bursts; a longer one costs another read.
const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8; SCRATCH_BYTES]>> = RefCell::new(Box::new([0; SCRATCH_BYTES]));
}

/// The reading half of a session.
pub struct Reader {
    io: Rc<Io>,
    decoder: Decoder,
    failed: bool,
}

impl Reader {
    /// Reads on from what the decoder already holds.
    pub fn new(io: Rc<Io>, decoder: Decoder) -> Self {
        Self { io, decoder, failed: false }
    }

    /// Adds what arrived to the decoder; `None` at the end, or when the socket is broken.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(&mut scratch[..]);
            self.io.poll_read(cx, &mut buf).map(|read| {
                self.decoder.feed(buf.filled());
                (read.is_ok() && !buf.filled().is_empty()).then_some(())
            })
        })
    }
}

impl Stream for Reader {
    type Item = Result<Incoming, WireError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.failed || self.io.is_finishing() {
                return self.io.poll_finished(cx).map(|()| None);
            }
            // While paused, `poll_fill` is pending and registers; what is decoded waits too.
            if !self.io.is_paused() {
                match self.decoder.decode() {
                    Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                    Ok(None) => {}
                    Err(error) => {
                        self.failed = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            match self.poll_fill(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
