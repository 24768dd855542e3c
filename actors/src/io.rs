//! One session's end of the wire: its socket, and what waits to be written.
//!
//! Shared, on one thread, by the session actor, the catch-up that writes for it,
//! and the sweeper that pings it. What waits is bounded: pushes are refused when
//! the budget is spent ([`Io::push`]), and reading pauses while half of it is
//! ([`Io::is_congested`]), so that answers cannot pile up either.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use rally_cluster::planted::{self, Fault};
use tokio::io::ReadBuf;

use crate::socket::Socket;
use crate::wire;

/// Most bytes handed to one write: a longer one would only wait in the kernel, where it is
/// neither counted nor dropped.
const WRITE_BYTES: usize = 16 * 1024;

/// Most pieces handed to one write.
const WRITE_PIECES: usize = 16;

/// Why reading is paused; several causes may hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Pause {
    /// The peer sends frames faster than it may.
    Rate = 1,
    /// A conversation has as many sends waiting as it may.
    Lane = 2,
    /// As many questions are being answered as may be at once.
    Queries = 4,
    /// It is not known yet whether the peer's log-in holds.
    LogIn = 8,
}

/// A peer that is not listened to, or was not a moment ago.
#[derive(Debug, Clone, Copy)]
pub struct Unheard {
    /// Whose: as [`Io::note_in`] was told.
    pub key: u32,
    /// [`Io::drained`] when he was last looked at.
    pub drained: u32,
    /// When he is to hear a beat, once whoever looks has said so.
    pub beat_at_ms: Option<u64>,
}

/// Those of one thread: each is added by his [`Io`], and taken out by whoever looks after them once
/// [`Io::hears`] says so.
pub type AllUnheard = Rc<RefCell<Vec<Unheard>>>;

#[derive(Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

/// The socket and its outgoing queue.
pub struct Io {
    socket: RefCell<Option<Box<dyn Socket>>>,
    out: RefCell<Outgoing>,
    budget: usize,
    /// Whoever is to run when something was queued, or room was made.
    writer: RefCell<Option<Waker>>,
    waiter: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    pauses: Cell<u8>,
    finishing: Cell<bool>,
    /// When the peer was last heard, in monotonic milliseconds.
    pub heard_ms: Cell<u64>,
    /// The most bytes that ever waited right after a push joined others.
    most_pushed: Cell<usize>,
    /// Whether the kernel took no more at the last write.
    blocked: Cell<bool>,
    /// How often the kernel took more after it had been full.
    drained: Cell<u32>,
    /// Whether it is among those that are not listened to.
    is_noted: Cell<bool>,
    /// Where those are, and its key there.
    unheard: OnceCell<(AllUnheard, u32)>,
}

impl Io {
    /// Owns a socket; at most `budget` bytes of pushes wait.
    pub fn new(socket: Box<dyn Socket>, budget: usize, now_ms: u64) -> Self {
        Self {
            socket: RefCell::new(Some(socket)),
            out: RefCell::default(),
            budget,
            writer: RefCell::default(),
            waiter: RefCell::default(),
            reader: RefCell::default(),
            pauses: Cell::new(0),
            finishing: Cell::new(false),
            heard_ms: Cell::new(now_ms),
            most_pushed: Cell::new(0),
            blocked: Cell::new(false),
            drained: Cell::new(0),
            is_noted: Cell::new(false),
            unheard: OnceCell::new(),
        }
    }

    /// From now on, adds itself to `unheard` under `key` when the peer is not listened to.
    pub fn note_in(&self, unheard: AllUnheard, key: u32) {
        let _ = self.unheard.set((unheard, key));
    }

    /// Tells whether the peer is listened to; if so, whoever asks is to take him out of the unheard.
    pub fn hears(&self) -> bool {
        let hears = !self.is_paused() && !self.is_congested();
        if hears {
            self.is_noted.set(false);
        }
        hears
    }

    fn note_unheard(&self) {
        if let Some((unheard, key)) = self.unheard.get()
            && !self.is_noted.replace(true)
        {
            let drained = self.drained.get();
            unheard.borrow_mut().push(Unheard { key: *key, drained, beat_at_ms: None });
        }
    }

    /// Gives how often the kernel took more after it had been full: each time the peer had taken
    /// something of what it was full of.
    pub fn drained(&self) -> u32 {
        self.drained.get()
    }

    /// Gives the bytes that wait.
    pub fn waiting(&self) -> usize {
        self.out.borrow().bytes
    }

    /// Gives the most bytes that waited when a push joined others: never above the budget.
    pub fn most_pushed(&self) -> usize {
        self.most_pushed.get()
    }

    /// Tells whether so much waits that nothing more should be asked for.
    pub fn is_congested(&self) -> bool {
        self.waiting() > self.budget / 2
    }

    /// Queues bytes that must not be dropped: an answer, or a part of a catch-up that waited. After
    /// the goodbye nothing is: what was asked before it may still be answered, and is not sent.
    pub fn answer(&self, bytes: Bytes) {
        if self.finishing.get() {
            return;
        }
        let mut out = self.out.borrow_mut();
        out.bytes += bytes.len();
        out.pieces.push_back(bytes);
        drop(out);
        wake(&self.writer);
    }

