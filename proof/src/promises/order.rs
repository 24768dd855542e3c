//! All devices show a conversation in one and the same order, in which it is also read from the
//! store; a sender's own order is kept.

use foldhash::{HashMap, HashSet};
use rally_schema::{ConversationId, MessageId, Ref};

use super::Count;
use crate::history::{Device, Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut orders: HashMap<ConversationId, (String, Vec<MessageId>)> = HashMap::default();
    for view in history.stored.iter().chain(&history.views) {
        let whose = || view.device().map_or_else(|| "the store".to_owned(), |it| it.to_string());
        let order: Vec<MessageId> = view.messages.iter().map(|message| message.id).collect();
        match orders.get(&view.conversation) {
            None => {
                orders.insert(view.conversation, (whose(), order));
            }
            Some((other, first)) => {
                if order != *first && common(first, &order) != common(&order, first) {
                    let one = whose();
                    return Err(format!(
                        "{one} and {other} show {} in two orders",
                        view.conversation
                    ));
                }
            }
        }
    }
    // What one device wrote into one conversation, in the order in which it did.
    let mut wrote: HashMap<(Device, ConversationId), Vec<Ref>> = HashMap::default();
    for entry in &history.entries {
        if let Event::Wrote { r#ref, conversation, .. } = &entry.event {
            wrote.entry((entry.device, *conversation)).or_default().push(*r#ref);
        }
    }
    let stored: HashMap<Ref, MessageId> = history
        .stored
        .iter()
        .flat_map(|view| &view.messages)
        .map(|message| (message.r#ref, message.id))
        .collect();
    for ((device, conversation), refs) in &wrote {
        let ids: Vec<MessageId> = refs.iter().filter_map(|r| stored.get(r).copied()).collect();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("{device} wrote {} before {} in {conversation}", pair[0], pair[1]));
        }
    }
    Ok(())
}

/// Gives what of `some` is among `others`, too: what is missing is no matter of order.
fn common(some: &[MessageId], others: &[MessageId]) -> Vec<MessageId> {
    let others: HashSet<&MessageId> = others.iter().collect();
    some.iter().filter(|id| others.contains(id)).copied().collect()
}

pub(super) fn count(history: &History) -> Count {
    let views = history.views.iter().filter(|view| !view.messages.is_empty()).count();
    let conversations: HashSet<ConversationId> =
        history.stored.iter().map(|view| view.conversation).collect();
    let words = format!("{views} views, {} conversations", conversations.len());
    Count { judged: views, words }
}
