//! Who was sent what, and what became of it: the judge of a run.
//!
//! Every message is accounted for by its number. Told what was sent, acknowledged, refused and
//! delivered to which connection, it says what was lost, doubled or out of order, and how long
//! things took from the *intended* time. Knows nothing of protocols or sockets.

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::report::histogram;
use crate::run::scenario::Scenario;
use crate::wire::Line;

/// What became of a message so far.
#[derive(Debug, Clone, Default)]
struct Entry {
    intended_ns: u64,
    sender: u32,
    /// Which devices have it: the receiver's at the low bits, then the sender's.
    had: u32,
    acked: bool,
    refused: bool,
    /// Whether it was to be sent within the measured time.
    counts: bool,
    /// The id that ack or delivery named first; 0 while none did.
    id: u128,
}

/// The balance of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Messages that left.
    pub sent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Deliveries that were due: one for each device of the receiver, and each other one of the
    /// sender.
    pub due: u64,
    /// Deliveries that took place.
    pub delivered: u64,
    /// Refusals, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Acknowledged and missing at the end, on some device that was there.
    pub lost: u64,
    /// Acknowledged and missing at the end on devices alone that were not back.
    #[serde(default)]
    pub undelivered: u64,
    /// Neither acknowledged nor refused by the end.
    pub unanswered: u64,
    /// Acknowledged more than once.
    pub acked_again: u64,
    /// Delivered to a device again under another id: people would see it twice.
    pub doubled: u64,
    /// Delivered again under the same id, which a client shows once. Catch-ups may do that.
    pub repeated: u64,
    /// Delivered after a later message of the same sender.
    pub out_of_order: u64,
    /// Acknowledged and delivered under different ids.
    pub other_id: u64,
    /// Delivered with a text that is not the one that was sent, or to whom it was not sent.
    pub strange: u64,
}

impl Balance {
    /// Tells whether every promise about messages was kept.
    pub fn is_clean(&self) -> bool {
        let Self { lost, doubled, out_of_order, other_id, strange, acked_again, .. } = self;
        [lost, doubled, out_of_order, other_id, strange, acked_again] == [&0; 6]
    }

    /// Says it in one line.
    pub fn line(&self) -> String {
        let Self { sent, acked, delivered, due, lost, unanswered, doubled, out_of_order, .. } =
            self;
        let mut line = format!(
            "sent {sent}, acked {acked}, delivered {delivered} of {due}, lost {lost}, \
             doubled {doubled}, out of order {out_of_order}, unanswered {unanswered}"
        );
        let rare = [
            ("undelivered to who was away", self.undelivered),
            ("repeated", self.repeated),
            ("acked again", self.acked_again),
            ("with another id", self.other_id),
            ("strange", self.strange),
        ];
        for (name, count) in rare.into_iter().filter(|(_, count)| *count > 0) {
            line += &format!(", {name} {count}");
        }
        for (code, count) in &self.refused {
            line += &format!(", refused as {code} {count}");
        }
        line
    }

    /// Adds what another process counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sent, other.sent),
            (&mut self.acked, other.acked),
            (&mut self.due, other.due),
            (&mut self.delivered, other.delivered),
            (&mut self.lost, other.lost),
            (&mut self.undelivered, other.undelivered),
            (&mut self.unanswered, other.unanswered),
            (&mut self.acked_again, other.acked_again),
            (&mut self.doubled, other.doubled),
            (&mut self.repeated, other.repeated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.other_id, other.other_id),
            (&mut self.strange, other.strange),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }
}

/// The book of one run.
#[derive(Debug)]
pub struct Book<'a> {
    scenario: &'a Scenario,
    entries: Vec<Entry>,
    /// By connection and sender: the latest message of his that came.
    latest: HashMap<(u32, u32), usize>,
    balance: Balance,
    /// Messages that are not settled yet.
    open: usize,
    /// How long messages that count took, of users who read what comes.
    fast: Times,
    /// The same of those who read slowly: they were asked to, and their own delay is in it.
    slow: Times,
}

/// How long messages took, from the intended time.
#[derive(Debug)]
struct Times {
    /// To the ack.
    ack: Histogram<u64>,
    /// To each delivery.
    delivery: Histogram<u64>,
}

impl Default for Times {
    fn default() -> Self {
        Self { ack: histogram(), delivery: histogram() }
    }
}

