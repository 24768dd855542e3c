//! Sends, edits and deletions: from the frame to the ack and the pushes.
//!
//! Each conversation is a *lane*: one write in flight, what arrives meanwhile follows as
//! one batch, so a sender's own order holds. After an outcome that leaves a send open,
//! later ones are answered `held` until it comes again or is forgotten.
//!
//! A lane holds at most [`WAITING_SENDS`]; beyond that the session stops reading, and the
//! client waits in its own kernel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::{MessageRow, Store, StoreError};
use rally_schema::frame::{
    Ack, Delete, Deleted, Edit, Edited, ErrorFrame, Forget, Send, ServerFrame,
};
use rally_schema::ids::{MAX_N, Stamp};
use rally_schema::limits::WAITING_SENDS;
use rally_schema::{ClientId, ConversationId, EditId, ErrorCode, MessageId, Ref, UserId, text};
use tracing::{Instrument as _, Span, info_span, warn};

use super::Session;
use crate::committer::{CommitError, Write};
use crate::io::Pause;
use crate::node::Worker;
use crate::push::Push;

/// How long a client waits after `busy`.
const BUSY_MS: u64 = 500;

/// Conversations whose peer a session remembers.
const PEERS: usize = 64;

/// What waits to be stored in one conversation.
#[derive(Default)]
struct Lane {
    writing: bool,
    waiting: Vec<Queued>,
    /// The send that must come again first.
    held_by: Option<Ref>,
}

/// The lanes of a session; one that is idle and not held is gone.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<ConversationId, Lane>);

struct Queued {
    what: What,
    received_us: u64,
    span: Span,
}

enum What {
    Send(Send),
    Edit(Edit),
    Delete(Delete),
}

impl What {
    fn r#ref(&self) -> Ref {
        match self {
            Self::Send(send) => send.r#ref,
            Self::Edit(edit) => edit.r#ref,
            Self::Delete(delete) => delete.r#ref,
        }
    }
}

/// The peers of a session's conversations, and until when each is believed reachable.
#[derive(Default)]
pub(super) struct Peers(VecDeque<(ConversationId, Peer)>);

#[derive(Debug, Clone, Copy)]
struct Peer {
    user: UserId,
    reachable_until_ms: u64,
}

impl Peers {
    /// Gives the peer of a conversation that was looked at before.
    pub(super) fn known(&self, conversation: ConversationId) -> Option<UserId> {
        self.get(conversation).map(|peer| peer.user)
    }

    /// Remembers the peer of a conversation.
    pub(super) fn learn(&mut self, conversation: ConversationId, user: UserId) {
        if self.get(conversation).is_none() {
            self.put(conversation, Peer { user, reachable_until_ms: 0 });
        }
    }

    fn get(&self, conversation: ConversationId) -> Option<Peer> {
        self.0.iter().find(|(id, _)| *id == conversation).map(|(_, peer)| *peer)
    }

    fn put(&mut self, conversation: ConversationId, peer: Peer) {
        self.0.retain(|(id, _)| *id != conversation);
        if self.0.len() >= PEERS {
            self.0.pop_back();
        }
        self.0.push_front((conversation, peer));
    }
}

