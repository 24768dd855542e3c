//! Marks: what a client got and what its user read.
//!
//! Gathered over a short window, so that a burst is one write a conversation. A mark lands
//! on the newest stored message of the peer that is not above what the client named: one
//! from the future covers nothing that is not there. Marks create nothing and only move
//! forward; who sent them is told by the `receipt` that all his sessions get.
//!
//! The marks of at most [`PENDING`] conversations wait or are being written; one more is answered
//! `busy`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::future::join_all;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::StoreError;
use rally_schema::frame::{ErrorFrame, Mark, Receipt, ServerFrame};
use rally_schema::{ConversationId, ErrorCode, MessageId, UserId};
use tracing::Span;

use super::Session;
use crate::committer::Write;
use crate::metrics::count;
use crate::node::Worker;
use crate::outlive::outlive;
use crate::push::Push;

/// Conversations of one session whose marks may wait or be written.
const PENDING: usize = 256;

/// How often a write is tried again before the session, if it is still there, takes it up.
const TRIES: usize = 5;

/// How long marks wait after a failed write.
const AGAIN: Duration = Duration::from_millis(1_000);

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    delivered: Option<MessageId>,
    read: Option<MessageId>,
    /// Whether they may have been written by an attempt of which nobody was told.
    again: bool,
}

impl Marks {
    fn merge(&mut self, other: Marks) {
        self.delivered = self.delivered.max(other.delivered);
        self.read = self.read.max(other.read);
        self.again |= other.again;
    }
}

/// Marks that wait to be written.
#[derive(Default)]
pub(super) struct Pending {
    marks: BTreeMap<ConversationId, Marks>,
    /// How many are being written.
    writing: usize,
    scheduled: bool,
}

impl Session {
    pub(super) fn take_mark(&mut self, mark: Mark, read: bool, ctx: &mut Context<Self>) {
        let Pending { marks: pending, writing, .. } = &mut self.marks;
        if pending.len() + *writing >= PENDING && !pending.contains_key(&mark.conversation) {
            let text = "too many marks wait to be written";
            return self.refuse(ErrorFrame::new(ErrorCode::Busy, text).after_ms(1_000));
        }
        let one = if read {
            Marks { read: Some(mark.id), ..Marks::default() }
        } else {
            Marks { delivered: Some(mark.id), ..Marks::default() }
        };
        pending.entry(mark.conversation).or_default().merge(one);
        let window = Duration::from_millis(self.worker.node.settings.marks_window_ms);
        self.schedule_marks(window, ctx);
    }

    fn schedule_marks(&mut self, window: Duration, ctx: &mut Context<Self>) {
        if !self.marks.scheduled {
            self.marks.scheduled = true;
            ctx.run_later(window, |session, ctx| {
                session.marks.scheduled = false;
                session.flush_marks(ctx);
            });
        }
    }

    /// Writes the marks that wait; not in doubt, when a mark could cover what was not seen.
    pub(super) fn flush_marks(&mut self, ctx: &mut Context<Self>) {
        if self.is_in_doubt() || self.marks.marks.is_empty() {
            return;
        }
        self.marks.writing += self.marks.marks.len();
        let writing = self.write_marks();
        ctx.spawn(outlive(writing).into_actor(self).map(|all, session, ctx| {
            session.marks.writing -= all.len();
            for (conversation, marks, outcome) in all {
                session.marked(conversation, marks, outcome, ctx);
            }
        }));
    }

    /// Writes the marks that wait although the session ends.
    pub(super) fn leave_marks(&mut self) {
        if !self.is_in_doubt() && !self.marks.marks.is_empty() {
            drop(outlive(self.write_marks()));
        }
    }

    /// Begins to write the marks that wait, and to tell of those that are written.
    fn write_marks(
        &mut self,
    ) -> impl Future<Output = Vec<(ConversationId, Marks, Result<(), Failed>)>> + use<> {
        let (worker, user) = (self.worker.clone(), self.user);

        let marks = std::mem::take(&mut self.marks.marks);
        join_all(marks.into_iter().map(move |(conversation, marks)| {
            let worker = worker.clone();
            async move {
                let written = write_repeatedly(&worker, user, conversation, marks).await;
                let told = written.map(|moved| {
                    if let Some(moved) = moved {
                        tell_receipt(&worker, moved);
                    }
                });
                (conversation, marks, told)
            }
        }))
    }

