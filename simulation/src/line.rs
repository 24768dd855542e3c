//! The line between a device and the cluster: connects, breaks, and connects again.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use actix_http::ws::{Codec, Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use rally_cluster::store::Model;
use rally_proof::Span;
use rally_proof::history::Entry;
use rally_schema::frame::{Beat, Bye, ByeReason, ClientFrame};
use rally_schema::{NodeId, ServerFrame, UserId};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use crate::broker::Exchange;
use crate::faults::Cuts;
use crate::log_outs;
use crate::node::{SimNode, Visit};
use crate::pipe::{End, pipe};
use crate::world::World;
use rally_proof::phone::{Phone, Wish};

/// How often a device looks what is due.
const TICK: Duration = Duration::from_millis(500);

/// How long a device waits for any frame before it gives the connection up.
const SILENCE_MS: u64 = 15_000;

/// How often it asks for the time, so that there is something to hear.
const BEAT_MS: u64 = 5_000;

/// A device with its line.
pub struct Line {
    /// The device.
    pub phone: RefCell<Phone<World>>,
    /// Whether it has a network.
    online: Cell<bool>,
    /// Where it connected last.
    at: Cell<Option<NodeId>>,
    /// The epoch of its log-in, whether a session is open by it, and whether it is over.
    epoch: Cell<u64>,
    open: Cell<bool>,
    logged_out: Cell<bool>,
    /// Whether it goes without closing its socket, and the sockets that it left so.
    rude: Cell<bool>,
    left: RefCell<Vec<End>>,
    news: Notify,
}

/// What a line needs to work.
pub struct Surroundings {
    /// Chance.
    pub world: World,
    /// What is stored.
    pub model: Model,
    /// The cluster.
    pub nodes: Vec<SimNode>,
    /// Its broker.
    pub exchange: Exchange,
    /// What happened so far.
    pub entries: RefCell<Vec<Entry>>,
    /// When some node stood still.
    pub stalls: RefCell<Vec<Span>>,
    /// When the ways between nodes were bad, though not closed.
    pub cuts: RefCell<Cuts>,
    /// What somebody was shown whose log-in was over when he came.
    pub shown: RefCell<Option<String>>,
    /// Whether users block each other.
    pub grudges: bool,
    /// Blocks that are not over yet.
    pub blocking: RefCell<Vec<JoinHandle<()>>>,
    /// Whether every frame and fault is printed.
    pub trace: bool,
}

impl Surroundings {
    /// Prints what happens to whom, if somebody wants to see it.
    pub fn trace(&self, who: &dyn Display, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {who} {}", self.world.now_ms(), what());
        }
    }
}

impl Line {
    /// Puts a device on a line.
    pub fn new(phone: Phone<World>) -> Self {
        Self {
            phone: RefCell::new(phone),
            online: Cell::new(true),
            at: Cell::new(None),
            epoch: Cell::new(0),
            open: Cell::new(false),
            logged_out: Cell::new(false),
            rude: Cell::new(false),
            left: RefCell::default(),
            news: Notify::new(),
        }
    }

    /// Gives whose it is.
    pub fn user(&self) -> UserId {
        self.phone.borrow().device.user
    }

    /// Tells whether it has a connection to a node.
    pub fn is_at(&self, node: NodeId) -> bool {
        self.open.get() && self.at.get() == Some(node)
    }

    /// Gives the epoch of the log-in by which a session is open, if one is.
    pub fn open_log_in(&self) -> Option<u64> {
        self.open.get().then(|| self.epoch.get())
    }

    /// Has the user want something.
    pub fn wish(&self, wish: Wish, around: &Surroundings) {
        self.phone.borrow_mut().wish(wish);
        self.note(around);
        self.news.notify_one();
    }

    /// Notes that the user is about to block another one, or has stopped.
    pub fn blocks(&self, user: UserId, blocked: bool, around: &Surroundings) {
        self.phone.borrow_mut().blocks(user, blocked);
        self.note(around);
    }

    /// Stops reading the socket, which stays open, or reads again.
    pub fn set_reads(&self, reads: bool, around: &Surroundings) {
        self.phone.borrow_mut().set_reads(reads);
        self.note(around);
        self.news.notify_one();
    }

    /// Takes the network away so that the node does not see it: the socket stays half open.
    pub fn vanish(&self) {
        self.rude.set(true);
        self.set_online(false);
    }

    /// Takes the network away, or gives it back.
    pub fn set_online(&self, online: bool) {
        self.online.set(online);
        self.news.notify_one();
    }

