//! One run: a seed becomes a cluster, its users, their wishes and the faults, and ends as a history.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rally_actors::Settings;
use rally_cluster::store::{Model, Store as _, UserRow};
use rally_cluster::twins;
use rally_proof::{Breach, Device, History, Queue, Shown, Span, View, judge};
use rally_schema::UserId;
use rally_schema::limits::UNREAD_CAP;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::absence;
use crate::blocks;
use crate::broker::{Exchange, QUEUE};
use crate::calm;
use crate::faults::{self, Kind};
use crate::first_words;
use crate::last_words;
use crate::line::{Line, Surroundings};
use crate::log_outs;
use crate::membership::Board;
use crate::node::{Counted, Ground, SimNode};
use crate::world::{EPOCH_MS, World};
use crate::wrong_clock;
use rally_proof::phone::{Phone, Wish};

/// How large one run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Users, of whom each has two devices.
    pub users: usize,
    /// Wishes of all users together.
    pub wishes: usize,
    /// Kinds of fault.
    pub kinds: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { nodes: 3, users: 6, wishes: 200, kinds: 4 }
    }
}

/// What a run gave.
pub struct Outcome {
    /// What is judged.
    pub history: History,
    /// The same as it was at earlier rests, each before something that has devices catch up on
    /// what nothing repaired until then; none when writes may surface later still.
    pub earlier: Vec<History>,
    /// The kinds of fault that happened.
    pub kinds: Vec<Kind>,
    /// Small faults, by their likelihoods.
    pub faults: u64,
    /// Wishes of users that came about.
    pub operations: usize,
    /// What the nodes counted.
    pub counted: Counted,
    /// Who had a session, or was shown something, though his log-in was over.
    pub outlived: Option<String>,
}

impl Outcome {
    /// Judges what users saw at each rest and in the end; each promise is named once.
    pub fn breaches(&self) -> Vec<Breach> {
        let mut breaches = Vec::<Breach>::new();
        for breach in self.earlier.iter().chain([&self.history]).flat_map(judge) {
            if breaches.iter().all(|other| other.number != breach.number) {
                breaches.push(breach);
            }
        }
        breaches
    }
}

/// How long all may take to come to rest after the last fault.
const REST: Duration = Duration::from_secs(180);

/// How long it stays there until the calm: whatever is lent for a lease is lent anew by then.
const LEASE: Duration = Duration::from_secs(35);

/// How long it stays there after the calm: until then late writes surface within a minute, a
/// session syncs every twenty seconds, and who went without a word is shown offline.
const STAY: Duration = Duration::from_secs(45);

/// Bytes of pushes that wait for one session: few, so that one who does not read lags soon.
const BUDGET: usize = 4 * 1024;

fn settings(world: &World, kinds: &[Kind]) -> Settings {
    // A write that surfaces late was pushed by nobody, and raises no doubt: what finds it is the
    // session's periodic sync. Without such writes, what a doubt does not repair stays broken
    // until the end, and is seen.
    let late = kinds.contains(&Kind::Store);
    let full = kinds.contains(&Kind::FullMailboxes);
    // A router that is full has all its sessions catch up, and hides what one of them misses.
    let both = full && world.below(2) == 0;
    let usual = Settings::default();
    Settings {
        sync_interval_ms: if late { 20_000 } else { 3_600_000 },
        commit_timeout_ms: 3_000,
        commit_give_up_ms: 4_000,
        session_mailbox: if full { 1 } else { usual.session_mailbox },
        router_mailbox: if both { 1 } else { usual.router_mailbox },
        out_budget_bytes: BUDGET,
        catch_ups_at_once: 2,
        ..usual
    }
}

/// Runs a seed under a clock of its own; with `trace` it prints every frame and fault.
pub fn run(seed: u64, size: Size, trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, simulate(seed, size, trace))
}

