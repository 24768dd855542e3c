//! The messages that arrive on a socket, as a stream.
//!
//! Reads into one scratch buffer a thread, so that an idle session holds none. A paused
//! session reads nothing, not even what is decoded already: the peer waits in its kernel.
//!
//! What thousands of frames ask for that came at once is not done in one go: after a few of them the
//! thread listens to everybody else again. (actix lets go of a stream after 16 items, too, but has it
//! polled at once, before the thread has listened.)

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::io::ReadBuf;
use tokio::task::yield_now;

use crate::io::Io;
use crate::wire::{Decoder, Incoming, WireError};

/// Bytes read at once. Larger than most bursts; a longer one costs another read.
const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8; SCRATCH_BYTES]>> = RefCell::new(Box::new([0; SCRATCH_BYTES]));
}

/// Messages handed on before the thread listens again: as many as actix takes in a row.
const A_TURN: u8 = 16;

/// The reading half of a session.
pub struct Reader {
    io: Rc<Io>,
    decoder: Decoder,
    failed: bool,
    /// Messages handed on since the thread last listened, as far as is known.
    handed_on: u8,
    /// Ends when it has listened.
    pause: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Reader {
    /// Reads on from what the decoder already holds.
    pub fn new(io: Rc<Io>, decoder: Decoder) -> Self {
        Self { io, decoder, failed: false, handed_on: 0, pause: None }
    }

    /// Waits, after many messages, until the thread has listened again.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.handed_on == A_TURN {
            // What yields to tokio is polled again only after that.
            let pause = self.pause.get_or_insert_with(|| Box::pin(yield_now()));
            ready!(pause.as_mut().poll(cx));
            (self.pause, self.handed_on) = (None, 0);
        }
        Poll::Ready(())
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
            ready!(self.poll_turn(cx));
            // While paused, `poll_fill` is pending and registers; what is decoded waits too.
            if !self.io.is_paused() {
                match self.decoder.decode() {
                    Ok(Some(message)) => {
                        self.handed_on += 1;
                        return Poll::Ready(Some(Ok(message)));
                    }
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
                Poll::Pending => {
                    self.handed_on = 0;
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt as _, StreamExt as _};
    use rally_schema::limits::FRAME_BYTES;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn after_a_few_of_many_messages_the_thread_listens_to_others() {
        const MANY: usize = 1_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (socket, peer) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let _peer = peer.unwrap();
        let mut decoder = Decoder::new(FRAME_BYTES);
        // An empty ping, masked by nothing.
        decoder.feed(&[0x89, 0x80, 0, 0, 0, 0].repeat(MANY));
        let io = Rc::new(Io::new(Box::new(socket.unwrap()), 1_024, 0));
        let mut reader = Reader::new(io, decoder);
        let mut all = 0;
        while all < MANY {
            let mut in_a_row = 0;
            while let Some(Some(message)) = reader.next().now_or_never() {
                assert!(matches!(message, Ok(Incoming::Ping(_))), "{message:?}");
                in_a_row += 1;
            }
            assert!((1..=usize::from(A_TURN)).contains(&in_a_row), "{in_a_row} in a row");
            all += in_a_row;
        }
    }
}
