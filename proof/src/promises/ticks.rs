//! Ticks only move forward; never read before delivered, never any tick on what is not stored.

use std::collections::{BTreeSet, HashMap};

use rally_schema::{ConversationId, MessageId};

use crate::history::{Device, Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let stored: BTreeSet<MessageId> =
        history.stored.iter().flat_map(|view| &view.messages).map(|message| message.id).collect();
    let mut last: HashMap<(Device, ConversationId), [Option<MessageId>; 2]> = HashMap::new();
    for entry in &history.entries {
        let device = entry.device;
        match &entry.event {
            // What a device dropped it learns anew.
            Event::Reset => last.retain(|(of, _), _| *of != device),
            Event::Ticked { conversation, delivered_up_to, read_up_to } => {
                if read_up_to > delivered_up_to {
                    return Err(format!(
                        "{device} shows {read_up_to:?} read before it is delivered"
                    ));
                }
                let now = [*delivered_up_to, *read_up_to];
                let before = last.insert((device, *conversation), now).unwrap_or_default();
                if now.iter().zip(before).any(|(now, before)| *now < before) {
                    return Err(format!(
                        "ticks of {device} in {conversation} moved from {before:?} to {now:?}"
                    ));
                }
                // A twin that was read is folded into the larger one later.
                let low = |id: &MessageId| stored.iter().any(|stored| stored.low() == id.low());
                if let Some(id) = now.iter().flatten().find(|id| !stored.contains(id) && !low(id)) {
                    return Err(format!("{device} shows a tick on {id}, which is not stored"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
