//! Who writes as fast as a server takes it, whatever becomes of that, and what he knows then.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use rally_schema::frame::{Message, ServerFrame};
use rally_schema::{MessageId, Ref};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::client::Client;
use super::outbox::Outbox;
use super::{PATIENCE, Server, http};

/// Flags under which nobody is too fast.
pub const NO_RATES: [&str; 4] = [
    "--rate-sends-per-second=1000000",
    "--rate-sends-burst=1000000",
    "--rate-frames-per-second=1000000",
    "--rate-frames-burst=1000000",
];

/// Pairs who write to each other; each message goes one way.
const PAIRS: [(&str, &str); 4] =
    [("rafa", "roger"), ("carlos", "novak"), ("andy", "rafa"), ("roger", "carlos")];

/// Sends without an answer that each keeps under way.
const IN_FLIGHT: usize = 32;

/// What one writer knows of what he wrote to one reader, over all lives of the server.
pub struct Book {
    writer: &'static str,
    reader: &'static str,
    /// What was sent and acknowledged.
    pub outbox: Outbox,
    /// What was sent, by which number it is.
    sent: BTreeMap<Ref, u64>,
    /// How long each text is, at least.
    len: fn(u64) -> usize,
    /// Log-ins, which outlive the server.
    tokens: BTreeMap<&'static str, String>,
    /// A device of the reader, and how many messages there were, when it was last looked.
    device: Option<(Client, usize)>,
}

impl Book {
    /// Makes one for each pair; `len` says how long which text is.
    pub fn all(len: fn(u64) -> usize) -> Vec<Self> {
        PAIRS.into_iter().map(|(writer, reader)| Self::of(writer, reader, len)).collect()
    }

    /// Makes one of a pair.
    pub fn of(writer: &'static str, reader: &'static str, len: fn(u64) -> usize) -> Self {
        let (outbox, sent, tokens) = Default::default();
        Self { writer, reader, outbox, sent, len, tokens, device: None }
    }

    /// Connects the writer.
    pub async fn join(&mut self, server: &Server) -> Client {
        self.enter(server, self.writer).await
    }

    async fn enter(&mut self, server: &Server, user: &'static str) -> Client {
        let token = match self.tokens.get(user) {
            Some(token) => token.clone(),
            None => http::log_in(server.address, user).await,
        };
        self.tokens.insert(user, token.clone());
        Client::join_as(server.address, user, token, Uuid::new_v4().into(), None).await
    }

    /// Writes until the connection ends; what is open comes first, as a retry. Says when so many
    /// more are acknowledged.
    pub async fn write(&mut self, mut client: Client, more: usize, enough: &Notify) {
        let goal = self.outbox.acked.len() + more;
        self.outbox.open.iter_mut().for_each(|send| send.retry = send.at > 0);
        // From a refusal until everything open was sent again, nothing new goes.
        let mut again_at = Some(Instant::now());
        loop {
            let mut due = Vec::new();
            if again_at.is_some_and(|at| at <= Instant::now()) {
                again_at = None;
                due = self.outbox.again(&mut client);
            }
            while again_at.is_none() && self.outbox.open.len() < IN_FLIGHT {
                due.push(self.draft(&mut client));
            }
            for send in due {
                if client.try_tell(send).await.is_err() {
                    return;
                }
            }
            let wait = again_at.unwrap_or_else(|| Instant::now() + PATIENCE);
            tokio::select! {
                frame = client.next() => {
                    let Some(frame) = frame else { return };
                    if let Some(wait) = self.outbox.hear(&frame) {
                        again_at = Some(Instant::now() + wait);
                    }
                    if self.outbox.acked.len() == goal {
                        enough.notify_one();
                    }
                }
                () = sleep_until(wait) => {}
            }
        }
    }

