//! One reading of the log and of what it names, written to the socket as it is read.
//!
//! Knows nothing of doubt, nor of what is pushed meanwhile: that is `catching_up.rs`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{poll_fn, try_join};
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{Change, ChangeKind, StoreError};
use rally_cluster::{pages, twins};
use rally_schema::frame::{self, Reset, ServerFrame, Synced};
use rally_schema::limits::{CATCH_UP_CONVERSATION, CATCH_UP_MESSAGES, CURSOR_DAYS};
use rally_schema::{ChangeId, ConversationId, Cursor, MessageId, UserId};
use tokio::sync::oneshot;

use super::catching_up::{AGAIN, Phase, Position};
use super::log_in::still_holds;
use crate::admission::{Line, Permit};
use crate::io::Io;
use crate::metrics::count;
use crate::node::Node;
use crate::wire;

/// Entries of the log read at once.
const CHANGES_PAGE: usize = 500;

/// Entries of the log in which a catch-up looks for its messages: they may all be of a few, each
/// edited a thousand times.
const CATCH_UP_CHANGES: usize = 4 * CATCH_UP_MESSAGES;

/// Messages read at once: a page of the longest texts is a megabyte.
const MESSAGES_PAGE: usize = 16;

/// Inbox entries read and written at once.
const ENTRIES_PAGE: usize = 50;

/// Messages of the window that replaces a cut conversation's.
const WINDOW: usize = 50;

/// How a catch-up ended.
pub(super) struct Done {
    pub(super) cursor: Cursor,
    /// `synced` or `reset`.
    pub(super) last: ServerFrame,
}

/// One reading of the log.
pub(super) struct CatchUp {
    pub(super) node: Arc<Node>,
    pub(super) io: Rc<Io>,
    pub(super) user: UserId,
    pub(super) epoch: Option<u64>,
    pub(super) line: Line,
    pub(super) position: Rc<Cell<Position>>,
    pub(super) phase: Rc<Cell<Phase>>,
}

/// What the log names, by conversation.
type Named = BTreeMap<ConversationId, BTreeSet<MessageId>>;

impl CatchUp {
    /// Reads and writes; `None`, with nothing written, when the session's log-in is over. Tells
    /// its epoch as soon as it is known to hold.
    pub(super) async fn run(
        self,
        confirm: oneshot::Sender<u64>,
    ) -> Result<Option<Done>, StoreError> {
        let permit = self.node.admission.enter(self.line).await;
        // A cursor ahead of the others' clocks would leave out what they store meanwhile.
        while self.node.clock.is_in_doubt() {
            tokio::time::sleep(AGAIN).await;
        }
        self.phase.set(Phase::ReadsLog);
        let cursor = self.node.cursor(self.node.clock.now_ms());
        let account = self.node.store.user(self.user);
        let (account, log) = try_join(account, self.read_log(cursor.at)).await?;
        drop(permit);
        self.phase.set(Phase::ReadsRows);
        let Some(epoch) = still_holds(self.epoch, account.as_ref()) else { return Ok(None) };
        // Once it is known, nobody listens.
        let _ = confirm.send(epoch);
        let named = match log {
            Ok(named) => named,
            Err(why) => return Ok(Some(self.reset(cursor, why))),
        };
        let mut cut = Vec::new();
        for (conversation, ids) in &named {
            if ids.len() > CATCH_UP_CONVERSATION {
                self.write_window(*conversation).await?;
                cut.push(*conversation);
            } else {
                self.write_messages(*conversation, ids).await?;
            }
        }
        self.write_inbox(named.into_keys().collect()).await?;
        let last = Synced { cursor: cursor.to_string(), cut }.into();
        Ok(Some(Done { cursor, last }))
    }

    fn reset(&self, cursor: Cursor, why: &'static str) -> Done {
        count(&self.node.metrics.resets, why);
        Done { cursor, last: Reset { cursor: cursor.to_string() }.into() }
    }