async fn simulate(seed: u64, size: Size, trace: bool) -> Outcome {
    let world = World::new(seed);
    let model = Model::new(world.uuid().into(), [7; 32]);
    let users: Vec<UserId> =
        (0..size.users).map(|n| format!("user{n}").parse().expect("a user's name")).collect();
    for user in &users {
        let (name, password) = (user.to_string(), None);
        let row = UserRow { user: *user, name, password, epoch: 0, hide_presence: false };
        model.create_user(row).await.expect("the model takes all");
    }
    let exchange = Exchange::new(world.clone());
    let board = Board::new(world.clone());
    let ground =
        Ground { world: world.clone(), model: model.clone(), exchange: exchange.clone(), board };
    let nodes: Vec<SimNode> =
        (0..size.nodes).map(|n| SimNode::new(&format!("node{n}"), &ground)).collect();
    let kinds = draw_kinds(&world, size.kinds);
    let settings = settings(&world, &kinds);
    // In half of the runs: who is blocked when a write surfaces late was told that it never will,
    // which promise 9 names as not promised, so that no writes surface late in these.
    let grudges = seed.is_multiple_of(2);
    for node in &nodes {
        node.start(settings.clone()).await;
    }
    let around = Rc::new(Surroundings {
        world: world.clone(),
        model: model.clone(),
        nodes,
        exchange,
        entries: RefCell::default(),
        stalls: RefCell::default(),
        cuts: RefCell::default(),
        shown: RefCell::default(),
        grudges,
        blocking: RefCell::default(),
        trace,
    });
    let lines: Vec<Rc<Line>> = users
        .iter()
        .flat_map(|user| (0..2).map(|number| Device { user: *user, number }))
        .map(|device| {
            Rc::new(Line::new(Phone::new(
                device,
                Some(&device.user) == users.last(),
                world.clone(),
            )))
        })
        .collect();
    let tasks: Vec<_> =
        lines.iter().map(|line| spawn_local(line.clone().run(around.clone()))).collect();
    sleep(Duration::from_secs(3)).await;

    // Every other time all begin at about the same moment: much goes wrong only where two faults meet.
    // Some begin when the last is written, after which nothing mends what they broke.
    let (least_ms, most_ms) = match world.below(2) {
        0 => (0, 52_000),
        _ => {
            let about_ms = world.below(48_000);
            (about_ms, about_ms + 4_000)
        }
    };
    let troubles: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let (kind, around, lines) = (*kind, around.clone(), lines.clone());
            let settings = settings.clone();
            spawn_local(async move {
                around.world.delay(least_ms, most_ms).await;
                faults::happen(kind, &around, &lines, &settings).await;
            })
        })
        .collect();
    let mut operations = 0;
    for nth in 0..size.wishes {
        operations = nth + 1;
        let line = &lines[world.below(lines.len() as u64) as usize];
        line.wish(Wish::draw(|limit| world.below(limit), &users, nth), &around);
        if world.below(log_outs::RARITY) == 0 {
            log_outs::happen(&around, world.pick(&users));
        }
        if grudges && world.below(blocks::RARITY) == 0 {
            let blocked = world.pick(&users);
            if line.user() != blocked {
                blocks::begin(&around, line, blocked);
            }
        }
        world.delay(0, 500).await;
    }
    for trouble in troubles {
        trouble.await.expect("faults do not panic");
    }
    world.heal();
    around.nodes.iter().for_each(|node| node.set_paused(false));
    set_right(&around, &settings).await;
    blocks::end(&around).await;
    lines.iter().for_each(|line| line.set_online(true));
    let mut restless = come_to_rest(&lines).await;
    sleep(LEASE).await;
    let mut outlived = log_outs::outlived(&around, &lines).await;
    let is_settled = !kinds.contains(&Kind::Store);
    let mut earlier = Vec::new();
    if is_settled {
        earlier.push(record(&around, &lines, &model, &users).await);
    }
    absence::happen(&around, &lines, &users).await;
    restless = restless.or(come_to_rest(&lines).await);
    if is_settled {
        earlier.push(record(&around, &lines, &model, &users).await);
    }
    let dead = last_words::happen(&around, &lines, &users).await;
    restless = restless.or(come_to_rest(&lines).await);
    if is_settled {
        earlier.push(record(&around, &lines, &model, &users).await);
    }
    dead.start(settings.clone()).await;
    sleep(LEASE).await;
    first_words::happen(&around, &lines, &users).await;
    restless = restless.or(come_to_rest(&lines).await);
    if is_settled {
        earlier.push(record(&around, &lines, &model, &users).await);
    }
    wrong_clock::happen(&around, &lines).await;
    restless = restless.or(come_to_rest(&lines).await);
    if is_settled {
        earlier.push(record(&around, &lines, &model, &users).await);
    }
    set_right(&around, &settings).await;
    let calm = calm::happen(&around, &lines).await;
    restless = restless.or(come_to_rest(&lines).await);
    sleep(STAY).await;
    outlived = outlived.or(around.shown.take());
    outlived = outlived.or(log_outs::outlived(&around, &lines).await);

    let mut history = record(&around, &lines, &model, &users).await;
    history.calm.push(calm);
    history.restless = restless;
    tasks.iter().for_each(|task| task.abort());
    around.nodes.iter().for_each(SimNode::kill);
    if trace {
        around.nodes.iter().flat_map(SimNode::incidents).for_each(|line| println!("{line}"));
    }
    let mut counted = Counted::default();
    around.nodes.iter().for_each(|node| node.count(&mut counted));
    let faults = world.faults();
    Outcome { history, earlier, kinds, faults, operations, counted, outlived }
}

