//! The line between a device and the cluster: connects, breaks, and connects again.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use actix_http::ws::{Codec, Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use rally_proof::history::Entry;
use rally_schema::ServerFrame;
use rally_schema::frame::{Beat, ClientFrame, Hello};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use crate::device::{Phone, Wish};
use crate::node::{SimNode, Visit};
use crate::pipe::{End, pipe};
use crate::world::World;

/// How often a device looks what is due.
const TICK: Duration = Duration::from_millis(500);

/// How long a device waits for any frame before it gives the connection up.
const SILENCE_MS: u64 = 15_000;

/// How often it asks for the time, so that there is something to hear.
const BEAT_MS: u64 = 5_000;

/// A device with its line.
pub struct Line {
    /// The device.
    pub phone: RefCell<Phone>,
    /// Whether it has a network.
    online: Cell<bool>,
    news: Notify,
}

/// What a line needs to work.
pub struct Surroundings {
    /// Chance.
    pub world: World,
    /// The cluster.
    pub nodes: Vec<SimNode>,
    /// What happened so far.
    pub entries: RefCell<Vec<Entry>>,
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
    pub fn new(phone: Phone) -> Self {
        Self { phone: RefCell::new(phone), online: Cell::new(true), news: Notify::new() }
    }

    /// Has the user want something.
    pub fn wish(&self, wish: Wish, around: &Surroundings) {
        self.phone.borrow_mut().wish(wish);
        self.note(around);
        self.news.notify_one();
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
        let (device, at_ms) = (phone.device, around.world.now_ms());
        let entry = |event| Entry { at_ms, device, event };
        around.entries.borrow_mut().extend(phone.take_events().into_iter().map(entry));
    }

    /// Connects for ever.
    pub async fn run(self: Rc<Self>, around: Rc<Surroundings>) {
        loop {
            while !self.online.get() {
                self.news.notified().await;
            }
            if let Some(near) = self.dial(&around) {
                self.talk(near, &around).await;
            }
            // Full jitter.
            around.world.delay(50, 2_000).await;
        }
    }

    /// Opens a socket to a node that is up; discovery would know as much.
    fn dial(&self, around: &Surroundings) -> Option<End> {
        let up: Vec<&SimNode> = around.nodes.iter().filter(|node| node.is_up()).collect();
        if up.is_empty() {
            return None;
        }
        let node = around.world.pick(&up);
        let (near, socket) = pipe();
        let mut phone = self.phone.borrow_mut();
        phone.connected();
        let (user, client, cursor) = (phone.device.user, phone.client, phone.cursor.clone());
        let hello = Hello { ticket: String::new(), client, cursor };
        around.trace(&phone.device, || format!("connects to {}", node.name));
        node.visit(Visit { socket, user, hello }).then_some(near)
    }

    async fn talk(&self, near: End, around: &Surroundings) {
        let device = self.phone.borrow().device;
        let mut wire = Framed::new(near, Codec::new().max_size(1 << 20).client_mode());
        let (mut heard_ms, mut beat_ms) = (around.world.now_ms(), 0);
        while self.online.get() {
            self.phone.borrow_mut().work();
            self.note(around);
            let now_ms = around.world.now_ms();
            if now_ms > heard_ms + SILENCE_MS {
                return;
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
                    return;
                }
            }
            let frame = tokio::select! {
                biased;
                frame = wire.next() => frame,
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
                    self.phone.borrow_mut().hear(frame);
                    self.note(around);
                    if over {
                        return;
                    }
                }
                Some(Ok(Frame::Ping(bytes))) => drop(wire.send(Message::Pong(bytes)).await),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}
