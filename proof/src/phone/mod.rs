//! A client that keeps the protocol: what PROTOCOL.md asks of one, and nothing that it does not
//! allow. It writes down what it did and what it was told, for the judges.
//!
//! Pure: frames and wishes go in, frames and events come out. Who connects it, and when, is decided
//! by whoever drives it: a simulation, or a checker from outside.

mod outbox;
mod questions;
mod thread;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use rally_schema::frame::{
    ClientFrame, Delivered, InboxEntry, InboxQuery, Mark, Message, Presence, Read, Receipt,
    ServerFrame, Watch,
};
use rally_schema::ids::Stamp;
use rally_schema::{ClientId, ConversationId, MessageId, Ref, UserId};
use uuid::Uuid;

use crate::history::{Device, Event, Shown, View};
use outbox::Intent;
use thread::{Change as _, Thread};
pub use wish::Wish;

/// What a device stands on.
pub trait Host {
    /// Milliseconds by the device's own clock.
    fn now_ms(&self) -> u64;

    /// Draws an id.
    fn uuid(&self) -> Uuid;
}

/// The device.
pub struct Phone<H> {
    /// Who it is.
    pub device: Device,
    /// What it calls itself.
    pub client: ClientId,
    /// Where its knowledge ends.
    pub cursor: Option<String>,
    lazy: bool,
    host: H,
    intents: Vec<Intent>,
    threads: BTreeMap<ConversationId, Thread>,
    last_stamp: Stamp,
    /// The server's clock minus this world's.
    offset_ms: i64,
    synced: bool,
    /// Questions that are not answered, and when they may be asked again.
    loads: BTreeMap<Ref, (ClientFrame, Option<u64>)>,
    /// The cursor to keep once they all are.
    next_cursor: Option<String>,
    /// The last send that was acknowledged at its first attempt: no second answer can come.
    settled: Option<Intent>,
    /// Where everything was sent that is acknowledged.
    acked: BTreeMap<Ref, ConversationId>,
    /// Holes for which a sync was asked.
    asked: BTreeSet<MessageId>,
    /// Whose presence was asked for on this connection.
    watched: BTreeSet<UserId>,
    /// Whether a sync is asked and not yet answered.
    hole: bool,
    out: Vec<ClientFrame>,
    events: Vec<Event>,
}

