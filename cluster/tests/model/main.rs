//! Random histories: whatever people do, in whatever order, and however the process ends, the
//! embedded store reads as the model does.
//!
//! A process that dies while commits are under way leaves those that it acknowledged and, of
//! the others, the first so many: each whole or not at all. `cassandra.rs` runs such histories on
//! a cluster, without the deaths. `acts.rs` says what people do,
//! `folder.rs` how a process ends, `picture.rs` what is compared, `truth.rs` what both must say.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod acts;
mod cassandra;
#[path = "../cassandra/database.rs"]
mod database;
mod folder;
mod picture;
mod truth;

use std::fmt;

use futures_util::future::join_all;
use proptest::prelude::*;
use rally_cluster::store::{Commit, Model, Store};
use uuid::Uuid;

use acts::{Act, STEP, T0, World, acts};
use folder::{Cut, Running};
use picture::{difference, picture};

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Each list is one commit; all are under way at once.
    Together(Vec<Vec<Act>>),
    /// The process is killed and started again.
    Kill,
    /// The process ends cleanly and is started again.
    Restart,
    /// The log forgets.
    Expire { at: u64 },
    /// The process is killed when so many of these commits were acknowledged, or some more.
    KillAmid { commits: Vec<Vec<Act>>, acked: usize },
    /// The power goes while the last of these commits is being written: it is not acknowledged,
    /// and some of it is not on the disk.
    PowerCutAmid { commits: Vec<Vec<Act>>, cut: Cut },
}

/// Printed as one line a step.
struct History(Vec<Step>);

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "\n  {step:?}"))
    }
}

fn history() -> impl Strategy<Value = History> {
    let together = || prop::collection::vec(acts(), 1..4);
    let step = prop_oneof![
        10 => together().prop_map(Step::Together),
        1 => Just(Step::Kill),
        1 => Just(Step::Restart),
        1 => (0..12_u64).prop_map(|at| Step::Expire { at }),
        2 => (together(), 0..4_usize)
            .prop_map(|(commits, acked)| Step::KillAmid { commits, acked }),
        2 => (together(), Cut::any())
            .prop_map(|(commits, cut)| Step::PowerCutAmid { commits, cut }),
    ];
    prop::collection::vec(step, 1..14).prop_map(History)
}

/// What was written, so that the model can be made again as it was at any time.
#[derive(Clone)]
enum Written {
    Commit(Vec<Commit>),
    Expire(u64),
}

async fn model_of(written: &[Written]) -> Model {
    let model = Model::new(Uuid::nil().into(), [0; 32]);
    for written in written {
        match written {
            Written::Commit(commits) => model.commit(commits.clone()).await.unwrap(),
            Written::Expire(before_ms) => drop(model.expire(*before_ms).await.unwrap()),
        }
    }
    model
}

/// The two stores and the world in which they stand.
struct Both {
    embedded: Running,
    model: Model,
    written: Vec<Written>,
    world: World,
}

impl Both {
    fn new() -> Self {
        let (embedded, world) = (Running::new(), World::default());
        let model = Model::new(Uuid::nil().into(), [0; 32]);
        Self { embedded, model, written: Vec::new(), world }
    }

    /// Gives the writes that the acts of one step mean.
    fn meant(&mut self, commits: &[Vec<Act>]) -> Vec<Vec<Commit>> {
        commits.iter().map(|acts| self.world.commit(acts)).collect()
    }

    async fn take(mut self, step: &Step) -> Self {
        match step {
            Step::Together(commits) => {
                let commits = self.meant(commits);
                let all = commits.iter().map(|commit| self.embedded.store.commit(commit.clone()));
                join_all(all).await.into_iter().for_each(|done| done.unwrap());
                self.believe(commits).await;
            }
            Step::Expire { at } => {
                let before_ms = T0 + at * STEP;
                let dropped = self.embedded.store.expire(before_ms).await.unwrap();
                assert_eq!(dropped, self.model.expire(before_ms).await.unwrap(), "dropped");
                self.written.push(Written::Expire(before_ms));
            }
            Step::Kill => self.embedded = self.embedded.killed(),
            Step::Restart => self.embedded = self.embedded.restarted(),
            Step::KillAmid { commits, acked } => {
                let commits = self.meant(commits);
                let acked = *acked.min(&commits.len());
                let all: Vec<_> = commits
                    .iter()
                    .map(|commit| self.embedded.store.commit(commit.clone()))
                    .collect();
                let mut all = all.into_iter();
                for acked in all.by_ref().take(acked) {
                    acked.await.unwrap();
                }
                self.embedded = self.embedded.killed();
                self.find(commits, acked).await;
            }
            Step::PowerCutAmid { commits, cut } => {
                let commits = self.meant(commits);
                let (last, acked) = commits.split_last().expect("never empty");
                let all = acked.iter().map(|commit| self.embedded.store.commit(commit.clone()));
                join_all(all).await.into_iter().for_each(|done| done.unwrap());
                let before = self.embedded.files();
                self.embedded.store.commit(last.clone()).await.unwrap();
                self.embedded = self.embedded.power_cut(&before, cut);
                self.find(commits.clone(), commits.len() - 1).await;
            }
        }
        self
    }

    /// Has the model know commits that the embedded store acknowledged.
    async fn believe(&mut self, commits: Vec<Vec<Commit>>) {
        for commit in commits {
            self.model.commit(commit.clone()).await.unwrap();
            self.written.push(Written::Commit(commit));
        }
    }

    /// Finds how many of `commits` survived, at least `acked`. Then whoever was not answered
    /// sends again: a mark that survived may show only once its conversation has a head, so
    /// that nobody can tell yet whether it did.
    async fn find(&mut self, commits: Vec<Vec<Commit>>, acked: usize) {
        let embedded = picture(&self.embedded.store).await;
        let mut differences = Vec::new();
        for survived in (acked..=commits.len()).rev() {
            let new = commits[..survived].iter().cloned().map(Written::Commit);
            let written: Vec<Written> = self.written.iter().cloned().chain(new).collect();
            let model = model_of(&written).await;
            match difference(&embedded, &picture(&model).await) {
                None => {
                    let again = commits[acked..].iter().cloned();
                    (self.model, self.written) = (model, written);
                    for commit in again {
                        self.embedded.store.commit(commit.clone()).await.unwrap();
                        self.believe(vec![commit]).await;
                    }
                    return;
                }
                Some(found) => differences.push(format!("{survived} survived: {found}")),
            }
        }
        panic!("{acked} were acknowledged, and\n{}", differences.join("\n"));
    }

    async fn compare(&self) {
        let (embedded, model) = (picture(&self.embedded.store), picture(&self.model));
        if let Some(difference) = difference(&embedded.await, &model.await) {
            panic!("{difference}");
        }
        let commits = self.written.iter().filter_map(|written| match written {
            Written::Commit(commits) => Some(commits),
            Written::Expire(_) => None,
        });
        truth::judge(&self.embedded.store, &commits.flatten().collect::<Vec<_>>()).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_history_reads_as_the_model_says(history in history()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new();
            for step in &history.0 {
                both = both.take(step).await;
                both.compare().await;
            }
            both.embedded.stop();
        });
    }
}
