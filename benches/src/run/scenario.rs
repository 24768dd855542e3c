//! What a run does: who is there, what they do how often, for how long.
//!
//! A scenario is a TOML file; those of `benches/scenarios/` are built in, and any key can be set
//! anew on the command line. Knows nothing of servers.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The scenarios that are built in, by name.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("pairs", include_str!("../../scenarios/pairs.toml")),
    ("devices", include_str!("../../scenarios/devices.toml")),
    ("inbox-storm", include_str!("../../scenarios/inbox-storm.toml")),
    ("reconnect-storm", include_str!("../../scenarios/reconnect-storm.toml")),
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("mixed", include_str!("../../scenarios/mixed.toml")),
    ("slow-readers", include_str!("../../scenarios/slow-readers.toml")),
    ("login-storm", include_str!("../../scenarios/login-storm.toml")),
];

/// How many devices a user may have here: deliveries are kept as bits.
const MOST_DEVICES: usize = 16;

/// Bytes of a text, unless told otherwise: the bare loop's records are as long as those of such take.
pub const TEXT_BYTES: usize = 100;

/// What a run does. Rates are of all users together, a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What it is for, in a sentence.
    pub about: String,
    /// Users, who write to each other in pairs: an even number.
    pub users: usize,
    /// Devices of each user, each with a connection.
    pub devices: usize,
    /// Seconds over which rates grow from nothing to their height.
    pub ramp_s: u64,
    /// Seconds after that which do not count yet.
    pub warmup_s: u64,
    /// Seconds that are measured.
    pub seconds: u64,
    /// How what is done is spaced.
    pub arrivals: Arrivals,
    /// Factors of all rates, each for an equal part of the measured time: a day's profile.
    pub profile: Vec<f64>,
    /// Messages.
    pub send: Sends,
    /// What receivers answer.
    pub receipts: Receipts,
    /// Notices that somebody types.
    pub typing: f64,
    /// Watches of somebody's presence, each begun and ended.
    pub watches: f64,
    /// Questions for the newest page of a conversation.
    pub history: f64,
    /// Connections that are dropped and come back, with their cursor.
    pub reconnects: f64,
    /// Connections that come back with a log-in of their own.
    pub logins: f64,
    /// All connections are dropped at once so many seconds after the measuring begins, and come back.
    pub drop_all_at_s: Option<u64>,
    /// Clients that read slowly, and how.
    pub slow: Slow,
}

/// Who writes how much to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sends {
    /// Messages, sent whatever the answers do (an open loop). 0 where the loop is closed.
    pub rate: f64,
    /// Messages that each user has under way, the next one sent when one is answered (a closed
    /// loop). 0 where the loop is open.
    pub in_flight: usize,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// So many users get everybody's messages, instead of each his peer's. 0 for pairs.
    pub popular: usize,
}

/// Clients that read slowly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slow {
    /// Which share of the users, from 0 to 1, on all of their devices.
    pub share: f64,
    /// How many bytes a second each of their connections reads.
    pub bytes_per_second: usize,
}

/// What a receiver answers to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Receipts {
    /// Nothing.
    None,
    /// That it came.
    Delivered,
    /// That it came, and that it was read.
    Read,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One every 1/rate seconds.
    Even,
    /// At random, as independent people write: 1/rate seconds on average.
    Poisson,
    /// Every millisecond what falls into it at once, as generators do that wait in milliseconds.
    Burst,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            about: String::new(),
            users: 200,
            devices: 1,
            ramp_s: 0,
            warmup_s: 5,
            seconds: 20,
            arrivals: Arrivals::Poisson,
            profile: Vec::new(),
            send: Sends::default(),
            receipts: Receipts::None,
            typing: 0.0,
            watches: 0.0,
            history: 0.0,
            reconnects: 0.0,
            logins: 0.0,
            drop_all_at_s: None,
            slow: Slow::default(),
        }
    }
}

impl Default for Sends {
    fn default() -> Self {
        Self { rate: 0.0, in_flight: 0, text_bytes: TEXT_BYTES, popular: 0 }
    }
}

