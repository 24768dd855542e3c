//! One simulated device: what PROTOCOL.md asks of a client, and nothing that it does not allow.
//!
//! Pure: frames and operations go in, frames come out, and what happened is written down. Who
//! connects it, and when, is decided in `line.rs`.

use std::collections::{BTreeMap, BTreeSet};

use rally_proof::history::Event;
use rally_proof::{Device, Shown, View};
use rally_schema::error::Retry;
use rally_schema::frame::{
    ClientFrame, Delete, Delivered, Edit, ErrorFrame, Forget, HistoryQuery, InboxEntry, InboxQuery,
    Mark, Message, Presence, Read, Receipt, Send, ServerFrame, Sync, Watch,
};
use rally_schema::ids::{MAX_N, Stamp};
use rally_schema::{ClientId, ConversationId, EditId, ErrorCode, MessageId, Ref, UserId};

use crate::world::World;

/// Sends that a device has on the way in one conversation.
const ON_THE_WAY: usize = 4;

/// How long an answer is waited for before the frame is sent again.
const ANSWER_MS: u64 = 8_000;

/// What a device was asked to do by its user.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Write to somebody.
    Write {
        /// To whom.
        to: UserId,
        /// What.
        text: String,
    },
    /// Edit one's own newest message to somebody.
    Edit {
        /// To whom it went.
        to: UserId,
        /// The new text.
        text: String,
    },
    /// Delete one's own newest message to somebody.
    Delete {
        /// To whom it went.
        to: UserId,
    },
    /// Send again what was acknowledged at the first attempt, with another text: a mistake.
    Contradict,
    /// Look at a conversation.
    Look {
        /// With whom.
        at: UserId,
    },
}

/// What a device has still to bring to the server.
#[derive(Debug, Clone)]
struct Intent {
    r#ref: Ref,
    conversation: ConversationId,
    what: What,
    stamp: Option<Stamp>,
    /// The first of its stamps.
    first: Option<Stamp>,
    /// Whether an earlier attempt may have been written.
    tried: bool,
    /// When it was sent on this connection, if it was.
    sent_ms: Option<u64>,
}

#[derive(Debug, Clone)]
enum What {
    Send { to: UserId, text: String },
    Edit { id: MessageId, text: String },
    Delete { id: MessageId },
    Contradict { to: UserId, text: String },
}

/// What is known of one conversation.
#[derive(Debug, Default)]
struct Thread {
    messages: BTreeMap<MessageId, Shown>,
    /// The other member, once something of him or to him is shown.
    peer: Option<UserId>,
    read_up_to: Option<MessageId>,
    peer_delivered: Option<MessageId>,
    peer_read: Option<MessageId>,
    /// How far the read mark was sent on this connection, and how far it has to go.
    wants: [Option<MessageId>; 2],
    /// How far the delivered mark was sent on this connection.
    has_delivered: Option<MessageId>,
    /// Not before this moment is anything sent again here.
    wait_until_ms: u64,
    /// Whether something was refused, so that nothing is sent while anything is under way.
    stopped: bool,
}

