//! Unread is a function of marks and messages, and equal on every device of a user and in the
//! store; so are ticks. What a user read is marked, unless the device forgot it before it was.

use foldhash::HashMap;
use rally_schema::limits::UNREAD_CAP;
use rally_schema::{ConversationId, MessageId, UserId};

use super::Count;
use crate::history::{Device, Event, History, View};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut stored: HashMap<(UserId, ConversationId), &View> = HashMap::default();
    for view in &history.stored {
        stored.insert((view.user, view.conversation), view);
    }
    for view in &history.views {
        let Some(device) = view.device() else { continue };
        let above = |id| view.read_up_to.is_none_or(|read| id > read);
        let counted =
            view.messages.iter().filter(|m| m.sender != device.user && above(m.id)).count() as u32;
        if counted != view.unread {
            return Err(format!("{device} shows {} unread and has {counted}", view.unread));
        }
        let Some(stored) = stored.get(&(device.user, view.conversation)) else { continue };
        if badge(view) != badge(stored) {
            return Err(format!(
                "{device} shows {:?} in {} where the store has {:?}",
                badge(view),
                view.conversation,
                badge(stored)
            ));
        }
    }
    for ((device, conversation), id) in reads(history) {
        let marked = stored.get(&(device.user, conversation)).and_then(|view| view.read_up_to);
        if marked < Some(id) {
            return Err(format!("{device} read {id} in {conversation}, and {marked:?} is marked"));
        }
    }
    Ok(())
}

/// What a user sees of marks: the badge, his own, and the ticks.
type Badge = (u32, Option<MessageId>, Option<MessageId>, Option<MessageId>);

fn badge(view: &View) -> Badge {
    let unread = view.unread.min(UNREAD_CAP);
    (unread, view.read_up_to, view.peer_delivered_up_to, view.peer_read_up_to)
}

/// Gives how far each device read since it last forgot anything.
fn reads(history: &History) -> HashMap<(Device, ConversationId), MessageId> {
    let mut read: HashMap<(Device, ConversationId), MessageId> = HashMap::default();
    for entry in &history.entries {
        match &entry.event {
            Event::Read { conversation, id } => {
                let furthest = read.entry((entry.device, *conversation)).or_insert(*id);
                *furthest = (*furthest).max(*id);
            }
            Event::Reset => read.retain(|(device, _), _| *device != entry.device),
            _ => {}
        }
    }
    read
}

pub(super) fn count(history: &History) -> Count {
    let reads = super::events(history, |event| matches!(event, Event::Read { .. }));
    let badges = history.views.len();
    Count { judged: badges, words: format!("{badges} badges, {reads} reads") }
}