    /// Makes the next message, which is open from now on.
    pub fn draft(&mut self, client: &mut Client) -> rally_schema::frame::Send {
        let number = self.sent.len() as u64;
        let draft = client.draft(self.reader, &text(number, (self.len)(number)));
        self.sent.insert(draft.r#ref, number);
        self.outbox.sent += 1;
        self.outbox.open.push(draft.clone());
        draft
    }

    /// Counts what was acknowledged and is not in a history.
    pub fn lost_from(&self, history: &[Message]) -> usize {
        let ids: BTreeSet<MessageId> = history.iter().map(|message| message.id).collect();
        self.outbox.acked.values().filter(|id| !ids.contains(id)).count()
    }

    /// Reads the conversation as its reader does.
    pub async fn history(&mut self, server: &Server) -> Vec<Message> {
        let mut reader = self.enter(server, self.reader).await;
        match reader.inbox().await.entries.iter().find(|entry| entry.peer.as_str() == self.writer) {
            Some(entry) => reader.whole_history(entry.conversation).await,
            None => Vec::new(),
        }
    }

    /// Reads all conversations, as [`check`](Self::check) does.
    pub async fn check_all(books: &mut [Self], server: &Server) {
        join_all(books.iter_mut().map(|book| book.check(server))).await;
    }

    /// Reads the conversation as its reader does: all that was acknowledged, once, in its order,
    /// and nothing by half.
    pub async fn check(&mut self, server: &Server) {
        let history = self.history(server).await;
        assert_eq!(self.lost_from(&history), 0, "acknowledged and lost, {}", self.writer);
        assert!(history.windows(2).all(|pair| pair[0].id < pair[1].id), "history is in order");
        let mut last = None;
        for message in &history {
            let number = self.sent.get(&message.r#ref).copied();
            let number = number.unwrap_or_else(|| panic!("{message:?} was never sent"));
            assert!(last < Some(number), "message {number} is there twice, or after {last:?}");
            assert_eq!(message.text, text(number, (self.len)(number)), "message {number} by half");
            last = Some(number);
        }
        let newest = history.last().map(|message| message.id);
        let unread = history.len().min(1_000) as u32;
        for (user, peer, unread) in
            [(self.writer, self.reader, 0), (self.reader, self.writer, unread)]
        {
            let mut inbox = self.enter(server, user).await.inbox().await.entries.into_iter();
            let entry = inbox.find(|entry| entry.peer.as_str() == peer);
            let entry = entry.map(|entry| (entry.head.id, entry.unread));
            assert_eq!(entry, newest.map(|newest| (newest, unread)), "the inbox of {user}");
        }
        self.check_log(server, &history).await;
    }

    /// Has a device of the reader come back that missed all since the last look: it is told the
    /// newest messages without a gap, which are in his log.
    async fn check_log(&mut self, server: &Server, history: &[Message]) {
        let mut told = BTreeSet::new();
        let missed = self.device.take();
        let mut device = match missed {
            None => self.enter(server, self.reader).await,
            Some((device, before)) => {
                let Client { user, token, client, cursor, .. } = device;
                let user = user.as_str();
                let mut device = Client::hello(server.address, user, token, client, cursor).await;
                device.caught_up().await;
                for frame in device.settled().await {
                    let messages = match frame {
                        ServerFrame::Message(message) => vec![message],
                        // Instead of more than two hundred.
                        ServerFrame::History(page) => page.messages,
                        _ => continue,
                    };
                    let mine = messages.iter().filter(|one| one.sender.as_str() == self.writer);
                    told.extend(mine.map(|message| message.id));
                }
                let newest = history.iter().rev().take(told.len()).map(|message| message.id);
                assert_eq!(told, newest.collect(), "the log has what the history has");
                assert!(history.len() == before || !told.is_empty(), "the log has what is new");
                device
            }
        };
        device.settled().await;
        self.device = Some((device, history.len()));
    }
}

/// Gives a text of its own for each number, which cannot be packed much.
fn text(number: u64, len: usize) -> String {
    use std::fmt::Write as _;
    let mut text = format!("message {number} ");
    let mut state = number;
    while text.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(text, "{:08x}", state >> 32);
    }
    text
}
