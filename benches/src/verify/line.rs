//! The line between a device and the cluster: connects, breaks, and connects again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_rt::time::{sleep, timeout};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
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
    /// Why it could not connect the last time, or was thrown off.
    trouble: RefCell<Option<String>>,
    /// When it last heard anything over its connection, or began.
    heard: Cell<Instant>,
    /// How many blocks are over that the cluster has not lifted yet, and why not.
    lifting: Cell<usize>,
    unlifted: RefCell<Option<String>>,
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
        let phone = Phone::new(device, device.number == 0, Clock { wrong_by_ms });
        Self::of(phone, token, site, record)
    }

    /// Puts a device on a line that is only there to read everything back.
    pub fn reader(device: Device, token: String, site: Rc<Site>, record: Rc<Record>) -> Self {
        Self::of(Phone::reader(device, Clock { wrong_by_ms: 0 }), token, site, record)
    }

    fn of(phone: Phone<Clock>, token: String, site: Rc<Site>, record: Rc<Record>) -> Self {
        Self {
            phone: RefCell::new(phone),
            token,
            site,
            record,
            online: Cell::new(true),
            rude: Cell::new(false),
            trouble: RefCell::default(),
            heard: Cell::new(Instant::now()),
            lifting: Cell::new(0),
            unlifted: RefCell::default(),
            news: Notify::new(),
        }
    }

    /// Says what is waited for, for people; `None` while it is connected and nothing is left to do.
    pub fn wants(&self) -> Option<String> {
        let phone = self.phone.borrow();
        let (wants, trouble) = match phone.wants() {
            Some(wants) => (wants, &self.trouble),
            None if self.lifting.get() > 0 => ("still blocks somebody".to_owned(), &self.unlifted),
            None => return None,
        };
        Some(match &*trouble.borrow() {
            Some(trouble) => format!("{} {wants}: {trouble}", phone.device),
            None => format!("{} {wants}", phone.device),
        })
    }

    /// Gives when it last heard anything over its connection, or began: what is quiet may be dead.
    pub fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// Names the device.
    pub fn device(&self) -> Device {
        self.phone.borrow().device
    }

    /// Gives whose it is.
    pub fn user(&self) -> UserId {
        self.device().user
    }

    /// Has the user want something.
    pub fn wish(&self, wish: Wish) {
        self.phone.borrow_mut().wish(wish);
        self.note();
        self.news.notify_one();
    }

    /// Blocks another user for a while. That it is over is said until the cluster has taken it; until
    /// then something is left to do, and whoever waits for that gives up in his own time.
    pub async fn block(self: Rc<Self>, user: UserId, lasts: Duration) {
        self.phone.borrow_mut().blocks(user, true);
        self.note();
        // Not answered, it may hold all the same.
        let _ = self.site.block(&self.token, user, true).await;
        sleep(lasts).await;
        self.lifting.set(self.lifting.get() + 1);
        actix_rt::spawn(self.lift(user));
    }

    async fn lift(self: Rc<Self>, user: UserId) {
        while let Err(error) = self.site.block(&self.token, user, false).await {
            *self.unlifted.borrow_mut() = Some(format!("{error:#}"));
            sleep(TICK).await;
        }
        self.phone.borrow_mut().blocks(user, false);
        self.note();
        self.lifting.set(self.lifting.get() - 1);
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
        if online {
            // Whoever was away already had no socket to leave open: that is over, too.
            self.rude.set(false);
        }
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
            let over = match self.dial().await {
                Ok((wire, place)) => {
                    let talked = self.talk(wire, place, &mut failures).await;
                    self.phone.borrow_mut().disconnected();
                    self.note();
                    talked
                }
                Err(error) => Err(error),
            };
            *self.trouble.borrow_mut() = over.as_ref().err().map(|error| format!("{error:#}"));
            if let Ok(wire) = over
                && self.rude.take()
            {
                actix_rt::spawn(leave(wire));
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
    async fn talk(&self, mut wire: Wire, place: Place, failures: &mut u32) -> Result<Wire> {
        let hello = self.phone.borrow_mut().connects(place.node, place.ticket);
        self.note();
        say(&mut wire, text(hello.into())).await?;
        let mut beat = Instant::now();
        self.heard.set(beat);
        while self.online.get() {
            if self.phone.borrow().is_synced() {
                *failures = 0;
                self.trouble.take();
            }
            self.phone.borrow_mut().work();
            self.note();
            let reads = self.phone.borrow().reads();
            if !reads {
                self.heard.set(Instant::now());
            }
            ensure!(self.heard.get().elapsed() <= SILENCE, "heard nothing for {SILENCE:?}");
            ensure!(!self.phone.borrow().is_unanswered(), "an answer did not come");
            let mut out = self.phone.borrow_mut().take_out();
            if beat.elapsed() > BEAT {
                beat = Instant::now();
                out.push(ClientFrame::from(Beat {}));
            }
            for frame in out {
                say(&mut wire, text(frame)).await?;
            }
            let frame = tokio::select! {
                biased;
                frame = wire.next(), if reads => frame,
                () = self.news.notified() => continue,
                () = sleep(TICK) => continue,
            };
            self.heard.set(Instant::now());
            match frame.context("the connection ended")?.map_err(|error| anyhow!("{error}"))? {
                Frame::Text(text) => {
                    let over = self.hear(&text)?;
                    self.note();
                    ensure!(!over, "the node said goodbye");
                }
                Frame::Ping(bytes) => say(&mut wire, Message::Pong(bytes)).await?,
                Frame::Pong(_) => {}
                Frame::Close(_) => bail!("the node closed the connection"),
                // Passed over, it would be missed without a word.
                Frame::Binary(_) | Frame::Continuation(_) => bail!("told what is no whole text"),
            }
        }
        Ok(wire)
    }

    /// Takes what the node says; tells whether it says goodbye.
    fn hear(&self, text: &[u8]) -> Result<bool> {
        let text = std::str::from_utf8(text).context("told what is no text")?;
        let frame = ServerFrame::decode(text).context("told what is no frame")?;
        let over = matches!(frame, ServerFrame::Bye(_));
        self.phone.borrow_mut().hear(frame);
        Ok(over)
    }
}

/// Leaves a socket open without a word, for longer than a node waits for one.
async fn leave(wire: Wire) {
    sleep(HALF_OPEN).await;
    drop(wire);
}

fn text(frame: ClientFrame) -> Message {
    Message::Text(frame.encode().into())
}

/// Sends one, unless the connection does not take it for too long: a node that stands still reads
/// nothing.
async fn say(wire: &mut Wire, message: Message) -> Result<()> {
    let sent = timeout(SILENCE, wire.send(message)).await;
    sent.context("the node reads nothing")?.map_err(|error| anyhow!("{error}"))
}
