//! What a user meant, and the writes that make it durable.
//!
//! An [`Intent`] is fixed once; [`Intent::commit`] turns it into writes before each
//! attempt, with change ids minted for that attempt alone. No I/O, no clock.

use rally_schema::{ChangeId, ConversationId, EditId, MessageId, Ref, UserId, text};

use crate::planted::{self, Fault};
use crate::store::{
    Change, ChangeKind, Commit, Head, HeadEdit, InboxCells, MemberWrite, MessageWrite,
};

/// The two members of a direct conversation, one of them acting. They may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Who acts.
    pub actor: UserId,
    /// The other member.
    pub peer: UserId,
}

impl Pair {
    /// Names the conversation of two users.
    pub fn direct(actor: UserId, peer: UserId) -> Self {
        Self { conversation: ConversationId::direct(actor, peer), actor, peer }
    }

    /// Tells whether somebody talks to himself.
    pub fn is_alone(&self) -> bool {
        self.actor == self.peer
    }

    /// Gives each member with the one he sees as his peer.
    fn members(&self) -> impl Iterator<Item = (UserId, UserId)> {
        let other = (!self.is_alone()).then_some((self.peer, self.actor));
        std::iter::once((self.actor, self.peer)).chain(other)
    }
}

/// One thing that somebody wants stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A message.
    Send {
        /// Names it.
        id: MessageId,
        /// The sender's name for it.
        r#ref: Ref,
        /// What was written.
        text: String,
        /// The message that it answers.
        reply_to: Option<MessageId>,
    },
    /// A new text for one's own message.
    Edit {
        /// Which message.
        id: MessageId,
        /// Which edit.
        edit: EditId,
        /// The new text.
        text: String,
    },
    /// The end of one's own message.
    Delete {
        /// Which message.
        id: MessageId,
    },
    /// Marks that move forward.
    Mark {
        /// How far a device of the actor got it.
        delivered: Option<MessageId>,
        /// How far the actor read.
        read: Option<MessageId>,
        /// The entry that the logs get; `None` while an earlier entry stands for it.
        note: Option<ChangeKind>,
    },
    /// The end of a smaller twin's row.
    Remove {
        /// Which row.
        id: MessageId,
    },
}

impl Intent {
    /// Gives the writes of one attempt.
    pub fn commit(&self, pair: Pair, mut mint: impl FnMut() -> ChangeId) -> Commit {
        let (message, about) = self.message(pair);
        let members = match self {
            Self::Remove { .. } => Vec::new(),
            _ => pair
                .members()
                .map(|(user, peer)| MemberWrite {
                    user,
                    peer,
                    cells: self.cells(pair, user),
                    change: about.map(|(id, kind)| Change {
                        change: mint(),
                        conversation: pair.conversation,
                        id,
                        kind,
                    }),
                })
                .collect(),
        };
        Commit { conversation: pair.conversation, message, members }
    }

    /// Gives the write to the message's row, and what the logs say.
    fn message(&self, pair: Pair) -> (Option<MessageWrite>, Option<(MessageId, ChangeKind)>) {
        match self {
            Self::Send { id, r#ref, text, reply_to } => {
                let put = MessageWrite::Put {
                    id: *id,
                    sender: pair.actor,
                    to: pair.peer,
                    r#ref: *r#ref,
                    body: text.clone(),
                    reply_to: *reply_to,
                };
                (Some(put), Some((*id, ChangeKind::Message)))
            }
            Self::Edit { id, edit, text } => {
                let write = MessageWrite::Edit { id: *id, edit: *edit, text: text.clone() };
                (Some(write), Some((*id, ChangeKind::Edit)))
            }
            Self::Delete { id } => {
                (Some(MessageWrite::Delete { id: *id }), Some((*id, ChangeKind::Delete)))
            }
            Self::Mark { delivered, read, note } => {
                (None, read.or(*delivered).and_then(|id| note.map(|kind| (id, kind))))
            }
            Self::Remove { id } => (Some(MessageWrite::Remove { id: *id }), None),
        }
    }

    /// Gives the inbox cells that one member's row gets.
    fn cells(&self, pair: Pair, user: UserId) -> InboxCells {
        let mut cells = InboxCells::default();
        match self {
            Self::Send { id, text, .. } => cells.head = Some(Head::of(*id, pair.actor, text)),
            Self::Edit { id, edit, text } => {
                cells.head_edit = Some(HeadEdit {
                    target: *id,
                    deleted: false,
                    edit: Some(*edit),
                    preview: text::preview(text),
                });
            }
            Self::Delete { id } => {
                cells.head_edit = Some(HeadEdit {
                    target: *id,
                    deleted: true,
                    edit: None,
                    preview: String::new(),
                });
            }
            Self::Mark { delivered, read, .. } => {
                if user == pair.actor {
                    cells.read_up_to = *read;
                }
                if user == pair.peer && !pair.is_alone() {
                    let got = (*delivered).max(*read);
                    let got = if planted::on(Fault::ReadUndelivered) { *delivered } else { got };
                    cells.peer_delivered_up_to = got;
                    cells.peer_read_up_to = *read;
                }
            }
            Self::Remove { .. } => {}
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rally_schema::ids::Stamp;

    fn id(at: u64) -> MessageId {
        MessageId::first_of(at)
    }

    fn minter() -> impl FnMut() -> ChangeId {
        let mut at = 100;
        move || {
            at += 1;
            ChangeId::of(Stamp { at, n: 0 }, 1)
        }
    }

    fn pair() -> Pair {
        Pair::direct("ana".parse().unwrap(), "ben".parse().unwrap())
    }

    #[test]
    fn a_message_reaches_both_partitions_with_a_change_of_its_own() {
        let intent = Intent::Send {
            id: id(5),
            r#ref: uuid::Uuid::from_u128(1).into(),
            text: "hi".to_owned(),
            reply_to: None,
        };
        let commit = intent.commit(pair(), minter());
        let [ana, ben] = &commit.members[..] else { panic!("two members") };
        assert_eq!((ana.user, ana.peer, ben.user, ben.peer), {
            let p = pair();
            (p.actor, p.peer, p.peer, p.actor)
        });
        assert_ne!(ana.change.unwrap().change, ben.change.unwrap().change);
        assert_eq!(ana.cells.head, ben.cells.head);
    }

    #[test]
    fn a_read_mark_sets_delivered_too_and_only_for_the_peer() {
        let mark = Intent::Mark { delivered: None, read: Some(id(5)), note: None };
        let commit = mark.commit(pair(), minter());
        let (ana, ben) = (&commit.members[0].cells, &commit.members[1].cells);
        assert_eq!((ana.read_up_to, ana.peer_read_up_to), (Some(id(5)), None));
        assert_eq!((ben.peer_read_up_to, ben.peer_delivered_up_to), (Some(id(5)), Some(id(5))));
        assert!(commit.message.is_none() && commit.members.iter().all(|m| m.change.is_none()));
    }

    #[test]
    fn who_talks_to_himself_is_one_member() {
        let me: UserId = "ana".parse().unwrap();
        let commit = Intent::Delete { id: id(5) }.commit(Pair::direct(me, me), minter());
        assert_eq!(commit.members.len(), 1);
    }
}
