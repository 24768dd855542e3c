//! Pairs that write to each other all the time, and what each of them knows of every message.
//!
//! Knows nothing of what is done to the cluster, nor how the messages are judged (`verdict.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join, join_all};
use rally_schema::frame::{HistoryQuery, Message, Send, ServerFrame};
use rally_schema::{ErrorCode, MessageId, Ref};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::device::{Device, micros};
use super::harness::PATIENCE;
use super::harness::client::new_ref;
use super::harness::cluster::{Cluster, Person};
use super::harness::outbox::Outbox;
use super::reader;
use super::verdict::{Told, Verdict, Written};

/// Pairs that write; each message goes one way.
const PAIRS: usize = 10;

/// What a pair knows.
#[derive(Default)]
struct Pair {
    outbox: Outbox,
    /// What was written, in its order.
    written: Vec<Written>,
    /// What the reader was shown: by ref, the ids.
    shown: BTreeMap<Ref, BTreeSet<MessageId>>,
    /// What writer and reader were told by pushes.
    told: [Told; 2],
    /// When each message was meant, and when the reader got it.
    got: Vec<(Duration, Duration)>,
    /// At which nodes writer and reader are.
    at: [String; 2],
    /// How often they connected.
    connects: usize,
    /// Whether the reader knows that older messages are missing, and why they last did not come.
    lacks: bool,
    unanswered: Option<ErrorCode>,
}

