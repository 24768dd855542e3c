//! Random histories: whatever people do, in whatever order, and whenever the process dies, the
//! embedded store reads as the model does.

use futures_util::future::join_all;
use proptest::prelude::*;
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, EditId, MessageId, Ref, UserId};
use uuid::Uuid;

use super::{ALONE, Running};
use crate::intent::{Intent, Pair};
use crate::store::{ChangeKind, Model, Store};
use crate::twins;

/// When every history begins.
const T0: u64 = 1_790_000_000_000;

/// Milliseconds between two steps of time: ten of them are more than a bucket of days.
const STEP: u64 = 40_000_000;

const NAMES: [&str; 3] = ["a", "a-b", "b"];

fn user(n: usize) -> UserId {
    NAMES[n % NAMES.len()].parse().unwrap()
}

/// What somebody does. Numbers are taken modulo what there is, so that every history is one.
#[derive(Debug, Clone)]
enum Act {
    Send {
        from: usize,
        to: usize,
        at: u64,
        n: u16,
        text: usize,
        reply: Option<usize>,
    },
    /// The same intent as one before, with change ids of its own.
    Again {
        which: usize,
    },
    Edit {
        which: usize,
        at: u64,
        n: u16,
        text: usize,
    },
    Delete {
        which: usize,
    },
    Mark {
        which: usize,
        later: u64,
        delivered: bool,
        read: bool,
        note: bool,
    },
    /// Removes the row of whichever twins the conversation of this message has.
    Fold {
        which: usize,
    },
}

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
}

