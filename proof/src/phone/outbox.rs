//! What a device has still to bring to the server: sent in order, again after every kind of
//! doubt, and let go when it is stored or refused for good.

use std::collections::{BTreeMap, BTreeSet};

use rally_schema::error::Retry;
use rally_schema::frame::{Delete, Edit, ErrorFrame, Forget, Send};
use rally_schema::ids::{MAX_N, Stamp};
use rally_schema::{ConversationId, EditId, ErrorCode, MessageId, Ref, UserId};

use super::thread::Change as _;
use super::{Host, Phone};
use crate::history::{Event, Shown};

/// Sends that a device has on the way in one conversation.
const ON_THE_WAY: usize = 4;

/// The longest that a server may have anything wait before it comes again, whatever it says.
const MOST_WAIT_MS: u64 = 3_600_000;

/// How long an answer is waited for before the connection is given up.
const ANSWER_MS: u64 = 8_000;

/// What a device has still to bring to the server.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) r#ref: Ref,
    pub(super) conversation: ConversationId,
    pub(super) what: What,
    pub(super) stamp: Option<Stamp>,
    /// The first of its stamps.
    pub(super) first: Option<Stamp>,
    /// Whether an earlier attempt may have been written.
    pub(super) tried: bool,
    /// When it was sent on this connection, if it was.
    pub(super) sent_ms: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Send { to: UserId, text: String },
    Edit { id: MessageId, text: String },
    Delete { id: MessageId },
    Contradict { to: UserId, text: String },
}

impl Intent {
    /// Says what it is, for people.
    pub(super) fn describe(&self) -> String {
        let Self { r#ref, conversation, what, stamp, tried, .. } = self;
        let what = match what {
            What::Send { .. } => "a message".to_owned(),
            What::Edit { id, .. } => format!("an edit of {id}"),
            What::Delete { id } => format!("a deletion of {id}"),
            What::Contradict { .. } => "a contradiction".to_owned(),
        };
        let tried = if *tried { ", tried before" } else { "" };
        format!("has to bring {what}: {ref} in {conversation}, stamped {stamp:?}{tried}")
    }
}

impl<H: Host> Phone<H> {
    /// Gives to whom its first message goes that has not been acknowledged.
    pub fn writes_to(&self) -> Option<UserId> {
        self.intents.iter().find_map(|intent| match &intent.what {
            What::Send { to, .. } => Some(*to),
            What::Edit { .. } | What::Delete { .. } | What::Contradict { .. } => None,
        })
    }

    pub(super) fn new_ref(&self) -> Ref {
        self.host.uuid().into()
    }

    pub(super) fn intend(&mut self, r#ref: Ref, conversation: ConversationId, what: What) {
        let (stamp, first, tried, sent_ms) = (None, None, false, None);
        let intent = Intent { r#ref, conversation, what, stamp, first, tried, sent_ms };
        self.intents.push(intent);
    }

    /// Tells whether an answer is awaited for so long that the connection is to be ended: nothing is
    /// sent twice on one.
    pub fn is_unanswered(&self) -> bool {
        let now_ms = self.host.now_ms();
        let late = |intent: &Intent| intent.sent_ms.is_some_and(|sent| now_ms >= sent + ANSWER_MS);
        self.reads && self.intents.iter().any(late)
    }

    /// Waits anew for answers: they may lie in a socket that was not read until now.
    pub(super) fn wait_anew(&mut self) {
        let now_ms = self.host.now_ms();
        self.intents.iter_mut().filter_map(|intent| intent.sent_ms.as_mut()).for_each(|sent_ms| {
            *sent_ms = now_ms;
        });
    }

    /// Sends what may be sent now.
    pub(super) fn send_due(&mut self, now_ms: u64) {
        let under_way = |intent: &&Intent| intent.sent_ms.is_some();
        let busy: BTreeSet<ConversationId> =
            self.intents.iter().filter(under_way).map(|intent| intent.conversation).collect();
        for (conversation, thread) in &mut self.threads {
            thread.stopped &= busy.contains(conversation);
        }
        let mut on_the_way = BTreeMap::<ConversationId, usize>::new();
        for index in 0..self.intents.len() {
            let Intent { conversation, .. } = self.intents[index];
            let count = on_the_way.entry(conversation).or_default();
            *count += 1;
            let thread = self.thread(conversation);
            let waits = thread.wait_until_ms > now_ms || thread.stopped;
            if *count <= ON_THE_WAY && !waits && self.intents[index].sent_ms.is_none() {
                self.send(index, now_ms);
            }
        }
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

    pub(super) fn acked(&mut self, r#ref: Ref, id: MessageId) {
        let Some(index) = self.intents.iter().position(|intent| intent.r#ref == r#ref) else {
            return;
        };
        let intent = self.intents.remove(index);
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

    /// Lets something go that will never be stored; nothing of the conversation waits for it.
    fn give_up(&mut self, index: usize, code: ErrorCode) {
        let Intent { r#ref, conversation, .. } = self.intents.remove(index);
        self.events.push(Event::Refused { r#ref, code });
        if code.holds() {
            self.out.push(Forget { r#ref, conversation }.into());
        }
    }

    /// Does with what was not stored what the code asks for.
    pub(super) fn refused(&mut self, error: &ErrorFrame) {
        let wait_ms = error.retry_after_ms.unwrap_or(200).min(MOST_WAIT_MS);
        let again_ms = self.host.now_ms() + wait_ms;
        if let Some((_, again)) = error.r#ref.and_then(|r#ref| self.loads.get_mut(&r#ref)) {
            *again = Some(again_ms);
        }
        let Some(index) = self.intents.iter().position(|intent| Some(intent.r#ref) == error.r#ref)
        else {
            return;
        };
        if let Some(now) = error.now {
            self.learn_time(now);
        }
        let now_ms = self.host.now_ms();
        let intent = &mut self.intents[index];
        intent.sent_ms = None;
        // A contradiction has the stamp of what it contradicts, or is none.
        let stands = matches!(intent.what, What::Contradict { .. });
        match error.code.retry() {
            Retry::Never => return self.give_up(index, error.code),
            Retry::Restamped if stands => return self.give_up(index, error.code),
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
        let thread = self.thread(conversation);
        thread.wait_until_ms = thread.wait_until_ms.max(now_ms + wait_ms);
        thread.stopped = true;
    }
}
