//! Who was sent what, and what became of it: the judge of a run.
//!
//! Every message is accounted for by its number. Knows nothing of frames or sockets; told
//! what was sent, acknowledged, refused and delivered, it says what was lost, doubled or
//! out of order, and how long things took from the *intended* time.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::report::histogram;

/// What a server let the generator know about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Which message.
    pub seq: usize,
    /// When it was heard, in nanoseconds after the run's start.
    pub at_ns: u64,
    /// What happened to it.
    pub what: What,
}

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The sender was told that it is durable, under this id.
    Acked(u128),
    /// The peer got it, under this id.
    Delivered(u128),
    /// The sender was told that it was not taken, and why.
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    sender: u32,
    sent: bool,
    acked: bool,
    delivered: bool,
    refused: bool,
    /// The id that ack or delivery named first.
    id: Option<u128>,
}

/// The balance of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Messages that left.
    pub sent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Messages that reached the peer.
    pub delivered: u64,
    /// Refusals, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Acknowledged and not delivered by the end.
    pub lost: u64,
    /// Neither acknowledged nor refused by the end.
    pub unanswered: u64,
    /// Acknowledged more than once.
    pub acked_again: u64,
    /// Delivered again under another id: people would see it twice.
    pub doubled: u64,
    /// Delivered again under the same id, which a client shows once. Catch-ups may do that.
    pub repeated: u64,
    /// Delivered after a later message of the same sender.
    pub out_of_order: u64,
    /// Acknowledged and delivered under different ids.
    pub other_id: u64,
    /// Told about a message that was never sent.
    pub strange: u64,
}

impl Balance {
    /// Tells whether every promise about messages was kept.
    pub fn is_clean(&self) -> bool {
        let broken = [self.lost, self.doubled, self.out_of_order, self.other_id, self.strange];
        broken == [0; 5] && self.acked_again == 0
    }

    /// Says it in one line.
    pub fn line(&self) -> String {
        let Self { sent, acked, delivered, lost, unanswered, doubled, out_of_order, .. } = self;
        let mut line = format!(
            "sent {sent}, acked {acked}, delivered {delivered}, lost {lost}, doubled {doubled}, \
             out of order {out_of_order}, unanswered {unanswered}"
        );
        let rare = [
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
}

/// The book of one run.
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// By sender: the latest message of his that was delivered.
    latest: Vec<Option<usize>>,
    balance: Balance,
    /// From the intended time to the ack, of measured messages.
    pub ack: Histogram<u64>,
    /// From the intended time to the delivery, of measured messages.
    pub delivery: Histogram<u64>,
}

impl Ledger {
    /// Opens a book for so many messages of so many senders.
    pub fn new(messages: usize, senders: usize) -> Self {
        Self {
            entries: vec![Entry::default(); messages],
            latest: vec![None; senders],
            balance: Balance::default(),
            ack: histogram(),
            delivery: histogram(),
        }
    }

    /// Enters a message that leaves.
    pub fn sent(&mut self, seq: usize, sender: usize) {
        let entry = &mut self.entries[seq];
        entry.sender = sender as u32;
        entry.sent = true;
        self.balance.sent += 1;
    }

    /// Enters what was heard; `measured_from` is the intended time, of messages that count.
    pub fn told(&mut self, told: Told, measured_from: Option<u64>) {
        let balance = &mut self.balance;
        let Some(entry) = self.entries.get_mut(told.seq).filter(|entry| entry.sent) else {
            balance.strange += 1;
            return;
        };
        let span = measured_from.map(|from| told.at_ns.saturating_sub(from));
        match told.what {
            What::Acked(_) if entry.acked => balance.acked_again += 1,
            What::Delivered(id) if entry.delivered => match entry.id == Some(id) {
                true => balance.repeated += 1,
                false => balance.doubled += 1,
            },
            What::Acked(id) => {
                entry.acked = true;
                balance.acked += 1;
                balance.other_id += u64::from(*entry.id.get_or_insert(id) != id);
                span.into_iter().for_each(|span| self.ack.saturating_record(span));
            }
            What::Delivered(id) => {
                entry.delivered = true;
                balance.delivered += 1;
                balance.other_id += u64::from(*entry.id.get_or_insert(id) != id);
                span.into_iter().for_each(|span| self.delivery.saturating_record(span));
                let latest = &mut self.latest[entry.sender as usize];
                if latest.is_some_and(|latest| latest > told.seq) {
                    balance.out_of_order += 1;
                } else {
                    *latest = Some(told.seq);
                }
            }
            What::Refused(code) => {
                entry.refused = true;
                *balance.refused.entry(code).or_default() += 1;
            }
        }
    }

