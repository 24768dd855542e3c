//! Unread is a function of marks and messages, and equal on every device of a user and in the
//! store; so are ticks. What a user read is marked, unless the device forgot it before it was. What
//! the server counts up to a head are messages up to that head: a device adds what it is told since.

use foldhash::{HashMap, HashSet};
use rally_schema::limits::UNREAD_CAP;
use rally_schema::{ConversationId, MessageId, Ref, UserId};

use super::Count;
use crate::history::{Device, Entry, Event, History, Shown, View};

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
    counts(history, &stored)
}

/// Judges each count that the server told. It may lack a message that was stamped earlier and stored
/// later; it may not have one that nobody has, nor one above its head.
fn counts(
    history: &History,
    stored: &HashMap<(UserId, ConversationId), &View>,
) -> Result<(), String> {
    let tried_again = tried_again(history);
    for entry in &history.entries {
        let Event::Counted { conversation, head, read_up_to, unread } = &entry.event else {
            continue;
        };
        let Some(view) = stored.get(&(entry.device.user, *conversation)) else { continue };
        let messages = &view.messages;
        let from = messages.partition_point(|message| Some(message.id) <= *read_up_to);
        let to = messages.partition_point(|message| message.id <= *head).max(from);
        let of_peer = |m: &&Shown| m.sender != entry.device.user;
        // A smaller twin was one, and is gone when the larger one is there.
        let was_smaller = |m: &&Shown| of_peer(m) && tried_again.contains(&(m.sender, m.r#ref));
        // No further than it takes: most counts are small, and conversations may be long.
        let unread = *unread as usize;
        let mut most = messages[from..to].iter().filter(of_peer).take(unread).count();
        if most < unread && !tried_again.is_empty() {
            most += messages[to..].iter().filter(was_smaller).count();
        }
        if unread > most {
            return Err(format!(
                "{} was told that {unread} are unread in {conversation} above {read_up_to:?} up to \
                 {head}, where {most} are",
                entry.device
            ));
        }
    }
    Ok(())
}

/// Lists the sends of which an earlier attempt may have been stored under another id.
fn tried_again(history: &History) -> HashSet<(UserId, Ref)> {
    let (mut waiting, mut again) = (HashMap::<Device, HashSet<Ref>>::default(), HashSet::default());
    for Entry { device, event, .. } in &history.entries {
        let waiting = waiting.entry(*device).or_default();
        match event {
            Event::Wrote { r#ref, .. } => drop(waiting.insert(*r#ref)),
            Event::Acked { r#ref, .. } => drop(waiting.remove(r#ref)),
            Event::Unsure { r#ref } => drop(again.insert((device.user, *r#ref))),
            Event::Connects { .. } => {
                again.extend(waiting.drain().map(|r#ref| (device.user, r#ref)))
            }
            _ => {}
        }
    }
    again
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
    let counts = super::events(history, |event| matches!(event, Event::Counted { .. }));
    let badges = history.views.len();
    Count { judged: badges, words: format!("{badges} badges, {reads} reads, {counts} counts") }
}