impl<'a> Book<'a> {
    /// Opens a book.
    pub fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            entries: Vec::new(),
            latest: HashMap::new(),
            balance: Balance::default(),
            open: 0,
            fast: Times::default(),
            slow: Times::default(),
        }
    }

    /// Enters the next message, which was to be sent at a time, and gives its number and sender.
    pub fn send(&mut self, sender: usize, intended_ns: u64, counts: bool) -> usize {
        let sender = sender as u32;
        self.entries.push(Entry { intended_ns, sender, counts, ..Entry::default() });
        self.balance.sent += 1;
        self.balance.due += u64::from(self.all().count_ones());
        self.open += 1;
        self.entries.len() - 1
    }

    /// Gives which devices a message is due at, as bits.
    fn all(&self) -> u32 {
        let devices = self.scenario.devices;
        // All of the receiver's, and the sender's but the first, which sends.
        let of_receiver = (1u32 << devices) - 1;
        of_receiver | ((of_receiver & !1) << devices)
    }

    /// Enters that a message was acknowledged. Gives how long that took, if it counts.
    pub fn acked(&mut self, seq: usize, id: u128, at_ns: u64) -> Option<u64> {
        let all = self.all();
        let Some(entry) = self.entries.get_mut(seq) else {
            self.balance.strange += 1;
            return None;
        };
        if entry.acked {
            self.balance.acked_again += 1;
            return None;
        }
        entry.acked = true;
        self.balance.acked += 1;
        self.balance.other_id += u64::from(is_other(&mut entry.id, id));
        self.open -= usize::from(entry.had == all);
        let took = at_ns.saturating_sub(entry.intended_ns);
        if entry.counts {
            let is_slow = self.scenario.is_slow(entry.sender as usize);
            let times = if is_slow { &mut self.slow } else { &mut self.fast };
            times.ack.saturating_record(took);
        }
        entry.counts.then_some(took)
    }

    /// Enters that a message was refused.
    pub fn refused(&mut self, seq: usize, code: &str) {
        let Some(entry) = self.entries.get_mut(seq) else {
            self.balance.strange += 1;
            return;
        };
        self.open -= usize::from(!entry.refused && !entry.acked);
        entry.refused = true;
        *self.balance.refused.entry(code.to_owned()).or_default() += 1;
    }

    /// Enters that a message came to a connection; `None` is a text that names none. Gives how
    /// long that took, if it counts and its reader is not a slow one.
    pub fn delivered(
        &mut self,
        line: Line,
        seq: Option<usize>,
        id: u128,
        stored: bool,
        at_ns: u64,
    ) -> Option<u64> {
        let all = self.all();
        let Self { scenario, entries, latest, balance, open, fast, slow, .. } = self;
        let Some((seq, entry)) = seq.and_then(|seq| Some((seq, entries.get_mut(seq)?))) else {
            balance.strange += 1;
            return None;
        };
        let (user, device, sender) =
            (line / scenario.devices, line % scenario.devices, entry.sender as usize);
        let bit = match user {
            receiver if receiver == scenario.peer_of(sender) => 1u32 << device,
            own if own == sender => 1u32 << (device + scenario.devices),
            _ => {
                balance.strange += 1;
                return None;
            }
        };
        if entry.had & bit != 0 {
            let again = if entry.id == id { &mut balance.repeated } else { &mut balance.doubled };
            *again += 1;
            return None;
        }
        balance.other_id += u64::from(is_other(&mut entry.id, id));
        entry.had |= bit;
        if bit & all == 0 {
            // The device that sent it may be shown it, too, by a catch-up.
            return None;
        }
        balance.delivered += 1;
        *open -= usize::from(entry.acked && entry.had & all == all);
        let latest = latest.entry((line as u32, entry.sender)).or_insert(seq);
        if *latest > seq {
            // Older pages come after newer ones, and are shown above them.
            balance.out_of_order += u64::from(!stored);
        } else {
            *latest = seq;
        }
        let (took, is_slow) = (at_ns.saturating_sub(entry.intended_ns), scenario.is_slow(user));
        if entry.counts {
            let times = if is_slow { slow } else { fast };
            times.delivery.saturating_record(took);
        }
        (entry.counts && !is_slow).then_some(took)
    }

    /// Gives what was counted so far.
    pub fn so_far(&self) -> &Balance {
        &self.balance
    }

    /// Tells whether nothing more is owed: everything is refused, or acknowledged and delivered.
    pub fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Closes the book: what is missing now is missing. Told which connections are open. Gives how
    /// long things took by their names.
    pub fn close(
        mut self,
        is_open: impl Fn(Line) -> bool,
    ) -> (Balance, [(&'static str, Histogram<u64>); 4]) {
        let (all, devices) = (self.all(), self.scenario.devices);
        for entry in &self.entries {
            let missing = if entry.acked { all & !entry.had } else { 0 };
            let sender = entry.sender as usize;
            let line = |bit: usize| match bit < devices {
                true => self.scenario.peer_of(sender) * devices + bit,
                false => sender * devices + bit - devices,
            };
            let mut bits = (0..2 * devices).filter(|bit| missing & (1 << bit) != 0);
            let is_lost = bits.any(|bit| is_open(line(bit)));
            self.balance.lost += u64::from(is_lost);
            self.balance.undelivered += u64::from(missing != 0 && !is_lost);
            self.balance.unanswered += u64::from(!entry.acked && !entry.refused);
        }
        let times = [
            ("ack", self.fast.ack),
            ("delivered", self.fast.delivery),
            ("slow readers' ack", self.slow.ack),
            ("slow readers' delivered", self.slow.delivery),
        ];
        (self.balance, times)
    }
}

/// Tells whether an id is another one than was named before. Servers that name none say 0.
fn is_other(known: &mut u128, id: u128) -> bool {
    if *known == 0 {
        *known = id;
    }
    *known != id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(devices: usize) -> Scenario {
        Scenario { users: 4, devices, ..Scenario::default() }
    }

    #[test]
    fn a_message_that_reaches_every_device_is_settled_and_clean() {
        let scenario = scenario(2);
        let mut book = Book::new(&scenario);
        let seq = book.send(0, 1_000, true);
        assert_eq!(book.acked(seq, 7, 3_000), Some(2_000));
        // User 1 has lines 2 and 3; the sender's other device is line 1.
        for line in [2, 3, 1] {
            assert!(!book.is_settled());
            assert_eq!(book.delivered(line, Some(seq), 7, false, 5_000), Some(4_000));
        }
        assert!(book.is_settled());
        // By a catch-up of the device that sent it.
        assert_eq!(book.delivered(0, Some(seq), 7, false, 6_000), None);
        let (balance, times) = book.close(|_| true);
        assert!(balance.is_clean(), "{}", balance.line());
        assert_eq!((balance.due, balance.delivered), (3, 3));
        assert_eq!(times.map(|(_, spans)| spans.len()), [1, 3, 0, 0]);
    }

    #[test]
    fn everything_wrong_is_counted_as_what_it_is() {
        let scenario = scenario(1);
        let mut book = Book::new(&scenario);
        let seqs: Vec<usize> = (0..5).map(|n| book.send(0, n, true)).collect();
        seqs.iter().take(4).for_each(|seq| _ = book.acked(*seq, 1 + *seq as u128, 9));
        book.acked(0, 1, 9);
        book.delivered(1, Some(1), 2, false, 9);
        book.delivered(1, Some(0), 1, false, 9);
        book.delivered(1, Some(0), 1, false, 9);
        book.delivered(1, Some(1), 99, false, 9);
        book.delivered(1, Some(2), 98, false, 9);
        book.delivered(2, Some(2), 3, false, 9);
        book.delivered(1, None, 3, false, 9);
        let (balance, _) = book.close(|_| true);
        let Balance { lost, unanswered, acked_again, doubled, repeated, .. } = balance;
        assert_eq!((lost, unanswered, acked_again, doubled, repeated), (1, 1, 1, 1, 1));
        assert_eq!((balance.out_of_order, balance.other_id, balance.strange), (1, 1, 2));
        assert!(!balance.is_clean());
    }

    #[test]
    fn who_is_refused_is_owed_nothing_more() {
        let scenario = scenario(1);
        let mut book = Book::new(&scenario);
        let seq = book.send(2, 0, true);
        book.refused(seq, "rate");
        assert!(book.is_settled());
        let mut sum = Balance::default();
        sum.add(book.so_far());
        sum.add(book.so_far());
        assert_eq!(sum.refused["rate"], 2);
    }

    #[test]
    fn what_warms_up_is_judged_and_not_timed() {
        let scenario = scenario(1);
        let mut book = Book::new(&scenario);
        let seq = book.send(0, 0, false);
        assert_eq!(book.acked(seq, 0, 5), None);
        assert_eq!(book.delivered(1, Some(seq), 0, false, 5), None);
        let (balance, times) = book.close(|_| true);
        assert_eq!(balance.delivered, 1);
        assert!(times.iter().all(|(_, spans)| spans.is_empty()));
    }

    /// Of four users the second of each pair reads slowly.
    #[test]
    fn times_of_those_who_read_slowly_are_kept_apart() {
        let mut scenario = scenario(1);
        scenario.slow.share = 0.5;
        let mut book = Book::new(&scenario);
        let [quick, slow] = [2, 3].map(|sender| book.send(sender, 0, true));
        book.acked(quick, 1, 5);
        book.acked(slow, 2, 700);
        assert_eq!(book.delivered(2, Some(slow), 2, false, 9), Some(9));
        assert_eq!(
            book.delivered(3, Some(quick), 1, false, 900),
            None,
            "its delay is not the server's"
        );
        let (balance, times) = book.close(|_| true);
        assert!(balance.is_clean());
        assert_eq!(
            times.map(|(name, spans)| (name, spans.max())),
            [
                ("ack", 5),
                ("delivered", 9),
                ("slow readers' ack", 700),
                ("slow readers' delivered", 900),
            ]
        );
    }
}
