//! One batch of a lane: what is checked against the store, written, and told, outside of the actor.
//!
//! It outlives the session: what is stored is told, whether its sender still waits for the ack or not.
//! Each item is prepared alone, all that may be written are one commit, and the answers come in
//! the order of asking. Knows nothing of sockets or lanes.

use std::rc::Rc;

use futures_util::try_join;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::pages::find_peer;
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{MessageRow, StoreError};
use rally_schema::frame::{Ack, Delete, Deleted, Edit, Edited, ErrorFrame, Send, ServerFrame};
use rally_schema::ids::Stamp;
use rally_schema::{ClientId, ConversationId, EditId, ErrorCode, MessageId, Ref, UserId};
use tokio::task::yield_now;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::peers::Peer;
use crate::committer::{CommitError, Write};
use crate::node::Worker;
use crate::push::Push;
use crate::routers::Handle;

/// Items that are looked at before others have their turn.
const A_TURN: usize = 16;

/// How long a client waits after `busy`.
const BUSY_MS: u64 = 500;

/// How long a client waits before it asks again whether an earlier attempt was taken, of somebody
/// who cannot be written to.
const UNREACHED_MS: u64 = 2_000;

/// What waits in a lane.
pub(super) struct Queued {
    pub(super) what: What,
    /// By the node's monotonic clock.
    pub(super) received_us: u64,
    pub(super) span: Span,
}

/// What somebody wants written.
pub(super) enum What {
    Send(Send),
    Edit(Edit),
    Delete(Delete),
    /// A send that is refused already, but only in its turn.
    Refused(Ref, ErrorFrame),
    /// A send that does not come again.
    Forget(Ref),
}

impl What {
    pub(super) fn r#ref(&self) -> Ref {
        match self {
            Self::Send(send) => send.r#ref,
            Self::Edit(edit) => edit.r#ref,
            Self::Delete(delete) => delete.r#ref,
            Self::Refused(r#ref, _) | Self::Forget(r#ref) => *r#ref,
        }
    }
}

/// What became of a batch.
pub(super) struct Written {
    pub(super) outcomes: Vec<Outcome>,
    /// The send that holds the conversation now.
    pub(super) held_by: Option<Ref>,
    /// What was learned of the peer.
    pub(super) peer: Option<Peer>,
}

/// What became of one item.
pub(super) enum Outcome {
    Done(Ack),
    Refused(ErrorFrame),
}

/// An item of a batch that may be written.
struct Prepared {
    pair: Pair,
    /// `None`: it is stored already, and only the ack was missing.
    intent: Option<Intent>,
    ack: Ack,
    push: Option<ServerFrame>,
    /// A send holds what comes after it, and its client needs no push.
    is_send: bool,
    received_us: u64,
    span: Span,
}

/// One batch of a lane, outside of its actor.
pub(super) struct Batch {
    pub(super) worker: Rc<Worker>,
    pub(super) user: UserId,
    pub(super) client: ClientId,
    /// The number of the session.
    pub(super) number: u64,
    /// The user's own.
    pub(super) router: Handle,
    pub(super) conversation: ConversationId,
    /// What is known of the other member.
    pub(super) peer: Option<Peer>,
    /// The send that must come again before any other, if one must.
    pub(super) held_by: Option<Ref>,
}

