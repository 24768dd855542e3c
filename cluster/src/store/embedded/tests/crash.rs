//! A process that is killed in the middle of its commits: what it was told is durable is there,
//! and no commit is there by half.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, MessageId, Ref, UserId};
use uuid::Uuid;

use super::{Durability, Options, Running};
use crate::intent::{Intent, Pair};
use crate::store::Store;

/// Names the folder to the process that is killed.
const FOLDER: &str = "RALLY_TEST_VICTIM_FOLDER";

/// Writes under way at once.
const AT_ONCE: usize = 16;

/// Acknowledgements after which the process is killed.
const ENOUGH: usize = 300;

const SYNCED: Options = Options {
    durability: Durability::Sync,
    group_interval_us: 200,
    queue_bytes: 1 << 20,
    cache_bytes: 1 << 20,
};

fn pair(nth: u64) -> Pair {
    let name = |n: u64| format!("user{n}").parse::<UserId>().unwrap();
    Pair::direct(name(nth % 5), name(5 + nth % 3))
}

fn message(nth: u64) -> (Pair, MessageId, Intent) {
    let (pair, text) = (pair(nth), format!("message {nth}"));
    let r#ref = Ref::from(Uuid::from_u64_pair(1, nth));
    let stamp = Stamp { at: 1_790_000_000_000 + nth, n: 0 };
    let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
    (pair, id, Intent::Send { id, r#ref, text, reply_to: None })
}

/// The process that is killed: commits without end and says which were acknowledged.
#[tokio::test]
#[ignore = "started by the test below, and killed by it"]
async fn victim() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("named by the killer"));
    let (store, commit_loop) = super::EmbeddedStore::open(&folder, SYNCED).unwrap();
    std::thread::spawn(move || commit_loop.run());
    let first: u64 = store.high_water_ms().saturating_sub(1_790_000_000_000) + 1;
    for nth in (first..).step_by(AT_ONCE) {
        let commits = (nth..nth + AT_ONCE as u64).map(|nth| {
            let (pair, _, intent) = message(nth);
            let mut minted = 0;
            let commit = intent.commit(pair, || {
                minted += 1;
                ChangeId::of(Stamp { at: 1_790_000_000_000 + nth, n: minted }, 7)
            });
            let written = store.commit(vec![commit]);
            async move {
                written.await.unwrap();
                println!("acked {nth}");
            }
        });
        join_all(commits).await;
    }
}

/// Runs the victim on `folder` until it has acknowledged enough, kills it, says what it told.
fn kill_one(folder: &std::path::Path) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::embedded::tests::crash::victim", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acked = |line: String| line.strip_prefix("acked ").and_then(|nth| nth.parse().ok());
    let mut told: Vec<u64> = lines.by_ref().filter_map(acked).take(ENOUGH).collect();
    assert_eq!(told.len(), ENOUGH, "the victim ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts; its last line may be cut, and then proves nothing.
    told.extend(lines.filter_map(acked));
    told
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill_and_none_is_there_by_half() {
    let mut dir = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    for _ in 0..5 {
        let told = kill_one(dir.path());
        // A cut line would read as a smaller number.
        acked.extend(&told[..told.len() - 1]);
        let running = Running::open(dir, SYNCED).unwrap();
        let last = acked.iter().max().copied().unwrap();
        let mut found = 0;
        for nth in 1..=last + 2 * AT_ONCE as u64 {
            let (pair, id, _) = message(nth);
            let rows = running.store.messages(pair.conversation, vec![id]).await.unwrap();
            let mut logged = 0;
            for user in [pair.actor, pair.peer] {
                let after = ChangeId::first_of(1_790_000_000_000 + nth);
                let log = running.store.changes(user, after, 1).await.unwrap();
                logged += log.iter().filter(|change| change.id == id).count();
            }
            let whole = if rows.is_empty() { 0 } else { 2 };
            assert_eq!(logged, whole, "message {nth} is there by half");
            assert!(!acked.contains(&nth) || whole == 2, "message {nth} was acknowledged");
            found += rows.len();
        }
        assert!(found >= acked.len());
        (dir, _) = running.stop();
    }
}
