//! Questions: pages of the inbox and of a conversation's history, which `rally_cluster::pages` makes.
//!
//! A few are answered at once; beyond that the session reads nothing more until one is
//! done, so a client cannot have the store read faster than it is answered.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::pages;
use rally_cluster::store::StoreError;
use rally_schema::frame::{self, ErrorFrame, HistoryQuery, InboxQuery, ServerFrame};
use rally_schema::limits::{HISTORY_PAGE, INBOX_PAGE};
use rally_schema::{ErrorCode, MessageId, Ref};
use tracing::Span;

use super::Session;
use crate::committer::Write;
use crate::io::Pause;
use crate::metrics::count;
use crate::wire;

/// Questions of one session that are answered at once.
const AT_ONCE: usize = 4;

/// Entries of a page when the client does not say.
const PAGE: u32 = 50;

/// Bytes of an answer that count as one more frame of the client's: who asks for much waits longer.
const FRAME_OF_ANSWER: usize = 4 * 1024;

/// How long a client waits after a question that failed.
const AGAIN_MS: u64 = 1_000;

/// The questions being answered.
#[derive(Default)]
pub(super) struct Questions {
    running: usize,
}

impl Session {
    fn question_begins(&mut self) -> u64 {
        self.questions.running += 1;
        if self.questions.running >= AT_ONCE {
            count(&self.worker.node.metrics.paused, "questions");
            self.io.pause(Pause::Queries, true);
        }
        self.now_us()
    }

    fn question_ends(
        &mut self,
        r#ref: Ref,
        answer: Result<ServerFrame, Failed>,
        ctx: &mut Context<Self>,
    ) {
        self.questions.running -= 1;
        self.io.pause(Pause::Queries, false);
        match answer {
            Ok(frame) => {
                let answer = wire::text(frame.encode());
                self.charge((answer.len() / FRAME_OF_ANSWER) as u64, ctx);
                self.io.answer(answer);
            }
            Err(Failed::Told(error)) => self.refuse(error.about(r#ref)),
            Err(Failed::Store(error)) => {
                self.worker.node.store_failed("a question could not be answered", &error);
                let text = "the store does not answer: ask again";
                let error = ErrorFrame::new(ErrorCode::Internal, text);
                self.refuse(error.about(r#ref).after_ms(AGAIN_MS));
            }
        }
    }

    pub(super) fn ask_inbox(&mut self, query: InboxQuery, ctx: &mut Context<Self>) {
        let began_us = self.question_begins();
        let (store, user) = (self.worker.node.store.clone(), self.user);
        let InboxQuery { r#ref, before, limit } = query;
        let limit = page_size(limit, INBOX_PAGE);
        let asking = async move {
            let page = pages::inbox(&*store, user, before, limit).await?;
            Ok(frame::Inbox { r#ref: Some(r#ref), ..page }.into())
        };
        ctx.spawn(asking.into_actor(self).map(move |answer, session, ctx| {
            let took_us = session.now_us() - began_us;
            session.worker.node.metrics.inbox_seconds.observe(took_us as f64 / 1e6);
            session.question_ends(r#ref, answer, ctx);
        }));
    }

    pub(super) fn ask_history(&mut self, query: HistoryQuery, ctx: &mut Context<Self>) {
        let began_us = self.question_begins();
        let worker = self.worker.clone();
        let (user, known) = (self.user, self.peers.known(query.conversation));
        let HistoryQuery { r#ref, conversation, before, limit } = query;
        let limit = page_size(limit, HISTORY_PAGE);
        let asking = async move {
            let store = &worker.node.store;
            let peer = match known {
                Some(peer) => Some(peer),
                None => pages::find_peer(&**store, user, conversation).await?,
            };
            let Some(peer) = peer else {
                let text = format!("unknown conversation {conversation}");
                return Err(Failed::Told(ErrorFrame::new(ErrorCode::UnknownConversation, text)));
            };
            let (page, twins) = pages::history(&**store, conversation, before, limit).await?;
            if !twins.is_empty() {
                let pair = Pair { conversation, actor: user, peer };
                remove(&worker, pair, twins);
            }
            Ok((peer, frame::History { r#ref: Some(r#ref), ..page }.into()))
        };
        ctx.spawn(asking.into_actor(self).map(move |answer, session, ctx| {
            let took_us = session.now_us() - began_us;
            session.worker.node.metrics.history_seconds.observe(took_us as f64 / 1e6);
            let answer = answer.map(|(peer, page)| {
                session.peers.learn(conversation, peer);
                page
            });
            session.question_ends(r#ref, answer, ctx);
        }));
    }
}

/// Removes the rows of smaller twins: the larger ones have just been read, so they are stored.
fn remove(worker: &crate::node::Worker, pair: Pair, twins: Vec<MessageId>) {
    let intents = twins.into_iter().map(|id| Intent::Remove { id }).collect();
    let removing = worker.committer.send(Write { pair, intents, span: Span::none() });
    actix::spawn(async move {
        // Whoever reads the page next tries again.
        let _ = removing.await;
    });
}

fn page_size(limit: Option<u32>, most: u32) -> usize {
    limit.unwrap_or(PAGE).clamp(1, most) as usize
}

enum Failed {
    Told(ErrorFrame),
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
