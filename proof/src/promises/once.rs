//! Every device of every member shows each message exactly once: at the end, what a device shows
//! of a conversation is what the store holds, no more, no less, and nothing twice.

use std::collections::BTreeSet;

use rally_schema::MessageId;

use crate::history::{History, View};

pub(super) fn judge(history: &History) -> Result<(), String> {
    for view in &history.views {
        let Some(device) = view.device else { continue };
        let mut seen = BTreeSet::new();
        for message in &view.messages {
            if !seen.insert((message.sender, message.id.low())) {
                return Err(format!("{device} shows {} twice", message.id));
            }
        }
        let Some(stored) = super::stored(history, view) else { continue };
        let (shown, held) = (ids(view), ids(stored));
        if let Some(id) = held.difference(&shown).next() {
            return Err(format!("{device} does not show {id} in {}", view.conversation));
        }
        if let Some(id) = shown.difference(&held).next() {
            return Err(format!(
                "{device} shows {id} in {}, which is not stored",
                view.conversation
            ));
        }
    }
    Ok(())
}

fn ids(view: &View) -> BTreeSet<MessageId> {
    view.messages.iter().map(|message| message.id).collect()
}

pub(super) fn counts(history: &History) -> String {
    {
        let shown: usize = history.views.iter().map(|view| view.messages.len()).sum();
        format!("{shown} messages in {} views", history.views.len())
    }
}
