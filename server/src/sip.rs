//! A socket that HTTP reads in sips.
//!
//! actix decodes whatever it has read, before it answers any of it: a client that sends a hundred
//! kilobytes of short requests at once would have thousands of them parsed in one turn, and every
//! session of the thread waits for that turn. So little is handed on at a time; and while requests
//! are being answered, no more than a body may take, until the client waits for them. Knows nothing
//! of HTTP.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes handed on in one turn.
const SIP: usize = 8 * 1024;

/// Bytes handed on while requests are being answered, since all that had come was read: twice the
/// longest body.
const MEANWHILE: usize = 32 * 1024;

/// A socket, and what it may hand on.
pub struct Sipped {
    socket: TcpStream,
    pace: Pace,
    /// A whole sip was handed on in this turn.
    sipped: bool,
}

/// What a connection is about, shared with those who answer its requests.
#[derive(Clone, Default)]
pub struct Pace(Rc<State>);

#[derive(Default)]
struct State {
    answering: Cell<usize>,
    meanwhile: Cell<usize>,
    reader: RefCell<Option<Waker>>,
}

/// A request is being answered until this is dropped.
pub struct Answering(Pace);

impl Pace {
    /// Notes that a request is being answered.
    pub fn answering(&self) -> Answering {
        self.0.answering.set(self.0.answering.get() + 1);
        Answering(self.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let state = &self.0.0;
        state.answering.set(state.answering.get() - 1);
        if let Some(reader) = state.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

impl Sipped {
    /// Takes over a socket.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, pace: Pace::default(), sipped: false }
    }

    /// Gives what is to be told of its requests.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Gives the socket back.
    pub fn into_inner(self) -> TcpStream {
        self.socket
    }
}

impl AsyncRead for Sipped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.sipped) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let state = self.pace.0.clone();
        let busy = state.answering.get() > 0;
        if busy && state.meanwhile.get() >= MEANWHILE {
            *state.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let sip = SIP.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(sip));
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        self.sipped = read == SIP;
        match polled {
            Poll::Pending => state.meanwhile.set(0),
            Poll::Ready(_) if busy => state.meanwhile.set(state.meanwhile.get() + read),
            Poll::Ready(_) => {}
        }
        polled
    }
}

impl AsyncWrite for Sipped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::{ArcWake, waker};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(wakes: &Arc<Self>) {
            wakes.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    async fn pair() -> (TcpStream, Sipped) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (client, Sipped::new(server))
    }

    /// Polls as a dispatcher does, until nothing more is handed on; gives the bytes.
    fn turn(sipped: &mut Sipped, wakes: &Arc<Wakes>) -> usize {
        let waker = waker(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let mut bytes = vec![0; 128 * 1024];
        let mut buf = ReadBuf::new(&mut bytes);
        while Pin::new(&mut *sipped).poll_read(&mut cx, &mut buf).is_ready() {}
        buf.filled().len()
    }

    #[tokio::test]
    async fn a_turn_hands_on_one_sip_and_while_answering_no_more_than_a_body_takes() {
        let (mut client, mut sipped) = pair().await;
        let wakes = Arc::new(Wakes::default());
        client.write_all(&[b'x'; 3 * SIP]).await.unwrap();
        sipped.socket.readable().await.unwrap();
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        assert_eq!(wakes.0.load(Ordering::Acquire), 1, "the next turn is asked for");
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        let answering = sipped.pace().answering();
        client.write_all(&vec![b'x'; 2 * MEANWHILE]).await.unwrap();
        sipped.socket.readable().await.unwrap();
        let second = sipped.pace().answering();
        let handed_on: usize = (0..100).map(|_| turn(&mut sipped, &wakes)).sum();
        assert_eq!(handed_on, MEANWHILE);
        drop(second);
        assert_eq!(turn(&mut sipped, &wakes), 0, "the first one is still being answered");
        let before = wakes.0.load(Ordering::Acquire);
        drop(answering);
        assert_eq!(wakes.0.load(Ordering::Acquire), before + 1, "whoever waits reads on");
        assert_eq!(turn(&mut sipped, &wakes), SIP);
    }
}
