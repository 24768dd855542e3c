//! Acknowledged means readable: what was acknowledged is in the store at the end, as both members
//! read it, under the id that was told or that of a later twin. And what is stored is what was
//! asked for: of its sender, with the text that was sent or that of an edit that was wanted, and
//! deleted only if that was.

use foldhash::{HashMap, HashSet};
use rally_schema::{ConversationId, MessageId, Ref, UserId};

use super::Count;
use crate::history::{Device, Event, History, Shown, View};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut asked = Asked::of(history);
    for view in &history.stored {
        for message in &view.messages {
            asked.take_stored(view, message)?;
        }
    }
    for entry in &history.entries {
        let Event::Acked { r#ref, id } = &entry.event else { continue };
        let Some(wrote) = asked.messages.get(r#ref) else { continue };
        for (member, read) in [wrote.device.user, wrote.to].into_iter().zip(wrote.read) {
            let Some(stored) = read else {
                return Err(format!(
                    "{ref} was acknowledged as {id} to {}, and {member} cannot read it",
                    entry.device
                ));
            };
            if stored != *id && stored.low() != id.low() {
                return Err(format!("{ref} was acknowledged as {id} and is stored as {stored}"));
            }
        }
    }
    Ok(())
}

/// A message that was written.
struct Wrote<'a> {
    device: Device,
    conversation: ConversationId,
    to: UserId,
    text: &'a str,
    /// As what both read it from the store: who wrote it, and to whom.
    read: [Option<MessageId>; 2],
}

/// Everything that was asked for.
struct Asked<'a> {
    messages: HashMap<Ref, Wrote<'a>>,
    /// What should become of messages, each under what all twins of one have in common; `None` in a
    /// history that does not say.
    changes: Option<Changes<'a>>,
}

#[derive(Default)]
struct Changes<'a> {
    edits: HashSet<(u64, &'a str)>,
    deletions: HashSet<u64>,
}

impl<'a> Asked<'a> {
    fn of(history: &'a History) -> Self {
        let refused = |entry: &'a crate::history::Entry| match &entry.event {
            Event::Refused { r#ref, .. } => Some(*r#ref),
            _ => None,
        };
        let refused: HashSet<Ref> = history.entries.iter().filter_map(refused).collect();
        let (mut messages, mut changes) = (HashMap::default(), Changes::default());
        for entry in &history.entries {
            let device = entry.device;
            match &entry.event {
                Event::Wrote { r#ref, conversation, to, text } => {
                    let (conversation, to) = (*conversation, *to);
                    let read = [None; 2];
                    messages.insert(*r#ref, Wrote { device, conversation, to, text, read });
                }
                Event::Edits { r#ref, id, text } if !refused.contains(r#ref) => {
                    changes.edits.insert((id.low(), text));
                }
                Event::Deletes { r#ref, id } if !refused.contains(r#ref) => {
                    changes.deletions.insert(id.low());
                }
                _ => {}
            }
        }
        Self { messages, changes: history.says_what_is_changed().then_some(changes) }
    }

    /// Judges what a member reads from the store; who knows whence one is that nobody wrote here?
    fn take_stored(&mut self, view: &View, message: &Shown) -> Result<(), String> {
        let Shown { id, sender, r#ref, text, edit, deleted } = message;
        let conversation = view.conversation;
        let Some(wrote) = self.messages.get_mut(r#ref) else { return Ok(()) };
        if (*sender, conversation) != (wrote.device.user, wrote.conversation) {
            return Err(format!(
                "{ref} was written by {} in {}, and is stored as {id} of {sender} in {conversation}",
                wrote.device, wrote.conversation
            ));
        }
        let wrong = match (&self.changes, deleted, edit) {
            (None, true, _) | (None, false, Some(_)) => None,
            (_, false, None) => {
                (text != wrote.text).then_some("with another text than it was sent with")
            }
            (Some(changes), true, _) => (!changes.deletions.contains(&id.low()))
                .then_some("as deleted, which nobody asked for"),
            (Some(changes), false, Some(_)) => {
                let wanted = changes.edits.contains(&(id.low(), text.as_str()));
                (!wanted).then_some("with an edit that nobody asked for")
            }
        };
        if let Some(wrong) = wrong {
            return Err(format!("{id} is stored {wrong}"));
        }
        for (member, read) in [*sender, wrote.to].into_iter().zip(&mut wrote.read) {
            if member == view.user {
                *read = Some(*id);
            }
        }
        Ok(())
    }
}

pub(super) fn count(history: &History) -> Count {
    let acked = super::events(history, |event| matches!(event, Event::Acked { .. }));
    Count { judged: acked, words: format!("{acked} acknowledged") }
}