/// Sets all clocks right, and starts who is down. What began with a wrong clock, or followed one when
/// it was alone, is started anew once all that was dated ahead is past, as `operations.md` says.
async fn set_right(around: &Surroundings, settings: &Settings) {
    for node in &around.nodes {
        node.machine.set_skew(0);
        if node.is_ahead() {
            node.kill();
        }
    }
    let now_ms = EPOCH_MS + around.world.now_ms();
    let ahead_ms = around.model.high_water_ms().saturating_sub(now_ms);
    if around.nodes.iter().any(|node| !node.is_up()) {
        sleep(Duration::from_millis(ahead_ms)).await;
    }
    for node in around.nodes.iter().filter(|node| !node.is_up()) {
        node.start(settings.clone()).await;
    }
}

/// Writes down what happened so far, and what is shown and stored now.
async fn record(
    around: &Surroundings,
    lines: &[Rc<Line>],
    model: &Model,
    users: &[UserId],
) -> History {
    let stored = stored(model, users).await;
    History {
        entries: around.entries.borrow().clone(),
        views: lines.iter().flat_map(|line| line.phone.borrow().views()).collect(),
        stored,
        stalls: stalls(around),
        queues: queues(around),
        ended_ms: around.world.now_ms(),
        ..History::default()
    }
}

/// Gives when some node or the store stood still, or could not be told from one that does.
fn stalls(around: &Surroundings) -> Vec<Span> {
    let cuts = around.cuts.borrow();
    around.stalls.borrow().iter().copied().chain(cuts.mistaken()).collect()
}

/// Measures the queues that simulated nodes fill.
fn queues(around: &Surroundings) -> Vec<Queue> {
    let pushed = around.nodes.iter().map(SimNode::most_pushed).max().unwrap_or(0);
    let queue = |name: &str, bound: usize, most: u64| {
        let (name, bound) = (name.to_owned(), bound as u64);
        Queue { name, bound, most }
    };
    vec![
        queue("pushes for one socket, in bytes", BUDGET, pushed),
        queue("parcels for one node", QUEUE, around.exchange.most() as u64),
    ]
}

async fn come_to_rest(lines: &[Rc<Line>]) -> Option<String> {
    let quiet = async {
        while busy(lines).is_some() {
            sleep(Duration::from_millis(500)).await;
        }
    };
    match tokio::time::timeout(REST, quiet).await {
        Ok(()) => None,
        Err(_) => busy(lines),
    }
}

/// Finds a device that has something left to do, and says what.
fn busy(lines: &[Rc<Line>]) -> Option<String> {
    lines.iter().find_map(|line| {
        let phone = line.phone.borrow();
        phone.wants().map(|wants| format!("{} {wants}", phone.device))
    })
}

fn draw_kinds(world: &World, count: usize) -> Vec<Kind> {
    let mut left = Kind::ALL.to_vec();
    (0..count.min(left.len()))
        .map(|_| left.swap_remove(world.below(left.len() as u64) as usize))
        .collect()
}

/// Reads what the store holds, one view a conversation and member.
async fn stored(model: &Model, users: &[UserId]) -> Vec<View> {
    let mut views = BTreeMap::new();
    for user in users {
        let (rows, _) = model.inbox(*user, None, usize::MAX).await.expect("the model answers");
        for row in rows {
            let head = row.cells.head.as_ref().expect("an inbox has rows with heads only").id;
            let rows = model.history(row.conversation, None, usize::MAX).await;
            let mut rows = rows.expect("the model answers");
            twins::fold(&mut rows);
            rows.reverse();
            let messages = rows
                .into_iter()
                .map(|row| Shown {
                    id: row.id,
                    sender: row.sender,
                    r#ref: row.r#ref,
                    text: row.to_frame().text,
                    edit: row.edit.map(|(edit, _)| edit),
                    deleted: row.deleted,
                })
                .collect();
            let read = row.cells.read_up_to;
            let unread = model.unread(row.conversation, *user, read, head, UNREAD_CAP);
            let view = View {
                user: *user,
                number: None,
                conversation: row.conversation,
                messages,
                unread: unread.await.expect("the model answers"),
                read_up_to: row.cells.read_up_to,
                peer_delivered_up_to: row.cells.peer_delivered_up_to,
                peer_read_up_to: row.cells.peer_read_up_to,
            };
            views.insert((row.conversation, *user), view);
        }
    }
    views.into_values().collect()
}
