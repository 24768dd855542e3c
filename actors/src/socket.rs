//! What a session needs of a socket, so that a simulation can give it another one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A byte stream owned by one session, on one thread.
pub trait Socket: 'static {
    /// Reads what has arrived; an empty read is the end. Registers for more when there is none.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;

    /// Writes what fits now and says how much; `WouldBlock` when nothing does.
    fn try_write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until a write may succeed again.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the writing side; the peer reads what was written before, then the end.
    fn shutdown(&mut self);
}

impl Socket for TcpStream {
    // Through `AsyncRead`, because that forgets the readiness after a short read: the next poll
    // then costs no system call.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(self), cx, buf)
    }

    fn try_write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match chunks {
            [one] => TcpStream::try_write(self, one),
            many => self.try_write_vectored(many),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    fn shutdown(&mut self) {
        // Immediate for TCP, and a peer that is gone already needs no end.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = AsyncWrite::poll_shutdown(Pin::new(self), &mut cx);
    }
}
