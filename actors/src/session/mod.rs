//! One actor per connected client.
//!
//! It owns the client's socket (by [`Io`]), decodes frames, and writes what the router
//! hands it. What it stores goes through the committer; what it reads it reads from the
//! store. `sending.rs` (with `batch.rs`), `marking.rs`, `asking.rs`, `watching.rs` and `catching_up.rs`
//! beside this file hold what each kind of frame means; `log_in.rs`, whether any may come.
//!
//! Mailbox: bounded (1,024 pushes by default). When it is full, or the outgoing budget is spent, pushes are dropped
//! and the session is in *doubt*: from then until `synced` it is pushed nothing, writes no
//! marks, and reads from the store what it may have missed. A reader that does not drain
//! is *lagging*: it catches up when it has drained. Knows nothing of HTTP or other nodes.

mod asking;
mod batch;
mod catch_up;
mod catching_up;
mod log_in;
mod marking;
mod peers;
pub mod reader;
mod reading;
mod rows;
mod sending;
mod typing;
mod watching;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    StreamHandler, WrapFuture as _,
};
use rally_cluster::roles::Role;
use rally_schema::frame::{
    BeatReply, Bye, ByeReason, ClientFrame, ErrorFrame, ServerFrame, Welcome, ref_of,
};
use rally_schema::limits::{TEXT_BYTES, WATCHES_PER_SESSION};
use rally_schema::{ClientId, ErrorCode, UserId};
use tracing::debug;

use crate::greet::Guest;
use crate::io::{Io, Pause};
use crate::metrics::count;
use crate::node::Worker;
use crate::path;
use crate::push::{Push, Weight};
use crate::rate::Taken;
use crate::router::{Attach, Detach, Signals};
use crate::routers::Handle;
use crate::socket::Socket;
use crate::wire::{self, Incoming, WireError};
use catching_up::Catching;
use log_in::LogIn;
use reader::Reader;
pub use reading::Readings;
pub use rows::Rows;

/// How long an ended session waits for its peer to read the goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long a session that begins waits for the user's home elsewhere to count this node in.
const COUNTED_IN: Duration = Duration::from_secs(2);

/// Ends the session with a `bye`.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct End {
    /// What the client is told.
    pub reason: ByeReason,
    /// When it may come back, if at all.
    pub after_ms: Option<u64>,
}

/// Has the session look at its signals.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Look;

/// Has the session catch up although nothing is in doubt: now and then is enough.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SyncNow;

/// The actor of one client's connection.
pub struct Session {
    number: u64,
    user: UserId,
    client: ClientId,
    log_in: LogIn,
    worker: Rc<Worker>,
    io: Rc<Io>,
    router: Handle,
    signals: Arc<Signals>,
    sweep_key: u32,
    frames: Taken,
    catching: Catching,
    lanes: sending::Lanes,
    peers: peers::Peers,
    marks: marking::Pending,
    questions: asking::Questions,
    watches: watching::Watches,
    typing: typing::Typing,
    ended: bool,
}

impl Session {
    /// Opens a session for a guest on the current thread, which must be the user's worker.
    pub fn open(worker: Rc<Worker>, socket: Box<dyn Socket>, guest: Guest) {
        let Guest { admitted, hello, decoder } = guest;
        let user = admitted.user;
        let node = &worker.node;
        let now_ms = node.clock.monotonic_ms();
        let io = Rc::new(Io::new(socket, node.settings.out_budget_bytes, now_ms));
        let reader = Reader::new(io.clone(), decoder);
        let session = Self {
            number: node.next_session(),
            user,
            client: hello.client,
            log_in: LogIn::of(&admitted),
            router: node.routers.join(user, node),
            signals: Arc::default(),
            sweep_key: u32::MAX,
            frames: Taken::default(),
            catching: Catching::from_hello(hello.cursor.as_deref()),
            lanes: sending::Lanes::default(),
            peers: peers::Peers::default(),
            marks: marking::Pending::default(),
            questions: asking::Questions::default(),
            watches: watching::Watches::default(),
            typing: typing::Typing::default(),
            ended: false,
            io,
            worker,
        };
        Self::create(|ctx| {
            Self::add_stream(reader, ctx);
            session
        });
    }

    fn now_us(&self) -> u64 {
        self.worker.node.clock.monotonic_us()
    }

    /// Queues a frame that answers something.
    fn answer(&self, frame: impl Into<ServerFrame>) {
        self.io.answer(wire::text(frame.into().encode()));
    }

    /// Queues an error and counts it.
    fn refuse(&self, error: ErrorFrame) {
        count(&self.worker.node.metrics.errors, error.code.name());
        self.answer(error);
    }

