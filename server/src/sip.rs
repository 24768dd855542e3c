//! A socket that HTTP reads in sips, and not while a request is being answered.
//!
//! actix decodes whatever it has read, before it answers any of it: a client that sends a hundred
//! kilobytes of short requests at once would have thousands of them parsed in one turn, and every
//! session of the thread waits for that turn. So little is handed on at a time. And it asks for more
//! until it holds 128 KiB that it cannot decode yet, then again in every turn, which would keep the
//! thread busy for as long as an answer takes. So nothing is handed on until the last answer is
//! written, but for the body that it waits for.
//!
//! actix times the head of the first request and the pause between two, and nothing else: half of a
//! later head, a body that nobody wants and that does not end, an answer that is not taken. So a
//! connection that answers nothing has a deadline here ([`Pace::overdue`]). Knows nothing of HTTP.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_rt::net::TcpStream;
use rally_actors::deadlines;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::Instant;

/// Bytes handed on in one turn: the head of a browser's request, or a score of the shortest ones, each
/// of which takes 3 KiB of memory when it is decoded.
const SIP: usize = 1024;

/// How long it may take from the first byte of a request to the last of its head: a little longer than
/// actix gives the first one, which it answers.
const HEAD: Duration = Duration::from_secs(11);

/// How long nothing may be answered: a little longer than actix keeps a connection that is idle.
const NOTHING: Duration = Duration::from_secs(80);

/// Bytes of an answer that a client takes in a second, or more.
const TAKEN_PER_S: u32 = 4 * 1024;

/// A socket, and when it may hand on.
pub struct Sipped {
    socket: Take<TcpStream>,
    pace: Pace,
    /// A whole sip was handed on in this turn.
    sipped: bool,
}

/// What a connection is about, shared with those who answer its requests.
#[derive(Clone, Default)]
pub struct Pace(Rc<State>);

struct State {
    /// Requests that are being answered: one at a time, but the next may begin before the guard of
    /// the last is gone.
    answering: Cell<usize>,
    /// Answers that are there, and on their way.
    giving: Cell<usize>,
    wants_body: Cell<bool>,
    /// When it is over unless a whole request has come, or more of the answer was taken; of no meaning
    /// while one is sought.
    until: Cell<Instant>,
    reader: RefCell<Option<Waker>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            answering: Cell::default(),
            giving: Cell::default(),
            wants_body: Cell::default(),
            until: Cell::new(Instant::now() + NOTHING),
            reader: RefCell::default(),
        }
    }
}

/// A request is being answered until this is dropped.
pub struct Answering {
    pace: Pace,
    gives: bool,
}

impl Answering {
    /// Notes that the answer is there: from now on it is the client who has to take it.
    pub fn gives(&mut self) {
        let state = &self.pace.0;
        if !std::mem::replace(&mut self.gives, true) {
            state.answering.set(state.answering.get() - 1);
            state.giving.set(state.giving.get() + 1);
            state.until.set(Instant::now() + NOTHING);
        }
    }
}

impl Pace {
    /// Notes that a request is being answered, and that nothing of the next is wanted meanwhile.
    pub fn answering(&self) -> Answering {
        self.0.answering.set(self.0.answering.get() + 1);
        self.0.wants_body.set(false);
        Answering { pace: self.clone(), gives: false }
    }

    /// Notes whether the answer waits for the request's body.
    pub fn wants_body(&self, wants: bool) {
        self.0.wants_body.set(wants);
        if wants {
            self.0.wake();
        }
    }

    /// Waits until the client has taken too long over a request, or over what it was answered.
    pub async fn overdue(&self) {
        let state = &self.0;
        loop {
            let now = Instant::now();
            let is_answering = state.answering.get() > 0;
            if !is_answering && state.until.get() <= now {
                return;
            }
            // Looked at again soon: a deadline may come nearer meanwhile.
            let soon = now + HEAD;
            deadlines::until(if is_answering { soon } else { soon.min(state.until.get()) }).await;
        }
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.answering.get() + self.giving.get() > 0 && !self.wants_body.get()
    }

    /// Notes that something of a request has come.
    fn begin(&self) {
        self.until.set(self.until.get().min(Instant::now() + HEAD));
    }

