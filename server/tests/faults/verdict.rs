//! What became of every message: what devices were told, and what the server has in the end.
//!
//! Knows no cluster and no clock: it judges what others noted and read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rally_schema::frame::Message;
use rally_schema::{MessageId, Ref};

/// A message that takes longer was delayed.
const LATE: Duration = Duration::from_secs(1);

/// A message, and when it was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    pub meant: Duration,
    pub r#ref: Ref,
}

/// What a device was told of messages: how often of which.
#[derive(Default)]
pub struct Told(BTreeMap<MessageId, usize>);

impl Told {
    /// Counts a push.
    pub fn count(&mut self, id: MessageId) {
        *self.0.entry(id).or_default() += 1;
    }

    /// Counts pushes of what it had been told before. Catch-ups overlap, so there may be some, and
    /// a device passes them over.
    pub fn again(&self) -> usize {
        self.0.values().map(|times| times - 1).sum()
    }
}

/// What is known of all messages in the end.
#[derive(Default)]
pub struct Verdict {
    /// When each was meant that a reader was shown, and how long he waited for it.
    waits: Vec<(Duration, Duration)>,
    sent: usize,
    acked: usize,
    /// What was written and a member does not read, and what one reads more than once.
    lost: BTreeSet<Written>,
    doubled: BTreeSet<Written>,
    /// How often a device was told what it had been told before.
    again: usize,
    wrong: Vec<String>,
}

/// Figures of a span of time: of what was waited for then, and of what was meant then.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures {
    messages: usize,
    late: usize,
    lost: usize,
    doubled: usize,
}

impl Verdict {
    /// Notes what a pair wrote and was told.
    pub fn note(&mut self, sent: usize, acked: usize, got: &[(Duration, Duration)], again: usize) {
        self.sent += sent;
        self.acked += acked;
        self.again += again;
        self.waits.extend(got.iter().map(|(meant, got)| (*meant, *got - *meant)));
    }

