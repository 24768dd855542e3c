//! Thousands of clients of one node, and how soon they are back when it dies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rally_schema::frame::ServerFrame;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::device::Device;
use super::harness::client::Client;
use super::harness::cluster::Cluster;
use super::trial::{NODES, Trial, calm, count, seconds};

/// Devices of each user: what they have missed is read once for all of one user's at a node.
const DEVICES: usize = 5;

/// Users to whom one writes: no more than what he may send at once.
const READERS: usize = 50;

/// Users that are registered at once.
const AT_ONCE: usize = 8;

/// Clients of the node when it dies before and after the crowd's death: what others wait then is what
/// a death costs them, and no crowd. Where the pairs are, and so who waits, is another thing each time.
const FEW: usize = 50;

/// Clients of the node when it dies again (`RALLY_TEST_CROWD`).
const CLIENTS: usize = 500;

/// Within how long all of them must be connected and caught up elsewhere.
const BACK: Duration = Duration::from_secs(15);

/// How long messages of others flow before and after, so that there is a p99 of them.
const SPAN_S: usize = 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn all_clients_of_a_node_that_dies_are_soon_back_and_others_go_on() {
    let mut trial = Trial::of_three().await;
    let crowd = count("RALLY_TEST_CROWD", CLIENTS);
    // One that is hardly larger says nothing more for being compared.
    let deaths = if crowd < 2 * FEW { vec![crowd] } else { vec![FEW, crowd, FEW] };
    for (nth, clients) in deaths.into_iter().enumerate() {
        a_node_dies(&mut trial, &format!("crowd{nth}of"), clients).await;
    }
    trial.end("the node of a crowd died").await;
}

/// Has a node die that has so many clients, and start again; their users are called so.
async fn a_node_dies(trial: &mut Trial, called: &str, clients: usize) {
    let victim = 0;
    let crowd = Crowd::at(&trial.nodes, victim, called, clients).await;
    calm().await;
    let (others, span) = (trial.load.elsewhere(victim), seconds("RALLY_TEST_SPAN", SPAN_S));
    assert!(!others.is_empty(), "some pair has nobody at node {victim}");
    let begun = trial.load.now();
    sleep(span).await;
    let mut writers = crowd.writers(&trial.nodes, victim, called).await;
    let (killed, at) = (trial.load.now(), Instant::now());
    trial.to(victim, |node| node.kill());
    crowd.are_written_to(&mut writers).await;
    let back = crowd.back_since(at).await;
    sleep(span.saturating_sub(at.elapsed())).await;
    let before = trial.load.p99_ms(&others, begun, killed);
    let during = trial.load.p99_ms(&others, killed, trial.load.now());
    let what = format!(
        "{} clients of a node that died were back and had what they missed after {:.2} s (p50 {:.2}); \
         {} pairs elsewhere waited {before:.0} ms (p99) before and {during:.0} meanwhile",
        crowd.clients(),
        back[back.len() - 1].as_secs_f64(),
        back[back.len() / 2].as_secs_f64(),
        others.len()
    );
    trial.flows(killed, &what).await;
    assert!(back[back.len() - 1] <= BACK, "all are back within {BACK:?}");
    trial.to(victim, |node| node.restart());
    crowd.go();
}

/// Clients of all nodes.
struct Crowd {
    /// When each of those at the node that dies last caught up, and was last shown a message.
    came: Vec<Arc<Mutex<Came>>>,
    /// Who they are.
    people: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
}

/// When a client last caught up, and was last shown a message.
#[derive(Default)]
struct Came {
    synced: Option<Instant>,
    shown: Option<Instant>,
}

impl Came {
    /// Gives when both had happened, if they did after a moment.
    fn since(&self, since: Instant) -> Option<Instant> {
        self.synced.min(self.shown).filter(|first| *first > since)?;
        self.synced.max(self.shown)
    }
}

