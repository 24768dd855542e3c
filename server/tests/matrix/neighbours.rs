//! People who do nothing wrong and notice everything: pairs that write to each other at a steady
//! rate, whatever anybody else does.
//!
//! They live on a thread of their own, so that it is the server that keeps them waiting and not
//! the attackers' work in this process. A message is late from the moment at which it was to be
//! sent, not from that at which its sender got round to it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rally_schema::ServerFrame;
use rally_schema::frame::Message;
use tokio::net::TcpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval_at};

use crate::harness::{Client, eventually};
use crate::scene::Visitor;

/// Pairs who write to each other, both ways.
const PAIRS: u8 = 12;

/// How often each of them writes.
const PACE: Duration = Duration::from_millis(100);

/// Everybody who chats on.
pub struct Neighbours {
    ledger: Arc<Mutex<Ledger>>,
    leave: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What was written, what was heard, and what was wrong.
struct Ledger {
    /// What nobody has heard yet: by writer and number, when it was to be sent.
    open: BTreeMap<(String, u64), Instant>,
    /// When each was to be sent, and how long it took from then.
    heard: Vec<(Instant, Duration)>,
    seen: HashSet<(String, u64)>,
    wrong: Vec<String>,
}

impl Neighbours {
    /// Has them move in, each at an address of his own, and begin to write.
    pub async fn move_in(visitor: impl Fn() -> Visitor) -> Self {
        let (open, heard, seen, wrong) = Default::default();
        let ledger = Arc::new(Mutex::new(Ledger { open, heard, seen, wrong }));
        let (leave, left) = watch::channel(false);
        let visitors: Vec<Visitor> = (0..2 * PAIRS).map(|_| visitor()).collect();
        let (settled, moved_in) = oneshot::channel();
        let thread = std::thread::spawn({
            let ledger = ledger.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async move {
                    // Accounts take their time, and nobody answers pings for who is connected.
                    let mut tokens = Vec::new();
                    for visitor in &visitors {
                        tokens.push(visitor.register().await);
                    }
                    let mut people = Vec::new();
                    for (visitor, token) in visitors.iter().zip(&tokens) {
                        let socket = TcpSocket::new_v4().unwrap();
                        people.push(visitor.enter(token, socket, None).await);
                    }
                    let begin = Instant::now() + PACE;
                    let names: Vec<String> =
                        people.iter().map(|one| one.user.to_string()).collect();
                    let lives: Vec<_> = people
                        .into_iter()
                        .enumerate()
                        .map(|(i, me)| {
                            let (peer, begin) =
                                (names[i ^ 1].clone(), begin + PACE / 24 * i as u32);
                            tokio::spawn(live(me, peer, begin, ledger.clone(), left.clone()))
                        })
                        .collect();
                    settled.send(()).unwrap();
                    for life in lives {
                        life.await.unwrap();
                    }
                });
            }
        });
        moved_in.await.expect("the neighbours move in");
        Self { ledger, leave, thread: Some(thread) }
    }

    /// Waits until all is heard that was to be sent from `begun` until now, and gives how many
    /// messages that were, and what 99 of 100 took at most.
    pub async fn p99_since(&self, begun: Instant) -> (usize, Duration) {
        let until = Instant::now();
        eventually("the neighbours hear what was written to them", async || {
            let ledger = self.ledger.lock().unwrap();
            assert!(ledger.wrong.is_empty(), "{:#?}", ledger.wrong);
            ledger.open.values().all(|sent| *sent > until)
        })
        .await;
        let ledger = self.ledger.lock().unwrap();
        let within = ledger.heard.iter().filter(|(sent, _)| (begun..until).contains(sent));
        let mut took: Vec<Duration> = within.map(|(_, took)| *took).collect();
        assert!(took.len() >= 100, "{} messages are too few", took.len());
        took.sort();
        (took.len(), took[(took.len() * 99).div_ceil(100) - 1])
    }

    /// Has them stop writing, and leave once they have heard everything.
    pub async fn move_out(mut self) {
        self.p99_since(Instant::now() - 10 * PACE).await;
        self.leave.send(true).unwrap();
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        let ledger = self.ledger.lock().unwrap();
        assert!(ledger.wrong.is_empty(), "{:#?}", ledger.wrong);
        println!("neighbours: {} messages, none lost, none doubled", ledger.heard.len());
    }
}

/// Writes and listens until told to leave.
async fn live(
    mut me: Client,
    peer: String,
    begin: Instant,
    ledger: Arc<Mutex<Ledger>>,
    mut left: watch::Receiver<bool>,
) {
    let mut pace = interval_at(begin, PACE);
    let mut number = 0;
    loop {
        tokio::select! {
            at = pace.tick() => {
                let name = me.user.to_string();
                ledger.lock().unwrap().open.insert((name, number), at);
                let draft = me.draft(&peer, &number.to_string());
                number += 1;
                if me.try_tell(draft).await.is_err() {
                    return ledger.lock().unwrap().fault(&me, "was cut off");
                }
            }
            frame = me.next() => match frame {
                Some(ServerFrame::Message(message)) => {
                    let (conversation, id) = (message.conversation, message.id);
                    ledger.lock().unwrap().hear(&me, message);
                    me.delivered(conversation, id).await;
                }
                Some(ServerFrame::Error(error)) => {
                    ledger.lock().unwrap().fault(&me, &format!("was told {error:?}"));
                }
                Some(ServerFrame::Bye(bye)) => {
                    return ledger.lock().unwrap().fault(&me, &format!("was sent away: {bye:?}"));
                }
                None => return ledger.lock().unwrap().fault(&me, "was disconnected"),
                Some(_) => {}
            },
            () = async { drop(left.wait_for(|left| *left).await) } => return,
        }
    }
}

impl Ledger {
    fn fault(&mut self, me: &Client, what: &str) {
        self.wrong.push(format!("{} {what}", me.user));
    }

    fn hear(&mut self, me: &Client, message: Message) {
        let key = (message.sender.to_string(), message.text.parse().unwrap());
        if !self.seen.insert(key.clone()) {
            self.fault(me, &format!("heard {key:?} twice"));
        }
        match self.open.remove(&key) {
            Some(sent) => self.heard.push((sent, sent.elapsed())),
            None => self.fault(me, &format!("heard {key:?}, which was open no more")),
        }
    }
}