fn act() -> impl Strategy<Value = Act> {
    let (at, n, which) = (0..12_u64, 0..3_u16, 0..1000_usize);
    prop_oneof![
        6 => (0..3_usize, 0..3_usize, at.clone(), n.clone(), 0..4_usize, prop::option::of(0..9_usize))
            .prop_map(|(from, to, at, n, text, reply)| Act::Send { from, to, at, n, text, reply }),
        2 => which.clone().prop_map(|which| Act::Again { which }),
        2 => (which.clone(), at, n, 0..4_usize)
            .prop_map(|(which, at, n, text)| Act::Edit { which, at, n, text }),
        1 => which.clone().prop_map(|which| Act::Delete { which }),
        3 => (which.clone(), 0..3_u64, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, later, delivered, read, note)| {
                Act::Mark { which, later, delivered, read, note }
            }),
        1 => which.prop_map(|which| Act::Fold { which }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let commit = prop::collection::vec(act(), 1..4);
    let step = prop_oneof![
        12 => prop::collection::vec(commit, 1..4).prop_map(Step::Together),
        2 => Just(Step::Kill),
        1 => Just(Step::Restart),
        1 => (0..12_u64).prop_map(|at| Step::Expire { at }),
    ];
    prop::collection::vec(step, 1..14)
}

/// The two stores, and what was done to them.
struct Both {
    embedded: Running,
    model: Model,
    done: Vec<(Pair, Intent)>,
    sent: Vec<(Pair, MessageId)>,
    minted: u64,
}

impl Both {
    fn new() -> Self {
        let model = Model::new(Uuid::nil().into(), [0; 32]);
        let embedded = Running::new(ALONE);
        Self { embedded, model, done: Vec::new(), sent: Vec::new(), minted: 0 }
    }

    fn mint(&mut self, at: u64) -> ChangeId {
        self.minted += 1;
        ChangeId::of(Stamp { at: T0 + at * STEP, n: 0 }, self.minted)
    }

    fn pick(&self, which: usize) -> Option<(Pair, MessageId)> {
        (!self.sent.is_empty()).then(|| self.sent[which % self.sent.len()])
    }

    /// Says what an act means; nothing when there is nothing yet that it could be about.
    fn means(&mut self, act: &Act) -> Vec<(Pair, Intent)> {
        match *act {
            Act::Send { from, to, at, n, text, reply } => {
                let pair = Pair::direct(user(from), user(to));
                let words = format!("text {text}\nof {}", pair.actor);
                // The same words are the same ref: stamped twice they are twins.
                let r#ref = Ref::from(Uuid::new_v5(&Uuid::NAMESPACE_OID, words.as_bytes()));
                let stamp = Stamp { at: T0 + at * STEP, n };
                let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &words);
                let reply_to = reply.and_then(|which| self.pick(which)).map(|(_, id)| id);
                self.sent.push((pair, id));
                vec![(pair, Intent::Send { id, r#ref, text: words, reply_to })]
            }
            Act::Again { which } if !self.done.is_empty() => {
                vec![self.done[which % self.done.len()].clone()]
            }
            Act::Again { .. } => Vec::new(),
            Act::Edit { which, at, n, text } => self.about(which, |pair, id| {
                let (stamp, words) = (Stamp { at: T0 + at * STEP, n }, format!("edit {text}"));
                let (sender, conversation) = (pair.actor, pair.conversation);
                let edit = EditId::of(stamp, sender, conversation, id, Uuid::nil().into(), &words);
                Intent::Edit { id, edit, text: words }
            }),
            Act::Delete { which } => self.about(which, |_, id| Intent::Delete { id }),
            Act::Mark { which, later, delivered, read, note } => {
                let marks = self.about(which, |_, id| {
                    // Above what is stored: the store keeps marks, the session clamps them.
                    let id = MessageId::first_of(id.at() + later * STEP).max(id);
                    let mark = |on: bool| on.then_some(id);
                    let kind = if read { ChangeKind::Read } else { ChangeKind::Delivered };
                    let note = note.then_some(kind);
                    Intent::Mark { delivered: mark(delivered), read: mark(read), note }
                });
                let by_reader = |(pair, mark): (Pair, Intent)| {
                    let Pair { conversation, actor, peer } = pair;
                    (Pair { conversation, actor: peer, peer: actor }, mark)
                };
                marks.into_iter().map(by_reader).collect()
            }
            Act::Fold { which } => {
                let Some((pair, id)) = self.pick(which) else { return Vec::new() };
                let twins = self.sent.iter().filter(|(of, twin)| {
                    of.conversation == pair.conversation && twin.is_twin_of(&id) && *twin < id
                });
                twins.map(|(pair, twin)| (*pair, Intent::Remove { id: *twin })).collect()
            }
        }
    }

    fn about(
        &self,
        which: usize,
        mean: impl FnOnce(Pair, MessageId) -> Intent,
    ) -> Vec<(Pair, Intent)> {
        self.pick(which).map(|(pair, id)| (pair, mean(pair, id))).into_iter().collect()
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Together(commits) => {
                let mut writes = Vec::new();
                for acts in commits {
                    let mut commit = Vec::new();
                    for act in acts {
                        for (pair, intent) in self.means(act) {
                            let at = self.minted % 12;
                            commit.push(intent.commit(pair, || self.mint(at)));
                            self.done.push((pair, intent));
                        }
                    }
                    writes.push(self.embedded.store.commit(commit.clone()));
                    self.model.commit(commit).await.unwrap();
                }
                join_all(writes).await.into_iter().for_each(|done| done.unwrap());
            }
            Step::Expire { at } => {
                let before_ms = T0 + at * STEP;
                let dropped = self.embedded.store.expire(before_ms).await.unwrap();
                assert_eq!(dropped, self.model.expire(before_ms).await.unwrap());
            }
            Step::Kill | Step::Restart => {}
        }
    }

    /// Asks both everything that can be asked.
    async fn compare(&self) {
        let (one, other) = (&self.embedded.store, &self.model);
        assert_eq!(one.high_water_ms(), other.high_water_ms());
        /// Asks both the same.
        macro_rules! same {
            ($method:ident($($argument:expr),*)) => {{
                let (mine, theirs) = (one.$method($($argument),*), other.$method($($argument),*));
                let mine = mine.await.unwrap();
                assert_eq!(mine, theirs.await.unwrap(), stringify!($method($($argument),*)));
                mine
            }};
        }
        for user in (0..3).map(user) {
            let (all, _) = same!(inbox(user, None, 100));
            // Every page is the next part of the whole.
            let (mut before, mut paged) = (None, Vec::new());
            loop {
                let (page, more) = same!(inbox(user, before, 2));
                before = page.last().and_then(|row| row.cells.head.as_ref()).map(|head| head.id);
                paged.extend(page);
                if !more {
                    break;
                }
            }
            assert_eq!(paged, all);
            // A catch-up: the log in pages from some way back, then what it names.
            for from in [0, 5, 11] {
                let mut after = ChangeId::first_of(T0 + from * STEP);
                loop {
                    let page = same!(changes(user, after, 3));
                    for change in &page {
                        same!(inbox_rows(user, vec![change.conversation]));
                        same!(messages(change.conversation, vec![change.id]));
                    }
                    let Some(last) = page.last() else { break };
                    after = last.change;
                }
            }
            for peer in (0..3).map(self::user) {
                self.compare_conversation(user, peer).await;
            }
        }
    }

    async fn compare_conversation(&self, reader: UserId, peer: UserId) {
        let (one, other) = (&self.embedded.store, &self.model);
        let conversation = ConversationId::direct(reader, peer);
        let all = one.history(conversation, None, 1000).await.unwrap();
        assert_eq!(all, other.history(conversation, None, 1000).await.unwrap());
        let mut once = all.clone();
        twins::fold(&mut once);
        assert!(once.windows(2).all(|pair| pair[0].id > pair[1].id), "one order, each once");
        for row in &all {
            let page = one.history(conversation, Some(row.id), 2).await.unwrap();
            assert_eq!(page, other.history(conversation, Some(row.id), 2).await.unwrap());
            let stamp = row.id.stamp();
            let stamped = one.stamped(conversation, stamp).await.unwrap();
            assert_eq!(stamped, other.stamped(conversation, stamp).await.unwrap());
            let read = Some(row.id);
            let unread = one.unread(conversation, reader, read, 3).await.unwrap();
            assert_eq!(unread, other.unread(conversation, reader, read, 3).await.unwrap());
            let alone = reader == peer;
            let newest = one.newest_for(conversation, reader, alone, row.id).await.unwrap();
            let theirs = other.newest_for(conversation, reader, alone, row.id).await.unwrap();
            assert_eq!(newest, theirs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_history_reads_as_the_model_says(steps in history()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new();
            for step in &steps {
                both.take(step).await;
                both.embedded = match step {
                    Step::Kill => both.embedded.crash(),
                    Step::Restart => both.embedded.restart(),
                    Step::Together(_) | Step::Expire { .. } => both.embedded,
                };
                both.compare().await;
            }
            both.embedded.stop();
        });
    }
}