impl Pair {
    fn unshown(&self) -> impl Iterator<Item = &Ref> {
        self.outbox.acked.keys().filter(|r#ref| !self.shown.contains_key(r#ref))
    }

    fn misses_something(&self) -> bool {
        !self.outbox.open.is_empty() || self.unshown().next().is_some()
    }

    fn arrived(&mut self, who: usize, node: String) {
        self.at[who] = node;
        self.connects += 1;
    }

    /// Notes what was sent and shown, and what was shown as something else.
    fn judge(&self, verdict: &mut Verdict) {
        let Outbox { sent, acked, .. } = &self.outbox;
        let again = self.told.iter().map(Told::again).sum();
        verdict.note(*sent as usize, acked.len(), &self.got, again);
        for (r#ref, ids) in &self.shown {
            // Of twins the larger one is the message.
            let (id, shown) = (acked.get(r#ref), ids.last());
            if id != shown || !ids.iter().all(|one| id.is_some_and(|id| one.low() == id.low())) {
                verdict.blame(format!("{ref} was shown as {ids:?}, was acked as {id:?}"));
            }
        }
    }

    /// Says what is missing, for people.
    fn wants(&self) -> String {
        let Outbox { open, acked, refusals, .. } = &self.outbox;
        let (open, acked, unshown) = (open.len(), acked.len(), self.unshown().count());
        let first = self.unshown().next().map(|r#ref| self.outbox.acked[r#ref]);
        format!(
            "{open} have no answer, {unshown} of {acked} that were acknowledged are not shown \
             ({first:?} is one); the reader asks for more: {}, was refused {:?}; writer and reader are \
             at {:?}; refusals: {refusals:?}",
            self.lacks, self.unanswered, self.at
        )
    }
}

/// All pairs.
pub struct Load {
    begun: Instant,
    pairs: Vec<Arc<Mutex<Pair>>>,
    /// Writer and reader of each, and where nodes are.
    people: Vec<[Person; 2]>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Registers users, connects them, and begins to write.
    pub async fn begin(nodes: &Cluster, rate: usize) -> Self {
        let begun = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let (mut pairs, mut people, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        let addresses = nodes.addresses();
        let pace = Duration::from_secs_f64(PAIRS as f64 / rate as f64);
        for index in 0..PAIRS {
            let (_, at) = nodes.all().nth(index % addresses.len()).unwrap();
            let writer = nodes.person(&format!("writer{index}"), at).await;
            let reader = nodes.person(&format!("reader{index}"), at).await;
            let pair = Arc::<Mutex<Pair>>::default();
            let device = |person: &Person| Device::new(&person.name, &person.token, &addresses);
            let (from, to) = (device(&writer), device(&reader));
            tasks.push(tokio::spawn(write(
                pair.clone(),
                from,
                reader.name.clone(),
                pace,
                begun,
                stopped.clone(),
            )));
            tasks.push(tokio::spawn(read(pair.clone(), to, begun)));
            pairs.push(pair);
            people.push([writer, reader]);
        }
        Self { begun, pairs, people, addresses, stop, tasks }
    }

    /// Gives the time on the load's own clock.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Counts acknowledged messages.
    pub fn acked(&self) -> usize {
        self.pairs.iter().map(|pair| pair.lock().unwrap().outbox.acked.len()).sum()
    }

    /// Counts what was refused so far, by why.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for pair in &self.pairs {
            for (why, count) in &pair.lock().unwrap().outbox.refusals {
                *all.entry(*why).or_default() += count;
            }
        }
        all
    }

    /// Counts how often devices connected.
    pub fn connects(&self) -> usize {
        self.pairs.iter().map(|pair| pair.lock().unwrap().connects).sum()
    }

    /// Counts pairs with a device at a node, counted from 0.
    pub fn concerned(&self, node: usize) -> usize {
        let node = &*format!("node-{node}");
        self.pairs.iter().filter(|pair| pair.lock().unwrap().at.iter().any(|at| at == node)).count()
    }

    /// Gives the pairs that have nobody at a node, counted from 0.
    pub fn elsewhere(&self, node: usize) -> Vec<usize> {
        let node = &*format!("node-{node}");
        let away =
            |index: &usize| self.pairs[*index].lock().unwrap().at.iter().all(|at| at != node);
        (0..self.pairs.len()).filter(away).collect()
    }

    /// Gives how long one in a hundred messages waited at least, of those that some pairs meant in a
    /// span of time, in milliseconds.
    pub fn p99_ms(&self, pairs: &[usize], from: Duration, to: Duration) -> f64 {
        let mut waits: Vec<Duration> = Vec::new();
        for index in pairs {
            let pair = self.pairs[*index].lock().unwrap();
            let meant = pair.got.iter().filter(|(meant, _)| (from..to).contains(meant));
            waits.extend(meant.map(|(meant, got)| *got - *meant));
        }
        waits.sort_unstable();
        waits.get(waits.len() * 99 / 100).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
    }

    /// Waits until every pair got something that was meant after `since`; gives how long after
    /// it the last pair did.
    pub async fn flows_again(&self, since: Duration, within: Duration) -> Duration {
        let deadline = Instant::now() + within;
        loop {
            let first = |pair: &Arc<Mutex<Pair>>| {
                let pair = pair.lock().unwrap();
                let after = pair.got.iter().filter(|(meant, _)| *meant >= since);
                after.map(|(_, got)| *got - since).min()
            };
            let firsts: Option<Vec<Duration>> = self.pairs.iter().map(first).collect();
            if let Some(slowest) = firsts.and_then(|all| all.into_iter().max()) {
                return slowest;
            }
            assert!(Instant::now() < deadline, "nothing flows {within:?} after the fault");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the writing, waits until everything open is answered and everything answered is shown,
    /// and has devices that knew nothing read what is there.
    pub async fn end_and_judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        self.stop.send(true).unwrap();
        let deadline = Instant::now() + 2 * PATIENCE;
        for (index, pair) in self.pairs.iter().enumerate() {
            while pair.lock().unwrap().misses_something() {
                if Instant::now() > deadline {
                    verdict.blame(format!("pair {index}: {}", pair.lock().unwrap().wants()));
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        let read = join_all(self.people.iter().map(|pair| self.read_back(pair))).await;
        for ((pair, people), rows) in self.pairs.iter().zip(&self.people).zip(read) {
            let pair = pair.lock().unwrap();
            pair.judge(&mut verdict);
            for (who, rows) in people.iter().zip(rows) {
                verdict.compare(&who.name, &pair.written, &pair.outbox.acked, &rows);
            }
        }
        verdict
    }

    /// Reads the conversation of two as each of them does.
    async fn read_back(&self, [writer, reader]: &[Person; 2]) -> [Vec<Message>; 2] {
        let fresh = |who: &Person| Device::new(&who.name, &who.token, &self.addresses);
        let both = join(
            reader::whole(fresh(writer), &reader.name),
            reader::whole(fresh(reader), &writer.name),
        );
        both.await.into()
    }
}

/// Writes at an even pace, whatever the answers do.
async fn write(
    pair: Arc<Mutex<Pair>>,
    mut device: Device,
    peer: String,
    pace: Duration,
    begun: Instant,
    stopped: watch::Receiver<bool>,
) {
    let mut tick = interval(pace);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let (mut client, node) = device.connect().await;
        pair.lock().unwrap().arrived(0, node);
        pair.lock().unwrap().outbox.open.iter_mut().for_each(|send| send.retry = send.at > 0);
        // From a refusal until everything open was sent again, nothing new goes.
        let mut again_at = Some(Instant::now());
        // Nothing goes twice without an answer between: the second attempt of what the first one had
        // stored could be refused, and would hold what comes after it.
        let mut under_way = 0_usize;
        loop {
            let (due, holds) = (again_at.unwrap_or_else(Instant::now), again_at.is_some());
            tokio::select! {
                biased;
                frame = client.next() => {
                    let Some(frame) = frame else { break };
                    device.note(&frame);
                    if let ServerFrame::Message(message) = &frame {
                        pair.lock().unwrap().told[0].count(message.id);
                    }
                    let about_send = match &frame {
                        ServerFrame::Ack(_) => true,
                        ServerFrame::Error(error) => error.r#ref.is_some(),
                        _ => false,
                    };
                    under_way -= usize::from(about_send);
                    if let Some(wait) = pair.lock().unwrap().outbox.hear(&frame) {
                        again_at = Some(Instant::now() + wait);
                    }
                }
                () = sleep_until(device.due()) => {
                    if !device.ask(&mut client).await {
                        break;
                    }
                }
                () = sleep_until(due), if holds && under_way == 0 => {
                    again_at = None;
                    let again = pair.lock().unwrap().outbox.again(&mut client);
                    under_way += again.len();
                    if !tell(&mut client, again).await {
                        break;
                    }
                }
                _ = tick.tick() => {
                    // Asked when the tick is due: whoever judges must meet no later message.
                    if *stopped.borrow() {
                        continue;
                    }
                    let meant = micros(begun);
                    let mut draft = client.draft(&peer, &meant.to_string());
                    {
                        let mut pair = pair.lock().unwrap();
                        let (meant, r#ref) = (Duration::from_micros(meant), draft.r#ref);
                        pair.written.push(Written { meant, r#ref });
                        pair.outbox.sent += 1;
                        draft.at = if holds { 0 } else { draft.at };
                        pair.outbox.open.push(draft.clone());
                    }
                    if !holds {
                        under_way += 1;
                        if !tell(&mut client, vec![draft]).await {
                            break;
                        }
                    }
                }
            }
        }
    }
}

async fn tell(client: &mut super::harness::Client, sends: Vec<Send>) -> bool {
    for send in sends {
        if client.try_tell(send).await.is_err() {
            return false;
        }
    }
    true
}

/// How far before what a reader had when it was in step something may still have been missing:
/// twice the overlap of catch-ups.
const OVERLAP: Duration = Duration::from_secs(60);

/// Reads all that comes, and what a catch-up leaves out.
async fn read(pair: Arc<Mutex<Pair>>, mut device: Device, begun: Instant) {
    let meant = |message: &Message| Duration::from_micros(message.text.parse().unwrap());
    // When the newest message was meant that was shown, now and when none before it was missing.
    let (mut newest, mut complete) = (Duration::ZERO, Duration::ZERO);
    // Whether older ones may be missing, in which conversation, and whether they were asked for.
    let (mut lacks, mut of) = (false, None);
    loop {
        let (mut client, node) = device.connect().await;
        pair.lock().unwrap().arrived(1, node);
        let (mut asked, mut before) = (false, None);
        while let Some(frame) = device.next(&mut client).await {
            let messages = match &frame {
                ServerFrame::Message(message) => std::slice::from_ref(message),
                ServerFrame::History(page) => {
                    let oldest = page.messages.last();
                    let reaches = |oldest: &Message| meant(oldest) + OVERLAP < complete;
                    lacks = page.more && !oldest.is_some_and(reaches);
                    (before, asked) = (oldest.map(|message| message.id), false);
                    pair.lock().unwrap().lacks = lacks;
                    &page.messages
                }
                ServerFrame::Reset(_) => {
                    (lacks, before) = (true, None);
                    &[][..]
                }
                ServerFrame::Synced(_) => &[],
                // A question that was not answered is asked again.
                ServerFrame::Error(error) => {
                    asked = false;
                    pair.lock().unwrap().unanswered = Some(error.code);
                    sleep(Duration::from_millis(error.retry_after_ms.unwrap_or(200))).await;
                    &[]
                }
                _ => continue,
            };
            {
                let mut pair = pair.lock().unwrap();
                if let ServerFrame::Message(message) = &frame {
                    pair.told[1].count(message.id);
                }
                for message in messages {
                    of = Some(message.conversation);
                    newest = newest.max(meant(message));
                    let first = !pair.shown.contains_key(&message.r#ref);
                    pair.shown.entry(message.r#ref).or_default().insert(message.id);
                    if first {
                        pair.got.push((meant(message), begun.elapsed()));
                    }
                }
            }
            if let (true, false, Some(conversation)) = (lacks, asked, of) {
                let (r#ref, limit) = (new_ref(), Some(100));
                let question = HistoryQuery { r#ref, conversation, before, limit };
                if client.try_tell(question).await.is_err() {
                    break;
                }
                asked = true;
            }
            if matches!(frame, ServerFrame::Synced(_) | ServerFrame::History(_)) && !lacks {
                complete = newest;
            }
        }
    }
}
