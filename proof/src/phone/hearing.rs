//! What a device makes of what the server says: what it shows, what it asks for, where it stands.

use rally_schema::frame::{InboxEntry, Message, Presence, Receipt, ServerFrame};
use rally_schema::{ConversationId, MessageId};

use super::thread::Change as _;
use super::{Host, Phone};
use crate::history::{Event, Shown};

impl<H: Host> Phone<H> {
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
                    self.gaps.cuts += 1;
                    self.thread(conversation).clear();
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
                self.gaps.resets += 1;
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

    pub(super) fn learn_time(&mut self, now: u64) {
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

    pub(super) fn show(&mut self, conversation: ConversationId, shown: Shown) {
        let id = shown.id;
        if self.thread(conversation).take(shown) && self.appeared.insert(id) {
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
        self.events.push(Event::Counted {
            conversation: entry.conversation,
            head: entry.head.id,
            read_up_to: entry.read_up_to,
            unread: entry.unread,
        });
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
}

fn as_shown(message: &Message) -> Shown {
    let Message { id, sender, r#ref, text, edit, deleted, .. } = message;
    let (id, sender, r#ref, edit, deleted) = (*id, *sender, *r#ref, *edit, *deleted);
    Shown { id, sender, r#ref, text: text.clone(), edit, deleted }
}
