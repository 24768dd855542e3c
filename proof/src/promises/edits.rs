//! An edit or deletion that was acknowledged is never undone: not in the store, not at a device.

use foldhash::{HashMap, HashSet};
use rally_schema::EditId;

use super::Count;
use crate::history::{Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    // Of a message and all twins of it.
    let mut edited: HashMap<u64, (EditId, &str)> = HashMap::default();
    let mut deleted: HashSet<u64> = HashSet::default();
    for entry in &history.entries {
        match &entry.event {
            Event::Edited { id, edit, text } => {
                let newest = edited.entry(id.low()).or_insert((*edit, text));
                if *edit > newest.0 {
                    *newest = (*edit, text);
                }
            }
            Event::Deleted { id } => {
                deleted.insert(id.low());
            }
            _ => {}
        }
    }
    for view in history.stored.iter().chain(&history.views) {
        let whose =
            view.device().map_or_else(|| "the store".to_owned(), |device| device.to_string());
        for message in &view.messages {
            if deleted.contains(&message.id.low()) && !(message.deleted && message.text.is_empty())
            {
                return Err(format!("{} was deleted, and {whose} shows it", message.id));
            }
            let Some((edit, text)) = edited.get(&message.id.low()) else { continue };
            let stands = message.deleted
                || message.edit.is_some_and(|shown| shown > *edit)
                || (message.edit == Some(*edit) && message.text == *text);
            if !stands {
                return Err(format!(
                    "{} was edited by {edit}, and {whose} shows {:?}",
                    message.id, message.edit
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn count(history: &History) -> Count {
    let edits = super::events(history, |event| matches!(event, Event::Edited { .. }));
    let deletions = super::events(history, |event| matches!(event, Event::Deleted { .. }));
    let words = format!("{edits} edits, {deletions} deletions");
    Count { judged: edits + deletions, words }
}
