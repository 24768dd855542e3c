//! The same histories on Cassandra: whatever people do, in whatever order it arrives and however
//! often, its rows read as the model says. The log does not expire here: that takes days.
//!
//! ```text
//! cargo test -p rally-cluster --test model -- --ignored
//! ```

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rally_cluster::store::{Commit, Model, Store};
use uuid::Uuid;

use crate::acts::{Act, World, acts};
use crate::database::Keyspace;
use crate::picture::{difference, picture};
use crate::truth;

/// How many histories: each begins in an emptied keyspace, and asks everything after each step.
const CASES: u32 = 24;

/// Lists of acts, each of them one commit; those of one step are under way at once.
fn history() -> impl Strategy<Value = Vec<Vec<Vec<Act>>>> {
    prop::collection::vec(prop::collection::vec(acts(), 1..4), 1..8)
}

async fn judge(steps: Vec<Vec<Vec<Act>>>) -> Result<(), TestCaseError> {
    let keyspace = Keyspace::empty().await;
    let mut store = keyspace.open().await;
    let (model, mut world) = (Model::new(Uuid::nil().into(), [0; 32]), World::default());
    let mut written: Vec<Commit> = Vec::new();
    for (nth, step) in steps.iter().enumerate() {
        let commits: Vec<Vec<Commit>> = step.iter().map(|acts| world.commit(acts)).collect();
        // What is unknown is sent again: here everything is, at any time.
        let twice = commits.iter().chain(&commits).map(|commit| store.commit(commit.clone()));
        join_all(twice).await.into_iter().for_each(|done| done.unwrap());
        for commit in commits {
            model.commit(commit.clone()).await.unwrap();
            written.extend(commit);
        }
        let (found, expected) = (picture(&store).await, picture(&model).await);
        if let Some(difference) = difference(&found, &expected) {
            return Err(TestCaseError::fail(format!("after step {nth}: {difference}")));
        }
        truth::judge(&store, &written.iter().collect::<Vec<_>>()).await;
        if nth == 2 {
            store = keyspace.open().await;
            // No node writes heartbeats here, from which a store that is opened knows the time.
            store.commit(written.clone()).await.unwrap();
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs Cassandra: cargo xtask services up"]
fn a_history_on_cassandra_reads_as_the_model_says() {
    let config = ProptestConfig { cases: CASES, max_shrink_iters: 60, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&history(), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(judge(steps))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
