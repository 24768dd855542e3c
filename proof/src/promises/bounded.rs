//! Every queue is bounded, and no client can make another one wait.
//!
//! No queue that was measured ever held more than its bound. And while nothing is done to the
//! cluster, but some clients do not read what they are sent, everybody else goes on: what is
//! written is acknowledged and shown on every other device of both members within [`FLOW_MS`],
//! also on those that had to connect again meanwhile, which takes up to 2 s of it. For as long as
//! something stood still, the checker itself perhaps, it may take longer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use foldhash::HashMap;
use rally_schema::{ConversationId, MessageId, Ref};

use super::Count;
use crate::history::{Device, Entry, Event, History, Span};
use crate::spans::Spans;

/// How long a message may take to every device that reads, while all is calm.
pub const FLOW_MS: u64 = 5_000;

pub(super) fn judge(history: &History) -> Result<(), String> {
    if let Some(queue) = history.queues.iter().find(|queue| queue.most > queue.bound) {
        return Err(format!("{} held {} of at most {}", queue.name, queue.most, queue.bound));
    }
    let Some(last_ms) = history.calm.iter().map(|calm| calm.to_ms).max() else { return Ok(()) };
    let calm = Calm::of(history);
    let mut flow = Flow::of(history, &calm);
    for entry in &history.entries {
        flow.is_now(entry.at_ms)?;
        if entry.at_ms > last_ms {
            break;
        }
        flow.take(entry);
    }
    flow.is_now(u64::MAX)
}

/// A message that has to be everywhere at the end of a span of time.
struct Due {
    device: Device,
    r#ref: Ref,
    conversation: ConversationId,
    span: Span,
    /// As what it was acknowledged until then.
    id: Option<MessageId>,
}

/// What decides whether a message has to flow.
struct Calm<'a> {
    calm: &'a [Span],
    stalls: Spans,
    deaf: Deaf,
}

impl<'a> Calm<'a> {
    fn of(history: &'a History) -> Self {
        let stalls = Spans::union(history.stalls.iter().copied());
        Self { calm: &history.calm, stalls, deaf: Deaf::of(history) }
    }

