//! The same reference with the same text is the same message, however late it is sent again;
//! with another text it is an error.

use foldhash::{HashMap, HashSet};
use rally_schema::{ErrorCode, MessageId, Ref, UserId};

use super::Count;
use crate::history::{Device, Entry, Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut acked: HashMap<(UserId, Ref), MessageId> = HashMap::default();
    let mut contradicted: HashSet<(Device, Ref)> = HashSet::default();
    for entry in &history.entries {
        if let Event::Contradicted { r#ref } = &entry.event {
            contradicted.insert((entry.device, *r#ref));
        }
        let Event::Acked { r#ref, id } = &entry.event else { continue };
        if contradicted.contains(&(entry.device, *r#ref)) {
            return Err(format!("{ref} was acknowledged again, as {id}, with another text"));
        }
        let first = *acked.entry((entry.device.user, *r#ref)).or_insert(*id);
        if first.low() != id.low() {
            return Err(format!("{ref} was acknowledged as {first} and as {id}"));
        }
    }
    for view in &history.stored {
        let mut ids: HashMap<(UserId, Ref), MessageId> = HashMap::default();
        ids.reserve(view.messages.len());
        for message in &view.messages {
            if let Some(other) = ids.insert((message.sender, message.r#ref), message.id) {
                return Err(format!("{} is read as {other} and as {}", message.r#ref, message.id));
            }
        }
    }
    Ok(())
}

/// A contradiction proves something once it is answered as one, or wrongly acknowledged; not when
/// it was never sent, or refused for another reason.
pub(super) fn count(history: &History) -> Count {
    let mut open: HashSet<(Device, Ref)> = HashSet::default();
    let mut answered = 0;
    for Entry { device, event, .. } in &history.entries {
        match event {
            Event::Contradicted { r#ref } => drop(open.insert((*device, *r#ref))),
            Event::Refused { r#ref, code: ErrorCode::RefConflict } | Event::Acked { r#ref, .. } => {
                answered += usize::from(open.remove(&(*device, *r#ref)));
            }
            _ => {}
        }
    }
    Count { judged: answered, words: format!("{answered} contradicted") }
}
