//! The line between a device and the cluster: connects, breaks, and connects again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_rt::time::{sleep, timeout};
use anyhow::Result;
use awc::ws::{Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use rally_proof::history::{Device, Entry};
use rally_proof::phone::{Host, Phone, Wish};
use rally_schema::frame::{Beat, ClientFrame};
use rally_schema::{ServerFrame, UserId};
use tokio::sync::Notify;
use uuid::Uuid;

use super::site::{Place, Site, Wire};

/// How often a device looks what is due.
const TICK: Duration = Duration::from_millis(200);

/// How long a device waits for any frame before it gives the connection up.
const SILENCE: Duration = Duration::from_secs(15);

/// How often it asks for the time, so that there is something to hear.
const BEAT: Duration = Duration::from_secs(5);

/// For how long a socket stays open that a device left without a word.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// The longest wait before the first attempt to come back; it doubles with each that fails.
const FIRST_MS: u64 = 500;

/// What devices stand on: the machine's clock, which a device may have set wrong.
pub struct Clock {
    wrong_by_ms: i64,
}

impl Host for Clock {
    fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now.as_millis() as u64).saturating_add_signed(self.wrong_by_ms)
    }

    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// What all lines share.
pub struct Record {
    begun: Instant,
    /// What happened so far.
    pub entries: RefCell<Vec<Entry>>,
}

impl Record {
    /// Begins.
    pub fn new() -> Self {
        Self { begun: Instant::now(), entries: RefCell::default() }
    }

    /// Milliseconds since it began.
    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

/// A device with its line.
pub struct Line {
    /// The device.
    pub phone: RefCell<Phone<Clock>>,
    token: String,
    site: Rc<Site>,
    record: Rc<Record>,
    /// Whether it has a network.
    online: Cell<bool>,
    /// Whether it goes without closing its socket.
    rude: Cell<bool>,
    /// Why it could not connect the last time.
    trouble: RefCell<Option<String>>,
    news: Notify,
}

impl Line {
    /// Puts a device on a line; its clock is wrong by so much.
    pub fn new(
        device: Device,
        wrong_by_ms: i64,
        token: String,
        site: Rc<Site>,
        record: Rc<Record>,
    ) -> Self {
        Self {
            phone: RefCell::new(Phone::new(device, device.number == 0, Clock { wrong_by_ms })),
            token,
            site,
            record,
            online: Cell::new(true),
            rude: Cell::new(false),
            trouble: RefCell::default(),
            news: Notify::new(),
        }
    }

    /// Says what is waited for, for people; `None` while it is connected and nothing is left to do.
    pub fn wants(&self) -> Option<String> {
        let phone = self.phone.borrow();
        let wants = phone.wants()?;
        Some(match &*self.trouble.borrow() {
            Some(trouble) => format!("{} {wants}: {trouble}", phone.device),
            None => format!("{} {wants}", phone.device),
        })
    }

    /// Gives whose it is.
    pub fn user(&self) -> UserId {
        self.phone.borrow().device.user
    }

    /// Has the user want something.
    pub fn wish(&self, wish: Wish) {
        self.phone.borrow_mut().wish(wish);
        self.note();
        self.news.notify_one();
    }

    /// Blocks another user for a while. What the cluster does not answer is asked again.
    pub async fn block(&self, user: UserId, lasts: Duration) {
        self.phone.borrow_mut().blocks(user, true);
        self.note();
        let _ = self.site.block(&self.token, user, true).await;
        sleep(lasts).await;
        while self.site.block(&self.token, user, false).await.is_err() {
            sleep(TICK).await;
        }
        self.phone.borrow_mut().blocks(user, false);
        self.note();
    }

    /// Stops reading the socket, which stays open, or reads again.
    pub fn set_reads(&self, reads: bool) {
        self.phone.borrow_mut().set_reads(reads);
        self.note();
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
    pub fn forget(&self) {
        self.phone.borrow_mut().forget();
        self.note();
        self.set_online(false);
    }

    fn note(&self) {
        let mut phone = self.phone.borrow_mut();
        self.record.entries.borrow_mut().extend(phone.take_entries(self.record.now_ms()));
    }

    /// Connects for ever.
    pub async fn run(self: Rc<Self>) {
        let mut failures = 0;
        loop {
            while !self.online.get() {
                self.news.notified().await;
            }
            failures += 1;
            let dialled = self.dial().await;
            *self.trouble.borrow_mut() = dialled.as_ref().err().map(|error| format!("{error:#}"));
            if let Ok((wire, place)) = dialled {
                let talked = self.talk(wire, place, &mut failures).await;
                if let Some(wire) = talked.filter(|_| self.rude.take()) {
                    actix_rt::spawn(leave(wire));
                }
                self.phone.borrow_mut().disconnected();
                self.note();
            }
            // Full jitter.
            let most_ms = FIRST_MS << failures.min(4);
            sleep(Duration::from_millis(Uuid::new_v4().as_u128() as u64 % most_ms)).await;
        }
    }

    /// Opens a socket to the node that the cluster names.
    async fn dial(&self) -> Result<(Wire, Place)> {
        let client = self.phone.borrow().client;
        let place = self.site.place(&self.token, client).await?;
        let wire = self.site.open(&place).await?;
        Ok((wire, place))
    }

    /// Talks until the connection is over; gives it back when the device went by itself.
    async fn talk(&self, mut wire: Wire, place: Place, failures: &mut u32) -> Option<Wire> {
        let hello = self.phone.borrow_mut().connects(place.node, place.ticket);
        self.note();
        say(&mut wire, hello.into()).await?;
        let (mut heard, mut beat) = (Instant::now(), Instant::now());
        while self.online.get() {
            if self.phone.borrow().is_synced() {
                *failures = 0;
            }
            self.phone.borrow_mut().work();
            self.note();
            let reads = self.phone.borrow().reads();
            if !reads {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                return None;
            }
            let mut out = self.phone.borrow_mut().take_out();
            if beat.elapsed() > BEAT {
                beat = Instant::now();
                out.push(ClientFrame::from(Beat {}));
            }
            for frame in out {
                say(&mut wire, frame).await?;
            }
            let frame = tokio::select! {
                biased;
                frame = wire.next(), if reads => frame,
                () = self.news.notified() => continue,
                () = sleep(TICK) => continue,
            };
            heard = Instant::now();
            match frame {
                Some(Ok(Frame::Text(text))) => {
                    let text = std::str::from_utf8(&text).ok()?;
                    let frame = ServerFrame::decode(text).ok()?;
                    let over = matches!(frame, ServerFrame::Bye(_));
                    self.phone.borrow_mut().hear(frame);
                    self.note();
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

/// Leaves a socket open without a word, for longer than a node waits for one.
async fn leave(wire: Wire) {
    sleep(HALF_OPEN).await;
    drop(wire);
}

/// Sends a frame; `None` when the connection does not take it.
async fn say(wire: &mut Wire, frame: ClientFrame) -> Option<()> {
    let sent = wire.send(Message::Text(frame.encode().into()));
    timeout(SILENCE, sent).await.ok()?.ok()
}
