//! A client that keeps the protocol: what PROTOCOL.md asks of one, and nothing that it does not
//! allow. It writes down what it did and what it was told, for the judges.
//!
//! Pure: frames and wishes go in, frames and events come out. Who connects it, and when, is decided
//! by whoever drives it: a simulation, or a checker from outside.

mod hearing;
mod outbox;
mod questions;
mod thread;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashSet;
use rally_schema::frame::{ClientFrame, Delivered, Hello, Mark, Read, Watch};
use rally_schema::ids::Stamp;
use rally_schema::{ClientId, ConversationId, MessageId, NodeId, Ref, UserId};
use uuid::Uuid;

use crate::history::{Device, Entry, Event, Shown, View};
use outbox::Intent;
use thread::Thread;
pub use wish::Wish;

/// What a device stands on.
pub trait Host {
    /// Milliseconds by the device's own clock.
    fn now_ms(&self) -> u64;

    /// Draws an id.
    fn uuid(&self) -> Uuid;
}

/// How often a device had missed more than a catch-up hands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// It was told to load everything anew.
    pub resets: u32,
    /// It got the newest page of a conversation in place of what it had of it.
    pub cuts: u32,
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
    /// What it ever showed: of what it loads anew nothing is written down, or a long record would
    /// grow with the square of its length.
    appeared: HashSet<MessageId>,
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
    gaps: Gaps,
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
            appeared: HashSet::default(),
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
            gaps: Gaps::default(),
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

    /// Gives how often it had missed more than a catch-up hands out.
    pub fn gaps(&self) -> Gaps {
        self.gaps
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
