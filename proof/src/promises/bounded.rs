//! Every queue is bounded, and no client can make another one wait.
//!
//! No queue that was measured ever held more than its bound. And while nothing is done to the
//! cluster, but some clients do not read what they are sent, everybody else goes on: what is
//! written is acknowledged and shown on every other device of both members within [`FLOW_MS`],
//! also on those that had to connect again meanwhile, which takes up to 2 s of it.

use std::collections::{BTreeMap, BTreeSet};

use rally_schema::{ConversationId, MessageId, Ref};

use super::Count;
use crate::history::{Device, Entry, Event, History, Span};

/// How long a message may take to every device that reads, while all is calm.
pub const FLOW_MS: u64 = 5_000;

pub(super) fn judge(history: &History) -> Result<(), String> {
    if let Some(queue) = history.queues.iter().find(|queue| queue.most > queue.bound) {
        return Err(format!("{} held {} of at most {}", queue.name, queue.most, queue.bound));
    }
    let Some(last_ms) = history.calm.iter().map(|calm| calm.to_ms).max() else { return Ok(()) };
    let facts = Facts::of(history, last_ms);
    let mut judged = judged(history, &facts);
    judged.try_for_each(|Due { device, r#ref, conversation, span }| {
        facts.flowed(device, r#ref, conversation, span)
    })
}

/// A message that has to be everywhere at the end of a span of time.
struct Due {
    device: Device,
    r#ref: Ref,
    conversation: ConversationId,
    span: Span,
}

/// Gives the messages whose whole time was calm, from devices that read all through it.
fn judged<'a>(history: &'a History, facts: &'a Facts) -> impl Iterator<Item = Due> + 'a {
    let due = |entry: &Entry| {
        let Event::Wrote { r#ref, conversation, .. } = &entry.event else { return None };
        let (device, r#ref, conversation) = (entry.device, *r#ref, *conversation);
        let span = Span { from_ms: entry.at_ms, to_ms: entry.at_ms + FLOW_MS };
        Some(Due { device, r#ref, conversation, span })
    };
    let is_calm = |span: Span| {
        let within = |calm: &Span| calm.from_ms <= span.from_ms && span.to_ms <= calm.to_ms;
        history.calm.iter().any(within)
    };
    let all = history.entries.iter().filter_map(due);
    all.filter(move |due| is_calm(due.span) && !facts.is_deaf(due.device, due.span))
}

/// What a history says about each device.
#[derive(Default)]
struct Facts {
    acked: BTreeMap<(Device, Ref), (u64, MessageId)>,
    appeared: BTreeMap<(Device, MessageId), u64>,
    members: BTreeMap<ConversationId, BTreeSet<Device>>,
    deaf: BTreeMap<Device, Vec<Span>>,
}

impl Facts {
    /// Collects what is said until a moment.
    fn of(history: &History, last_ms: u64) -> Self {
        let mut facts = Self::default();
        let devices = super::devices(history);
        for view in &history.stored {
            let his = devices.get(&view.user).into_iter().flatten();
            facts.members.entry(view.conversation).or_default().extend(his);
        }
        for entry in history.entries.iter().take_while(|entry| entry.at_ms <= last_ms) {
            let (device, at_ms) = (entry.device, entry.at_ms);
            match &entry.event {
                Event::Acked { r#ref, id } => {
                    facts.acked.entry((device, *r#ref)).or_insert((at_ms, *id));
                }
                Event::Appeared { id } => {
                    facts.appeared.entry((device, *id)).or_insert(at_ms);
                }
                Event::StopsReading => {
                    let span = Span { from_ms: at_ms, to_ms: history.ended_ms };
                    facts.deaf.entry(device).or_default().push(span);
                }
                Event::Reads => {
                    let last = facts.deaf.get_mut(&device).and_then(|spans| spans.last_mut());
                    if let Some(span) = last {
                        span.to_ms = at_ms;
                    }
                }
                _ => {}
            }
        }
        facts
    }

    /// Tells whether a device did not read all through a span of time.
    fn is_deaf(&self, device: Device, span: Span) -> bool {
        let spans = self.deaf.get(&device).into_iter().flatten();
        spans.into_iter().any(|deaf| deaf.from_ms < span.to_ms && span.from_ms < deaf.to_ms)
    }

    fn flowed(
        &self,
        device: Device,
        r#ref: Ref,
        conversation: ConversationId,
        span: Span,
    ) -> Result<(), String> {
        let acked = self.acked.get(&(device, r#ref));
        let Some((_, id)) = acked.filter(|(at_ms, _)| *at_ms <= span.to_ms) else {
            return Err(format!(
                "{ref} of {device} was written at {} ms, when all was calm, and was not \
                 acknowledged {FLOW_MS} ms later",
                span.from_ms
            ));
        };
        let members = self.members.get(&conversation).into_iter().flatten();
        for member in members.filter(|member| !self.is_deaf(**member, span)) {
            let shown = self.appeared.get(&(*member, *id));
            if shown.is_none_or(|at_ms| *at_ms > span.to_ms) {
                return Err(format!(
                    "{id} was written at {} ms, when all was calm, and {member} did not show it \
                     {FLOW_MS} ms later",
                    span.from_ms
                ));
            }
        }
        Ok(())
    }
}

/// A calm too short for any message proves nothing, however long it was.
pub(super) fn count(history: &History) -> Count {
    let queues = history.queues.len();
    let calm_ms: u64 = history.calm.iter().map(|span| span.to_ms - span.from_ms).sum();
    let facts = Facts::of(history, history.ended_ms);
    let messages = judged(history, &facts).count();
    let words = format!("{queues} queues, {messages} messages in {calm_ms} ms of calm");
    Count { judged: queues + messages, words }
}
