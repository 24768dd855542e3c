//! A socket in memory: two ends, each a bounded queue of bytes towards the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rally_actors::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait one way: few, so that a client that does not read shows soon.
const CAPACITY: usize = 4 * 1024;

/// One way.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() && !self.ended {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let take = buf.remaining().min(self.bytes.len());
        let (first, second) = self.bytes.as_slices();
        let split = first.len().min(take);
        buf.put_slice(&first[..split]);
        buf.put_slice(&second[..take - split]);
        self.bytes.drain(..take);
        wake(&mut self.writer);
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = CAPACITY - self.bytes.len();
        if room == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let take = room.min(bytes.len());
        self.bytes.extend(&bytes[..take]);
        wake(&mut self.reader);
        Ok(take)
    }

    fn end(&mut self) {
        self.ended = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One end; the other one reads its end when this is dropped.
pub struct End {
    from: Rc<RefCell<Way>>,
    to: Rc<RefCell<Way>>,
}

/// Makes a socket.
pub fn pipe() -> (End, End) {
    let (one, other) = (Rc::<RefCell<Way>>::default(), Rc::<RefCell<Way>>::default());
    (End { from: one.clone(), to: other.clone() }, End { from: other, to: one })
}

impl End {
    /// Gives what breaks the socket, both ways, whoever holds the ends.
    pub fn breaker(&self) -> impl Fn() + use<> {
        let (from, to) = (self.from.clone(), self.to.clone());
        move || {
            for way in [&from, &to] {
                way.borrow_mut().bytes.clear();
                way.borrow_mut().end();
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.from.borrow_mut().end();
        self.to.borrow_mut().end();
    }
}

impl Socket for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.from.borrow_mut().read(cx, buf)
    }

    fn try_write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for chunk in chunks {
            match self.to.borrow_mut().write(chunk) {
                Ok(took) => written += took,
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = self.to.borrow_mut();
        if way.bytes.len() < CAPACITY || way.ended {
            return Poll::Ready(Ok(()));
        }
        way.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn shutdown(&mut self) {
        self.to.borrow_mut().end();
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.from.borrow_mut().read(cx, buf)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.to.borrow_mut();
        match way.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                way.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.borrow_mut().end();
        Poll::Ready(Ok(()))
    }
}
