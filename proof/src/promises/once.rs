//! Every device of every member shows each message exactly once: at the end, what a device shows
//! of a conversation is what its user's store holds, no more, no less, and nothing twice.

use std::collections::{BTreeSet, HashMap};

use rally_schema::{ConversationId, MessageId};

use super::Count;
use crate::history::{Device, History, Shown, View};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut views: HashMap<(Device, ConversationId), &View> = HashMap::new();
    for view in &history.views {
        let Some(device) = view.device() else { continue };
        views.insert((device, view.conversation), view);
        let mut shown: Vec<_> =
            view.messages.iter().map(|message| (message.id.low(), message.sender)).collect();
        shown.sort_unstable();
        if let Some([(low, sender), _]) = shown.array_windows().find(|[one, next]| one == next) {
            let twice = |m: &&Shown| m.id.low() == *low && m.sender == *sender;
            let id = view.messages.iter().find(twice).map(|message| message.id);
            return Err(format!("{device} shows {id:?} twice"));
        }
    }
    let devices = super::devices(history);
    for stored in &history.stored {
        let held = ids(stored);
        for device in devices.get(&stored.user).into_iter().flatten() {
            let shown = views.remove(&(*device, stored.conversation)).map(ids).unwrap_or_default();
            if let Some(id) = held.difference(&shown).next() {
                return Err(format!("{device} does not show {id} in {}", stored.conversation));
            }
            if let Some(id) = shown.difference(&held).next() {
                return Err(unstored(*device, *id, stored.conversation));
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

fn ids(view: &View) -> BTreeSet<MessageId> {
    view.messages.iter().map(|message| message.id).collect()
}

pub(super) fn count(history: &History) -> Count {
    let shown = history.views.iter().map(|view| view.messages.len()).sum();
    Count { judged: shown, words: format!("{shown} messages in {} views", history.views.len()) }
}
