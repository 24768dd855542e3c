//! Unread is a function of marks and messages, and equal on every device of a user; so are ticks.

use std::collections::HashMap;

use crate::history::{Event, History};

pub(super) fn judge(history: &History) -> Result<(), String> {
    let mut first = HashMap::new();
    for view in &history.views {
        let Some(device) = view.device else { continue };
        let above = |id| view.read_up_to.is_none_or(|read| id > read);
        let counted =
            view.messages.iter().filter(|m| m.sender != device.user && above(m.id)).count() as u32;
        if counted != view.unread {
            return Err(format!("{device} shows {} unread and has {counted}", view.unread));
        }
        let badge = (view.unread, view.read_up_to, view.peer_delivered_up_to, view.peer_read_up_to);
        match first.get(&(device.user, view.conversation)) {
            None => {
                first.insert((device.user, view.conversation), (device, badge));
            }
            Some((_, other)) if *other == badge => {}
            Some((other, shown)) => {
                return Err(format!("{device} shows {badge:?} where {other} shows {shown:?}"));
            }
        }
    }
    Ok(())
}

pub(super) fn counts(history: &History) -> String {
    format!(
        "{} badges, {} reads",
        history.views.len(),
        super::events(history, |event| matches!(event, Event::Read { .. }))
    )
}
