//! What the figures of every store are taken with: messages, a load, and pages.

#![allow(dead_code, reason = "each example takes what it needs")]

use std::time::Duration;

use rally_cluster::store::{
    Change, ChangeKind, Commit, Head, InboxCells, MemberWrite, MessageWrite, Store,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, MessageId, Ref, UserId};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// When everything here happens.
pub const T0: u64 = 1_790_000_000_000;

/// A message's text, as long as people's are.
pub const TEXT: &str = "A hundred bytes of text, which is about what people write to each other on a \
                    phone when they talk.";

/// Names a user.
pub fn user(n: u64) -> UserId {
    format!("user{n}").parse().expect("a user id")
}

/// The commit of the `nth` message, five rows: from one of a pair to the other.
pub fn sent(nth: u64, one: UserId, other: UserId) -> Commit {
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
pub fn among_200(nth: u64) -> Commit {
    let from = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    sent(nth, user(from % 100), user(100 + (from / 100) % 100))
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

/// Commits what `nth` gives at a rate, whether or not earlier ones are done: how long each waited,
/// and what it cost this process.
pub async fn load(
    store: &impl Store,
    what: &str,
    rate: u64,
    seconds: u64,
    nth_commit: impl Fn(u64) -> Commit,
) {
    let mut waits = Vec::new();
    let (began, cpu) = (Instant::now(), cpu_us());
    let mut tasks = JoinSet::new();
    let (mut told, mut tick) = (0, tokio::time::interval(Duration::from_millis(1)));
    while began.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        let due = began.elapsed().as_micros() as u64 * rate / 1_000_000;
        for nth in told..due {
            let commit = store.commit(vec![nth_commit(nth)]);
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
        "{what}, asked {rate}/s: {}/s, {} us CPU a message, wait p50 {:?} p99 {:?} max {:?}",
        count * 1000 / took.as_millis() as u64,
        cpu / count,
        percentile(&waits, 50),
        percentile(&waits, 99),
        percentile(&waits, 100),
    );
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

/// Times what a client asks for: history, counts, inboxes of three sizes, a catch-up.
pub async fn pages(store: &impl Store) {
    let (ana, ben) = (user(1), user(2));
    let conversation = ConversationId::direct(ana, ben);
    if store.history(conversation, None, 1).await.expect("read").is_empty() {
        let long = (0..50_000).map(|nth| sent(nth, ana, ben));
        // Of 10, 1,000 and 10,000 conversations, one message each, and 100 entries a log more.
        let wide = [(10, 10), (11, 1_000), (12, 10_000)].into_iter().flat_map(|(who, count)| {
            (0..count).map(move |peer| sent(100_000 + peer, user(who), user(1_000 + peer)))
        });
        let all: Vec<Commit> = long.chain(wide).collect();
        for part in all.chunks(200) {
            store.commit(part.to_vec()).await.expect("committed");
        }
    }
    time("newest 50 of 50,000", async || {
        store.history(conversation, None, 50).await.expect("read").len()
    })
    .await;
    let (middle, last) = (MessageId::first_of(T0 + 25), MessageId::from_bytes([0xff; 16]));
    time("50 in the middle of 50,000", async || {
        store.history(conversation, Some(middle), 50).await.expect("read").len()
    })
    .await;
    time("unread, 1,000 of 50,000", async || {
        store.unread(conversation, ana, Some(middle), last, 1_000).await.expect("read")
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
}
