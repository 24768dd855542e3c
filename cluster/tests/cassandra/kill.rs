//! A node that dies under the suite, if the environment says how to kill one.

use std::collections::HashSet;
use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::{Store, StoreError};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, MessageId, Ref};
use tokio::time::Instant;
use uuid::Uuid;

use crate::database::{A_NODE_IS_DEAD, Keyspace};

/// How many checks begin before the node dies.
const BEFORE: usize = 12;

/// Gives the shell command that kills a node.
pub fn command() -> Option<String> {
    env::var("RALLY_TEST_CASSANDRA_KILL").ok()
}

/// Kills the node when it is the turn, once.
pub fn sometime() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let nth = BEGUN.fetch_add(1, Ordering::Relaxed);
    if let Some(command) = command().filter(|_| nth == BEFORE) {
        kill(&command);
    }
}

fn kill(command: &str) {
    A_NODE_IS_DEAD.store(true, Ordering::Relaxed);
    println!("now: {command}");
    let done = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}: {done}");
}

/// Writes without pause, a node is killed, and writing goes on: what was acknowledged is there,
/// and what was unknown is resolved by a repeat. To be run alone, by its name, with the command:
/// the suite kills the node, too.
#[tokio::test]
#[ignore = "needs Cassandra of three nodes, and RALLY_TEST_CASSANDRA_KILL"]
async fn what_was_acknowledged_survives_the_death_of_a_node() {
    let Some(command) = command() else {
        panic!("set RALLY_TEST_CASSANDRA_KILL to a command that kills one of three nodes");
    };
    let keyspace = Keyspace::empty().await;
    let store = keyspace.open().await;
    let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
    let pair = Pair::direct(ana, ben);
    let begun = Instant::now();
    let (mut acked, mut unknown, mut n, mut killing) = (HashSet::new(), 0, 0_u64, None);
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(30) {
        if killing.is_none() && begun.elapsed() > Duration::from_secs(5) {
            let command = command.clone();
            killing = Some(tokio::task::spawn_blocking(move || kill(&command)));
        }
        let together = (0..16).map(|_| {
            n += 1;
            let stamp = Stamp { at: 1_790_000_000_000 + n, n: 0 };
            let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(1, n)), format!("message {n}"));
            let id = MessageId::of(stamp, ana, pair.conversation, r#ref, &text);
            let intent = Intent::Send { id, r#ref, text, reply_to: None };
            let mut minted = 0;
            let commit = intent.commit(pair, || {
                minted += 1;
                ChangeId::of(stamp, minted)
            });
            let store = store.clone();
            async move {
                let (begun, mut repeats) = (Instant::now(), 0);
                loop {
                    match store.commit(vec![commit.clone()]).await {
                        Ok(()) => return (id, repeats, begun.elapsed()),
                        Err(StoreError::Unknown(_)) => repeats += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        for (id, repeats, took) in join_all(together.collect::<Vec<_>>()).await {
            acked.insert(id);
            unknown += repeats;
            slowest = slowest.max(took);
        }
    }
    killing.expect("it took longer than that").await.expect("the node was killed");
    let rows = store.history(pair.conversation, None, usize::MAX).await.unwrap();
    let there: HashSet<MessageId> = rows.iter().map(|row| row.id).collect();
    println!("{} acknowledged, {unknown} repeats, slowest {slowest:?}", acked.len());
    assert_eq!(there, acked);
    let log = store.changes(ben, ChangeId::first_of(0), usize::MAX).await.unwrap();
    assert_eq!(log.len(), acked.len());
}