impl Batch {
    /// Writes what waits, and says what became of each.
    pub(super) async fn write(mut self, waiting: Vec<Queued>) -> Written {
        let mut outcomes = Vec::with_capacity(waiting.len());
        let mut prepared = Vec::with_capacity(waiting.len());
        let mut held_by = self.held_by;
        for (nth, Queued { what, received_us, span }) in waiting.into_iter().enumerate() {
            if nth % A_TURN == A_TURN - 1 {
                // Those who retry are looked for in the store, and it may answer at once, each time.
                yield_now().await;
            }
            let r#ref = what.r#ref();
            let is_send = matches!(what, What::Send(_) | What::Refused(..));
            // It comes again, or never: whatever follows it may go on.
            held_by = held_by.filter(|by| *by != r#ref);
            if let Some(by) = held_by.filter(|_| is_send) {
                let text = format!("{by} must be sent again or forgotten first");
                let error = ErrorFrame::new(ErrorCode::Held, text).about(r#ref);
                outcomes.push(Outcome::Refused(error));
                continue;
            }
            match self.prepare(what, received_us, span).await {
                Ok(item) => prepared.extend(item),
                Err(error) => {
                    if is_send && error.code.holds() {
                        held_by = Some(r#ref);
                    }
                    outcomes.push(Outcome::Refused(error));
                }
            }
        }
        let stored = self.store(&mut prepared).await;
        if stored.is_err() {
            // Whatever was refused before came after these.
            let first = prepared.iter().find(|item| item.is_send);
            held_by = first.map(|item| item.ack.r#ref).or(held_by);
        }
        if stored.is_ok() {
            let sends = prepared.iter().filter(|item| item.is_send).count();
            self.worker.node.metrics.messages.inc_by(sends as u64);
        }
        // Acks go out before what was refused: a client that sees them in this order needs no
        // second look at its outbox.
        let refused = std::mem::take(&mut outcomes);
        outcomes.extend(prepared.into_iter().map(|item| match stored {
            Ok(()) => Outcome::Done(self.tell(item)),
            Err(error) => Outcome::Refused(not_stored(error, item.ack.r#ref)),
        }));
        outcomes.extend(refused);
        Written { outcomes, held_by, peer: self.peer }
    }

    /// Tells both members of what is stored, and gives its ack.
    fn tell(&self, item: Prepared) -> Ack {
        let Prepared { pair, ack, push, is_send, received_us, span, .. } = item;
        if let Some(frame) = push {
            let mut push = Push::stored(&frame);
            push.received_us = Some(received_us);
            push.span = span;
            if !pair.is_alone() {
                self.deliver(pair.peer, push.clone());
            }
            push.except = is_send.then_some(self.client);
            self.deliver(pair.actor, push);
        }
        ack
    }

    /// Delivers a push, unless it would come back to this session alone. A device that attaches
    /// now reads the store after it has been counted, and what this push is about is stored. One that is
    /// alone here because this session has left is told.
    fn deliver(&self, user: UserId, push: Push) {
        let node = &self.worker.node;
        let answered = user == self.user && push.except == Some(self.client);
        let is_alone = answered && self.router.shared.serves_no_other(self.number);
        if !(is_alone && node.home(user) == node.life) {
            node.deliver(user, push);
        }
    }

    /// Commits everything that is not stored already.
    async fn store(&self, prepared: &mut [Prepared]) -> Result<(), CommitError> {
        let mut items = prepared.iter().filter(|item| item.intent.is_some());
        let Some(first) = items.next() else { return Ok(()) };
        let pair = first.pair;
        let span = info_span!(
            target: "rally_path",
            parent: &first.span,
            "commit",
            otel.status_code = Empty,
            error.r#type = Empty,
        );
        let intents = prepared.iter_mut().filter_map(|item| item.intent.take()).collect();
        let write = Write { pair, intents, span: span.clone() };
        let stored = self.worker.committer.send(write).await;
        let stored = stored.unwrap_or(Err(CommitError::Unknown));
        if let Err(error) = stored {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error.name());
        }
        stored
    }

    /// Checks one item; `None` when there is nothing to write or to answer.
    async fn prepare(
        &mut self,
        what: What,
        received_us: u64,
        span: Span,
    ) -> Result<Option<Prepared>, ErrorFrame> {
        let r#ref = what.r#ref();
        let preparing = async {
            match what {
                What::Send(send) => self.prepare_send(send).await.map(Some),
                What::Edit(edit) => self.prepare_edit(edit).await.map(Some),
                What::Delete(delete) => self.prepare_delete(delete).await.map(Some),
                What::Refused(_, error) => Err(Refused::Told(error)),
                What::Forget(_) => Ok(None),
            }
        };
        let prepared = preparing.instrument(span.clone()).await;
        match prepared {
            Ok(item) => Ok(item.map(|item| Prepared { received_us, span, ..item })),
            Err(Refused::Told(error)) => Err(error.about(r#ref)),
            Err(Refused::Store(error)) => {
                self.worker.node.store_failed("a send could not be prepared", &error);
                Err(ErrorFrame::new(
                    ErrorCode::Busy,
                    "the store does not answer: nothing was written",
                )
                .about(r#ref)
                .after_ms(BUSY_MS))
            }
        }
    }

    async fn prepare_send(&mut self, send: Send) -> Result<Prepared, Refused> {
        let pair = self.pair(send.to).await?;
        let id = MessageId::of(send.stamp(), self.user, self.conversation, send.r#ref, &send.text);
        let earlier = if send.retry { self.earlier(&send, id).await? } else { None };
        if earlier.is_none() {
            self.admit(send.stamp(), send.retry)?;
            self.reach_again(pair, send.retry).await?;
        }
        let push = (!earlier.as_ref().is_some_and(|row| row.deleted)).then(|| {
            let frame = rally_schema::frame::Message {
                id,
                conversation: self.conversation,
                sender: self.user,
                to: pair.peer,
                r#ref: send.r#ref,
                text: send.text.clone(),
                reply_to: send.reply_to,
                edit: None,
                deleted: false,
                after: send.after,
            };
            // A retry pushes the message as it stands, not as it was first written.
            earlier.map_or(frame, |row| row.to_frame()).into()
        });
        let Send { r#ref, text, reply_to, .. } = send;
        let intent = push.is_some().then_some(Intent::Send { id, r#ref, text, reply_to });
        Ok(self.prepared(
            pair,
            intent,
            Ack { r#ref, conversation: self.conversation, id },
            push,
            true,
        ))
    }

    async fn prepare_edit(&mut self, edit: Edit) -> Result<Prepared, Refused> {
        let (pair, row) = self.own_message(edit.id).await?;
        if row.deleted {
            return Err(told(ErrorCode::MessageDeleted, format!("{} was deleted", edit.id)));
        }
        let (user, conversation) = (self.user, self.conversation);
        let edit_id = EditId::of(edit.stamp(), user, conversation, edit.id, edit.r#ref, &edit.text);
        let stored = row.edit.as_ref().is_some_and(|(newest, _)| *newest >= edit_id);
        if !(edit.retry && stored) {
            self.admit(edit.stamp(), edit.retry)?;
            // What is new in it would reach who blocks its author.
            self.reach_again(pair, edit.retry).await?;
        }
        let Edit { r#ref, id, text, .. } = edit;
        let push = Edited { conversation, id, edit: edit_id, text: text.clone() };
        let intent = Intent::Edit { id, edit: edit_id, text };
        let ack = Ack { r#ref, conversation, id };
        Ok(self.prepared(pair, Some(intent), ack, Some(push.into()), false))
    }

    async fn prepare_delete(&self, delete: Delete) -> Result<Prepared, Refused> {
        let (pair, _) = self.own_message(delete.id).await?;
        let Delete { r#ref, id, conversation } = delete;
        let push = Deleted { conversation, id };
        let ack = Ack { r#ref, conversation, id };
        Ok(self.prepared(pair, Some(Intent::Delete { id }), ack, Some(push.into()), false))
    }

    fn prepared(
        &self,
        pair: Pair,
        intent: Option<Intent>,
        ack: Ack,
        push: Option<ServerFrame>,
        is_send: bool,
    ) -> Prepared {
        Prepared { pair, intent, ack, push, is_send, received_us: 0, span: Span::none() }
    }

    /// Finds the peer: named by the client and proven by the conversation's id, or known.
    async fn pair(&mut self, to: Option<UserId>) -> Result<Pair, Refused> {
        let known = self.peer.map(|peer| peer.user);
        let peer = match (to, known) {
            (Some(to), Some(known)) if to == known => known,
            (None, Some(known)) => known,
            (Some(to), _) if ConversationId::direct(self.user, to) == self.conversation => to,
            (Some(to), _) => {
                let text = format!("{} is not your conversation with {to}", self.conversation);
                return Err(told(ErrorCode::UnknownConversation, text));
            }
            (None, None) => self.peer_in_store().await?,
        };
        if known != Some(peer) {
            self.peer = Some(Peer { user: peer, reachable_until_ms: 0 });
        }
        Ok(Pair { conversation: self.conversation, actor: self.user, peer })
    }

    async fn peer_in_store(&self) -> Result<UserId, Refused> {
        let store = &*self.worker.node.store;
        find_peer(store, self.user, self.conversation).await?.ok_or_else(|| {
            let text = format!("unknown conversation {}: name the peer in `to`", self.conversation);
            told(ErrorCode::UnknownConversation, text)
        })
    }

    /// Finds the row that an earlier attempt left.
    async fn earlier(&self, send: &Send, id: MessageId) -> Result<Option<MessageRow>, Refused> {
        let store = &self.worker.node.store;
        match store.sent(self.conversation, send.stamp(), self.user, send.r#ref).await? {
            Some(row) if row.id != id && !planted::on(Fault::ConflictSwallowed) => {
                let text = format!("{} was sent with another text", send.r#ref);
                Err(told(ErrorCode::RefConflict, text))
            }
            row => Ok(row),
        }
    }

    /// Lets a stamp in that is near enough to the node's clock.
    fn admit(&self, stamp: Stamp, retry: bool) -> Result<(), Refused> {
        let node = &self.worker.node;
        let (now, overlap) = (node.clock.now_ms(), node.settings.overlap);
        if stamp.at.saturating_add(overlap.stamp_behind_ms()) < now {
            let code = if retry { ErrorCode::Expired } else { ErrorCode::Clock };
            let text =
                format!("the stamp {} is {} ms old: stamp it anew", stamp.at, now - stamp.at);
            return Err(Refused::Told(ErrorFrame::new(code, text).at(now)));
        }
        let latest = now + overlap.stamp_ahead_ms();
        if stamp.at > latest {
            let text = format!("the stamp {} is {} ms ahead", stamp.at, stamp.at - now);
            let wait_ms = stamp.at - latest;
            return Err(Refused::Told(
                ErrorFrame::new(ErrorCode::Ahead, text).at(now).after_ms(wait_ms),
            ));
        }
        Ok(())
    }

    /// Asks the same for an attempt that may not be the first: while an earlier one may be taken, it
    /// is refused for now only.
    async fn reach_again(&mut self, pair: Pair, retry: bool) -> Result<(), Refused> {
        let again = retry && !planted::on(Fault::RetryGivenUp);
        let reached = self.reach(pair).await;
        reached.map_err(|refused| if again { not_yet(refused) } else { refused })
    }

    /// Asks whether the peer exists and neither has blocked the other; the same work for all
    /// answers, and one answer for all that mean no.
    async fn reach(&mut self, pair: Pair) -> Result<(), Refused> {
        let node = &self.worker.node;
        let now_ms = node.clock.monotonic_ms();
        if self.peer.is_some_and(|peer| peer.is_reachable(now_ms)) {
            return Ok(());
        }
        let (peer, blocks_me, i_block) = try_join!(
            node.store.user(pair.peer),
            node.store.is_blocked(pair.peer, pair.actor),
            node.store.is_blocked(pair.actor, pair.peer),
        )?;
        if peer.is_none() || blocks_me || i_block {
            return Err(told(
                ErrorCode::Unreachable,
                format!("{} cannot be written to", pair.peer),
            ));
        }
        let reachable_until_ms = now_ms + node.settings.reach_cache_ms;
        self.peer = Some(Peer { user: pair.peer, reachable_until_ms });
        Ok(())
    }

    /// Reads a message that the user may change: unknown and forbidden are answered alike.
    async fn own_message(&self, id: MessageId) -> Result<(Pair, MessageRow), Refused> {
        let rows = self.worker.node.store.messages(self.conversation, vec![id]).await?;
        let row = rows.into_iter().find(|row| row.sender == self.user).ok_or_else(|| {
            told(ErrorCode::UnknownMessage, format!("{id} is no message of yours here"))
        })?;
        let pair = Pair { conversation: self.conversation, actor: self.user, peer: row.to };
        Ok((pair, row))
    }
}

/// Why an item of a batch is not written.
enum Refused {
    Told(ErrorFrame),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Has a retry come again instead of being refused for good: for as long as its stamp is
/// admissible, a node that still has the first attempt may take it, should a block end meanwhile.
fn not_yet(refused: Refused) -> Refused {
    match refused {
        Refused::Told(error) if error.code == ErrorCode::Unreachable => {
            let text = format!("{}, and an earlier attempt may be under way", error.text);
            Refused::Told(ErrorFrame::new(ErrorCode::Unknown, text).after_ms(UNREACHED_MS))
        }
        other => other,
    }
}

fn told(code: ErrorCode, text: String) -> Refused {
    Refused::Told(ErrorFrame::new(code, text))
}

fn not_stored(error: CommitError, r#ref: Ref) -> ErrorFrame {
    let code = match error {
        CommitError::Busy => ErrorCode::Busy,
        CommitError::Unknown if planted::on(Fault::UnknownSaidFailed) => ErrorCode::Unreachable,
        CommitError::Unknown => ErrorCode::Unknown,
    };
    ErrorFrame::new(code, error.to_string()).about(r#ref).after_ms(BUSY_MS)
}
