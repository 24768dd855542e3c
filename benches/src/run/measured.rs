//! What one run of a scenario showed, as it was counted: enough to compute every figure anew, and
//! to add up what several processes saw (`sum.rs`).
//!
//! Knows nothing of how it is shown.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::proc::Processors;
use crate::report::histogram;
use crate::run::book::Balance;

/// Of the wall's time that one thread has: beyond it the generator was what is slow.
const BUSY: f64 = 0.9;

/// How late messages may leave: beyond it the generator was what is slow.
const LATE_NS: u64 = 10_000_000;

/// Which share of delivery's p99 the generator's own lag may be: beyond it the figure is half its own.
const BLURS: f64 = 1.0 / 3.0;

/// Of the wall's time: who has a core or waits for one for longer sends the next message later than he
/// might, which in a closed loop shows as fewer messages.
const PRESSED: f64 = 0.85;

/// A histogram of nanoseconds, written as HdrHistogram's tools read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Spans(pub Histogram<u64>);

impl Default for Spans {
    fn default() -> Self {
        Self(histogram())
    }
}

impl From<Spans> for String {
    fn from(spans: Spans) -> Self {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&spans.0, &mut bytes);
        written.expect("a histogram fits into memory");
        BASE64_STANDARD.encode(bytes)
    }
}

impl TryFrom<String> for Spans {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let bytes = BASE64_STANDARD.decode(text).context("a histogram that is no base64")?;
        let read = Deserializer::new().deserialize(&mut &*bytes);
        read.map(Self)
            .map_err(|error| anyhow::anyhow!("a histogram that cannot be read: {error:?}"))
    }
}

/// What happened in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Messages that left.
    pub sent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Refusals, and connections that ended unasked.
    pub troubles: u64,
    /// Connections that are open at its end.
    pub open: u64,
    /// Milliseconds from the intended time to delivery, of those that came: half of them, and 99 of
    /// 100. Nothing when none came.
    pub p50_ms: Option<f64>,
    /// See above.
    pub p99_ms: Option<f64>,
}

/// What a thread of the server used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUse {
    /// Its name, which others may have, too.
    pub name: String,
    /// Its CPU alone, in nanoseconds.
    pub cpu_ns: u64,
}

/// What was seen of the server's processes over the measured time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSide {
    /// CPU of all of them, in nanoseconds.
    pub cpu_ns: u64,
    /// The same by the names of threads.
    pub threads_ns: BTreeMap<String, u64>,
    /// The one that used most. Nothing in reports of before threads were told apart.
    #[serde(default)]
    pub busiest_thread: Option<ThreadUse>,
    /// Resident bytes before a connection was opened.
    pub rss_before: u64,
    /// With all connections open, before anything was sent.
    pub rss_open: u64,
    /// At the end of the measured time.
    pub rss_end: u64,
    /// Bytes of its own store's folder after a clean end; nothing where it has no such.
    pub data_bytes: Option<u64>,
    /// What its own metrics gained over the measured time, by name; of all nodes together.
    pub metrics: BTreeMap<String, f64>,
    /// It ended in the middle of the run: its clocks are not known.
    #[serde(default)]
    pub ended: bool,
}