    /// Forgets all that was shown, as a browser whose storage was cleared.
    pub fn forget(&self, around: &Surroundings) {
        self.phone.borrow_mut().forget();
        self.note(around);
        self.set_online(false);
    }

    fn note(&self, around: &Surroundings) {
        let mut phone = self.phone.borrow_mut();
        around.entries.borrow_mut().extend(phone.take_entries(around.world.now_ms()));
    }

    /// Connects for ever.
    pub async fn run(self: Rc<Self>, around: Rc<Surroundings>) {
        loop {
            while !self.online.get() {
                self.news.notified().await;
            }
            if let Some(near) = self.dial(&around) {
                self.open.set(true);
                let talked = self.talk(near, &around).await;
                self.open.set(false);
                if let Some(wire) = talked
                    && self.rude.take()
                {
                    self.left.borrow_mut().push(wire.into_inner());
                }
                self.phone.borrow_mut().disconnected();
                self.note(&around);
            }
            // Full jitter.
            around.world.delay(50, 2_000).await;
            if self.logged_out.take() {
                self.epoch.set(log_outs::epoch(&around, self.user()).await);
            }
        }
    }

    /// Opens a socket to a node that is ready; discovery would know as much.
    fn dial(&self, around: &Surroundings) -> Option<End> {
        let ready: Vec<&SimNode> = around.nodes.iter().filter(|node| node.is_ready()).collect();
        if ready.is_empty() {
            return None;
        }
        let node = around.world.pick(&ready);
        self.at.set(Some(node.name));
        let (near, socket) = pipe();
        let mut phone = self.phone.borrow_mut();
        let user = phone.device.user;
        let hello = phone.connects(node.name, String::new());
        around.trace(&phone.device, || format!("connects to {}", node.name));
        let visit = Visit { socket, user, epoch: self.epoch.get(), hello };
        if !node.visit(visit) {
            phone.disconnected();
            return None;
        }
        Some(near)
    }

    /// Talks until the connection is over; gives it back when the device went by itself.
    async fn talk(&self, near: End, around: &Surroundings) -> Option<Framed<End, Codec>> {
        let device = self.phone.borrow().device;
        let mut wire = Framed::new(near, Codec::new().max_size(1 << 20).client_mode());
        let (mut heard_ms, mut beat_ms) = (around.world.now_ms(), 0);
        let is_late = self.epoch.get() < log_outs::epoch(around, device.user).await;
        while self.online.get() {
            self.phone.borrow_mut().work();
            self.note(around);
            let now_ms = around.world.now_ms();
            let reads = self.phone.borrow().reads();
            if !reads {
                heard_ms = now_ms;
            } else if now_ms > heard_ms + SILENCE_MS || self.phone.borrow().is_unanswered() {
                return None;
            }
            let mut out = self.phone.borrow_mut().take_out();
            if now_ms >= beat_ms + BEAT_MS {
                beat_ms = now_ms;
                out.push(ClientFrame::from(Beat {}));
            }
            for frame in out {
                around.trace(&device, || format!("-> {}", frame.encode()));
                let sent = wire.send(Message::Text(frame.encode().into()));
                if !matches!(timeout(TICK, sent).await, Ok(Ok(()))) {
                    return None;
                }
            }
            let frame = tokio::select! {
                biased;
                frame = wire.next(), if reads => frame,
                () = self.news.notified() => continue,
                () = sleep(TICK) => continue,
            };
            heard_ms = around.world.now_ms();
            match frame {
                Some(Ok(Frame::Text(text))) => {
                    let text = std::str::from_utf8(&text).expect("servers write UTF-8");
                    let frame = ServerFrame::decode(text).expect("servers write frames");
                    let over = matches!(frame, ServerFrame::Bye(_));
                    around.trace(&device, || format!("<- {text}"));
                    match &frame {
                        ServerFrame::Bye(Bye { reason: ByeReason::LoggedOut, .. }) => {
                            self.logged_out.set(true);
                        }
                        ServerFrame::Welcome(_) | ServerFrame::Beat(_) | ServerFrame::Bye(_) => {}
                        _ if is_late => {
                            let shown =
                                format!("{device} was logged out when it came, and shown {text}");
                            around.shown.borrow_mut().get_or_insert(shown);
                        }
                        _ => {}
                    }
                    self.phone.borrow_mut().hear(frame);
                    self.note(around);
                    if over {
                        return None;
                    }
                }
                Some(Ok(Frame::Ping(bytes))) => drop(wire.send(Message::Pong(bytes)).await),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
        Some(wire)
    }
}