impl Crowd {
    /// Connects clients of users called so until so many are at a node, and waits until these have caught up.
    async fn at(nodes: &Cluster, node: usize, called: &str, clients: usize) -> Self {
        let name = format!("node-{node}");
        let mut this = Self { came: Vec::new(), people: Vec::new(), tasks: Vec::new() };
        let addresses = nodes.addresses();
        for round in 0.. {
            if this.clients() >= clients {
                break;
            }
            let register = |nth| {
                let name = format!("{called}{}", round * AT_ONCE + nth);
                let (_, at) = nodes.all().nth(nth % NODES).unwrap();
                async move { nodes.person(&name, at).await }
            };
            for person in join_all((0..AT_ONCE).map(register)).await {
                let device = || Device::new(&person.name, &person.token, &addresses);
                // Where one is placed all of the user's are. Others are kept, too: a node that has
                // more than its share is given no more.
                let (_, placed) = device().connect().await;
                (0..DEVICES).for_each(|_| this.join(device(), placed == name));
                if placed == name {
                    this.people.push(person.name);
                }
            }
        }
        let all = || this.came.iter().all(|came| came.lock().unwrap().synced.is_some());
        super::harness::eventually("the crowd has caught up", async || all()).await;
        this
    }

    fn join(&mut self, device: Device, counts: bool) {
        let came = Arc::<Mutex<Came>>::default();
        self.tasks.push(tokio::spawn(stay(device, came.clone())));
        if counts {
            self.came.push(came);
        }
    }

    fn clients(&self) -> usize {
        self.came.len()
    }

    /// Connects who can write to all of them, at other nodes than one.
    async fn writers(&self, nodes: &Cluster, but: usize, called: &str) -> Vec<Client> {
        let (but, addresses) = (format!("node-{but}"), nodes.addresses());
        let mut writers = Vec::new();
        for nth in 0.. {
            if writers.len() * READERS >= self.people.len() {
                break;
            }
            let (_, at) = nodes.all().nth(nth % NODES).unwrap();
            let person = nodes.person(&format!("{called}by{nth}"), at).await;
            let mut device = Device::new(&person.name, &person.token, &addresses);
            let (mut writer, placed) = device.connect().await;
            writer.caught_up().await;
            writers.extend((placed != but).then_some(writer));
        }
        writers
    }

    /// Has each of the users written to at once: all clients of theirs that are away miss it.
    async fn are_written_to(&self, writers: &mut [Client]) {
        let write = async |(writer, readers): (&mut Client, &[String])| {
            for reader in readers {
                let draft = writer.draft(reader, "while you were away");
                writer.tell(draft).await;
            }
            let mut acks = 0;
            while acks < readers.len() {
                match writer.next().await.expect("a node that lives keeps its clients") {
                    ServerFrame::Ack(_) => acks += 1,
                    ServerFrame::Error(error) => panic!("{error:?}"),
                    _ => {}
                }
            }
        };
        join_all(writers.iter_mut().zip(self.people.chunks(READERS)).map(write)).await;
    }

    /// Waits until each has caught up since a moment, and shows what it missed; gives how long after
    /// it, in order.
    async fn back_since(&self, since: Instant) -> Vec<Duration> {
        loop {
            let after = |came: &Arc<Mutex<Came>>| Some(came.lock().unwrap().since(since)? - since);
            let all: Option<Vec<Duration>> = self.came.iter().map(after).collect();
            if let Some(mut all) = all {
                all.sort_unstable();
                return all;
            }
            assert!(
                since.elapsed() < 4 * BACK,
                "the crowd is not back after {:?}",
                since.elapsed()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn go(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Stays connected, and notes when it has caught up and is shown something.
async fn stay(mut device: Device, came: Arc<Mutex<Came>>) {
    loop {
        let (mut client, _) = device.connect().await;
        while let Some(frame) = device.next(&mut client).await {
            let mut came = came.lock().unwrap();
            match frame {
                ServerFrame::Synced(_) | ServerFrame::Reset(_) => {
                    came.synced = Some(Instant::now())
                }
                ServerFrame::Message(_) => came.shown = Some(Instant::now()),
                _ => {}
            }
        }
    }
}