    /// Queues a push, or gives it back by `false` when the budget is spent.
    pub fn push(&self, bytes: Bytes) -> bool {
        // An empty queue takes a push of any size, or a long message could never be pushed.
        let fits = self.waiting() == 0
            || self.waiting() + bytes.len() <= self.budget
            || planted::on(Fault::BudgetEndless);
        if fits {
            // What an empty queue takes is one push of any size: no measure of the budget.
            if self.waiting() > 0 {
                self.most_pushed.set(self.most_pushed.get().max(self.waiting() + bytes.len()));
            }
            self.answer(bytes);
        }
        fits
    }

    /// Writes what the kernel takes. Ready when the socket is gone or broken; pending otherwise,
    /// with the caller registered both for room and for new bytes.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        store(&self.writer, cx);
        loop {
            if self.out.borrow().pieces.is_empty() {
                if self.finishing.get()
                    && let Some(socket) = self.socket.borrow_mut().as_mut()
                {
                    socket.shutdown();
                }
                return Poll::Pending;
            }
            let socket = self.socket.borrow();
            let Some(socket) = socket.as_ref() else { return Poll::Ready(Ok(())) };
            if self.blocked.get() {
                match socket.poll_writable(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {
                        self.blocked.set(false);
                        self.drained.set(self.drained.get().wrapping_add(1));
                    }
                }
            }
            match self.write_once(socket.as_ref()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked.set(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn write_once(&self, socket: &dyn Socket) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES];
        let mut count = 0;
        let mut room = WRITE_BYTES;
        for piece in out.pieces.iter().take(WRITE_PIECES) {
            let part = &piece[..piece.len().min(room)];
            slices[count] = IoSlice::new(part);
            count += 1;
            room -= part.len();
            if room == 0 {
                break;
            }
        }
        let mut written = socket.try_write(&slices[..count])?;
        out.bytes -= written;
        while written > 0 {
            let first = out.pieces.front_mut().expect("no more was written than waited");
            let part = first.len().min(written);
            first.advance(part);
            written -= part;
            if first.is_empty() {
                out.pieces.pop_front();
            }
        }
        if out.pieces.is_empty() {
            out.pieces = VecDeque::new();
        }
        drop(out);
        if !self.is_congested() {
            wake(&self.waiter);
            wake(&self.reader);
        }
        Ok(())
    }

    /// Waits until at most half of the budget waits; at once when the socket is gone.
    pub fn poll_uncongested(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_congested() && self.socket.borrow().is_some() {
            store(&self.waiter, cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reads what arrived. Pending also while reading is paused or too much waits to be written.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.finishing.get() && (self.is_paused() || self.is_congested()) {
            store(&self.reader, cx);
            self.note_unheard();
            return Poll::Pending;
        }
        match self.socket.borrow_mut().as_mut() {
            Some(socket) => socket.poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Stops or resumes reading for one cause: what the peer sends meanwhile waits in its kernel.
    pub fn pause(&self, cause: Pause, on: bool) {
        let bit = cause as u8;
        let before = self.pauses.get();
        self.pauses.set(if on { before | bit } else { before & !bit });
        if before != 0 && self.pauses.get() == 0 {
            wake(&self.reader);
        }
    }

    /// Tells whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.pauses.get() != 0
    }

    /// Queues nothing more from now on: once all is written the peer sees the end.
    pub fn finish(&self) {
        self.finishing.set(true);
        self.pauses.set(0);
        wake(&self.writer);
        wake(&self.reader);
    }

    /// Tells whether [`Io::finish`] was called.
    pub fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    /// Writes the rest and reads on, to no purpose but that the peer's kernel, which would throw
    /// away a goodbye together with a connection that was reset, delivers it. Ready at its end.
    pub fn poll_finished(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_flush(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 2_048];
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut scratch);
            match self.poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends a ping at once; not while bytes wait, since then the peer does not read anyway.
    ///
    /// An error is a broken socket, of which nobody else is told while reading is paused.
    pub fn ping(&self) -> io::Result<()> {
        if self.finishing.get() || !self.out.borrow().pieces.is_empty() {
            return Ok(());
        }
        let Some(socket) = &*self.socket.borrow() else { return Ok(()) };
        match socket.try_write(&[IoSlice::new(wire::PING)]) {
            Ok(1) => self.answer(Bytes::from_static(&wire::PING[1..])),
            Ok(_) => {}
            // A kernel that takes no two bytes shows itself by silence.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes what is possible now and drops the socket.
    pub fn close(&self) {
        if let Some(socket) = self.socket.borrow().as_ref() {
            while !self.out.borrow().pieces.is_empty() && self.write_once(socket.as_ref()).is_ok() {
            }
        }
        self.socket.borrow_mut().take();
        *self.out.borrow_mut() = Outgoing::default();
        wake(&self.waiter);
        wake(&self.reader);
        wake(&self.writer);
    }
}

/// Tells whether the socket is as whole as before.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn store(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut slot = slot.borrow_mut();
    match &mut *slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    if let Some(waker) = slot.borrow_mut().take() {
        waker.wake();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::rc::Rc;
    use std::task::Context;

    /// A socket whose kernel takes a stated number of bytes.
    #[derive(Clone, Default)]
    pub(crate) struct Fake(Rc<(Cell<usize>, RefCell<Vec<u8>>)>);

    impl Fake {
        fn with_room(bytes: usize) -> Self {
            let fake = Self::default();
            fake.0.0.set(bytes);
            fake
        }
    }

    impl Socket for Fake {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn try_write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
            let room = self.0.0.get();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let all: Vec<u8> = chunks.iter().flat_map(|c| c.iter().copied()).take(room).collect();
            self.0.0.set(room - all.len());
            self.0.1.borrow_mut().extend(&all);
            Ok(all.len())
        }

        fn shutdown(&mut self) {}

        fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.0.get() > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    fn flush(io: &Io) {
        let waker = futures_util::task::noop_waker();
        assert!(io.poll_flush(&mut Context::from_waker(&waker)).is_pending());
    }

    fn read(io: &Io) {
        let mut bytes = [0; 8];
        let mut cx = Context::from_waker(Waker::noop());
        assert!(io.poll_read(&mut cx, &mut ReadBuf::new(&mut bytes)).is_pending());
    }

    #[test]
    fn pieces_are_written_in_order_across_short_writes() {
        let fake = Fake::with_room(3);
        let io = Io::new(Box::new(fake.clone()), 100, 0);
        io.answer(Bytes::from_static(b"one"));
        io.answer(Bytes::from_static(b"two"));
        flush(&io);
        assert_eq!(io.waiting(), 3);
        fake.0.0.set(100);
        flush(&io);
        assert_eq!((&fake.0.1.borrow()[..], io.waiting()), (&b"onetwo"[..], 0));
    }

    #[test]
    fn pushes_beyond_the_budget_are_refused_and_answers_are_not() {
        let io = Io::new(Box::new(Fake::with_room(0)), 10, 0);
        assert!(io.push(Bytes::from_static(b"longer than the budget")));
        assert!(!io.push(Bytes::from_static(b"x")));
        assert!(io.is_congested());
        io.answer(Bytes::from_static(b"x"));
        assert_eq!(io.waiting(), 23);
    }

    #[test]
    fn nothing_is_written_behind_the_goodbye() {
        let fake = Fake::with_room(0);
        let io = Io::new(Box::new(fake.clone()), 10, 0);
        io.answer(Bytes::from_static(b"bye"));
        io.finish();
        io.answer(Bytes::from_static(b"a message of a catch-up"));
        assert!(io.push(Bytes::from_static(b"x")), "nobody lags who has left");
        fake.0.0.set(100);
        flush(&io);
        io.ping().unwrap();
        assert_eq!(&fake.0.1.borrow()[..], b"bye");
    }

    #[test]
    fn it_is_told_when_a_kernel_that_was_full_takes_more_and_not_while_it_is() {
        let fake = Fake::with_room(3);
        let io = Io::new(Box::new(fake.clone()), 100, 0);
        io.answer(Bytes::from_static(b"onetwo"));
        flush(&io);
        flush(&io);
        assert_eq!((io.waiting(), io.drained()), (3, 0), "nobody has read");
        fake.0.0.set(100);
        flush(&io);
        assert_eq!((io.waiting(), io.drained()), (0, 1));
    }

    #[test]
    fn who_is_turned_away_is_noted_once_until_he_is_listened_to() {
        let unheard = AllUnheard::default();
        let io = Io::new(Box::new(Fake::with_room(0)), 10, 0);
        io.note_in(unheard.clone(), 7);
        let noted = || Vec::from_iter(unheard.borrow().iter().map(|one| one.key));
        read(&io);
        assert_eq!((io.hears(), noted()), (true, vec![]));
        io.pause(Pause::Rate, true);
        read(&io);
        io.pause(Pause::Lane, true);
        io.pause(Pause::Rate, false);
        read(&io);
        assert_eq!((io.hears(), noted()), (false, vec![7]));
        io.pause(Pause::Lane, false);
        assert!(io.hears());
        unheard.borrow_mut().clear();
        io.push(Bytes::from_static(b"more than half"));
        read(&io);
        assert_eq!((io.hears(), noted()), (false, vec![7]), "he has much to read");
    }

    #[test]
    fn a_ping_goes_out_only_when_nothing_waits() {
        let fake = Fake::with_room(100);
        let io = Io::new(Box::new(fake.clone()), 10, 0);
        io.ping().unwrap();
        assert_eq!(&fake.0.1.borrow()[..], wire::PING);
        io.answer(Bytes::from_static(b"x"));
        io.ping().unwrap();
        assert_eq!(fake.0.1.borrow().len(), 2);
    }
}