    /// Notes what should not be.
    pub fn blame(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Compares what a member reads in the end, oldest first, with what was written, in its order,
    /// and with what each was acknowledged as.
    pub fn compare(
        &mut self,
        who: &str,
        written: &[Written],
        acked: &BTreeMap<Ref, MessageId>,
        rows: &[Message],
    ) {
        let mut there: BTreeMap<Ref, Vec<MessageId>> = BTreeMap::new();
        rows.iter().for_each(|row| there.entry(row.r#ref).or_default().push(row.id));
        for one in written {
            let ids = there.remove(&one.r#ref).unwrap_or_default();
            match (&*ids, acked.get(&one.r#ref)) {
                ([], _) => drop(self.lost.insert(*one)),
                ([id], Some(acked)) if id == acked => {}
                ([id], acked) => {
                    self.blame(format!("{who}: {one:?} is there as {id}, was acked as {acked:?}"));
                }
                (ids, acked) => {
                    self.doubled.insert(*one);
                    self.blame(format!(
                        "{who}: {one:?} is there as {ids:?}, was acked as {acked:?}"
                    ));
                }
            }
        }
        there.keys().for_each(|r#ref| self.blame(format!("{who}: {ref} was never written")));
        let places: BTreeMap<Ref, usize> =
            written.iter().enumerate().map(|(place, one)| (one.r#ref, place)).collect();
        if !rows.iter().filter_map(|row| places.get(&row.r#ref)).is_sorted() {
            self.blame(format!("{who}: not in the order in which they were written"));
        }
    }

    /// Counts from a moment to another one. What was under way at the first counts as waited for.
    pub fn between(&self, from: Duration, to: Duration) -> Figures {
        let is_then =
            |(meant, waited): &&(Duration, Duration)| *meant < to && *meant + *waited > from;
        let waits = || self.waits.iter().filter(is_then);
        let is_meant = |one: &&Written| (from..to).contains(&one.meant);
        let of = |set: &BTreeSet<Written>| set.iter().filter(is_meant).count();
        Figures {
            messages: waits().count(),
            late: waits().filter(|(_, waited)| *waited > LATE).count(),
            lost: of(&self.lost),
            doubled: of(&self.doubled),
        }
    }

    /// Says all of it, and ends the test if anything is not as it should be.
    pub fn say(self) {
        let Self { sent, acked, again, .. } = self;
        let mut waited: Vec<f64> =
            self.waits.iter().map(|(_, waited)| waited.as_secs_f64() * 1e3).collect();
        waited.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let last = waited.len().saturating_sub(1);
            waited.get((last as f64 * share) as usize).copied().unwrap_or(f64::NAN)
        };
        println!(
            "{sent} sent, {acked} acknowledged, {}; {again} told again; waited {:.1} ms (p50), \
             {:.0} (p99), {:.0} (most)",
            self.between(Duration::ZERO, Duration::MAX),
            at(0.5),
            at(0.99),
            at(1.0)
        );
        assert_eq!(acked, sent, "everything that was sent is acknowledged");
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
        assert!(self.doubled.is_empty(), "doubled: {:#?}", self.wrong);
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert_eq!(waited.len(), sent, "everything that was sent is shown");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, late, lost, doubled } = self;
        write!(
            f,
            "{messages} shown, of which {late} waited more than {LATE:?}, {lost} lost, {doubled} \
             doubled"
        )
    }
}

#[cfg(test)]
mod tests {
    use rally_schema::ids::Stamp;
    use rally_schema::{ConversationId, UserId};
    use uuid::Uuid;

    use super::*;

    /// Some messages as they were written, acknowledged and stored.
    struct Story {
        written: Vec<Written>,
        acked: BTreeMap<Ref, MessageId>,
        rows: Vec<Message>,
    }

    impl Story {
        fn of(count: u16) -> Self {
            let (mut written, mut acked, mut rows) = (Vec::new(), BTreeMap::new(), Vec::new());
            for n in 0..count {
                let row = row(Uuid::new_v4().into(), n);
                written
                    .push(Written { meant: Duration::from_secs(u64::from(n)), r#ref: row.r#ref });
                acked.insert(row.r#ref, row.id);
                rows.push(row);
            }
            Self { written, acked, rows }
        }

        fn verdict(&self) -> Verdict {
            let mut verdict = Verdict::default();
            verdict.compare("ana", &self.written, &self.acked, &self.rows);
            verdict.compare("ben", &self.written, &self.acked, &self.rows);
            verdict
        }
    }

    fn row(r#ref: Ref, n: u16) -> Message {
        let [sender, to]: [UserId; 2] = ["ana", "ben"].map(|name| name.parse().unwrap());
        let (conversation, text) = (ConversationId::direct(sender, to), "a text".to_owned());
        let id = MessageId::of(Stamp { at: 1_000, n }, sender, conversation, r#ref, &text);
        let (reply_to, edit, deleted, after) = Default::default();
        Message { id, conversation, sender, to, r#ref, text, reply_to, edit, deleted, after }
    }

    fn counts(verdict: &Verdict) -> (usize, usize, usize) {
        (verdict.lost.len(), verdict.doubled.len(), verdict.wrong.len())
    }

    #[test]
    fn what_is_there_once_and_in_order_is_good() {
        assert_eq!(counts(&Story::of(3).verdict()), (0, 0, 0));
    }

    #[test]
    fn what_is_not_there_is_lost_and_counts_where_it_was_meant() {
        let mut story = Story::of(3);
        story.rows.remove(1);
        let verdict = story.verdict();
        assert_eq!(counts(&verdict), (1, 0, 0));
        let lost =
            |from, to| verdict.between(Duration::from_secs(from), Duration::from_secs(to)).lost;
        assert_eq!((lost(0, 1), lost(1, 2), lost(2, 9)), (0, 1, 0));
    }

    #[test]
    fn what_is_there_twice_is_doubled_whether_as_a_twin_or_as_itself() {
        let mut story = Story::of(3);
        let twin = row(story.written[2].r#ref, 9);
        assert!(twin.id.is_twin_of(&story.rows[2].id));
        story.rows.push(twin);
        assert_eq!(counts(&story.verdict()), (0, 1, 2));
        let mut story = Story::of(3);
        story.rows.insert(1, story.rows[0].clone());
        assert_eq!(counts(&story.verdict()), (0, 1, 2));
    }

    #[test]
    fn what_is_there_as_another_one_or_elsewhere_or_was_never_written_is_wrong() {
        let mut story = Story::of(3);
        story.rows.swap(0, 1);
        assert_eq!(counts(&story.verdict()), (0, 0, 2), "by each of both");
        let mut story = Story::of(3);
        story.rows[2] = row(story.written[2].r#ref, 9);
        assert_eq!(counts(&story.verdict()), (0, 0, 2));
        let mut story = Story::of(3);
        story.rows.push(row(Uuid::new_v4().into(), 9));
        assert_eq!(counts(&story.verdict()), (0, 0, 2));
    }

    #[test]
    fn what_was_under_way_when_a_fault_began_is_delayed_by_it() {
        let mut verdict = Verdict::default();
        let ms = Duration::from_millis;
        verdict.note(3, 3, &[(ms(10), ms(20)), (ms(90), ms(5_000)), (ms(6_000), ms(6_010))], 0);
        let late = |from, to| {
            let figures = verdict.between(ms(from), ms(to));
            (figures.messages, figures.late)
        };
        assert_eq!((late(0, 50), late(100, 6_000), late(6_000, 9_000)), ((1, 0), (1, 1), (1, 0)));
        assert_eq!(late(0, 9_000), (3, 1));
    }

    #[test]
    fn a_second_push_of_one_message_is_counted() {
        let (mut told, ids) = (Told::default(), [1, 2].map(|n| row(Uuid::new_v4().into(), n).id));
        [ids[0], ids[1], ids[0], ids[0]].into_iter().for_each(|id| told.count(id));
        assert_eq!(told.again(), 2);
    }
}
