//! A node over the embedded store, without a sync, all on this thread, and clients with sockets in
//! memory: the real pieces, and nothing that depends on when another thread runs or what time it is.
//!
//! What the node is given a time by stands still unless it is moved. The store's loop is turned
//! from here, whenever something waits for it.

#![allow(dead_code, reason = "each bench takes what it needs")]

pub mod pieces;
pub mod pipe;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{System, SystemRunner};
use prometheus_client::registry::Registry;
use rally_actors::greet::Guest;
use rally_actors::node::{Admitted, NoTickets, Parts};
use rally_actors::session::Session;
use rally_actors::wire::Decoder;
use rally_actors::{Metrics, Node, Settings, Worker};
use rally_cluster::broker::LocalBroker;
use rally_cluster::clock::{Clock, TimeSource};
use rally_cluster::membership::LocalMembership;
use rally_cluster::roles::Roles;
use rally_cluster::store::embedded::{CommitLoop, Durability, EmbeddedStore, Options};
use rally_cluster::store::{Commit, Store as _, UserRow};
use rally_schema::frame::{ClientFrame, Hello, Send};
use rally_schema::ids::Stamp;
use rally_schema::limits::FRAME_BYTES;
use rally_schema::{ClientId, Life, MessageId, Ref, UserId};
use tempfile::TempDir;
use uuid::Uuid;

use pipe::Pipe;

/// The server's. With that of the system a count depends on what was freed before, and in which
/// order: it differed by more than one per cent.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When everything here begins.
const T0: u64 = 1_790_000_000_000;

/// A message's text, as long as people's are.
pub const TEXT: &str = "A hundred bytes of text, which is about what people write to each other on a \
                    phone when they talk.";

/// A time that stands still until it is moved.
#[derive(Clone, Default)]
struct Still(Arc<AtomicU64>);

impl TimeSource for Still {
    fn wall_ms(&self) -> u64 {
        T0 + self.monotonic_us() / 1_000
    }

    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A node and all that it stands on.
pub struct OneThread {
    system: SystemRunner,
    worker: Rc<Worker>,
    store: EmbeddedStore,
    commits: RefCell<CommitLoop>,
    time: Still,
    /// How many refs and clients were named.
    named: Cell<u128>,
    _folder: TempDir,
}

/// One device of a user.
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Its end of the socket.
    pub pipe: Pipe,
}

impl OneThread {
    /// Starts a node that holds nobody back, and takes nobody's silence amiss.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let durability = Durability::Os;
        let options = Options { durability, group_interval_us: 0, ..Options::default() };
        let (store, commits) = EmbeddedStore::open(folder.path(), options).expect("opened");
        let (limitless, day_ms) = (1_000_000, 86_400_000);
        let settings = Settings {
            ping_interval_ms: day_ms,
            silence_ms: day_ms,
            sync_interval_ms: day_ms,
            sends_per_second: limitless,
            sends_burst: limitless,
            frames_per_second: limitless,
            frames_burst: limitless,
            ..Settings::default()
        };
        let system = System::new();
        let time = Still::default();
        let worker = system.block_on(async {
            let node = Node::start(Parts {
                life: Life { node: "one".parse().expect("a name"), generation: 1 },
                roles: Roles::all(),
                address: String::new(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                store: Arc::new(store.clone()),
                past: Vec::new(),
                broker: Arc::new(LocalBroker::new(64)),
                membership: Arc::new(LocalMembership::default()),
                clock: Clock::new(time.clone(), 0, 1, settings.overlap.clock_step_ms()),
                settings,
                metrics: Metrics::new(&mut Registry::default()),
                gate: Arc::new(NoTickets),
                link_span: |_, _| {},
                traceparent: |_| None,
            });
            node.set_ready();
            Worker::start(node)
        });
        let (commits, named) = (RefCell::new(commits), Cell::new(0));
        Self { system, worker, store, commits, time, named, _folder: folder }
    }

    /// Gives the node.
    pub fn node(&self) -> &Arc<Node> {
        &self.worker.node
    }

    /// Runs what can run until `done`, and writes what waits for the store.
    pub fn until(&self, done: impl Fn() -> bool) {
        let mut commits = self.commits.borrow_mut();
        self.system.block_on(async {
            while !done() {
                if commits.waiting() > 0 {
                    commits.turn().expect("written");
                }
                tokio::task::yield_now().await;
            }
        });
    }

    /// Moves the time; not so far that the clock would take it for a step.
    pub fn pass_ms(&self, ms: u64) {
        for _ in 0..ms.div_ceil(1_000) {
            self.time.0.fetch_add(ms.min(1_000) * 1_000, Ordering::Relaxed);
            self.node().clock.now_ms();
        }
    }

    /// Makes what a session has the store write, and writes it.
    pub fn commit(&self, commits: Vec<Vec<Commit>>) {
        let left = Rc::new(Cell::new(commits.len()));
        self.system.block_on(async {
            for commits in commits {
                let (stored, left) = (self.store.commit(commits), left.clone());
                actix::spawn(async move {
                    stored.await.expect("stored");
                    left.set(left.get() - 1);
                });
            }
        });
        self.until(|| left.get() == 0);
    }

    fn name(&self) -> Uuid {
        self.named.set(self.named.get() + 1);
        // Not in order: as those that clients draw.
        Uuid::from_u128(self.named.get().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    /// Lets a user in with a new device; registers him the first time. Waits until it is live.
    pub fn join(&self, name: &str) -> Device {
        let user: UserId = name.parse().expect("a user id");
        let name = name.to_owned();
        let row = UserRow { user, name, password: None, epoch: 0, hide_presence: false };
        let mut registered = self.store.create_user(row);
        let (pipe, client) = (Pipe::default(), ClientId::from(self.name()));
        self.commits.borrow_mut().turn().expect("written");
        self.system.block_on(async {
            (&mut registered).await.expect("registered");
            let hello = Hello { ticket: String::new(), client, cursor: None };
            let admitted = Admitted { user, epoch: Some(0), log_in: None };
            let guest = Guest { admitted, hello, decoder: Decoder::new(FRAME_BYTES) };
            Session::open(self.worker.clone(), Box::new(pipe.clone()), guest);
        });
        self.until(|| pipe.has("reset"));
        pipe.take();
        Device { user, pipe }
    }

    /// Makes the frame by which somebody writes to somebody, a millisecond later than the last one.
    pub fn message(&self, from: UserId, to: UserId) -> Send {
        self.pass_ms(1);
        let stamp = Stamp { at: self.node().clock.now_ms(), n: 0 };
        Send::first(Ref::from(self.name()), [from, to], stamp, TEXT)
    }
}

impl OneThread {
    /// Makes the commit of a message, as the committer does.
    pub fn sent(&self, from: UserId, to: UserId) -> Commit {
        use rally_cluster::intent::{Intent, Pair};
        let Send { r#ref, conversation, at, n, text, reply_to, .. } = self.message(from, to);
        let id = MessageId::of(Stamp { at, n }, from, conversation, r#ref, &text);
        let intent = Intent::Send { id, r#ref, text, reply_to };
        intent.commit(Pair::direct(from, to), || self.node().clock.mint())
    }
}

/// Makes the WebSocket message of a client's frame.
pub fn wire(frame: impl Into<ClientFrame>) -> Vec<u8> {
    pipe::masked(&frame.into().encode())
}