/// What one run showed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    /// What became of the messages.
    pub balance: Balance,
    /// From the intended time: `ack`, `delivered`, `history`, `reconnect`, `log-in`, and `lag`, which
    /// is how late the generator itself was.
    pub spans: BTreeMap<String, Spans>,
    /// Second by second, the warm-up included.
    pub seconds: Vec<Second>,
    /// When the first of them began, in milliseconds since 1970. Nothing in reports of before this was
    /// kept.
    #[serde(default)]
    pub seconds_from_unix_ms: Option<u64>,
    /// When the measured time began, in milliseconds since 1970. Nothing in reports of before this
    /// was kept.
    #[serde(default)]
    pub begun_unix_ms: Option<u64>,
    /// How long the measured time was, in nanoseconds. 0 of a run that was cut short before it began.
    pub window_ns: u64,
    /// Messages that were to be sent in it, whether or not they left. 0 in reports of before this
    /// was counted.
    #[serde(default)]
    pub due: u64,
    /// Messages acknowledged in it.
    pub messages: u64,
    /// Deliveries in it.
    pub deliveries: u64,
    /// Connections.
    pub connections: u64,
    /// How long it took to open all of them, in nanoseconds.
    pub opening_ns: u64,
    /// How long until all were back that were dropped at once.
    pub all_back_ns: Option<u64>,
    /// Connections that ended unasked.
    pub ended: u64,
    /// Connections that were not back at the end.
    #[serde(default)]
    pub absent: u64,
    /// Questions that nobody had answered by the end.
    #[serde(default)]
    pub unheard: u64,
    /// What was only counted, by name.
    pub noticed: BTreeMap<String, u64>,
    /// What was wrong, in words; the first few of it.
    pub errors: Vec<String>,
    /// What was done within the measured time besides sending, by name. Nothing in reports of before
    /// this was kept.
    #[serde(default)]
    pub done: BTreeMap<String, u64>,
    /// What was due within it and was not done, by name: the client that it was drawn for was away, or
    /// had nobody to talk to.
    #[serde(default)]
    pub skipped: BTreeMap<String, u64>,
    /// What was asked of a protocol that has no such thing, by name.
    pub unsupported: BTreeMap<String, u64>,
    /// The server's side.
    pub server: ServerSide,
    /// CPU of this process over the measured time; of several that were added up, of all.
    pub own_cpu_ns: u64,
    /// For how long over the measured time its thread was ready to run and had no processor, in
    /// nanoseconds; of several that were added up, of the one that waited longest.
    #[serde(default)]
    pub own_delay_ns: u64,
    /// What all processors of the machine did over the measured time. Nothing in reports of before this
    /// was kept.
    #[serde(default)]
    pub processors: Option<Processors>,
    /// Of several that were added up: which share of its time the busiest had, from 0 to 1.
    #[serde(default)]
    pub busiest: Option<f64>,
    /// Of several that were added up: for which share of its time the one that wanted a core for longest
    /// did so.
    #[serde(default)]
    pub most_wanted: Option<f64>,
    /// Of several that were added up: the 99th percentile of `lag` of the one that was latest, in
    /// nanoseconds.
    #[serde(default)]
    pub latest_lag_ns: Option<u64>,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// Of several that were added up: whether one of them was.
    #[serde(default)]
    pub shortened: bool,
}

impl ServerSide {
    /// Tells whether anybody's processes were looked at until the end: one that lives has memory.
    pub fn is_known(&self) -> bool {
        !self.ended && (self.cpu_ns > 0 || self.rss_end > 0)
    }
}

impl Measured {
    /// Tells whether the generator was what is slow, and how that shows.
    pub fn bottleneck(&self) -> Option<String> {
        let busy = self.busy();
        let late_ns = self.lag_ns().unwrap_or(0);
        if late_ns > LATE_NS {
            let ms = late_ns as f64 / 1e6;
            return Some(format!("99 of 100 messages left up to {ms:.1} ms late, and some later"));
        }
        (busy > BUSY)
            .then(|| format!("the generator was busy for {:.0} % of the time", busy * 100.0))
    }

    /// Tells whether the generator's own lag is much of what is called delivery's p99.
    pub fn is_blurred(&self) -> bool {
        let p99 = self.spans.get("delivered").map(|spans| spans.0.value_at_quantile(0.99));
        let blurs = |p99: u64, lag: u64| lag as f64 > p99 as f64 * BLURS;
        self.bottleneck().is_none()
            && p99.zip(self.lag_ns()).is_some_and(|(p99, lag)| blurs(p99, lag))
    }

    /// Tells whether a generator that keeps no timetable was hardly ever without something to do.
    pub fn is_pressed(&self) -> bool {
        let is_closed = self.messages > 0 && self.lag_ns().is_none();
        self.bottleneck().is_none() && is_closed && self.wanted() >= PRESSED
    }

    /// Gives for which share of the time the generator had a core or waited for one; of several, that
    /// of the one that did so for longest.
    pub fn wanted(&self) -> f64 {
        let own = || self.busy() + self.own_delay_ns as f64 / self.window_ns.max(1) as f64;
        self.most_wanted.unwrap_or_else(own)
    }

    /// Gives which share of the time the generator had a core, from 0 to 1; of several the busiest.
    pub fn busy(&self) -> f64 {
        self.busiest.unwrap_or(self.own_cpu_ns as f64 / self.window_ns.max(1) as f64)
    }

    /// Gives how late 99 of 100 messages left at most, if any did; of several generators the latest's.
    pub fn lag_ns(&self) -> Option<u64> {
        let own = || self.spans.get("lag").map(|lag| lag.0.value_at_quantile(0.99));
        self.latest_lag_ns.or_else(own)
    }