impl<H: Host> Phone<H> {
    /// Makes a device that knows nothing; a lazy one says what was read, and not what arrived.
    pub fn new(device: Device, lazy: bool, host: H) -> Self {
        Self {
            device,
            lazy,
            client: host.uuid().into(),
            cursor: None,
            host,
            intents: Vec::new(),
            threads: BTreeMap::new(),
            last_stamp: Stamp { at: 0, n: 0 },
            offset_ms: 0,
            synced: false,
            loads: BTreeMap::new(),
            next_cursor: None,
            settled: None,
            acked: BTreeMap::new(),
            asked: BTreeSet::new(),
            watched: BTreeSet::new(),
            hole: false,
            out: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes what is to be sent.
    pub fn take_out(&mut self) -> Vec<ClientFrame> {
        std::mem::take(&mut self.out)
    }

    /// Takes what happened.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Tells whether nothing is left to do: all is acknowledged, caught up and marked.
    pub fn is_quiet(&self) -> bool {
        self.synced && self.intents.is_empty() && self.loads.is_empty()
    }

    /// Says what is waited for, for people; `None` when nothing is left to do.
    pub fn wants(&self) -> Option<String> {
        if !self.synced {
            return Some("has not caught up".to_owned());
        }
        let open = self.intents.first().map(Intent::describe);
        open.or_else(|| {
            let (_, (frame, _)) = self.loads.first_key_value()?;
            Some(format!("waits for an answer to {}", frame.encode()))
        })
    }

    /// Tells whether the session has caught up at least once.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Notes something that the line saw.
    pub fn note(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Begins anew on a fresh connection.
    pub fn connected(&mut self) {
        // What waited for the last connection went nowhere.
        self.out.clear();
        self.loads.clear();
        self.next_cursor = None;
        self.watched.clear();
        (self.synced, self.hole) = (false, false);
        for intent in &mut self.intents {
            intent.tried |= intent.sent_ms.take().is_some();
        }
        for thread in self.threads.values_mut() {
            (thread.wait_until_ms, thread.has_delivered, thread.wants[0]) = (0, None, None);
        }
    }

    /// Forgets what it showed, as a browser whose storage was cleared; the outbox stays.
    pub fn forget(&mut self) {
        self.drop_all();
    }

    fn drop_all(&mut self) {
        (self.cursor, self.next_cursor) = (None, None);
        self.loads.clear();
        self.threads.clear();
        self.asked.clear();
        self.events.push(Event::Reset);
    }

    /// Queues what is due now; to be called after everything that happens, and now and then.
    pub fn work(&mut self) {
        if !self.synced {
            return;
        }
        let now_ms = self.host.now_ms();
        self.send_due(now_ms);
        if !self.hole {
            self.mark();
        }
        self.watch();
        for (frame, again_ms) in self.loads.values_mut() {
            if again_ms.is_some_and(|again_ms| now_ms >= again_ms) {
                *again_ms = None;
                self.out.push(frame.clone());
            }
        }
    }

    /// Sends the marks that the server does not have. A lazy device leaves it at `read`, which
    /// covers `delivered`.
    fn mark(&mut self) {
        let (me, lazy) = (self.device.user, self.lazy);
        for (conversation, thread) in &mut self.threads {
            let newest = thread.newest_of_peer(me);
            if newest > thread.has_delivered
                && !lazy
                && let Some(id) = newest
            {
                thread.has_delivered = newest;
                let mark = Mark { conversation: *conversation, id };
                self.out.push(Delivered(mark).into());
            }
            if thread.wants[1] > thread.read_up_to.max(thread.wants[0])
                && let Some(id) = thread.wants[1]
            {
                thread.wants[0] = Some(id);
                self.out.push(Read(Mark { conversation: *conversation, id }).into());
            }
        }
    }

    /// Watches everybody with whom something was written.
    fn watch(&mut self) {
        let me = self.device.user;
        for user in self.threads.values().filter_map(|thread| thread.peer) {
            if user != me && self.watched.insert(user) {
                self.out.push(Watch { user }.into());
                self.events.push(Event::Watches { user });
            }
        }
    }

    /// Takes what the server says.
    pub fn hear(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) => self.learn_time(welcome.now),
            ServerFrame::Beat(beat) => self.learn_time(beat.now),
            ServerFrame::Ack(ack) => self.acked(ack.r#ref, ack.id),
            ServerFrame::Message(message) => self.message(message, true),
            ServerFrame::Edited(edited) => {
                let thread = self.thread(edited.conversation);
                match thread.messages.get_mut(&edited.id) {
                    Some(shown) => shown.edit(edited.edit, edited.text),
                    None => self.ask_for(edited.id),
                }
            }
            ServerFrame::Deleted(deleted) => {
                match self.thread(deleted.conversation).messages.get_mut(&deleted.id) {
                    Some(shown) => shown.delete(),
                    None => self.ask_for(deleted.id),
                }
            }
            ServerFrame::Receipt(receipt) => self.receipt(receipt),
            ServerFrame::Inbox(inbox) => {
                let asked = inbox.r#ref.is_some_and(|r#ref| self.loads.remove(&r#ref).is_some());
                for entry in inbox.entries {
                    self.entry(&entry, !asked);
                    // After a reset everything is loaded, so that everything can be judged.
                    if asked {
                        self.load(entry.conversation, None);
                    }
                }
                self.keep_cursor(None);
            }
            ServerFrame::History(history) => {
                let oldest = history.messages.last().map(|message| message.id);
                let (conversation, more) = (history.conversation, history.more);
                if history.r#ref.is_none() {
                    self.thread(conversation).messages.clear();
                }
                history.messages.into_iter().for_each(|message| self.message(message, false));
                if let Some(r#ref) = history.r#ref {
                    self.loads.remove(&r#ref);
                }
                if more && oldest.is_some() {
                    self.load(conversation, oldest);
                }
                self.keep_cursor(None);
            }
            ServerFrame::Synced(synced) => {
                (self.synced, self.hole) = (true, false);
                self.keep_cursor(Some(synced.cursor));
            }
            ServerFrame::Reset(reset) => {
                self.drop_all();
                self.next_cursor = Some(reset.cursor);
                (self.synced, self.hole) = (true, false);
                let r#ref = self.new_ref();
                self.ask(r#ref, InboxQuery { r#ref, before: None, limit: Some(100) });
            }
            ServerFrame::Error(error) => self.refused(&error),
            ServerFrame::Presence(Presence { user, online, .. }) => {
                self.events.push(Event::Presence { user, online });
            }
            ServerFrame::Typing(_) | ServerFrame::Bye(_) => {}
        }
    }

    fn learn_time(&mut self, now: u64) {
        self.offset_ms = now as i64 - self.host.now_ms() as i64;
    }

    fn message(&mut self, message: Message, may_have_holes: bool) {
        let Message { id, conversation, sender, to, r#ref, text, .. } = message;
        let Message { edit, deleted, after, .. } = message;
        let peer = if sender == self.device.user { to } else { sender };
        self.thread(conversation).peer = Some(peer);
        self.show(conversation, Shown { id, sender, r#ref, text, edit, deleted });
        if let Some(after) = after.filter(|_| may_have_holes)
            && !self.thread(conversation).knows(after)
        {
            self.ask_for(after);
        }
    }

    fn show(&mut self, conversation: ConversationId, shown: Shown) {
        let id = shown.id;
        if self.thread(conversation).take(shown) {
            self.events.push(Event::Appeared { id });
        }
    }

    fn receipt(&mut self, receipt: Receipt) {
        let Receipt { conversation, user, delivered_up_to, read_up_to } = receipt;
        let me = self.device.user;
        let thread = self.thread(conversation);
        if user == me {
            thread.read_up_to = thread.read_up_to.max(read_up_to);
        } else {
            self.tick(conversation, false, delivered_up_to, read_up_to);
        }
    }

    fn entry(&mut self, entry: &InboxEntry, caught_up: bool) {
        let thread = self.thread(entry.conversation);
        thread.read_up_to = thread.read_up_to.max(entry.read_up_to);
        let (delivered, read) = (entry.peer_delivered_up_to, entry.peer_read_up_to);
        self.tick(entry.conversation, caught_up, delivered, read);
    }

    /// Shows ticks, and writes down what was told, right or wrong.
    fn tick(
        &mut self,
        conversation: ConversationId,
        caught_up: bool,
        delivered_up_to: Option<MessageId>,
        read_up_to: Option<MessageId>,
    ) {
        let thread = self.thread(conversation);
        thread.peer_read = thread.peer_read.max(read_up_to);
        thread.peer_delivered = thread.peer_delivered.max(delivered_up_to);
        if delivered_up_to.is_some() || read_up_to.is_some() {
            let told = Event::Ticked { conversation, caught_up, delivered_up_to, read_up_to };
            self.events.push(told);
        }
    }

    /// Gives what is shown of every conversation.
    pub fn views(&self) -> Vec<View> {
        let me = self.device.user;
        let view = |(conversation, thread): (&ConversationId, &Thread)| {
            let above = |id| thread.read_up_to.is_none_or(|read| id > read);
            let unread = |m: &&Shown| m.sender != me && above(m.id);
            View {
                device: Some(self.device),
                conversation: *conversation,
                messages: thread.messages.values().cloned().collect(),
                unread: thread.messages.values().filter(unread).count() as u32,
                read_up_to: thread.read_up_to,
                peer_delivered_up_to: thread.peer_delivered,
                peer_read_up_to: thread.peer_read,
            }
        };
        self.threads.iter().map(view).collect()
    }

    fn thread(&mut self, conversation: ConversationId) -> &mut Thread {
        self.threads.entry(conversation).or_default()
    }
}
