//! People, what they write, and the commits that it becomes: how the checks tell their stories.

use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, EditId, MessageId, Ref, UserId};
use uuid::Uuid;

use super::super::{
    Change, ChangeKind, Commit, Head, HeadEdit, InboxCells, MemberWrite, MessageRow, MessageWrite,
    Store,
};

/// When every story begins.
pub(super) const T0: u64 = 1_790_000_000_000;

/// A day in milliseconds.
pub(super) const DAY: u64 = 86_400_000;

pub(super) fn user(name: &str) -> UserId {
    name.parse().expect("stories name users well")
}

pub(super) fn stamp(at: u64, n: u16) -> Stamp {
    Stamp { at, n }
}

pub(super) fn change_id(at: u64, n: u16) -> ChangeId {
    ChangeId::of(stamp(at, n), 7)
}

/// Two people, one of whom writes.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    pub(super) sender: UserId,
    pub(super) to: UserId,
}

/// A message that somebody wrote.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) talk: Talk,
    pub(super) id: MessageId,
    pub(super) r#ref: Ref,
    pub(super) text: String,
    pub(super) reply_to: Option<MessageId>,
}

pub(super) fn talk(sender: &str, to: &str) -> Talk {
    Talk { sender: user(sender), to: user(to) }
}

impl Talk {
    pub(super) fn conversation(self) -> ConversationId {
        ConversationId::direct(self.sender, self.to)
    }

    pub(super) fn answered(self) -> Self {
        Self { sender: self.to, to: self.sender }
    }

    pub(super) fn says(self, at: u64, n: u16, text: &str) -> Said {
        // The same words are the same ref, so that a later stamp of them is a twin.
        let r#ref = Ref::from(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()));
        let id = MessageId::of(stamp(at, n), self.sender, self.conversation(), r#ref, text);
        Said { talk: self, id, r#ref, text: text.to_owned(), reply_to: None }
    }

    /// Makes a commit with the same cells for both members, and a change each if `change` says.
    pub(super) fn commit(
        self,
        message: Option<MessageWrite>,
        cells: InboxCells,
        change: Option<Change>,
    ) -> Commit {
        let to = |user, peer| MemberWrite { user, peer, cells: cells.clone(), change };
        let mut members = vec![to(self.sender, self.to)];
        if self.sender != self.to {
            members.push(to(self.to, self.sender));
        }
        Commit { conversation: self.conversation(), message, members }
    }

    /// Makes the commit of cells alone, as marks are.
    pub(super) fn cells(self, cells: InboxCells) -> Commit {
        self.commit(None, cells, None)
    }
}

impl Said {
    pub(super) fn conversation(&self) -> ConversationId {
        self.talk.conversation()
    }

    pub(super) fn put(&self) -> MessageWrite {
        MessageWrite::Put {
            id: self.id,
            sender: self.talk.sender,
            to: self.talk.to,
            r#ref: self.r#ref,
            body: self.text.clone(),
            reply_to: self.reply_to,
        }
    }

    pub(super) fn head(&self) -> InboxCells {
        let head = Head::of(self.id, self.talk.sender, &self.text);
        InboxCells { head: Some(head), ..InboxCells::default() }
    }

    /// The commit of sending it, with a change of its own stamp.
    pub(super) fn sent(&self) -> Commit {
        let change = ChangeId::of(self.id.stamp(), 7);
        self.talk.commit(Some(self.put()), self.head(), Some(self.change(change)))
    }

    pub(super) fn change(&self, change: ChangeId) -> Change {
        let (conversation, id) = (self.conversation(), self.id);
        Change { change, conversation, id, kind: ChangeKind::Message }
    }

    pub(super) fn edit(&self, at: u64, n: u16, text: &str) -> (EditId, Commit) {
        let (sender, conversation) = (self.talk.sender, self.conversation());
        let edit = EditId::of(stamp(at, n), sender, conversation, self.id, self.r#ref, text);
        let write = MessageWrite::Edit { id: self.id, edit, text: text.to_owned() };
        let target = self.id;
        let cell = HeadEdit { target, deleted: false, edit: Some(edit), preview: text.to_owned() };
        let cells = InboxCells { head_edit: Some(cell), ..InboxCells::default() };
        (edit, self.talk.commit(Some(write), cells, None))
    }

    pub(super) fn deleted(&self) -> Commit {
        let target = self.id;
        let cell = HeadEdit { target, deleted: true, edit: None, preview: String::new() };
        let cells = InboxCells { head_edit: Some(cell), ..InboxCells::default() };
        self.talk.commit(Some(MessageWrite::Delete { id: self.id }), cells, None)
    }

    pub(super) fn removed(&self) -> Commit {
        let message = Some(MessageWrite::Remove { id: self.id });
        Commit { conversation: self.conversation(), message, members: Vec::new() }
    }

    /// The row as it stands when nothing happened to it.
    pub(super) fn row(&self) -> MessageRow {
        MessageRow {
            id: self.id,
            conversation: self.conversation(),
            sender: self.talk.sender,
            to: self.talk.to,
            r#ref: self.r#ref,
            body: self.text.clone(),
            reply_to: self.reply_to,
            edit: None,
            deleted: false,
        }
    }

    /// Reads its row.
    pub(super) async fn read(&self, store: &impl Store) -> Option<MessageRow> {
        let rows = store.messages(self.conversation(), vec![self.id]).await;
        rows.expect("readable").pop()
    }
}

/// Commits all, one after the other.
pub(super) async fn commit_all(store: &impl Store, commits: impl IntoIterator<Item = Commit>) {
    for commit in commits {
        store.commit(vec![commit]).await.expect("committed");
    }
}

/// Gives every order of `items`.
pub(super) fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.to_vec();
        let item = rest.remove(first);
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, item.clone());
            order
        }));
    }
    all
}
