//! One simulated node: the real actors of a life, on a task set that can be killed or paused.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use prometheus_client::registry::Registry;
use rally_actors::greet::Guest;
use rally_actors::incidents::Incident;
use rally_actors::metrics::{Counts, Label};
use rally_actors::node::{Admitted, NoTickets, Parts};
use rally_actors::presence_watch::Changed;
use rally_actors::router::LogOut;
use rally_actors::session::Session;
use rally_actors::sweeper::Sweep;
use rally_actors::wire::Decoder;
use rally_actors::{Metrics, Node, Settings, Worker};
use rally_cluster::clock::Clock;
use rally_cluster::membership::Status;
use rally_cluster::roles::Roles;
use rally_cluster::store::{Model, Store as _, UserChange};
use rally_schema::frame::Hello;
use rally_schema::limits::FRAME_BYTES;
use rally_schema::{Life, NodeId, Stage, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{Duration, sleep, timeout};

use crate::broker::Exchange;
use crate::membership::Board;
use crate::pipe::End;
use crate::store::SimStore;
use crate::world::{EPOCH_MS, Machine, World};

/// Somebody at the door.
pub struct Visit {
    /// The node's end of the socket.
    pub socket: End,
    /// Who comes.
    pub user: UserId,
    /// Of which epoch his log-in is.
    pub epoch: u64,
    /// With which client, and what it knows.
    pub hello: Hello,
}

/// What somebody wants of a node.
enum Call {
    Visit(Visit),
    LogOut(UserId),
    Block(Block, oneshot::Sender<()>),
}

/// That a user blocks another one, or stops.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Who does.
    pub user: UserId,
    /// Whom.
    pub blocked: UserId,
    /// Whether he is blocked from now on.
    pub on: bool,
}

/// Raises the epoch of the account, then tells it, as HTTP does.
async fn log_out_everywhere(node: Arc<Node>, user: UserId) {
    let change = UserChange { raise_epoch: true, ..UserChange::default() };
    if let Ok(Some(account)) = node.store.change_user(user, change).await {
        node.log_out_everywhere(user, LogOut::before(account.epoch));
    }
}

/// Stores whom a user blocks, tells it, as HTTP does, and answers.
async fn block(node: Arc<Node>, Block { user, blocked, on }: Block, answer: oneshot::Sender<()>) {
    if node.store.set_block(user, blocked, on).await.is_ok() {
        let _ = node.presence.send(Changed { user, stage: Stage::Home }).await;
        // Nobody may be left who waits for it.
        let _ = answer.send(());
    }
}

/// What nodes stand on.
#[derive(Clone)]
pub struct Ground {
    /// Chance and faults.
    pub world: World,
    /// Where everything is kept.
    pub model: Model,
    /// The broker.
    pub exchange: Exchange,
    /// The gossip.
    pub board: Board,
}

/// One node, which has one life after the other.
pub struct SimNode {
    /// Its name.
    pub name: NodeId,
    /// Its machine's clock.
    pub machine: Machine,
    ground: Ground,
    running: RefCell<Option<Running>>,
    generation: Cell<u64>,
    gate: Rc<Pause>,
    /// Of all lives so far.
    metrics: Metrics,
}

/// What the lives of nodes counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Catch-ups, by reason.
    pub catch_ups: BTreeMap<&'static str, u64>,
    /// Pushes that were refused, by why.
    pub pushes_refused: BTreeMap<&'static str, u64>,
    /// Sessions that ended because their user logged out everywhere.
    pub logged_out: u64,
}

/// After how long a node that hears nobody takes itself for the first.
const ALONE: Duration = Duration::from_secs(10);

/// Why sessions catch up, as `catching_up.rs` names it.
const REASONS: [&str; 6] =
    ["connected", "asked", "lagging", "doubt", "missed_meanwhile", "periodic"];

/// Why pushes are refused, as sessions and routers name it.
const WHYS: [&str; 5] = ["budget_spent", "in_doubt", "mailbox_full", "passing", "router_full"];