    /// Notes that so much of an answer was taken.
    fn taken(&self, bytes: usize) {
        let more = Duration::from_secs(1) * bytes as u32 / TAKEN_PER_S;
        self.until.set(self.until.get() + more);
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let state = &self.pace.0;
        let count = if self.gives { &state.giving } else { &state.answering };
        count.set(count.get() - 1);
        state.until.set(Instant::now() + NOTHING);
        if !state.is_closed() {
            state.wake();
        }
    }
}

impl Sipped {
    /// Takes over a socket.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket: socket.take(0), pace: Pace::default(), sipped: false }
    }

    /// Gives what is to be told of its requests.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    fn note_taken(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.pace.0.taken(bytes);
        }
        written
    }

    /// Gives the socket back.
    pub fn into_inner(self) -> TcpStream {
        self.socket.into_inner()
    }

    fn socket(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.socket.get_mut())
    }
}

impl AsyncRead for Sipped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pace.0.is_closed() {
            self.sipped = false;
            *self.pace.0.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if std::mem::take(&mut self.sipped) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        self.socket.set_limit(SIP as u64);
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.pace.0.begin();
        }
        self.sipped = read == SIP;
        polled
    }
}

impl AsyncWrite for Sipped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.socket().poll_write(cx, bytes);
        self.note_taken(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.socket().poll_write_vectored(cx, slices);
        self.note_taken(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
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
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(wakes: &Arc<Self>) {
            wakes.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Acquire)
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

    /// Gives how long `pace` may still say nothing, when nothing more happens.
    async fn left(pace: &Pace) -> u64 {
        let begun = Instant::now();
        pace.overdue().await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_a_request_unfinished_is_overdue_and_one_that_is_answered_is_not()
    {
        let test = async {
            let (mut client, mut sipped) = pair().await;
            let pace = sipped.pace().clone();
            assert_eq!(left(&pace).await, NOTHING.as_secs(), "it says nothing at all");
            let answering = pace.answering();
            let waited = timeout(3 * NOTHING, pace.overdue()).await;
            assert!(waited.is_err(), "an answer may take what it takes: others see to that");
            drop(answering);
            client.write_all(b"GET").await.unwrap();
            sipped.socket.get_ref().readable().await.unwrap();
            turn(&mut sipped, &Arc::default());
            assert_eq!(left(&pace).await, HEAD.as_secs(), "half of a request does not count");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_has_longer_than_who_takes_nothing() {
        let test = async {
            let (_client, sipped) = pair().await;
            let mut answering = sipped.pace().answering();
            answering.gives();
            sipped.pace().0.taken(40 * 1024);
            assert_eq!(left(sipped.pace()).await, NOTHING.as_secs() + 10);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_turn_hands_on_one_sip() {
        let (mut client, mut sipped) = pair().await;
        let wakes = Arc::new(Wakes::default());
        client.write_all(&[b'x'; 3 * SIP]).await.unwrap();
        sipped.socket.get_ref().readable().await.unwrap();
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        assert_eq!(wakes.count(), 1, "the next turn is asked for");
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        assert_eq!(turn(&mut sipped, &wakes), SIP);
    }

    #[tokio::test]
    async fn while_a_request_is_answered_only_its_body_is_handed_on() {
        let (mut client, mut sipped) = pair().await;
        let wakes = Arc::new(Wakes::default());
        client.write_all(&[b'x'; 3 * SIP]).await.unwrap();
        sipped.socket.get_ref().readable().await.unwrap();
        let first = sipped.pace().answering();
        assert_eq!(turn(&mut sipped, &wakes), 0);
        assert_eq!(wakes.count(), 0, "no turn is taken up for nothing");
        sipped.pace().wants_body(true);
        assert_eq!(wakes.count(), 1, "whoever waits reads the body");
        assert_eq!(turn(&mut sipped, &wakes), SIP);
        let next = sipped.pace().answering();
        assert_eq!(turn(&mut sipped, &wakes), 0, "it was the body of the one before");
        let before = wakes.count();
        drop(first);
        assert_eq!(wakes.count(), before, "the next one is still being answered");
        drop(next);
        assert_eq!(wakes.count(), before + 1, "whoever waits reads on");
        assert_eq!(turn(&mut sipped, &wakes), SIP);
    }
}