    /// Gives by when a message has to be everywhere: one whose whole time was calm, from a device
    /// that read all through it. Whatever is written later has no less time.
    fn due(&self, entry: &Entry) -> Option<Due> {
        let Event::Wrote { r#ref, conversation, .. } = &entry.event else { return None };
        let (device, r#ref, conversation) = (entry.device, *r#ref, *conversation);
        let (from_ms, to_ms) = (entry.at_ms, entry.at_ms.saturating_add(FLOW_MS));
        let to_ms = to_ms.saturating_add(self.stalls.covered(from_ms, to_ms));
        let span = Span { from_ms, to_ms };
        let within = |calm: &Span| calm.from_ms <= span.from_ms && span.to_ms <= calm.to_ms;
        let is_due = self.calm.iter().any(within) && !self.deaf.is(device, span);
        is_due.then_some(Due { device, r#ref, conversation, span, id: None })
    }
}

/// When each device did not read.
#[derive(Default)]
struct Deaf(BTreeMap<Device, Vec<Span>>);

impl Deaf {
    fn of(history: &History) -> Self {
        let mut deaf = Self::default();
        for entry in &history.entries {
            match &entry.event {
                Event::StopsReading => {
                    let span = Span { from_ms: entry.at_ms, to_ms: history.ended_ms };
                    deaf.0.entry(entry.device).or_default().push(span);
                }
                Event::Reads => {
                    let last = deaf.0.get_mut(&entry.device).and_then(|spans| spans.last_mut());
                    if let Some(span) = last {
                        span.to_ms = entry.at_ms;
                    }
                }
                _ => {}
            }
        }
        deaf
    }

    /// Tells whether a device did not read all through a span of time.
    fn is(&self, device: Device, span: Span) -> bool {
        let spans = self.0.get(&device).into_iter().flatten();
        spans.into_iter().any(|deaf| deaf.from_ms < span.to_ms && span.from_ms < deaf.to_ms)
    }
}

/// Messages that are under way, followed through a history.
struct Flow<'a> {
    calm: &'a Calm<'a>,
    members: BTreeMap<ConversationId, BTreeSet<Device>>,
    /// In the order in which they were written, and in which they are due.
    open: VecDeque<Due>,
    /// How many were open before them, and which of all is whose.
    judged: usize,
    numbers: HashMap<(Device, Ref), usize>,
    /// Where messages appeared since the first of them was written, and in which order.
    appeared: HashMap<MessageId, Vec<(Device, u64)>>,
    order: VecDeque<(u64, MessageId)>,
}

impl<'a> Flow<'a> {
    fn of(history: &History, calm: &'a Calm<'a>) -> Self {
        let devices = super::devices(history);
        let mut members: BTreeMap<ConversationId, BTreeSet<Device>> = BTreeMap::new();
        for view in &history.stored {
            let his = devices.get(&view.user).into_iter().flatten();
            members.entry(view.conversation).or_default().extend(his);
        }
        Self {
            calm,
            members,
            open: VecDeque::new(),
            judged: 0,
            numbers: HashMap::default(),
            appeared: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Judges what was due before a moment, and forgets what no other has to do with.
    fn is_now(&mut self, now_ms: u64) -> Result<(), String> {
        while let Some(due) = self.open.pop_front_if(|due| due.span.to_ms < now_ms) {
            self.judged += 1;
            self.numbers.remove(&(due.device, due.r#ref));
            self.flowed(&due)?;
        }
        let since_ms = self.open.front().map_or(now_ms, |due| due.span.from_ms);
        while let Some((_, id)) = self.order.pop_front_if(|(at_ms, _)| *at_ms < since_ms) {
            self.appeared.remove(&id);
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        let (device, at_ms) = (entry.device, entry.at_ms);
        match &entry.event {
            Event::Wrote { r#ref, .. } => {
                if let Some(due) = self.calm.due(entry) {
                    self.numbers.insert((device, *r#ref), self.judged + self.open.len());
                    self.open.push_back(due);
                }
            }
            Event::Acked { r#ref, id } => {
                if let Some(number) = self.numbers.get(&(device, *r#ref)) {
                    self.open[number - self.judged].id.get_or_insert(*id);
                }
            }
            Event::Appeared { id } if !self.open.is_empty() => {
                let seen = self.appeared.entry(*id).or_default();
                if seen.is_empty() {
                    self.order.push_back((at_ms, *id));
                }
                seen.push((device, at_ms));
            }
            _ => {}
        }
    }

    fn flowed(&self, due: &Due) -> Result<(), String> {
        let Due { device, r#ref, conversation, span, id } = due;
        let within_ms = span.to_ms - span.from_ms;
        let Some(id) = id else {
            return Err(format!(
                "{ref} of {device} was written at {} ms, when all was calm, and was not \
                 acknowledged {within_ms} ms later",
                span.from_ms
            ));
        };
        let members = self.members.get(conversation).into_iter().flatten();
        let appeared = self.appeared.get(id).map_or(&[][..], Vec::as_slice);
        for member in members.filter(|member| !self.calm.deaf.is(**member, *span)) {
            let in_time =
                |(device, at_ms): &(Device, u64)| device == member && *at_ms <= span.to_ms;
            if !appeared.iter().any(in_time) {
                return Err(format!(
                    "{id} was written at {} ms, when all was calm, and {member} did not show it \
                     {within_ms} ms later",
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
    let calm_ms = Spans::union(history.calm.iter().copied()).covered(0, u64::MAX);
    let calm = Calm::of(history);
    let messages = history.entries.iter().filter_map(|entry| calm.due(entry)).count();
    let words = format!("{queues} queues, {messages} messages in {calm_ms} ms of calm");
    Count { judged: queues + messages, words }
}