struct Running {
    life: Life,
    node: Arc<Node>,
    door: mpsc::UnboundedSender<Call>,
    tasks: AbortHandle,
    /// Its sessions.
    sweep: Rc<Sweep>,
    breakers: Vec<Box<dyn Fn()>>,
}

/// Lets a node take users once it hears another one, or has waited for long enough.
async fn become_ready(node: Arc<Node>) {
    let hears_somebody = async {
        while node.members().len() < 2 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = timeout(ALONE, hears_somebody).await;
    node.set_ready();
}

/// What holds a paused node's tasks.
#[derive(Default)]
struct Pause {
    paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl SimNode {
    /// Makes a node that is down.
    pub fn new(name: &str, ground: &Ground) -> Self {
        Self {
            name: name.parse().expect("a node's name"),
            machine: Machine::new(&ground.world),
            ground: ground.clone(),
            running: RefCell::default(),
            generation: Cell::new(0),
            gate: Rc::default(),
            metrics: Metrics::new(&mut Registry::default()),
        }
    }

    /// Tells whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.gate.paused.get()
    }

    /// Tells whether it runs, paused or not.
    pub fn is_up(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// Tells whether discovery would place anybody here.
    pub fn is_ready(&self) -> bool {
        let running = self.running.borrow();
        running.as_ref().is_some_and(|running| running.node.status() == Status::Ready)
    }

    /// Tells whether its clock is too far ahead of its machine's to take users.
    pub fn is_ahead(&self) -> bool {
        let running = self.running.borrow();
        running.as_ref().is_some_and(|Running { node, .. }| {
            node.clock.ahead_of_wall_ms() > node.settings.overlap.clock_tolerance_ms()
        })
    }

    /// Starts the next life.
    pub async fn start(&self, settings: Settings) {
        let Ground { world, model, exchange, board } = self.ground.clone();
        self.generation.set(self.generation.get() + 1);
        let life = Life { node: self.name, generation: self.generation.get() };
        let (step_ms, bits) = (settings.overlap.clock_step_ms(), world.below(u64::MAX));
        let clock = Clock::new(self.machine.clone(), model.high_water_ms(), bits, step_ms);
        let (door, mut calls) = mpsc::unbounded_channel::<Call>();
        let past = model.nodes().await.expect("the model answers");
        let local = LocalSet::new();
        let (node, sweep) = local
            .run_until(async {
                let node = Node::start(Parts {
                    life,
                    roles: Roles::all(),
                    address: String::new(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    store: Arc::new(SimStore::new(world.clone(), model, life)),
                    past,
                    broker: Arc::new(exchange.connect(life)),
                    membership: Arc::new(board.join(life)),
                    clock,
                    settings,
                    metrics: self.metrics.clone(),
                    gate: Arc::new(NoTickets),
                    link_span: |_, _| {},
                    traceparent: |_| None,
                });
                let worker = Worker::start(node.clone());
                let sweep = worker.sweep.clone();
                spawn_local(async move {
                    while let Some(call) = calls.recv().await {
                        match call {
                            Call::Visit(Visit { socket, user, epoch, hello }) => {
                                let decoder = Decoder::new(FRAME_BYTES);
                                let admitted = Admitted { user, epoch: Some(epoch), log_in: None };
                                let guest = Guest { admitted, hello, decoder };
                                Session::open(worker.clone(), Box::new(socket), guest);
                            }
                            Call::LogOut(user) => {
                                spawn_local(log_out_everywhere(worker.node.clone(), user));
                            }
                            Call::Block(what, answer) => {
                                spawn_local(block(worker.node.clone(), what, answer));
                            }
                        }
                    }
                });
                (node, sweep)
            })
            .await;
        local.spawn_local(become_ready(node.clone()));
        let tasks = spawn_local(gated(local, self.gate.clone())).abort_handle();
        let breakers = Vec::new();
        *self.running.borrow_mut() = Some(Running { life, node, door, tasks, sweep, breakers });
    }

    /// Gives the most bytes that waited for a session of this life when a push joined others.
    pub fn most_pushed(&self) -> u64 {
        let running = self.running.borrow();
        running.as_ref().map_or(0, |running| running.sweep.most_pushed() as u64)
    }

    /// Adds what its lives counted.
    pub fn count(&self, counted: &mut Counted) {
        let Metrics { catch_ups, pushes_refused, ended, .. } = &self.metrics;
        let add = |sums: &mut BTreeMap<_, u64>, counts: &Counts, of: &'static str| {
            *sums.entry(of).or_default() += counts.get_or_create(&Label { of }).get();
        };
        REASONS.iter().for_each(|of| add(&mut counted.catch_ups, catch_ups, of));
        WHYS.iter().for_each(|of| add(&mut counted.pushes_refused, pushes_refused, of));
        counted.logged_out += ended.get_or_create(&Label { of: "logged_out" }).get();
    }

    /// Gives what its lives noted for whoever looks after the cluster, each at its clock's time.
    pub fn incidents(&self) -> Vec<String> {
        let told = |incident: Incident| {
            let at_ms = incident.at_ms as i64 - EPOCH_MS as i64;
            format!("{at_ms:>7} {} noted {}: {}", self.name, incident.kind.name(), incident.words)
        };
        self.metrics.incidents.newest_first().into_iter().rev().map(told).collect()
    }

    /// Ends the life without a word.
    pub fn kill(&self) {
        let Some(running) = self.running.borrow_mut().take() else { return };
        self.ground.world.kill(running.life);
        self.ground.exchange.close(running.life);
        running.breakers.iter().for_each(|breaker| breaker());
        running.tasks.abort();
        self.set_paused(false);
    }

    /// Stops every task, or lets them go on; sockets stay as they are.
    pub fn set_paused(&self, paused: bool) {
        self.ground.world.set_paused(self.name, paused);
        self.gate.paused.set(paused);
        if let Some(waker) = self.gate.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Cuts the node off the broker, or joins it again. With `lost`, its connection ends: what
    /// others send it comes back, and its queue begins anew when it is joined again.
    pub fn set_off_broker(&self, off: bool, lost: bool) {
        self.ground.world.set_off_broker(self.name, off);
        let Some(life) = self.running.borrow().as_ref().map(|running| running.life) else { return };
        match off {
            true if lost => self.ground.exchange.lose(life),
            true => {}
            false => self.ground.exchange.reopen(life),
        }
    }

    /// Lets somebody in; `false` when nobody opens.
    pub fn visit(&self, visit: Visit) -> bool {
        let mut running = self.running.borrow_mut();
        let Some(running) = running.as_mut() else { return false };
        running.breakers.push(Box::new(visit.socket.breaker()));
        running.door.send(Call::Visit(visit)).is_ok()
    }

    /// Has somebody log out everywhere here.
    pub fn log_out_everywhere(&self, user: UserId) {
        if let Some(running) = self.running.borrow().as_ref() {
            // Nobody takes it: it is dying.
            let _ = running.door.send(Call::LogOut(user));
        }
    }

    /// Has somebody block another one here, or stop; tells whether that is done. What is not may
    /// be done still, unless the node died.
    pub async fn block(&self, block: Block) -> bool {
        let (answer, done) = oneshot::channel();
        if let Some(running) = self.running.borrow().as_ref() {
            // Nobody takes it, and nobody answers: it is dying.
            let _ = running.door.send(Call::Block(block, answer));
        }
        done.await.is_ok()
    }

    /// Breaks every socket that clients have here.
    pub fn break_sockets(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            running.breakers.drain(..).for_each(|breaker| breaker());
        }
    }
}

/// Runs a node's tasks unless it is paused.
async fn gated(local: LocalSet, gate: Rc<Pause>) {
    let mut local = Box::pin(local);
    poll_fn(|cx| {
        *gate.waker.borrow_mut() = Some(cx.waker().clone());
        if gate.paused.get() {
            return Poll::Pending;
        }
        // Ends only with the node's last task: never, while its gossip runs.
        Pin::new(&mut local).poll(cx)
    })
    .await;
}