    fn marked(
        &mut self,
        conversation: ConversationId,
        marks: Marks,
        outcome: Result<(), Failed>,
        ctx: &mut Context<Self>,
    ) {
        match outcome {
            Ok(()) => {}
            Err(Failed::UnknownConversation) => {
                let text = format!("unknown conversation {conversation}");
                self.refuse(ErrorFrame::new(ErrorCode::UnknownConversation, text));
            }
            Err(Failed::Store(why)) => {
                self.worker.node.store_failed(NOT_YET, &why);
                let marks = Marks { again: true, ..marks };
                self.marks.marks.entry(conversation).or_default().merge(marks);
                self.schedule_marks(AGAIN, ctx);
            }
        }
    }
}

/// Tells the author's devices (ticks) and, when read, the reader's own (badge).
fn tell_receipt(worker: &Worker, Moved { pair, delivered, read }: Moved) {
    let receipt = Receipt {
        conversation: pair.conversation,
        user: pair.actor,
        delivered_up_to: delivered.max(read),
        read_up_to: read,
    };
    let push = Push::stored(&ServerFrame::from(receipt));
    if !pair.is_alone() {
        worker.node.deliver(pair.peer, push.clone());
    }
    if read.is_some() {
        worker.node.deliver(pair.actor, push);
    }
}

/// Marks that moved, and are stored.
struct Moved {
    pair: Pair,
    delivered: Option<MessageId>,
    read: Option<MessageId>,
}

enum Failed {
    UnknownConversation,
    Store(String),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// What is noted of marks that the store did not take.
const NOT_YET: &str = "marks were not written yet";

/// Writes marks, a few times if need be: the session may be gone, and the client with it.
async fn write_repeatedly(
    worker: &Rc<Worker>,
    user: UserId,
    conversation: ConversationId,
    mut marks: Marks,
) -> Result<Option<Moved>, Failed> {
    for _ in 0..TRIES {
        match write(worker, user, conversation, marks).await {
            Err(Failed::Store(why)) => worker.node.store_failed(NOT_YET, &why),
            written => return written,
        }
        marks.again = true;
        tokio::time::sleep(AGAIN).await;
    }
    write(worker, user, conversation, marks).await
}

/// Writes what of the marks moves something; `None` when nothing does. What may have been written
/// before, without anybody being told, is written and told again.
async fn write(
    worker: &Rc<Worker>,
    user: UserId,
    conversation: ConversationId,
    marks: Marks,
) -> Result<Option<Moved>, Failed> {
    let store = &worker.node.store;
    let mine = store.inbox_rows(user, vec![conversation]).await?;
    let mine = mine.into_iter().next().ok_or(Failed::UnknownConversation)?;
    let pair = Pair { conversation, actor: user, peer: mine.peer };
    let alone = pair.is_alone();
    let mut read = land(worker, &pair, marks.read).await?;
    let moves = |id: &MessageId, from: Option<MessageId>| {
        Some(*id) > from || (marks.again && Some(*id) == from)
    };
    read = read.filter(|id| moves(id, mine.cells.read_up_to));
    let mut delivered = None;
    if !alone && marks.delivered.is_some() {
        let theirs = store.inbox_rows(pair.peer, vec![conversation]).await?;
        let before = theirs.first().and_then(|row| row.cells.peer_delivered_up_to);
        delivered = land(worker, &pair, marks.delivered).await?.filter(|id| moves(id, before));
    }
    if read.is_none() && delivered.is_none() {
        return Ok(None);
    }
    let intent = Intent::Mark { delivered, read, note: None };
    let write = Write { pair, intents: vec![intent], span: Span::none() };
    match worker.committer.send(write).await {
        Ok(Ok(())) => Ok(Some(Moved { pair, delivered, read })),
        Ok(Err(error)) => Err(Failed::Store(error.to_string())),
        Err(error) => Err(Failed::Store(error.to_string())),
    }
}

/// Finds where a mark lands: on the newest stored message of the peer that is not above it.
async fn land(
    worker: &Rc<Worker>,
    pair: &Pair,
    mark: Option<MessageId>,
) -> Result<Option<MessageId>, StoreError> {
    match mark {
        Some(id) => {
            let (conversation, reader) = (pair.conversation, pair.actor);
            let landed =
                worker.node.store.newest_for(conversation, reader, pair.is_alone(), id).await?;
            let of = if landed == mark { "exact" } else { "short" };
            count(&worker.node.metrics.marks, of);
            Ok(landed)
        }
        None => Ok(None),
    }
}