    /// Says goodbye, and reads on for a moment so that the goodbye arrives.
    fn end(&mut self, end: End, code: u16, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        self.ended = true;
        count(&self.worker.node.metrics.ended, end_name(end.reason));
        self.answer(Bye { reason: end.reason, reconnect_after_ms: end.after_ms });
        self.close(Some(code), ctx);
    }

    fn close(&mut self, code: Option<u16>, ctx: &mut Context<Self>) {
        self.ended = true;
        self.io.answer(wire::close(code));
        self.io.finish();
        ctx.run_later(GOODBYE, |_, ctx| ctx.stop());
    }

    /// Joins the router, which makes it the client's only session, then catches up.
    fn attach(&mut self, ctx: &mut Context<Self>) {
        let attach = Attach {
            number: self.number,
            client: self.client,
            session: ctx.address(),
            signals: self.signals.clone(),
        };
        let sent = self.router.addr.send(attach).into_actor(self);
        ctx.spawn(sent.map(|sent, session, ctx| match sent {
            Ok(Ok(None)) => session.begin_catch_up(ctx),
            // Should the answer come later, it is doubt, and the session catches up once more.
            Ok(Ok(Some(counted_in))) => {
                let waited = tokio::time::timeout(COUNTED_IN, counted_in).into_actor(session);
                ctx.spawn(waited.map(|_, session, ctx| session.begin_catch_up(ctx)));
            }
            Ok(Err(_)) => {
                let limit = rally_schema::limits::SESSIONS_PER_USER;
                let text = format!("you have {limit} open sessions: close one first");
                session.refuse(ErrorFrame::new(ErrorCode::TooManySessions, text));
                session.end(End { reason: ByeReason::Refused, after_ms: None }, 1008, ctx);
            }
            // The router left just now; the next one is found the same way.
            Err(_) => {
                session.router =
                    session.worker.node.routers.join(session.user, &session.worker.node);
                session.attach(ctx);
            }
        }));
    }

    /// Looks at what a full mailbox could not tell.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.signals.replaced.swap(false, Ordering::AcqRel) {
            self.end(End { reason: ByeReason::Replaced, after_ms: None }, 1000, ctx);
        }
        if self.signals.doubt.swap(false, Ordering::AcqRel) {
            self.doubt("doubt", ctx);
        }
    }

    fn receive(&mut self, text: &str, received_us: u64, ctx: &mut Context<Self>) {
        let frame = match ClientFrame::decode(text) {
            Ok(frame) => frame,
            Err(error) => {
                let refused = ErrorFrame::new(error.code(), error.to_string());
                return self.refuse(ErrorFrame { r#ref: ref_of(text), ..refused });
            }
        };
        count(&self.worker.node.metrics.frames, frame.kind());
        if let Some(frame) = self.keep_early(frame, received_us) {
            self.take_frame(frame, received_us, ctx);
        }
    }

    fn take_frame(&mut self, frame: ClientFrame, received_us: u64, ctx: &mut Context<Self>) {
        match frame {
            ClientFrame::Hello(_) => {
                let text = "this session is open: hello comes once";
                self.refuse(ErrorFrame::new(ErrorCode::HelloExpected, text));
            }
            ClientFrame::Send(send) => self.take_send(send, received_us, ctx),
            ClientFrame::Edit(edit) => self.take_edit(edit, received_us, ctx),
            ClientFrame::Delete(delete) => self.take_delete(delete, received_us, ctx),
            ClientFrame::Forget(forget) => self.forget(&forget, received_us, ctx),
            ClientFrame::Delivered(mark) => self.take_mark(mark.0, false, ctx),
            ClientFrame::Read(mark) => self.take_mark(mark.0, true, ctx),
            ClientFrame::Typing(typing) => self.take_typing(typing.conversation, ctx),
            ClientFrame::Watch(watch) => self.watch(watch.user, ctx),
            ClientFrame::Unwatch(watch) => self.unwatch(watch.0.user),
            ClientFrame::Inbox(query) => self.ask_inbox(query, ctx),
            ClientFrame::History(query) => self.ask_history(query, ctx),
            ClientFrame::Sync(sync) => self.take_sync(sync.cursor.as_deref(), ctx),
            ClientFrame::Beat(_) => {
                let now = self.worker.node.clock.now_ms();
                self.answer(BeatReply { now, unasked: false });
            }
        }
    }

    /// Counts as so many frames of the client's.
    fn charge(&mut self, frames: u64, ctx: &mut Context<Self>) {
        if let Err(wait_ms) = self.frames.charge(self.worker.node.frames, frames, self.now_us()) {
            self.pause_for(wait_ms, ctx);
        }
    }

    /// Stops reading until the client's rate allows it again.
    fn pause_for(&mut self, wait_ms: u64, ctx: &mut Context<Self>) {
        count(&self.worker.node.metrics.paused, "rate");
        self.io.pause(Pause::Rate, true);
        ctx.run_later(Duration::from_millis(wait_ms), |session, _| {
            session.io.pause(Pause::Rate, false);
        });
    }
}

fn end_name(reason: ByeReason) -> &'static str {
    match reason {
        ByeReason::Replaced => "replaced",
        ByeReason::Draining => "draining",
        ByeReason::Silent => "silent",
        ByeReason::Protocol => "protocol",
        ByeReason::Refused => "refused",
        ByeReason::LoggedOut => "logged_out",
    }
}

