//! Acknowledged means readable: what was acknowledged is in the store at the end, as both members
//! read it, under the id that was told or that of a later twin, with the text that was sent unless
//! it was edited.

use std::collections::HashMap;

use rally_schema::{Ref, UserId};

use super::Count;
use crate::history::{Event, History, Shown};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let count = history.stored.iter().map(|view| view.messages.len()).sum();
    let mut stored: HashMap<(UserId, Ref), &Shown> = HashMap::with_capacity(count);
    for view in &history.stored {
        stored.extend(view.messages.iter().map(|message| ((view.user, message.r#ref), message)));
    }
    let mut wrote = HashMap::new();
    for entry in &history.entries {
        match &entry.event {
            Event::Wrote { r#ref, to, text, .. } => {
                wrote.insert(*r#ref, (*to, text));
            }
            Event::Acked { r#ref, id } => {
                let (to, text) = wrote.get(r#ref).copied().unzip();
                for member in [entry.device.user].into_iter().chain(to) {
                    let Some(message) = stored.get(&(member, *r#ref)) else {
                        return Err(format!(
                            "{ref} was acknowledged as {id} to {}, and {member} cannot read it",
                            entry.device
                        ));
                    };
                    if message.id != *id && message.id.low() != id.low() {
                        return Err(format!(
                            "{ref} was acknowledged as {id} and is stored as {}",
                            message.id
                        ));
                    }
                    let as_sent = message.deleted
                        || message.edit.is_some()
                        || text.is_none_or(|text| *text == message.text);
                    if !as_sent {
                        return Err(format!(
                            "{id} is stored with another text than it was sent with"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn count(history: &History) -> Count {
    let acked = super::events(history, |event| matches!(event, Event::Acked { .. }));
    Count { judged: acked, words: format!("{acked} acknowledged") }
}
