//! Every device of every member shows each message exactly once: at the end, what a device shows
//! of a conversation is what its user's store holds, no more, no less, nothing twice, and each with
//! the same sender and text.

use foldhash::HashMap;
use rally_schema::{ConversationId, MessageId, Ref, UserId};

use super::Count;
use crate::history::{Device, History, Shown, View};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut views: HashMap<(Device, ConversationId), &View> = HashMap::default();
    for view in &history.views {
        let Some(device) = view.device() else { continue };
        views.insert((device, view.conversation), view);
        // What all twins of a message have in common.
        let mut shown: Vec<u64> = view.messages.iter().map(|message| message.id.low()).collect();
        shown.sort_unstable();
        if let Some([low, _]) = shown.array_windows().find(|[one, next]| one == next) {
            let id = view.messages.iter().find(|m| m.id.low() == *low).map(|message| message.id);
            return Err(format!("{device} shows {id:?} twice"));
        }
    }
    let devices = super::devices(history);
    for stored in &history.stored {
        let held = by_id(stored);
        for device in devices.get(&stored.user).into_iter().flatten() {
            let view = views.remove(&(*device, stored.conversation));
            let shown = view.map(by_id).unwrap_or_default();
            let mut shown = shown.into_iter().peekable();
            for message in &held {
                let id = message.id;
                if let Some(more) = shown.next_if(|shown| shown.id < id) {
                    return Err(unstored(*device, more.id, stored.conversation));
                }
                let Some(same) = shown.next_if(|shown| shown.id == id) else {
                    return Err(format!("{device} does not show {id} in {}", stored.conversation));
                };
                if looks(same) != looks(message) {
                    return Err(format!("{device} shows {id} with another content than is stored"));
                }
            }
            if let Some(more) = shown.next() {
                return Err(unstored(*device, more.id, stored.conversation));
            }
        }
    }
    let mut others =
        views.into_iter().filter_map(|(whose, view)| Some((whose, view.messages.first()?)));
    match others.next() {
        Some(((device, conversation), message)) => Err(unstored(device, message.id, conversation)),
        None => Ok(()),
    }
}

fn unstored(device: Device, id: MessageId, conversation: ConversationId) -> String {
    format!("{device} shows {id} in {conversation}, which is not stored")
}

fn by_id(view: &View) -> Vec<&Shown> {
    let mut messages: Vec<&Shown> = view.messages.iter().collect();
    messages.sort_by_key(|message| message.id);
    messages.dedup_by_key(|message| message.id);
    messages
}

/// Gives what of a message people see.
fn looks(message: &Shown) -> (UserId, Ref, &str, bool) {
    (message.sender, message.r#ref, &message.text, message.deleted)
}

pub(super) fn count(history: &History) -> Count {
    let shown = history.views.iter().map(|view| view.messages.len()).sum();
    Count { judged: shown, words: format!("{shown} messages in {} views", history.views.len()) }
}
