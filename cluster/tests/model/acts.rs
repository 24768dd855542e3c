//! What people do, and the writes that it means.
//!
//! Numbers in an act are taken modulo what there is, so that every list of acts is a history
//! and stays one while it shrinks.

use proptest::prelude::*;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::{ChangeKind, Commit};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, EditId, MessageId, Ref, UserId};
use uuid::Uuid;

/// When every history begins.
pub const T0: u64 = 1_790_000_000_000;

/// Milliseconds between two steps of time: 22 of them are more than a bucket of days.
pub const STEP: u64 = 40_000_000;

/// How many steps of time there are.
pub const TIMES: u64 = 12;

/// Names that a careless key would mix up.
const NAMES: [&str; 3] = ["a", "a-b", "b"];

/// Gives everybody there is.
pub fn users() -> impl Iterator<Item = UserId> {
    NAMES.iter().map(|name| name.parse().unwrap())
}

fn user(n: usize) -> UserId {
    NAMES[n % NAMES.len()].parse().unwrap()
}

/// What somebody does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends. The same ref and text stamped anew is a twin; the same ref with another text is
    /// another message, which a session would refuse.
    Send { from: usize, to: usize, at: u64, n: u16, r#ref: u64, text: usize, reply: Option<usize> },
    /// Repeats an intent, with change ids of its own: a retry.
    Again { which: usize },
    /// Edits a message.
    Edit { which: usize, at: u64, n: u16, text: usize },
    /// Deletes a message.
    Delete { which: usize },
    /// Marks up to a message, or up to some time after it.
    Mark { which: usize, later: u64, delivered: bool, read: bool, note: bool },
    /// Removes the smaller rows of whichever twins this message has.
    Fold { which: usize },
}

/// Makes the acts of one commit.
pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (at, n, which) = (0..TIMES, 0..3_u16, 0..1000_usize);
    let send = (0..3_usize, 0..3_usize, at.clone(), n.clone(), 0..3_u64, 0..3_usize).prop_flat_map(
        |(from, to, at, n, r#ref, text)| {
            prop::option::of(0..9_usize).prop_map(move |reply| Act::Send {
                from,
                to,
                at,
                n,
                r#ref,
                text,
                reply,
            })
        },
    );
    let act = prop_oneof![
        6 => send,
        2 => which.clone().prop_map(|which| Act::Again { which }),
        2 => (which.clone(), at, n, 0..3_usize)
            .prop_map(|(which, at, n, text)| Act::Edit { which, at, n, text }),
        1 => which.clone().prop_map(|which| Act::Delete { which }),
        3 => (which.clone(), 0..3_u64, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, later, delivered, read, note)| {
                Act::Mark { which, later, delivered, read, note }
            }),
        1 => which.prop_map(|which| Act::Fold { which }),
    ];
    prop::collection::vec(act, 1..4)
}

/// One text is longer than a page of the disk: such a write can be torn in its middle.
fn words(text: usize) -> String {
    format!("text {text} ").repeat(if text == 2 { 1_000 } else { 1 })
}

/// What happened so far.
#[derive(Default)]
pub struct World {
    intents: Vec<(Pair, Intent)>,
    sent: Vec<(Pair, MessageId)>,
    minted: u64,
}

impl World {
    /// Gives the writes that some acts mean together.
    pub fn commit(&mut self, acts: &[Act]) -> Vec<Commit> {
        let mut commits = Vec::new();
        for act in acts {
            for (pair, intent) in self.means(act) {
                let at = self.minted % TIMES;
                commits.push(intent.commit(pair, || self.mint(at)));
                self.intents.push((pair, intent));
            }
        }
        commits
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
            Act::Send { from, to, at, n, r#ref, text, reply } => {
                let pair = Pair::direct(user(from), user(to));
                let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(7, r#ref)), words(text));
                let stamp = Stamp { at: T0 + at * STEP, n };
                let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
                let reply_to = reply.and_then(|which| self.pick(which)).map(|(_, id)| id);
                self.sent.push((pair, id));
                vec![(pair, Intent::Send { id, r#ref, text, reply_to })]
            }
            Act::Again { which } if !self.intents.is_empty() => {
                vec![self.intents[which % self.intents.len()].clone()]
            }
            Act::Again { .. } => Vec::new(),
            Act::Edit { which, at, n, text } => self.about(which, |pair, id| {
                let (stamp, text) = (Stamp { at: T0 + at * STEP, n }, format!("edit {text}"));
                let (sender, conversation) = (pair.actor, pair.conversation);
                let edit = EditId::of(stamp, sender, conversation, id, Uuid::nil().into(), &text);
                Intent::Edit { id, edit, text }
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
}