    /// Gives how many messages were acknowledged a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / (self.window_ns as f64 / 1e9)
    }

    /// Tells whether every message was accounted for, and nothing else went wrong.
    pub fn is_clean(&self) -> bool {
        self.balance.is_clean() && self.errors.is_empty() && self.owed().is_empty()
    }

    /// Says what the server owed at the end. Of a run that was cut short nothing: it was not given
    /// the time.
    pub fn owed(&self) -> Vec<String> {
        let owed = [
            (self.balance.unanswered, "messages were neither acknowledged nor refused"),
            (self.balance.undelivered, "messages are missing where nobody came back"),
            (self.absent, "connections did not come back"),
            (self.unheard, "questions were not answered"),
        ];
        let owed = owed.into_iter().filter(|(count, _)| *count > 0 && !self.interrupted);
        owed.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn measured(spans_ms: &[u64]) -> Measured {
        let mut measured = Measured { window_ns: 1_000_000_000, ..Measured::default() };
        let spans = measured.spans.entry("ack".to_owned()).or_default();
        spans_ms.iter().for_each(|ms| spans.0.record(ms * 1_000_000).unwrap());
        measured.messages = spans_ms.len() as u64;
        measured
    }

    #[test]
    fn a_server_that_swallows_half_of_the_messages_is_not_clean() {
        let mut run = measured(&[1, 2]);
        assert!(run.is_clean());
        run.balance.unanswered = 2;
        (run.absent, run.unheard) = (3, 4);
        assert!(!run.is_clean());
        assert_eq!(run.owed().len(), 3);
        assert!(run.owed()[0].starts_with("2 messages"), "{:?}", run.owed());
        run.interrupted = true;
        assert!(run.is_clean() && run.owed().is_empty(), "it was not given the time");
    }

    #[test]
    fn a_report_of_before_something_was_counted_can_be_read() {
        let mut json = serde_json::to_value(measured(&[1])).unwrap();
        for newer in ["due", "absent", "unheard", "busiest", "latest_lag_ns", "begun_unix_ms"] {
            json.as_object_mut().unwrap().remove(newer).unwrap();
        }
        for newer in ["seconds_from_unix_ms", "own_delay_ns", "processors"] {
            json.as_object_mut().unwrap().remove(newer).unwrap();
        }
        for newer in ["busiest_thread", "ended"] {
            json["server"].as_object_mut().unwrap().remove(newer).unwrap();
        }
        assert!(serde_json::from_value::<Measured>(json).unwrap().is_clean());
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let one = measured(&[1, 2, 300]);
        let json = serde_json::to_string(&one).unwrap();
        let read: Measured = serde_json::from_str(&json).unwrap();
        assert_eq!(read.spans["ack"].0, one.spans["ack"].0);
        let bad = json.replace(&String::from(one.spans["ack"].clone()), "====");
        assert!(serde_json::from_str::<Measured>(&bad).is_err());
    }

    #[test]
    fn a_lag_that_is_much_of_delivery_s_p99_is_told_of() {
        let of = |lag_ms: u64, delivered_ms: u64| {
            let mut run = measured(&[1]);
            for (name, ms) in [("lag", lag_ms), ("delivered", delivered_ms)] {
                let spans = run.spans.entry(name.to_owned()).or_default();
                spans.0.record(ms * 1_000_000).unwrap();
            }
            run
        };
        assert!(of(4, 9).is_blurred() && !of(2, 9).is_blurred());
        assert!(of(12, 20).bottleneck().is_some() && !of(12, 20).is_blurred(), "said already");
        assert!(!of(4, 5).is_pressed() && !measured(&[1]).is_blurred());
    }

    #[test]
    fn a_generator_of_a_closed_loop_that_had_to_wait_for_a_core_is_told_of() {
        let of = |own_cpu_ns, own_delay_ns| Measured { own_cpu_ns, own_delay_ns, ..measured(&[1]) };
        assert!(of(500_000_000, 400_000_000).is_pressed() && of(870_000_000, 0).is_pressed());
        assert!(!of(500_000_000, 300_000_000).is_pressed());
        assert!(!of(950_000_000, 0).is_pressed(), "it is called the bottleneck already");
        let idle = Measured { messages: 0, ..of(870_000_000, 0) };
        assert!(!idle.is_pressed(), "nobody waits for it");
    }

    #[test]
    fn a_generator_that_is_late_or_busy_is_called_the_bottleneck() {
        let mut run = measured(&[1]);
        assert_eq!(run.bottleneck(), None);
        run.own_cpu_ns = 950_000_000;
        assert!(run.bottleneck().unwrap().contains("95 %"));
        run.spans.entry("lag".to_owned()).or_default().0.record(20_000_000).unwrap();
        assert!(run.bottleneck().unwrap().contains("late"));
    }
}
