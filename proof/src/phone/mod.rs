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
    ClientFrame, Delivered, Hello, InboxEntry, Mark, Message, Presence, Read, Receipt, ServerFrame,
    Watch,
};
use rally_schema::ids::Stamp;
use rally_schema::{ClientId, ConversationId, MessageId, NodeId, Ref, UserId};
use uuid::Uuid;

use crate::history::{Device, Entry, Event, Shown, View};
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
    /// Whether it has a connection, whether it reads it, and whether it has caught up over it.
    connected: bool,
    reads: bool,
    synced: bool,
    /// Questions that are not answered, and when they may be asked again.
    loads: BTreeMap<Ref, (ClientFrame, Option<u64>)>,
    /// The cursor to keep once they all are.
    next_cursor: Option<String>,
    /// The last send that was acknowledged at its first attempt: no second answer can come.
    settled: Option<Intent>,
    /// Holes for which a sync was asked.
    asked: BTreeSet<MessageId>,
    /// Whose presence was asked for on this connection.
    watched: BTreeSet<UserId>,
    /// Whether a sync is asked and not yet answered.
    hole: bool,
    /// The pages of history that were read, as they came; for whoever reads back.
    pages: Option<BTreeMap<ConversationId, Vec<Vec<Shown>>>>,
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
            connected: false,
            reads: true,
            synced: false,
            loads: BTreeMap::new(),
            next_cursor: None,
            settled: None,
            asked: BTreeSet::new(),
            watched: BTreeSet::new(),
            hole: false,
            pages: None,
            out: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Makes a device that is only there to read everything back: it also keeps what it reads as it
    /// comes, doubled or out of order as it may be.
    pub fn reader(device: Device, host: H) -> Self {
        Self { pages: Some(BTreeMap::new()), ..Self::new(device, true, host) }
    }

    /// Takes what is to be sent.
    pub fn take_out(&mut self) -> Vec<ClientFrame> {
        std::mem::take(&mut self.out)
    }

    /// Takes what happened until now, for the record.
    pub fn take_entries(&mut self, at_ms: u64) -> impl Iterator<Item = Entry> {
        let (device, events) = (self.device, std::mem::take(&mut self.events));
        events.into_iter().map(move |event| Entry { at_ms, device, event })
    }

    /// Says what is waited for, for people; `None` when nothing is left to do: it is connected, and
    /// all is acknowledged, caught up and marked.
    pub fn wants(&self) -> Option<String> {
        if !self.connected || !self.reads || !self.synced {
            let what = match (self.connected, self.reads) {
                (false, _) => "is away",
                (true, false) => "does not read",
                (true, true) => "has not caught up",
            };
            return Some(what.to_owned());
        }
        if let Some(intent) = self.intents.first() {
            return Some(intent.describe());
        }
        if let Some((_, (frame, _))) = self.loads.first_key_value() {
            return Some(format!("waits for an answer to {}", frame.encode()));
        }
        if self.hole {
            return Some("waits for what a message comes after".to_owned());
        }
        let marks = |(_, thread): &(_, &Thread)| thread.wants[1] > thread.read_up_to;
        let (conversation, _) = self.threads.iter().find(marks)?;
        Some(format!("has read more of {conversation} than it was told is marked"))
    }

    /// Tells whether it has caught up over this connection.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Stops reading its connection, or reads it again.
    pub fn set_reads(&mut self, reads: bool) {
        if std::mem::replace(&mut self.reads, reads) != reads {
            self.wait_anew();
            self.events.push(if reads { Event::Reads } else { Event::StopsReading });
        }
    }

    /// Notes that its user is about to block another one, or has stopped.
    pub fn blocks(&mut self, user: UserId, blocked: bool) {
        self.events.push(Event::Blocks { user, blocked });
    }

    /// Tells whether it reads its connection.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Begins anew on a fresh connection; the answer is said first.
    pub fn connects(&mut self, node: NodeId, ticket: String) -> Hello {
        self.connected = true;
        self.events.push(Event::Connects { node });
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
        Hello { ticket, client: self.client, cursor: self.cursor.clone() }
    }

    /// Its connection is over.
    pub fn disconnected(&mut self) {
        (self.connected, self.synced) = (false, false);
        self.events.push(Event::Disconnected);
    }

    /// Forgets what it showed, as a browser whose storage was cleared; the outbox stays. What its
    /// connection still brings is for nobody.
    pub fn forget(&mut self) {
        (self.connected, self.synced) = (false, false);
        self.drop_all();
    }

    fn drop_all(&mut self) {
        (self.cursor, self.next_cursor) = (None, None);
        self.loads.clear();
        self.threads.clear();
        self.asked.clear();
        if let Some(pages) = &mut self.pages {
            pages.clear();
        }
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
        if !self.connected {
            return;
        }
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
                let oldest = inbox.entries.last().map(|entry| entry.head.id);
                if asked && inbox.more && oldest.is_some() {
                    self.load_inbox(oldest);
                }
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
                let begins_anew = history.r#ref.is_none();
                if begins_anew {
                    self.thread(conversation).messages.clear();
                }
                if let Some(pages) = &mut self.pages {
                    let pages = pages.entry(conversation).or_default();
                    if begins_anew {
                        pages.clear();
                    }
                    pages.push(history.messages.iter().map(as_shown).collect());
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
                self.has_synced();
                self.keep_cursor(Some(synced.cursor));
            }
            ServerFrame::Reset(reset) => {
                self.drop_all();
                self.next_cursor = Some(reset.cursor);
                self.has_synced();
                self.load_inbox(None);
            }
            ServerFrame::Error(error) => self.refused(&error),
            ServerFrame::Presence(Presence { user, online, .. }) => {
                self.events.push(Event::Presence { user, online });
            }
            ServerFrame::Typing(_) | ServerFrame::Bye(_) => {}
        }
    }

    fn has_synced(&mut self) {
        self.hole = false;
        if !std::mem::replace(&mut self.synced, true) {
            self.events.push(Event::Synced);
        }
    }

    fn learn_time(&mut self, now: u64) {
        self.offset_ms = now.wrapping_sub(self.host.now_ms()) as i64;
    }

    fn message(&mut self, message: Message, may_have_holes: bool) {
        let Message { conversation, sender, to, after, .. } = message;
        let peer = if sender == self.device.user { to } else { sender };
        self.thread(conversation).peer = Some(peer);
        self.show(conversation, as_shown(&message));
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
        thread.counted = Some(entry.unread);
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
                user: me,
                number: Some(self.device.number),
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

    /// Gives what the store holds, as a [`Self::reader`] was told it: with the server's own count of
    /// what is unread, and page by page as it came.
    pub fn read_back(&self) -> Vec<View> {
        let counted = |view: &View| self.threads.get(&view.conversation)?.counted;
        let stored = |view: View| {
            let unread = counted(&view).unwrap_or(view.unread);
            let pages = self.pages.as_ref().and_then(|pages| pages.get(&view.conversation));
            let messages = pages.map_or_else(Vec::new, |pages| top_to_bottom(pages));
            View { number: None, unread, messages, ..view }
        };
        self.views().into_iter().map(stored).collect()
    }

    fn thread(&mut self, conversation: ConversationId) -> &mut Thread {
        self.threads.entry(conversation).or_default()
    }
}

