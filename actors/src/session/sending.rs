//! Sends, edits and deletions: from the frame to the ack and the pushes.
//!
//! Each conversation is a *lane*: one write in flight, what arrives meanwhile follows as
//! one batch, so a sender's own order holds. After an outcome that leaves a send open,
//! later ones are answered `held` until it comes again or is forgotten.
//!
//! A lane holds at most [`WAITING_SENDS`]; beyond that the session stops reading, and the
//! client waits in its own kernel. There are at most [`OPEN_CONVERSATIONS`] of them: the session of
//! a client that leaves more open ends, and what it has not been told comes again in the next one.

use std::collections::BTreeMap;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use rally_cluster::planted::{self, Fault};
use rally_schema::frame::{ByeReason, Delete, Edit, ErrorFrame, Forget, Send};
use rally_schema::ids::MAX_N;
use rally_schema::limits::{OPEN_CONVERSATIONS, WAITING_SENDS};
use rally_schema::{ConversationId, ErrorCode, Ref, text};
use tracing::{Span, info_span};

use super::batch::{Batch, Outcome, Queued, What, Written};
use super::{End, Session};
use crate::io::Pause;
use crate::outlive::outlive;

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

impl Lanes {
    fn have_room_for(&self, conversation: ConversationId) -> bool {
        self.0.len() < OPEN_CONVERSATIONS || self.0.contains_key(&conversation)
    }
}

/// How long a client stays away that left too many conversations open.
const AWAY_MS: u64 = 1_000;

impl Session {
    pub(super) fn take_send(&mut self, send: Send, received_us: u64, ctx: &mut Context<Self>) {
        let span = info_span!(target: "rally_path", "send", conversation = %send.conversation);
        if let Some(parent) = &send.traceparent {
            (self.worker.node.link_span)(&span, parent);
        }
        if let Err(error) = check_send(&send) {
            return self.refuse(error);
        }
        if !self.lanes.have_room_for(send.conversation) {
            let text = format!("{OPEN_CONVERSATIONS} conversations wait for a send to come again");
            self.refuse(ErrorFrame::new(ErrorCode::Busy, text).about(send.r#ref).after_ms(AWAY_MS));
            let end = End { reason: ByeReason::Refused, after_ms: Some(AWAY_MS) };
            return self.end(end, 1008, ctx);
        }
        let lane = self.lanes.0.entry(send.conversation).or_default();
        match lane.held_by {
            Some(by) if by != send.r#ref => {
                let text = format!("{by} must be sent again or forgotten first");
                return self.refuse(ErrorFrame::new(ErrorCode::Held, text).about(send.r#ref));
            }
            _ => lane.held_by = None,
        }
        let (conversation, r#ref) = (send.conversation, send.r#ref);
        // Refused in its turn: what came before it and waits is not held by it.
        let what = match self.within_rate(r#ref) {
            Ok(()) => What::Send(send),
            Err(error) => What::Refused(r#ref, error),
        };
        self.queue(conversation, Queued { what, received_us, span }, ctx);
    }

    pub(super) fn take_edit(&mut self, edit: Edit, received_us: u64, ctx: &mut Context<Self>) {
        let span = info_span!(target: "rally_path", "edit", conversation = %edit.conversation);
        let refused = check_stamp(edit.r#ref, edit.n)
            .and_then(|()| check_text(edit.r#ref, &edit.text))
            .and_then(|()| self.within_rate(edit.r#ref));
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
        if let Err(error) = self.within_rate(delete.r#ref) {
            return self.refuse(error);
        }
        let conversation = delete.conversation;
        self.queue(conversation, Queued { what: What::Delete(delete), received_us, span }, ctx);
    }

    /// Lets a conversation go on without the send that holds it; one that is still being written
    /// does not come to hold it.
    pub(super) fn forget(&mut self, forget: &Forget, received_us: u64, ctx: &mut Context<Self>) {
        if self.lanes.0.contains_key(&forget.conversation) {
            let (what, span) = (What::Forget(forget.r#ref), Span::none());
            self.queue(forget.conversation, Queued { what, received_us, span }, ctx);
        }
    }

    /// Takes one of what the user may send now, over all his sessions: it may have been received
    /// long ago.
    fn within_rate(&self, r#ref: Ref) -> Result<(), ErrorFrame> {
        let taken = self.router.shared.sends.take(self.worker.node.sends, self.now_us());
        taken.map_err(|wait_ms| {
            let text = format!("you send faster than is allowed: wait {wait_ms} ms");
            ErrorFrame::new(ErrorCode::Rate, text).about(r#ref).after_ms(wait_ms)
        })
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
        let held_by = lane.held_by.take();
        let batch = Batch {
            worker: self.worker.clone(),
            user: self.user,
            client: self.client,
            number: self.number,
            router: self.router.clone(),
            conversation,
            peer: self.peers.get(conversation),
            held_by,
        };
        let waiting = std::mem::take(&mut lane.waiting);
        let is_full = |lane: &Lane| lane.waiting.len() >= WAITING_SENDS;
        if waiting.len() >= WAITING_SENDS && !self.lanes.0.values().any(is_full) {
            self.io.pause(Pause::Lane, false);
        }
        ctx.spawn(outlive(batch.write(waiting)).into_actor(self).map(
            move |written, session, ctx| {
                session.written(conversation, written, ctx);
            },
        ));
    }

    fn written(&mut self, conversation: ConversationId, written: Written, ctx: &mut Context<Self>) {
        if let Some(peer) = written.peer {
            self.peers.put(conversation, peer);
        }
        if written.held_by.is_some() && !planted::on(Fault::HoldForgotten) {
            // Over a later one: what was refused first has to come again first.
            self.lanes.0.entry(conversation).or_default().held_by = written.held_by;
        }
        for outcome in written.outcomes {
            match outcome {
                Outcome::Done(ack) => self.answer(ack),
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
