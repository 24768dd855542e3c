//! Ticks only move forward; never read before delivered, never any tick on what is not stored.
//!
//! Judged is what the server told, not what a device made of it. A device must take the larger of
//! two marks, because pushes of two nodes may overtake each other; what a catch-up reads must
//! never be behind what an earlier one read.

use foldhash::{HashMap, HashSet};
use rally_schema::{ConversationId, MessageId};

use super::Count;
use crate::history::{Device, Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let stored: HashSet<MessageId> =
        history.stored.iter().flat_map(|view| &view.messages).map(|message| message.id).collect();
    // A twin that was read is folded into the larger one later.
    let lows: HashSet<u64> = stored.iter().map(MessageId::low).collect();
    let mut last: HashMap<(Device, ConversationId), [Option<MessageId>; 2]> = HashMap::default();
    for entry in &history.entries {
        let device = entry.device;
        let Event::Ticked { conversation, caught_up, delivered_up_to, read_up_to } = &entry.event
        else {
            continue;
        };
        if read_up_to > delivered_up_to {
            return Err(format!(
                "{device} is told {read_up_to:?} read and only {delivered_up_to:?} delivered"
            ));
        }
        let now = [*delivered_up_to, *read_up_to];
        if *caught_up {
            let before = last.insert((device, *conversation), now).unwrap_or_default();
            if now.iter().zip(before).any(|(now, before)| *now < before) {
                return Err(format!(
                    "ticks of {device} in {conversation} moved from {before:?} to {now:?}"
                ));
            }
        }
        let known = |id: &MessageId| stored.contains(id) || lows.contains(&id.low());
        if let Some(id) = now.iter().flatten().find(|id| !known(id)) {
            return Err(format!("{device} is told a tick on {id}, which is not stored"));
        }
    }
    Ok(())
}

pub(super) fn count(history: &History) -> Count {
    let told = super::events(history, |event| matches!(event, Event::Ticked { .. }));
    Count { judged: told, words: format!("{told} told") }
}
