//! One reading of what the log names, written to the socket as it is read.
//!
//! Knows nothing of doubt, nor of what is pushed meanwhile: that is `catching_up.rs`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::poll_fn;
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::{Change, StoreError};
use rally_schema::frame::{Reset, ServerFrame, Synced};
use rally_schema::limits::CATCH_UP_CONVERSATION;
use rally_schema::{ConversationId, Cursor, MessageId, UserId};
use tokio::sync::oneshot;

use super::log_in::still_holds;
use super::reading::{Position, Reading, after, from_when, read_log};
use super::rows::{self, Wanted};
use crate::admission::Line;
use crate::io::Io;
use crate::metrics::count;
use crate::node::{ByLogIn, Worker};
use crate::together::Work;

/// Messages read at once, of however many conversations: a page of the longest texts is a megabyte.
const MESSAGES_PAGE: usize = 16;

/// Inbox entries read and written at once.
const ENTRIES_PAGE: usize = 50;

/// How a catch-up ended.
pub(super) struct Done {
    pub(super) cursor: Cursor,
    /// `synced` or `reset`.
    pub(super) last: ServerFrame,
}

/// One catch-up of one session.
pub(super) struct CatchUp {
    pub(super) worker: Rc<Worker>,
    pub(super) io: Rc<Io>,
    pub(super) user: UserId,
    pub(super) epoch: Option<u64>,
    pub(super) log_in: Option<ByLogIn>,
    pub(super) position: Rc<Cell<Position>>,
    /// Of the account and the log, together with others.
    pub(super) reading: Work<Reading>,
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
        let read = self.reading.clone().await?;
        let Some(epoch) = still_holds(self.epoch, self.log_in, &read) else { return Ok(None) };
        let cursor = read.cursor;
        // Once it is known, nobody listens.
        let _ = confirm.send(epoch);
        let from = match from_when(self.position.get(), &self.worker.node, cursor.at) {
            Ok(from) => from,
            Err(why) => return Ok(Some(self.reset(cursor, why))),
        };
        let named = match &read.log {
            Some(log) => {
                let after = after(&self.worker.node, from);
                Some(named(log.iter().filter(|entry| entry.change > after)))
            }
            // What was too much from where another session is may not be from here.
            None if read.from != Some(from) => {
                self.has_read().await;
                let _permit = self.worker.node.admission.enter(Line::Begun).await;
                read_log(&self.worker.node, self.user, from).await?.as_deref().map(named)
            }
            None => None,
        };
        drop(read);
        let Some(named) = named else { return Ok(Some(self.reset(cursor, "too_much"))) };
        let (mut messages, mut cut) = (Vec::new(), Vec::new());
        for (&conversation, ids) in &named {
            if ids.len() <= CATCH_UP_CONVERSATION {
                messages.extend(ids.iter().map(|&id| (conversation, id)));
            } else if !planted::on(Fault::CutUntold) {
                cut.push(conversation);
            }
        }
        for page in messages.chunks(MESSAGES_PAGE) {
            self.write(Wanted::Messages(page.to_vec())).await?;
        }
        for &conversation in &cut {
            self.write(Wanted::Window(conversation)).await?;
        }
        let conversations: Vec<ConversationId> = named.into_keys().collect();
        for page in conversations.chunks(ENTRIES_PAGE) {
            self.write(Wanted::Entries(self.user, page.to_vec())).await?;
        }
        let last = Synced { cursor: cursor.to_string(), cut }.into();
        Ok(Some(Done { cursor, last }))
    }

    fn reset(&self, cursor: Cursor, why: &'static str) -> Done {
        count(&self.worker.node.metrics.resets, why);
        Done { cursor, last: Reset { cursor: cursor.to_string() }.into() }
    }

    /// Waits until the client has read what it got, so that a catch-up is no way around the budget.
    async fn has_read(&self) {
        poll_fn(|cx| self.io.poll_uncongested(cx)).await;
    }

    /// Reads rows, once the client has read what it got, and writes them.
    async fn write(&self, wanted: Wanted) -> Result<(), StoreError> {
        self.has_read().await;
        let page = rows::read(&self.worker.rows, &self.worker.node, wanted).await?;
        for frame in &page.frames {
            // A client of which more waits is not listened to, and would soon be taken for dead.
            self.has_read().await;
            self.io.answer(frame.clone());
        }
        Ok(())
    }
}

/// Gathers what entries name; a mark names its conversation only.
fn named<'a>(log: impl IntoIterator<Item = &'a Change>) -> Named {
    let mut named = Named::new();
    for Change { conversation, id, kind, .. } in log {
        let ids = named.entry(*conversation).or_default();
        if kind.is_of_message() {
            ids.insert(*id);
        }
    }
    named
}