/// Writes what waits, once a poll of the actor: everything that one turn queued is one write.
struct Flusher;

impl ActorFuture<Session> for Flusher {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if session.io.poll_flush(cx).is_ready() {
            ctx.stop();
            return Poll::Ready(());
        }
        session.flushed(ctx);
        session.refresh_watches(ctx);
        Poll::Pending
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let node = self.worker.node.clone();
        ctx.set_mailbox_capacity(node.settings.session_mailbox);
        node.metrics.sessions.inc();
        let (io, addr) = (self.io.clone(), ctx.address());
        self.sweep_key = self.worker.sweep.join(&node, self.number, io, addr);
        self.answer(Welcome {
            user: self.user,
            node: node.life.node,
            store: node.store.id(),
            now: node.clock.now_ms(),
            addresses: node.addresses_of(Role::Discovery),
            text_bytes: TEXT_BYTES as u32,
            watches: WATCHES_PER_SESSION as u32,
        });
        self.attach(ctx);
        ctx.spawn(Flusher);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let node = self.worker.node.clone();
        node.metrics.sessions.dec();
        self.worker.sweep.leave(self.sweep_key);
        self.leave_marks();
        self.stop_lagging();
        self.io.close();
        let silent_ms = node.clock.monotonic_ms().saturating_sub(self.io.heard_ms.get());
        let last_seen = node.clock.now_ms().saturating_sub(silent_ms);
        let (router, detach) =
            (self.router.addr.clone(), Detach { number: self.number, last_seen });
        actix::spawn(async move {
            let _ = router.send(detach).await;
        });
        self.leave_watches();
        debug!(user = %self.user, client = %self.client, "session closed");
    }
}

impl StreamHandler<Result<Incoming, WireError>> for Session {
    fn handle(&mut self, incoming: Result<Incoming, WireError>, ctx: &mut Self::Context) {
        if self.ended {
            return;
        }
        let received_us = self.now_us();
        self.io.heard_ms.set(received_us / 1_000);
        // Whatever it is: a flood of pings has to be held back as one of frames has.
        self.charge(1, ctx);
        match incoming {
            Ok(Incoming::Text(text)) => self.receive(&text, received_us, ctx),
            Ok(Incoming::Binary(_)) => {
                let text = "a binary message: this protocol is text";
                self.refuse(ErrorFrame::new(ErrorCode::BinaryFrame, text));
            }
            Ok(Incoming::Ping(bytes)) => self.io.answer(wire::pong(bytes)),
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Close(code)) => {
                count(&self.worker.node.metrics.ended, "closed");
                self.close(code, ctx);
            }
            Err(error) => {
                debug!(user = %self.user, %error, "bytes that are no WebSocket messages");
                let end = End { reason: ByeReason::Protocol, after_ms: None };
                self.end(end, error.close_code(), ctx);
            }
        }
        self.look(ctx);
    }
}

impl Handler<Push> for Session {
    type Result = ();

    fn handle(&mut self, push: Push, ctx: &mut Self::Context) {
        if !self.ended {
            let _span = path::deliver(&push.span).entered();
            debug!(user = %self.user, bytes = push.bytes.len(), "push taken");
            match push.weight {
                Weight::Stored => {
                    self.take_push(push, ctx);
                    self.doubt_strangers(ctx);
                }
                Weight::Passing if self.io.is_congested() || !self.log_in.is_confirmed() => {
                    self.watches.stale = true;
                    count(&self.worker.node.metrics.pushes_refused, "passing");
                }
                Weight::Passing => self.io.answer(push.bytes),
            }
        }
        self.look(ctx);
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        let code = match end.reason {
            ByeReason::Replaced | ByeReason::LoggedOut => 1000,
            ByeReason::Draining | ByeReason::Silent => 1001,
            ByeReason::Protocol => 1002,
            ByeReason::Refused => 1008,
        };
        self.end(end, code, ctx);
    }
}

impl Handler<Look> for Session {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<SyncNow> for Session {
    type Result = ();

    fn handle(&mut self, _: SyncNow, ctx: &mut Self::Context) {
        self.doubt("periodic", ctx);
    }
}