impl Scenario {
    /// Reads a built-in scenario or a file, and sets keys of it anew (`send.rate=500`).
    ///
    /// # Errors
    ///
    /// There is no such scenario, or something in it cannot be.
    pub fn read(name: &str, set: &[String]) -> Result<Self> {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let text = match built_in {
            Some((_, text)) => (*text).to_owned(),
            None if Path::new(name).is_file() => {
                std::fs::read_to_string(name).with_context(|| format!("reading {name}"))?
            }
            None => {
                let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                bail!("no scenario {name:?}: name a file, or one of {}", names.join(", "))
            }
        };
        let mut table: toml::Table = text.parse().with_context(|| format!("reading {name}"))?;
        for assignment in set {
            put(&mut table, assignment)?;
        }
        let scenario: Self = table.try_into().with_context(|| format!("reading {name}"))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        let Self { users, devices, send, slow, .. } = self;
        ensure!(
            *users >= 2 && users % 2 == 0,
            "users = {users}: they write in pairs, give an even number from 2 on"
        );
        ensure!(
            (1..=MOST_DEVICES).contains(devices),
            "devices = {devices}: a user has 1 to {MOST_DEVICES}"
        );
        ensure!(self.seconds > 0, "seconds = 0: nothing would be measured");
        ensure!(
            self.drop_all_at_s.is_none_or(|at_s| at_s < self.seconds),
            "drop_all_at_s = {}, seconds = {}: the run would end before connections are dropped",
            self.drop_all_at_s.unwrap_or_default(),
            self.seconds
        );
        let rates =
            [send.rate, self.typing, self.watches, self.history, self.reconnects, self.logins];
        for rate in rates.into_iter().chain(self.profile.iter().copied()) {
            ensure!(
                rate.is_finite() && (0.0..=1e6).contains(&rate),
                "{rate} is no rate: 0 to 1,000,000 a second"
            );
        }
        ensure!(
            send.rate == 0.0 || send.in_flight == 0,
            "send.rate and send.in_flight: a loop is open or closed, set one of them"
        );
        ensure!(
            (20..=60_000).contains(&send.text_bytes),
            "send.text_bytes = {}: 20 to 60,000",
            send.text_bytes
        );
        ensure!(
            send.popular < *users,
            "send.popular = {}: somebody must write to them",
            send.popular
        );
        ensure!((0.0..=1.0).contains(&slow.share), "slow.share = {}: 0 to 1", slow.share);
        ensure!(
            slow.share == 0.0 || self.slow_users() > 0,
            "slow.share = {}: of {users} users that is nobody",
            slow.share
        );
        ensure!(
            slow.share == 0.0 || slow.bytes_per_second > 0,
            "slow.bytes_per_second = 0: they would never read"
        );
        Ok(())
    }

    /// Gives how many connections there are.
    pub fn connections(&self) -> usize {
        self.users * self.devices
    }

    /// Tells whether users send the next message when one is answered.
    pub fn is_closed(&self) -> bool {
        self.send.in_flight > 0
    }

    /// Tells whether nobody writes a message.
    pub fn sends_nothing(&self) -> bool {
        self.send.rate == 0.0 && !self.is_closed()
    }

    /// Tells whether people write to each other in pairs at a rate, each on one device, in texts of the
    /// usual length, and nothing else is done.
    pub fn is_plain(&self) -> bool {
        let plain = Self {
            about: self.about.clone(),
            users: self.users,
            ramp_s: self.ramp_s,
            warmup_s: self.warmup_s,
            seconds: self.seconds,
            arrivals: self.arrivals,
            profile: self.profile.clone(),
            send: Sends { rate: self.send.rate, ..Sends::default() },
            ..Self::default()
        };
        self.send.rate > 0.0 && *self == plain
    }

    /// Tells whether nothing is done at all: connections are open, and that is it.
    pub fn says_nothing(&self) -> bool {
        let Self { typing, watches, history, reconnects, logins, drop_all_at_s, .. } = self;
        let does_nothing = [typing, watches, history, reconnects, logins] == [&0.0; 5];
        self.sends_nothing() && does_nothing && drop_all_at_s.is_none()
    }

    /// Gives to whom a user writes.
    pub fn peer_of(&self, user: usize) -> usize {
        match self.send.popular {
            0 => user ^ 1,
            // Nobody writes to himself.
            popular if user % popular == user => (user + 1) % self.users,
            popular => user % popular,
        }
    }

    /// Gives who sends message `seq`: first one of every pair, then the other of every pair, so
    /// that two messages of one conversation do not follow each other at once.
    pub fn sender_of(&self, seq: usize) -> usize {
        let (round, pairs) = (seq % self.users, self.users / 2);
        if round < pairs { 2 * round } else { 2 * (round - pairs) + 1 }
    }

    /// Gives how many users read slowly.
    fn slow_users(&self) -> usize {
        (self.slow.share * self.users as f64).round() as usize
    }

    /// Tells whether a user reads slowly: one of each of the last pairs, so that somebody quick writes
    /// to him. Where that is not enough, the others of the last pairs do, too.
    pub fn is_slow(&self, user: usize) -> bool {
        let (pairs, slow) = (self.users / 2, self.slow_users());
        let from_last = pairs - 1 - user / 2;
        if user % 2 == 1 { from_last < slow } else { pairs + from_last < slow }
    }
}

/// Reads a value as TOML, or as a word: a shell takes a text's quotes away.
fn value_of(text: &str) -> Option<toml::Value> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let read = format!("value = {text}").parse::<toml::Table>();
    match read {
        Ok(mut table) => table.remove("value"),
        Err(_) if !text.is_empty() && text.bytes().all(word) => Some(text.into()),
        Err(_) => None,
    }
}