/// Finds the other member of a conversation that the user is in.
pub(super) async fn find_peer(
    store: Arc<dyn Store>,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<UserId>, StoreError> {
    let rows = store.inbox_rows(user, vec![conversation]).await?;
    Ok(rows.first().map(|row| row.peer))
}

impl Session {
    pub(super) fn take_send(&mut self, send: Send, received_us: u64, ctx: &mut Context<Self>) {
        let span = info_span!(target: "rally_path", "send", conversation = %send.conversation);
        if let Some(parent) = &send.traceparent {
            (self.worker.node.link_span)(&span, parent);
        }
        if let Err(error) = check_send(&send) {
            return self.refuse(error);
        }
        let lane = self.lanes.0.entry(send.conversation).or_default();
        match lane.held_by {
            Some(by) if by != send.r#ref => {
                let text = format!("{by} must be sent again or forgotten first");
                return self.refuse(ErrorFrame::new(ErrorCode::Held, text).about(send.r#ref));
            }
            _ => lane.held_by = None,
        }
        if let Err(error) = self.within_rate(send.r#ref, received_us) {
            self.hold(send.conversation, send.r#ref);
            return self.refuse(error);
        }
        let conversation = send.conversation;
        self.queue(conversation, Queued { what: What::Send(send), received_us, span }, ctx);
    }

    pub(super) fn take_edit(&mut self, edit: Edit, received_us: u64, ctx: &mut Context<Self>) {
        let span = info_span!(target: "rally_path", "edit", conversation = %edit.conversation);
        let refused = check_stamp(edit.r#ref, edit.n)
            .and_then(|()| check_text(edit.r#ref, &edit.text))
            .and_then(|()| self.within_rate(edit.r#ref, received_us));
        match refused {
            Err(error) => self.refuse(error),
            Ok(()) => {
                let conversation = edit.conversation;
                let what = What::Edit(edit);
                self.queue(conversation, Queued { what, received_us, span }, ctx);
            }
        }
    }

    pub(super) fn take_delete(
        &mut self,
        delete: Delete,
        received_us: u64,
        ctx: &mut Context<Self>,
    ) {
        let span = info_span!(target: "rally_path", "delete", conversation = %delete.conversation);
        if let Err(error) = self.within_rate(delete.r#ref, received_us) {
            return self.refuse(error);
        }
        let conversation = delete.conversation;
        self.queue(conversation, Queued { what: What::Delete(delete), received_us, span }, ctx);
    }

    /// Lets a conversation go on without the send that holds it.
    pub(super) fn forget(&mut self, forget: &Forget) {
        if let Some(lane) = self.lanes.0.get_mut(&forget.conversation)
            && lane.held_by == Some(forget.r#ref)
        {
            lane.held_by = None;
            self.tidy(forget.conversation);
        }
    }

    /// Delivers a push, unless it would come back to this client alone. A device that attaches
    /// now reads the store after it has been counted, and what this push is about is stored.
    fn tell(&self, user: UserId, push: Push) {
        let answered = user == self.user && push.except == Some(self.client);
        if !(answered && self.router.shared.sessions() <= 1) {
            self.worker.node.deliver(user, push);
        }
    }

    /// Takes one of what the user may send, over all his sessions.
    fn within_rate(&self, r#ref: Ref, now_us: u64) -> Result<(), ErrorFrame> {
        let taken = self.router.shared.sends.take(self.worker.node.sends, now_us);
        taken.map_err(|wait_ms| {
            let text = format!("you send faster than is allowed: wait {wait_ms} ms");
            ErrorFrame::new(ErrorCode::Rate, text).about(r#ref).after_ms(wait_ms)
        })
    }

    fn hold(&mut self, conversation: ConversationId, by: Ref) {
        self.lanes.0.entry(conversation).or_default().held_by.get_or_insert(by);
    }

    fn tidy(&mut self, conversation: ConversationId) {
        let idle = |lane: &Lane| !lane.writing && lane.waiting.is_empty() && lane.held_by.is_none();
        if self.lanes.0.get(&conversation).is_some_and(idle) {
            self.lanes.0.remove(&conversation);
        }
    }

    fn queue(&mut self, conversation: ConversationId, queued: Queued, ctx: &mut Context<Self>) {
        let lane = self.lanes.0.entry(conversation).or_default();
        lane.waiting.push(queued);
        if !lane.writing {
            self.write_lane(conversation, ctx);
        } else if lane.waiting.len() >= WAITING_SENDS {
            self.io.pause(Pause::Lane, true);
        }
    }

    /// Writes all that waits in a lane as one batch.
    fn write_lane(&mut self, conversation: ConversationId, ctx: &mut Context<Self>) {
        let Some(lane) = self.lanes.0.get_mut(&conversation) else { return };
        if lane.waiting.is_empty() {
            return self.tidy(conversation);
        }
        lane.writing = true;
        let batch = Batch {
            worker: self.worker.clone(),
            user: self.user,
            client: self.client,
            conversation,
            peer: self.peers.get(conversation),
        };
        let waiting = std::mem::take(&mut lane.waiting);
        self.io.pause(Pause::Lane, false);
        ctx.spawn(batch.write(waiting).into_actor(self).map(move |written, session, ctx| {
            session.written(conversation, written, ctx);
        }));
    }

    fn written(&mut self, conversation: ConversationId, written: Written, ctx: &mut Context<Self>) {
        if let Some(peer) = written.peer {
            self.peers.put(conversation, peer);
        }
        if let Some(by) = written.held_by {
            self.hold(conversation, by);
        }
        for outcome in written.outcomes {
            match outcome {
                Outcome::Done { ack, pushes } => {
                    self.answer(ack);
                    pushes.into_iter().for_each(|(user, push)| self.tell(user, push));
                }
                Outcome::Refused(error) => self.refuse(error),
            }
        }
        if let Some(lane) = self.lanes.0.get_mut(&conversation) {
            lane.writing = false;
        }
        self.write_lane(conversation, ctx);
    }
}

fn check_send(send: &Send) -> Result<(), ErrorFrame> {
    check_stamp(send.r#ref, send.n)?;
    check_text(send.r#ref, &send.text)
}

fn check_stamp(r#ref: Ref, n: u16) -> Result<(), ErrorFrame> {
    if n > MAX_N {
        let text = format!("n is {n}: at most {MAX_N}");
        return Err(ErrorFrame::new(ErrorCode::BadFrame, text).about(r#ref));
    }
    Ok(())
}

fn check_text(r#ref: Ref, body: &str) -> Result<(), ErrorFrame> {
    text::check(body).map_err(|error| {
        let code = match error {
            text::TextError::Empty => ErrorCode::TextEmpty,
            text::TextError::TooLong { .. } => ErrorCode::TextTooLong,
        };
        ErrorFrame::new(code, error.to_string()).about(r#ref)
    })
}

/// What became of a batch.
struct Written {
    outcomes: Vec<Outcome>,
    held_by: Option<Ref>,
    /// What was learned of the peer.
    peer: Option<Peer>,
}

enum Outcome {
    Done { ack: Ack, pushes: Vec<(UserId, Push)> },
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
struct Batch {
    worker: std::rc::Rc<Worker>,
    user: UserId,
    client: ClientId,
    conversation: ConversationId,
    peer: Option<Peer>,
}

impl Batch {
    async fn write(mut self, waiting: Vec<Queued>) -> Written {
        let mut outcomes = Vec::with_capacity(waiting.len());
        let mut prepared = Vec::with_capacity(waiting.len());
        let mut held_by = None;
        for Queued { what, received_us, span } in waiting {
            let r#ref = what.r#ref();
            let is_send = matches!(what, What::Send(_));
            if let Some(by) = held_by.filter(|_| is_send) {
                let text = format!("{by} must be sent again or forgotten first");
                let error = ErrorFrame::new(ErrorCode::Held, text).about(r#ref);
                outcomes.push(Outcome::Refused(error));
                continue;
            }
            match self.prepare(what, received_us, span).await {
                Ok(item) => prepared.push(item),
                Err(error) => {
                    if is_send && error.code.holds() {
                        held_by = Some(r#ref);
                    }
                    outcomes.push(Outcome::Refused(error));
                }
            }
        }
        let stored = self.store(&prepared).await;
        if stored.is_err() {
            // Whatever was refused before came after these.
            let first = prepared.iter().find(|item| item.is_send);
            held_by = first.map(|item| item.ack.r#ref).or(held_by);
        }
        let client = self.client;
        // Acks go out before what was refused: a client that sees them in this order needs no
        // second look at its outbox.
        let refused = std::mem::take(&mut outcomes);
        outcomes.extend(prepared.into_iter().map(|item| match stored {
            Ok(()) => item.done(client),
            Err(error) => Outcome::Refused(not_stored(error, item.ack.r#ref)),
        }));
        outcomes.extend(refused);
        Written { outcomes, held_by, peer: self.peer }
    }

    /// Commits everything that is not stored already.
    async fn store(&self, prepared: &[Prepared]) -> Result<(), CommitError> {
        let mut items = prepared.iter().filter(|item| item.intent.is_some());
        let Some(first) = items.next() else { return Ok(()) };
        let intents = prepared.iter().filter_map(|item| item.intent.clone()).collect();
        let span = info_span!(target: "rally_path", parent: &first.span, "commit");
        let write = Write { pair: first.pair, intents, span };
        self.worker.committer.send(write).await.unwrap_or(Err(CommitError::Unknown))
    }

    async fn prepare(
        &mut self,
        what: What,
        received_us: u64,
        span: Span,
    ) -> Result<Prepared, ErrorFrame> {
        let r#ref = what.r#ref();
        let preparing = async {
            match what {
                What::Send(send) => self.prepare_send(send).await,
                What::Edit(edit) => self.prepare_edit(edit).await,
                What::Delete(delete) => self.prepare_delete(delete).await,
            }
        };
        let prepared = preparing.instrument(span.clone()).await;
        match prepared {
            Ok(item) => Ok(Prepared { received_us, span, ..item }),
            Err(Refused::Told(error)) => Err(error.about(r#ref)),
            Err(Refused::Store(error)) => {
                warn!(user = %self.user, %error, "a send could not be prepared");
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
            self.reach(pair).await?;
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

    async fn prepare_edit(&self, edit: Edit) -> Result<Prepared, Refused> {
        let (pair, row) = self.own_message(edit.id).await?;
        if row.deleted {
            return Err(told(ErrorCode::MessageDeleted, format!("{} was deleted", edit.id)));
        }
        let (user, conversation) = (self.user, self.conversation);
        let edit_id = EditId::of(edit.stamp(), user, conversation, edit.id, edit.r#ref, &edit.text);
        let stored = row.edit.as_ref().is_some_and(|(newest, _)| *newest >= edit_id);
        if !(edit.retry && stored) {
            self.admit(edit.stamp(), edit.retry)?;
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
        let store = self.worker.node.store.clone();
        find_peer(store, self.user, self.conversation).await?.ok_or_else(|| {
            let text = format!("unknown conversation {}: name the peer in `to`", self.conversation);
            told(ErrorCode::UnknownConversation, text)
        })
    }

    /// Finds the row that an earlier attempt left.
    async fn earlier(&self, send: &Send, id: MessageId) -> Result<Option<MessageRow>, Refused> {
        let rows = self.worker.node.store.stamped(self.conversation, send.stamp()).await?;
        let mine = |row: &MessageRow| row.sender == self.user && row.r#ref == send.r#ref;
        match rows.into_iter().find(mine) {
            Some(row) if row.id != id => {
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

    /// Asks whether the peer exists and neither has blocked the other; the same work for all
    /// answers, and one answer for all that mean no.
    async fn reach(&mut self, pair: Pair) -> Result<(), Refused> {
        let node = &self.worker.node;
        let now_ms = node.clock.monotonic_ms();
        if self.peer.is_some_and(|peer| now_ms < peer.reachable_until_ms) {
            return Ok(());
        }
        let exists = node.store.user(pair.peer).await?.is_some();
        let blocks_me = node.store.is_blocked(pair.peer, pair.actor).await?;
        let i_block = node.store.is_blocked(pair.actor, pair.peer).await?;
        if !exists || blocks_me || i_block {
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

fn told(code: ErrorCode, text: String) -> Refused {
    Refused::Told(ErrorFrame::new(code, text))
}

fn not_stored(error: CommitError, r#ref: Ref) -> ErrorFrame {
    let code = match error {
        CommitError::Busy => ErrorCode::Busy,
        CommitError::Unknown => ErrorCode::Unknown,
    };
    ErrorFrame::new(code, error.to_string()).about(r#ref).after_ms(BUSY_MS)
}

impl Prepared {
    /// Gives the ack, and one serialised push for both members.
    fn done(self, client: ClientId) -> Outcome {
        let Self { pair, ack, push, is_send, received_us, span, .. } = self;
        let mut pushes = Vec::new();
        if let Some(frame) = push {
            let mut push = Push::stored(&frame);
            push.received_us = Some(received_us);
            push.span = span;
            if !pair.is_alone() {
                pushes.push((pair.peer, push.clone()));
            }
            push.except = is_send.then_some(client);
            pushes.push((pair.actor, push));
        }
        Outcome::Done { ack, pushes }
    }
}
