//! What a device was asked to do by its user, and how it begins.

use rally_schema::{ConversationId, MessageId, UserId};

use super::outbox::{Intent, What};
use super::{Host, Phone};
use crate::history::Event;

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

impl Wish {
    /// Draws the wish number `nth` of somebody among `users`; `below` draws a number below its
    /// argument.
    pub fn draw(below: impl Fn(u64) -> u64, users: &[UserId], nth: usize) -> Self {
        let count = users.len() as u64;
        // Some write to each other all the time, and others next to never.
        let to = users[below(count).min(below(count)) as usize];
        match below(20) {
            0..12 => Self::Write { to, text: format!("text {nth}") },
            12..14 => Self::Edit { to, text: format!("edit {nth}") },
            14 => Self::Delete { to },
            15 if below(2) == 0 => Self::Contradict,
            // Also at what has been quiet for long.
            _ => Self::Look { at: users[below(count) as usize] },
        }
    }
}

impl<H: Host> Phone<H> {
    /// Does what the user wants.
    pub fn wish(&mut self, wish: Wish) {
        let me = self.device.user;
        match wish {
            Wish::Write { to, text } => {
                let (r#ref, conversation) = (self.new_ref(), ConversationId::direct(me, to));
                self.events.push(Event::Wrote { r#ref, conversation, to, text: text.clone() });
                self.intend(r#ref, conversation, What::Send { to, text });
            }
            Wish::Edit { to, text } => {
                if let Some((conversation, id)) = self.own_newest(to) {
                    let r#ref = self.new_ref();
                    self.events.push(Event::Edits { r#ref, id, text: text.clone() });
                    self.intend(r#ref, conversation, What::Edit { id, text });
                }
            }
            Wish::Delete { to } => {
                if let Some((conversation, id)) = self.own_newest(to) {
                    let r#ref = self.new_ref();
                    self.events.push(Event::Deletes { r#ref, id });
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

    fn own_newest(&self, to: UserId) -> Option<(ConversationId, MessageId)> {
        let me = self.device.user;
        let conversation = ConversationId::direct(me, to);
        let thread = self.threads.get(&conversation)?;
        let own = thread.messages.values().rev().find(|m| m.sender == me && !m.deleted)?;
        Some((conversation, own.id))
    }
}