fn as_shown(message: &Message) -> Shown {
    let Message { id, sender, r#ref, text, edit, deleted, .. } = message;
    let (id, sender, r#ref, edit, deleted) = (*id, *sender, *r#ref, *edit, *deleted);
    Shown { id, sender, r#ref, text: text.clone(), edit, deleted }
}

/// Puts pages together, each of which is older than the one before and begins with its newest
/// message. A twin of a message of another page is dropped, as every reader has to; two in one page
/// are the server's to drop.
fn top_to_bottom(pages: &[Vec<Shown>]) -> Vec<Shown> {
    let all =
        || pages.iter().enumerate().flat_map(|(nth, page)| page.iter().map(move |m| (nth, m)));
    let mut largest: BTreeMap<(UserId, u64), (usize, MessageId)> = BTreeMap::new();
    for (nth, message) in all() {
        let twins = largest.entry((message.sender, message.id.low())).or_insert((nth, message.id));
        if message.id > twins.1 {
            *twins = (nth, message.id);
        }
    }
    let is_kept = |(nth, message): &(usize, &Shown)| {
        let (page, id) = largest[&(message.sender, message.id.low())];
        *nth == page || message.id == id
    };
    let mut kept: Vec<Shown> = all().filter(is_kept).map(|(_, message)| message.clone()).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(at: u64, text: &str) -> Shown {
        let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
        let conversation = ConversationId::direct(ana, ben);
        let r#ref = Ref::from(Uuid::nil());
        let id = MessageId::of(Stamp { at, n: 0 }, ana, conversation, r#ref, text);
        Shown { id, sender: ana, r#ref, text: text.to_owned(), edit: None, deleted: false }
    }

    #[test]
    fn what_is_read_back_is_as_it_came_from_the_oldest_to_the_newest() {
        let [one, two, three] = [(1, "a"), (2, "b"), (3, "c")].map(|(at, text)| shown(at, text));
        let pages = [vec![three.clone(), two.clone(), two.clone()], vec![one.clone()]];
        assert_eq!(top_to_bottom(&pages), [one, two.clone(), two, three]);
    }

    #[test]
    fn of_twins_the_reader_drops_only_those_that_no_page_could_have_both_of() {
        let [smaller, other, larger] =
            [(1, "a"), (2, "b"), (3, "a")].map(|(at, text)| shown(at, text));
        let apart = [vec![larger.clone()], vec![other.clone(), smaller.clone()]];
        assert_eq!(top_to_bottom(&apart), [other.clone(), larger.clone()]);
        let together = [vec![larger.clone(), other.clone(), smaller.clone()]];
        assert_eq!(top_to_bottom(&together), [smaller, other, larger]);
    }
}
