//! An unknown outcome is reported as unknown, and resolved by a retry: what was refused for good is
//! nowhere, and whatever was written, edited or deleted is acknowledged or refused in the end.

use foldhash::{HashMap, HashSet};
use rally_schema::Ref;

use super::Count;
use crate::history::{Device, Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let stored: HashSet<Ref> =
        history.stored.iter().flat_map(|view| &view.messages).map(|m| m.r#ref).collect();
    // What waits for its outcome, and whether it was said to be unknown.
    let mut open: HashMap<Ref, (Device, bool)> = HashMap::default();
    let (mut wrote, mut contradicted) = (HashSet::default(), HashSet::default());
    for entry in &history.entries {
        match &entry.event {
            Event::Wrote { r#ref, .. } => {
                wrote.insert(*r#ref);
                open.insert(*r#ref, (entry.device, false));
            }
            Event::Edits { r#ref, .. } | Event::Deletes { r#ref, .. } => {
                open.insert(*r#ref, (entry.device, false));
            }
            Event::Unsure { r#ref } => {
                open.entry(*r#ref).or_insert((entry.device, true)).1 = true;
            }
            // What is stored under it is the first text, as it should be.
            Event::Contradicted { r#ref } => {
                contradicted.insert(*r#ref);
            }
            Event::Acked { r#ref, .. } => {
                open.remove(r#ref);
            }
            Event::Changed { r#ref } => {
                open.remove(r#ref);
            }
            Event::Refused { r#ref, code } => {
                open.remove(r#ref);
                let sent = wrote.contains(r#ref) && !contradicted.contains(r#ref);
                if sent && stored.contains(r#ref) {
                    return Err(format!(
                        "{ref} of {} was refused for good ({code}) and is stored",
                        entry.device
                    ));
                }
            }
            _ => {}
        }
    }
    match open.iter().next() {
        Some((r#ref, (device, true))) => {
            Err(format!("{ref} of {device} was said to be unknown, and no retry resolved it"))
        }
        Some((r#ref, (device, false))) => Err(format!("{ref} of {device} was never answered")),
        None => Ok(()),
    }
}

pub(super) fn count(history: &History) -> Count {
    let wrote = super::events(history, |event| matches!(event, Event::Wrote { .. }));
    let unsure = super::events(history, |event| matches!(event, Event::Unsure { .. }));
    let refused = super::events(history, |event| matches!(event, Event::Refused { .. }));
    let words = format!("{wrote} written, {unsure} unsure, {refused} refused");
    Count { judged: wrote, words }
}