    /// Says from when to read, or why the position is of no use.
    fn check(&self, now: u64) -> Result<u64, &'static str> {
        let cursor = self.position.get().map_err(|()| "malformed")?.ok_or("none")?;
        if cursor.store != self.node.store.id() {
            return Err("other_store");
        }
        if cursor.at > now {
            return Err("ahead");
        }
        if now - cursor.at > CURSOR_DAYS * 86_400_000 {
            return Err("too_old");
        }
        Ok(cursor.at)
    }

    /// Reads the log from an overlap before the position, or says why that is of no use: nothing
    /// can be read from there, or too much comes after it.
    async fn read_log(&self, now: u64) -> Result<Result<Named, &'static str>, StoreError> {
        let from = match self.check(now) {
            Ok(from) => from,
            Err(why) => return Ok(Err(why)),
        };
        let overlap_ms =
            if planted::on(Fault::NoOverlap) { 0 } else { self.node.settings.overlap.ms };
        let mut after = ChangeId::first_of(from.saturating_sub(overlap_ms));
        let mut named = Named::new();
        let mut recent = BTreeSet::new();
        let mut entries = 0;
        loop {
            let page = self.node.store.changes(self.user, after, CHANGES_PAGE).await?;
            for Change { change, conversation, id, kind } in &page {
                let ids = named.entry(*conversation).or_default();
                // A mark names its conversation; what it is about has not changed.
                if matches!(kind, ChangeKind::Message | ChangeKind::Edit | ChangeKind::Delete) {
                    ids.insert(*id);
                    if change.at() >= from {
                        recent.insert(*id);
                    }
                }
            }
            entries += page.len();
            if recent.len() > CATCH_UP_MESSAGES || entries > CATCH_UP_CHANGES {
                return Ok(Err("too_much"));
            }
            match page.last() {
                Some(last) if page.len() == CHANGES_PAGE => after = last.change,
                _ => return Ok(Ok(named)),
            }
        }
    }

    /// Waits until the client has read what it got, so that a catch-up is no way around the
    /// budget; then for a place among those that read the store.
    async fn turn(&self) -> Permit {
        if planted::on(Fault::PlaceKept) {
            let permit = self.node.admission.enter(self.line).await;
            poll_fn(|cx| self.io.poll_uncongested(cx)).await;
            return permit;
        }
        poll_fn(|cx| self.io.poll_uncongested(cx)).await;
        self.node.admission.enter(Line::Begun).await
    }

    fn write(&self, frame: impl Into<ServerFrame>) {
        self.io.answer(wire::text(frame.into().encode()));
    }

    async fn write_messages(
        &self,
        conversation: ConversationId,
        ids: &BTreeSet<MessageId>,
    ) -> Result<(), StoreError> {
        let ids: Vec<MessageId> = ids.iter().copied().collect();
        for page in ids.chunks(MESSAGES_PAGE) {
            let _permit = self.turn().await;
            let mut rows = self.node.store.messages(conversation, page.to_vec()).await?;
            twins::fold(&mut rows);
            rows.iter().for_each(|row| self.write(row.to_frame()));
        }
        Ok(())
    }

    async fn write_window(&self, conversation: ConversationId) -> Result<(), StoreError> {
        let _permit = self.turn().await;
        let (mut rows, more) = pages::rows(&*self.node.store, conversation, None, WINDOW).await?;
        twins::fold(&mut rows);
        let messages = rows.iter().map(|row| row.to_frame()).collect();
        self.write(frame::History { r#ref: None, conversation, messages, more });
        Ok(())
    }

    async fn write_inbox(&self, conversations: Vec<ConversationId>) -> Result<(), StoreError> {
        for page in conversations.chunks(ENTRIES_PAGE) {
            let _permit = self.turn().await;
            let rows = self.node.store.inbox_rows(self.user, page.to_vec()).await?;
            let entries = pages::entries(&*self.node.store, self.user, rows).await?;
            self.write(frame::Inbox { r#ref: None, entries, more: false });
        }
        Ok(())
    }
}