/// The device.
pub struct Phone {
    /// Who it is.
    pub device: Device,
    /// What it calls itself.
    pub client: ClientId,
    /// Where its knowledge ends.
    pub cursor: Option<String>,
    lazy: bool,
    world: World,
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

impl Phone {
    /// Makes a device that knows nothing; a lazy one says what was read, and not what arrived.
    pub fn new(device: Device, lazy: bool, world: World) -> Self {
        Self {
            device,
            lazy,
            client: world.uuid().into(),
            cursor: None,
            world,
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

    /// Does what the user wants.
    pub fn wish(&mut self, wish: Wish) {
        let me = self.device.user;
        match wish {
            Wish::Write { to, text } => {
                let (r#ref, conversation) = (self.new_ref(), ConversationId::direct(me, to));
                self.events.push(Event::Wrote { r#ref, conversation, text: text.clone() });
                self.intend(r#ref, conversation, What::Send { to, text });
            }
            Wish::Edit { to, text } => {
                if let Some((conversation, id)) = self.own_newest(to) {
                    let r#ref = self.new_ref();
                    self.intend(r#ref, conversation, What::Edit { id, text });
                }
            }
            Wish::Delete { to } => {
                if let Some((conversation, id)) = self.own_newest(to) {
                    let r#ref = self.new_ref();
                    self.intend(r#ref, conversation, What::Delete { id });
                }
            }
            Wish::Contradict => {
                let settled = self.settled.take();
                if let Some(Intent { r#ref, conversation, what, stamp, .. }) = settled
                    && let What::Send { to, text } = what
                {
                    self.events.push(Event::Contradicted { r#ref });
                    let what = What::Contradict { to, text: format!("not {text}") };
                    let (first, tried, sent_ms) = (stamp, true, None);
                    let mistake =
                        Intent { r#ref, conversation, what, stamp, first, tried, sent_ms };
                    self.intents.push(mistake);
                }
            }
            Wish::Look { at } => {
                let conversation = ConversationId::direct(me, at);
                if let Some(thread) = self.threads.get_mut(&conversation)
                    && let Some(id) = thread.newest_of_peer(me)
                {
                    thread.wants[1] = thread.wants[1].max(Some(id));
                    self.events.push(Event::Read { conversation, id });
                }
            }
        }
    }

    fn new_ref(&self) -> Ref {
        self.world.uuid().into()
    }

    fn intend(&mut self, r#ref: Ref, conversation: ConversationId, what: What) {
        let (stamp, first, tried, sent_ms) = (None, None, false, None);
        self.intents.push(Intent { r#ref, conversation, what, stamp, first, tried, sent_ms });
    }

    fn own_newest(&self, to: UserId) -> Option<(ConversationId, MessageId)> {
        let me = self.device.user;
        let conversation = ConversationId::direct(me, to);
        let thread = self.threads.get(&conversation)?;
        let own = thread.messages.values().rev().find(|m| m.sender == me && !m.deleted)?;
        Some((conversation, own.id))
    }

    /// Queues what is due now; to be called after everything that happens, and now and then.
    pub fn work(&mut self) {
        if !self.synced {
            return;
        }
        let now_ms = self.world.now_ms();
        let under_way = |intent: &&Intent| intent.sent_ms.is_some();
        let busy: BTreeSet<ConversationId> =
            self.intents.iter().filter(under_way).map(|intent| intent.conversation).collect();
        for (conversation, thread) in &mut self.threads {
            thread.stopped &= busy.contains(conversation);
        }
        let mut on_the_way = BTreeMap::<ConversationId, usize>::new();
        for index in 0..self.intents.len() {
            let Intent { conversation, sent_ms, .. } = self.intents[index];
            let count = on_the_way.entry(conversation).or_default();
            *count += 1;
            if sent_ms.is_some_and(|sent| now_ms >= sent + ANSWER_MS) {
                // No answer: what became of it is not known, nor of what went after it, which
                // comes again behind it.
                for later in &mut self.intents[index..] {
                    if later.conversation == conversation {
                        later.tried |= later.sent_ms.take().is_some();
                    }
                }
            }
            let thread = self.thread(conversation);
            let waits = thread.wait_until_ms > now_ms || thread.stopped;
            if *count <= ON_THE_WAY && !waits && self.intents[index].sent_ms.is_none() {
                self.send(index, now_ms);
            }
        }
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

    fn thread(&mut self, conversation: ConversationId) -> &mut Thread {
        self.threads.entry(conversation).or_default()
    }

    fn send(&mut self, index: usize, now_ms: u64) {
        let conversation = self.intents[index].conversation;
        let stamp = match self.intents[index].stamp {
            Some(stamp) => stamp,
            None => self.new_stamp(conversation, now_ms),
        };
        let after = self.thread(conversation).messages.keys().next_back().copied();
        let intent = &mut self.intents[index];
        (intent.stamp, intent.sent_ms) = (Some(stamp), Some(now_ms));
        intent.first.get_or_insert(stamp);
        let (r#ref, retry, Stamp { at, n }) = (intent.r#ref, intent.tried, stamp);
        let frame = match intent.what.clone() {
            What::Send { to, text } | What::Contradict { to, text } => Send {
                r#ref,
                conversation,
                to: Some(to),
                at,
                n,
                text,
                after,
                reply_to: None,
                retry,
                traceparent: None,
            }
            .into(),
            What::Edit { id, text } => Edit { r#ref, conversation, id, at, n, text, retry }.into(),
            What::Delete { id } => Delete { r#ref, conversation, id }.into(),
        };
        self.out.push(frame);
    }

    /// Stamps above everything that this device stamped before or shows in the conversation.
    fn new_stamp(&mut self, conversation: ConversationId, now_ms: u64) -> Stamp {
        let now = Stamp { at: now_ms.saturating_add_signed(self.offset_ms), n: 0 };
        let shown = self.thread(conversation).messages.keys().next_back().map(|id| id.stamp());
        let floor = shown.map_or(self.last_stamp, |shown| shown.max(self.last_stamp));
        let next = match floor.n < MAX_N {
            true => Stamp { at: floor.at, n: floor.n + 1 },
            false => Stamp { at: floor.at + 1, n: 0 },
        };
        self.last_stamp = now.max(next);
        self.last_stamp
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

    /// Tells whether the session has caught up at least once.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Notes something that the line saw.
    pub fn note(&mut self, event: Event) {
        self.events.push(event);
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

    fn load(&mut self, conversation: ConversationId, before: Option<MessageId>) {
        let (r#ref, limit) = (self.new_ref(), Some(100));
        self.ask(r#ref, HistoryQuery { r#ref, conversation, before, limit });
    }

    fn ask(&mut self, r#ref: Ref, question: impl Into<ClientFrame>) {
        let frame = question.into();
        self.out.push(frame.clone());
        self.loads.insert(r#ref, (frame, None));
    }

    /// A cursor is kept only with all that it covers.
    fn keep_cursor(&mut self, cursor: Option<String>) {
        self.next_cursor = cursor.or(self.next_cursor.take());
        if self.loads.is_empty() && self.next_cursor.is_some() {
            self.cursor = self.next_cursor.take();
        }
    }

    fn learn_time(&mut self, now: u64) {
        self.offset_ms = now as i64 - self.world.now_ms() as i64;
    }

    fn acked(&mut self, r#ref: Ref, id: MessageId) {
        let Some(index) = self.intents.iter().position(|intent| intent.r#ref == r#ref) else {
            return;
        };
        let intent = self.intents.remove(index);
        self.acked.insert(r#ref, intent.conversation);
        let Intent { conversation, what, stamp, first, tried, .. } = intent.clone();
        let me = self.device.user;
        match what {
            What::Contradict { .. } => self.events.push(Event::Acked { r#ref, id }),
            What::Send { text, .. } => {
                self.events.push(Event::Acked { r#ref, id });
                if !tried && stamp == Some(id.stamp()) {
                    self.settled = Some(intent);
                }
                let shown = Shown { id, sender: me, r#ref, text, edit: None, deleted: false };
                self.show(conversation, shown);
            }
            What::Edit { id, text } => {
                self.events.push(Event::Changed { r#ref });
                // An answer names no stamp: it may be about the first attempt, and no later one be
                // stored.
                let Some(first) = first else { return };
                let edit = EditId::of(first, me, conversation, id, r#ref, &text);
                self.events.push(Event::Edited { id, edit, text: text.clone() });
                if let Some(shown) = self.thread(conversation).messages.get_mut(&id) {
                    shown.edit(edit, text);
                }
            }
            What::Delete { id } => {
                self.events.push(Event::Changed { r#ref });
                self.events.push(Event::Deleted { id });
                if let Some(shown) = self.thread(conversation).messages.get_mut(&id) {
                    shown.delete();
                }
            }
        }
    }

    /// Does with what was not stored what the code asks for.
    fn refused(&mut self, error: &ErrorFrame) {
        let again_ms = self.world.now_ms() + error.retry_after_ms.unwrap_or(200);
        if let Some((_, again)) = error.r#ref.and_then(|r#ref| self.loads.get_mut(&r#ref)) {
            *again = Some(again_ms);
        }
        let Some(index) = self.intents.iter().position(|intent| Some(intent.r#ref) == error.r#ref)
        else {
            // Another attempt of it was acknowledged: nothing has to wait for this one.
            if let Some(r#ref) = error.r#ref.filter(|_| error.code.holds())
                && let Some(conversation) = self.acked.get(&r#ref).copied()
            {
                self.out.push(Forget { r#ref, conversation }.into());
            }
            return;
        };
        if let Some(now) = error.now {
            self.learn_time(now);
        }
        let now_ms = self.world.now_ms();
        let intent = &mut self.intents[index];
        intent.sent_ms = None;
        match error.code.retry() {
            Retry::Never => {
                let (r#ref, code) = (intent.r#ref, error.code);
                self.intents.remove(index);
                self.events.push(Event::Refused { r#ref, code });
                return;
            }
            Retry::Same if error.code == ErrorCode::Unknown => {
                intent.tried = true;
                let r#ref = intent.r#ref;
                self.events.push(Event::Unsure { r#ref });
            }
            Retry::Same => {}
            Retry::Restamped => {
                // What follows has to sort after it. Should an attempt of it have been written
                // after all, that is a twin, and the larger one counts.
                let conversation = intent.conversation;
                for later in &mut self.intents[index..] {
                    let stands = matches!(later.what, What::Contradict { .. });
                    if later.conversation == conversation && !stands {
                        (later.stamp, later.tried) = (None, false);
                    }
                }
            }
        }
        let conversation = self.intents[index].conversation;
        let wait_ms = error.retry_after_ms.unwrap_or(200);
        let thread = self.thread(conversation);
        thread.wait_until_ms = thread.wait_until_ms.max(now_ms + wait_ms);
        thread.stopped = true;
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

    /// Asks for a catch-up, once for each message that is missing.
    fn ask_for(&mut self, id: MessageId) {
        if self.synced && self.asked.insert(id) {
            self.hole = true;
            self.out.push(Sync { cursor: None }.into());
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
}

impl Thread {
    fn newest_of_peer(&self, me: UserId) -> Option<MessageId> {
        self.messages.values().rev().find(|m| m.sender != me).map(|m| m.id)
    }

    /// Tells whether a message is here, or a later twin of it.
    fn knows(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id) || self.messages.keys().any(|known| known.is_twin_of(&id))
    }

    /// Takes a message in; `false` when it was here, as it is or as a larger twin.
    fn take(&mut self, shown: Shown) -> bool {
        if let Some(known) = self.messages.get_mut(&shown.id) {
            if shown.deleted {
                known.delete();
            } else if let Some(edit) = shown.edit {
                known.edit(edit, shown.text);
            }
            return false;
        }
        let twin = |m: &&Shown| m.sender == shown.sender && m.id.is_twin_of(&shown.id);
        if let Some(twin) = self.messages.values().find(twin).map(|twin| twin.id) {
            if twin > shown.id {
                return false;
            }
            self.messages.remove(&twin);
        }
        self.messages.insert(shown.id, shown).is_none()
    }
}

/// How a message changes.
trait Change {
    fn edit(&mut self, edit: EditId, text: String);
    fn delete(&mut self);
}

impl Change for Shown {
    fn edit(&mut self, edit: EditId, text: String) {
        if !self.deleted && self.edit.is_none_or(|known| edit > known) {
            (self.edit, self.text) = (Some(edit), text);
        }
    }

    fn delete(&mut self) {
        (self.deleted, self.text) = (true, String::new());
    }
}
