//! Measures the embedded store alone: what its doc comments and ARCHITECTURE.md quote.
//!
//! ```text
//! cargo run --release -p rally-cluster --example store_figures -- COMMAND FOLDER [NUMBERS]
//!
//! load FOLDER RATE SECONDS GATHER_US   commits at a rate: wait, and CPU of the whole process
//! fill FOLDER MESSAGES                 as fast as it goes, then stays until it is killed
//! open FOLDER                          time to open, then a clean stop
//! kill FOLDER MESSAGES                 fills, kills, and opens what is left
//! pages FOLDER                         history of 50,000, inboxes, catch-up among 10,000
//! ```

use std::env::args;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rally_cluster::store::embedded::{CommitFailed, EmbeddedStore, Options};
use rally_cluster::store::{
    Change, ChangeKind, Commit, Head, InboxCells, MemberWrite, MessageWrite, Store,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, MessageId, Ref, UserId};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// When everything here happens.
const T0: u64 = 1_790_000_000_000;

/// A message's text, as long as people's are.
const TEXT: &str = "A hundred bytes of text, which is about what people write to each other on a \
                    phone when they talk.";

fn user(n: u64) -> UserId {
    format!("user{n}").parse().expect("a user id")
}

/// The commit of the `nth` message, five rows: from one of a pair to the other.
fn sent(nth: u64, one: UserId, other: UserId) -> Commit {
    let stamp = Stamp { at: T0 + nth / 1000, n: (nth % 1000) as u16 };
    let conversation = ConversationId::direct(one, other);
    let (sender, to) = if nth.is_multiple_of(2) { (one, other) } else { (other, one) };
    let r#ref = Ref::from(Uuid::from_u64_pair(nth, nth));
    let id = MessageId::of(stamp, sender, conversation, r#ref, TEXT);
    let change = ChangeId::of(stamp, nth);
    let change = Change { change, conversation, id, kind: ChangeKind::Message };
    let head = Head::of(id, sender, TEXT);
    let cells = InboxCells { head: Some(head), ..InboxCells::default() };
    let body = TEXT.to_owned();
    let message = Some(MessageWrite::Put { id, sender, to, r#ref, body, reply_to: None });
    let member =
        |user, peer| MemberWrite { user, peer, cells: cells.clone(), change: Some(change) };
    Commit { conversation, message, members: vec![member(one, other), member(other, one)] }
}

/// The commit of the `nth` message among 200 users.
fn among_200(nth: u64) -> Commit {
    let from = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    sent(nth, user(from % 100), user(100 + (from / 100) % 100))
}

type Running = (EmbeddedStore, JoinHandle<Result<(), CommitFailed>>);

fn open(folder: &str, options: Options) -> Running {
    let (store, commit_loop) = EmbeddedStore::open(Path::new(folder), options).expect("opened");
    let running = thread::spawn(move || commit_loop.run());
    (store, running)
}

/// Tells the process's CPU time so far, in microseconds.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux /proc");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    (ticks(12) + ticks(13)) * 10_000
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

async fn load(folder: &str, rate: u64, seconds: u64, group_interval_us: u64) {
    let options = Options { group_interval_us, ..Options::default() };
    let (store, running) = open(folder, options);
    let first = store.high_water_ms().saturating_sub(T0) * 1000;
    let mut waits = Vec::new();
    let (began, cpu) = (Instant::now(), cpu_us());
    let mut tasks = JoinSet::new();
    let (mut told, mut tick) = (0, tokio::time::interval(Duration::from_millis(1)));
    while began.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        let due = began.elapsed().as_micros() as u64 * rate / 1_000_000;
        for nth in told..due {
            let commit = store.commit(vec![among_200(1_000_000 + first + nth)]);
            let asked = Instant::now();
            tasks.spawn(async move {
                commit.await.expect("committed");
                asked.elapsed()
            });
        }
        told = due;
        while let Some(wait) = tasks.try_join_next() {
            waits.push(wait.expect("joined"));
        }
    }
    waits.extend(tasks.join_all().await);
    let (took, cpu) = (began.elapsed(), cpu_us() - cpu);
    waits.sort_unstable();
    let count = waits.len() as u64;
    println!(
        "asked {rate}/s gather {group_interval_us} us: {}/s, {} us CPU a message, wait p50 {:?} p99 {:?} max {:?}",
        count * 1000 / took.as_millis() as u64,
        cpu / count,
        percentile(&waits, 50),
        percentile(&waits, 99),
        percentile(&waits, 100),
    );
    store.close();
    running.join().expect("joined").expect("written");
}

async fn fill(folder: &str, messages: u64) {
    let (store, _running) = open(folder, Options::default());
    let began = Instant::now();
    for first in (0..messages).step_by(256) {
        let commits = (first..messages.min(first + 256)).map(among_200).collect();
        store.commit(commits).await.expect("committed");
    }
    println!("{messages} messages in {:?}", began.elapsed());
    // Until it is killed.
    for nth in messages.. {
        store.commit(vec![among_200(nth)]).await.expect("committed");
    }
}

/// Fills a folder in another process, kills that one amid its writes, and opens what is left.
fn kill(folder: &str, messages: &str) {
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me)
        .args(["fill", folder, messages])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let said = child.stdout.take().expect("piped");
    let filled = BufReader::new(said).lines().next().expect("a line").expect("read");
    child.kill().expect("killed");
    child.wait().expect("ended");
    println!("{filled}");
    reopen(folder);
    reopen(folder);
}

fn reopen(folder: &str) {
    let began = Instant::now();
    let (store, running) = open(folder, Options::default());
    let opened = began.elapsed();
    let one = ConversationId::direct(user(0), user(100));
    let read = futures_util::future::FutureExt::now_or_never(store.history(one, None, 1));
    read.expect("at once").expect("read");
    println!("opened in {opened:?}, first page after {:?}", began.elapsed());
    let began = Instant::now();
    store.close();
    running.join().expect("joined").expect("written");
    println!("closed in {:?}", began.elapsed());
}

/// Times `f` many times, the first apart: it may read the disk.
async fn time<T>(what: &str, mut f: impl AsyncFnMut() -> T) {
    let began = Instant::now();
    f().await;
    let first = began.elapsed();
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        f().await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let [p50, p99, worst] = [50, 99, 100].map(|percent| percentile(&times, percent));
    println!("{what}: first {first:?}, p50 {p50:?}, p99 {p99:?}, worst {worst:?}");
}

async fn pages(folder: &str) {
    let (store, running) = open(folder, Options { group_interval_us: 0, ..Options::default() });
    let (ana, ben) = (user(1), user(2));
    let conversation = ConversationId::direct(ana, ben);
    if store.history(conversation, None, 1).await.expect("read").is_empty() {
        let long = (0..50_000).map(|nth| sent(nth, ana, ben));
        // Of 10, 1,000 and 10,000 conversations, one message each, and 100 entries a log more.
        let wide = [(10, 10), (11, 1_000), (12, 10_000)].into_iter().flat_map(|(who, count)| {
            (0..count).map(move |peer| sent(100_000 + peer, user(who), user(1_000 + peer)))
        });
        let all: Vec<Commit> = long.chain(wide).collect();
        for part in all.chunks(500) {
            store.commit(part.to_vec()).await.expect("committed");
        }
    }
    time("newest 50 of 50,000", async || {
        store.history(conversation, None, 50).await.expect("read").len()
    })
    .await;
    let middle = MessageId::first_of(T0 + 25);
    time("50 in the middle of 50,000", async || {
        store.history(conversation, Some(middle), 50).await.expect("read").len()
    })
    .await;
    time("unread, 1,000 of 50,000", async || {
        store.unread(conversation, ana, Some(middle), 1_000).await.expect("read")
    })
    .await;
    for (who, count) in [(10, 10), (11, 1_000), (12, 10_000)] {
        time(&format!("newest 100 of an inbox of {count}"), async || {
            store.inbox(user(who), None, 100).await.expect("read").0.len()
        })
        .await;
    }
    let after = ChangeId::first_of(T0 + 109);
    time("catch-up of 50 changes among 10,000 conversations", async || {
        let changes = store.changes(user(12), after, 50).await.expect("read");
        let conversations = changes.iter().map(|change| change.conversation).collect();
        store.inbox_rows(user(12), conversations).await.expect("read");
        for change in &changes {
            store.messages(change.conversation, vec![change.id]).await.expect("read");
        }
        assert_eq!(changes.len(), 50);
    })
    .await;
    store.close();
    running.join().expect("joined").expect("written");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match args[..] {
        ["load", folder, rate, seconds, gather] => {
            load(folder, number(rate), number(seconds), number(gather)).await;
        }
        ["fill", folder, messages] => fill(folder, number(messages)).await,
        ["open", folder] => reopen(folder),
        ["kill", folder, messages] => kill(folder, messages),
        ["pages", folder] => pages(folder).await,
        _ => println!(
            "load FOLDER RATE SECONDS GATHER_US | fill FOLDER MESSAGES | open FOLDER | \
             kill FOLDER MESSAGES | pages FOLDER"
        ),
    }
}