/// Sets a key by its dotted name.
fn put(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let bad = || format!("--set {assignment}: not of the form key=value, as in send.rate=500");
    let (key, value) = assignment.split_once('=').with_context(bad)?;
    let value = value_of(value.trim()).with_context(bad)?;
    let mut table = table;
    let mut parts = key.trim().split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            table.insert(part.to_owned(), value);
            break;
        }
        let inner = table.entry(part).or_insert_with(|| toml::Table::new().into());
        table = inner.as_table_mut().with_context(bad)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_can_be_read_and_says_what_it_is_for() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::read(name, &[]).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            assert!(!scenario.about.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_key_is_set_anew_and_a_bad_one_is_named() {
        let set = |text: &str| Scenario::read("pairs", &[text.to_owned()]);
        assert_eq!(set("send.rate=7").unwrap().send.rate, 7.0);
        for read in ["receipts=\"read\"", "receipts=read"] {
            assert_eq!(set(read).unwrap().receipts, Receipts::Read);
        }
        for bad in
            ["users=3", "send.speed=1", "users", "users=many", "slow.share=2", "send.in_flight=4"]
        {
            let error = format!("{:#}", set(bad).unwrap_err());
            assert!(bad.split(['.', '=']).any(|part| error.contains(part)), "{bad}: {error}");
        }
        let error = Scenario::read("nothing", &[]).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("inbox-storm"), "{error}");
    }

    #[test]
    fn only_a_scenario_in_which_nothing_is_done_says_nothing() {
        let of = |name: &str, set: &[&str]| {
            let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
            Scenario::read(name, &set).unwrap()
        };
        assert!(of("idle", &[]).says_nothing() && of("idle", &[]).sends_nothing());
        for busy in
            ["typing=1", "watches=1", "history=1", "reconnects=1", "logins=1", "drop_all_at_s=3"]
        {
            let scenario = of("idle", &[busy]);
            assert!(!scenario.says_nothing() && scenario.sends_nothing(), "{busy}");
        }
        assert!(!of("idle", &["send.in_flight=1"]).sends_nothing());
        assert!(!of("login-storm", &["send.rate=0"]).says_nothing());
    }

    #[test]
    fn only_pairs_at_a_rate_who_do_nothing_else_are_plain() {
        let of = |name: &str, set: &str| Scenario::read(name, &[set.to_owned()]).unwrap();
        assert!(of("pairs", "send.rate=500").is_plain());
        assert!(of("pairs", "arrivals=even").is_plain() && of("pairs", "users=4").is_plain());
        for more in ["devices=2", "receipts=read", "history=1", "logins=1", "drop_all_at_s=1"] {
            assert!(!of("pairs", more).is_plain(), "{more}");
        }
        assert!(!of("pairs", "send.text_bytes=300").is_plain());
        assert!(!of("pairs", "send.popular=2").is_plain() && !of("idle", "users=4").is_plain());
    }

    #[test]
    fn those_who_read_slowly_are_written_to_by_those_who_do_not() {
        let of = |share: f64| {
            let slow = Slow { share, bytes_per_second: 1 };
            let scenario = Scenario { users: 10, slow, ..Scenario::default() };
            let slow = (0..10).filter(|user| scenario.is_slow(*user)).collect::<Vec<_>>();
            (slow, scenario)
        };
        let (slow, scenario) = of(0.2);
        assert_eq!(slow, [7, 9]);
        assert!(slow.iter().all(|user| !scenario.is_slow(scenario.peer_of(*user))));
        assert_eq!(of(0.7).0, [1, 3, 5, 6, 7, 8, 9], "more than there are pairs");
        assert_eq!((of(0.0).0.len(), of(1.0).0.len()), (0, 10));
    }

    #[test]
    fn a_share_of_slow_readers_that_is_nobody_is_refused() {
        let of = |share| Scenario::read("slow-readers", &[format!("slow.share={share}")]);
        assert!(of(0.005).is_ok(), "one of 200");
        let error = of(0.002).unwrap_err().to_string();
        assert!(error.contains("0.002") && error.contains("nobody"), "{error}");
    }

    #[test]
    fn a_storm_that_would_come_after_the_end_is_refused() {
        let of = |seconds: u64| Scenario::read("reconnect-storm", &[format!("seconds={seconds}")]);
        assert_eq!(of(11).unwrap().drop_all_at_s, Some(10));
        let error = of(8).unwrap_err().to_string();
        assert!(error.contains("drop_all_at_s = 10") && error.contains("seconds = 8"), "{error}");
    }

    #[test]
    fn everybody_sends_once_a_round_and_pairs_are_apart() {
        for users in [2, 4, 200] {
            let scenario = Scenario { users, ..Scenario::default() };
            let mut all: Vec<usize> = (0..users).map(|seq| scenario.sender_of(seq)).collect();
            for pair in all.windows(2).filter(|_| users > 2) {
                assert_ne!(scenario.peer_of(pair[0]), pair[1]);
            }
            all.sort_unstable();
            assert!(all.into_iter().eq(0..users));
        }
    }

    #[test]
    fn popular_ones_get_everybody_s_messages_and_nobody_his_own() {
        let send = Sends { popular: 2, ..Sends::default() };
        let scenario = Scenario { users: 10, send, ..Scenario::default() };
        assert!((0..10).all(|user| scenario.peer_of(user) != user));
        assert!((2..10).all(|user| scenario.peer_of(user) < 2));
    }
}
