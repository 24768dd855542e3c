//! Acknowledged means readable: what was acknowledged is in the store at the end, under the id
//! that was told or that of a later twin, with the text that was sent unless it was edited.

use std::collections::HashMap;

use rally_schema::Ref;

use crate::history::{Event, History, Shown};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let stored: HashMap<Ref, &Shown> = history
        .stored
        .iter()
        .flat_map(|view| &view.messages)
        .map(|message| (message.r#ref, message))
        .collect();
    let mut texts = HashMap::new();
    for entry in &history.entries {
        match &entry.event {
            Event::Wrote { r#ref, text, .. } => {
                texts.insert(*r#ref, text);
            }
            Event::Acked { r#ref, id } => {
                let Some(message) = stored.get(r#ref) else {
                    return Err(format!(
                        "{ref} was acknowledged as {id} to {} and is not in the store",
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
                    || texts.get(r#ref).is_none_or(|text| **text == message.text);
                if !as_sent {
                    return Err(format!("{id} is stored with another text than it was sent with"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn counts(history: &History) -> String {
    format!("{} acknowledged", super::events(history, |event| matches!(event, Event::Acked { .. })))
}