    /// Gives how many messages were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.balance.acked
    }

    /// Tells whether nothing more is owed: everything is refused, or acknowledged and delivered.
    pub fn is_settled(&self) -> bool {
        // Cheap in the common case, exact in the rest.
        self.balance.delivered >= self.balance.sent && self.balance.acked >= self.balance.sent
            || self.open().all(|entry| entry.refused)
    }

    fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.sent && !(entry.acked && entry.delivered))
    }

    /// Closes the book: what is missing now is missing.
    pub fn close(mut self) -> (Balance, Histogram<u64>, Histogram<u64>) {
        let lost = self.open().filter(|entry| entry.acked).count() as u64;
        let silent = self.open().filter(|entry| !entry.acked && !entry.refused).count() as u64;
        self.balance.lost = lost;
        self.balance.unanswered = silent;
        (self.balance, self.ack, self.delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seq: usize, what: What) -> Told {
        Told { seq, at_ns: 5_000_000, what }
    }

    /// Two senders in turn: 0, 2, 4, … are of the first, 1, 3, 5, … of the second.
    fn book(messages: usize) -> Ledger {
        let mut ledger = Ledger::new(messages, 2);
        (0..messages).for_each(|seq| ledger.sent(seq, seq % 2));
        ledger
    }

    fn settle(ledger: &mut Ledger, seq: usize) {
        ledger.told(told(seq, What::Acked(seq as u128)), None);
        ledger.told(told(seq, What::Delivered(seq as u128)), None);
    }

    #[test]
    fn a_clean_run_is_clean_in_whatever_order_acks_and_deliveries_come() {
        let mut ledger = book(4);
        settle(&mut ledger, 1);
        ledger.told(told(0, What::Delivered(0)), None);
        assert!(!ledger.is_settled());
        settle(&mut ledger, 2);
        settle(&mut ledger, 3);
        ledger.told(told(0, What::Acked(0)), None);
        assert!(ledger.is_settled());
        let balance = ledger.close().0;
        assert!(balance.is_clean(), "{}", balance.line());
        assert_eq!((balance.sent, balance.acked, balance.delivered), (4, 4, 4));
    }

    #[test]
    fn an_acked_message_that_never_arrives_is_lost_and_a_silent_one_is_unanswered() {
        let mut ledger = book(3);
        ledger.told(told(0, What::Acked(0)), None);
        ledger.told(told(1, What::Refused("busy")), None);
        let balance = ledger.close().0;
        assert_eq!((balance.lost, balance.unanswered), (1, 1));
        assert_eq!(balance.refused["busy"], 1);
        assert!(!balance.is_clean());
    }

    #[test]
    fn a_second_delivery_is_doubled_and_an_earlier_one_of_the_same_sender_is_out_of_order() {
        let mut ledger = book(5);
        settle(&mut ledger, 2);
        settle(&mut ledger, 1);
        settle(&mut ledger, 0);
        settle(&mut ledger, 4);
        ledger.told(told(2, What::Delivered(7)), None);
        ledger.told(told(4, What::Delivered(4)), None);
        settle(&mut ledger, 3);
        let balance = ledger.close().0;
        assert_eq!((balance.doubled, balance.repeated, balance.out_of_order), (1, 1, 1));
    }

    #[test]
    fn ids_must_agree_and_strangers_are_counted() {
        let mut ledger = book(1);
        ledger.told(told(0, What::Acked(7)), None);
        ledger.told(told(0, What::Delivered(8)), None);
        ledger.told(told(1, What::Delivered(8)), None);
        ledger.told(told(0, What::Acked(7)), None);
        let balance = ledger.close().0;
        assert_eq!((balance.other_id, balance.strange, balance.acked_again), (1, 1, 1));
    }

    #[test]
    fn only_measured_messages_count_and_from_their_intended_time() {
        let mut ledger = book(2);
        ledger.told(told(0, What::Acked(0)), None);
        ledger.told(told(1, What::Acked(1)), Some(2_000_000));
        assert_eq!(ledger.ack.len(), 1);
        assert!((2_990_000..3_010_000).contains(&ledger.ack.max()));
    }

    #[test]
    fn what_was_refused_owes_nothing() {
        let mut ledger = book(2);
        settle(&mut ledger, 0);
        ledger.told(told(1, What::Refused("rate")), None);
        assert!(ledger.is_settled());
    }
}
