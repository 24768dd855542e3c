//! What users want and what befalls their devices, drawn from a seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_rt::time::sleep;
use rally_proof::FLOW_MS;
use rally_proof::phone::Wish;
use rally_schema::UserId;
use rally_schema::limits::TEXT_BYTES;

use super::line::{Line, Record};
use super::{PROGRESS, tell};
use crate::dice::Dice;
use crate::stop::Stop;

/// Of so many devices one has a clock that is wrong, by up to so many milliseconds.
const WRONG: (u64, i64) = (6, 90_000);

/// About how many seconds pass between two things that befall one device.
const MISHAPS_S: u64 = 12;

/// How long one lasts at most, beyond what it lasts at least.
const MISHAP_MS: u64 = 8_000;

/// Draws by how much a device's clock is wrong.
pub fn wrong_clock(dice: &mut Dice) -> i64 {
    let (rarity, most_ms) = WRONG;
    match dice.roll() % rarity {
        0 => (dice.roll() % (2 * most_ms as u64)) as i64 - most_ms,
        _ => 0,
    }
}

/// The most bytes that each text may have at least: a device that contradicts itself puts a word in
/// front, and one that is too long would be refused before anybody looked at what it contradicts.
pub const MOST_TEXT_BYTES: usize = TEXT_BYTES - "not ".len();

/// For how long a device is away that only connects anew.
const BLINK: Duration = Duration::from_millis(500);

/// What befalls devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishaps {
    /// They stop reading their sockets for a while; some connect anew, and read what they missed, or
    /// nothing of it.
    SlowReaders,
    /// They also lose the network, with and without a word, and what they kept; and users block
    /// each other.
    All,
}

impl Mishaps {
    /// How long one lasts at least. In a calm long enough that whoever waited for a slow reader
    /// would wait too long.
    fn least_ms(self) -> u64 {
        match self {
            Self::SlowReaders => FLOW_MS,
            Self::All => 0,
        }
    }
}

/// What users want, and on what.
pub struct Load<'a> {
    /// Their devices.
    pub lines: &'a [Rc<Line>],
    /// Who they are.
    pub users: &'a [UserId],
    /// What happens.
    pub record: &'a Record,
    /// Ends it before its time.
    pub stop: &'a Stop,
    /// What all users want together, a second.
    pub rate: u64,
    /// Bytes that each text has at least.
    pub text_bytes: usize,
}

impl Load<'_> {
    /// Has users want things, and their devices suffer, for some seconds and until all is done that
    /// is done to the cluster. Every device is well again when it ends.
    pub async fn run(&mut self, seconds: u64, which: Mishaps, done: &Cell<bool>, dice: &mut Dice) {
        let Self { lines, users, record, stop, rate, text_bytes } = *self;
        let draws = Draws { lines: lines.len(), users, rate, text_bytes, which };
        let (begun, mut told) = (Instant::now(), Instant::now());
        let mut mishaps = Vec::new();
        for nth in 0.. {
            let is_over = nth >= rate * seconds && done.get();
            if is_over || stop.asked() {
                break;
            }
            let due = Duration::from_secs_f64(nth as f64 / rate as f64);
            sleep(due.saturating_sub(begun.elapsed())).await;
            let Step { line, wish, mishap } = draws.step(nth, dice);
            lines[line].wish(wish);
            if let Some(mishap) = mishap {
                let unlucky = lines[mishap.line].clone();
                mishaps.push(actix_rt::spawn(mishap.befalls(unlucky)));
                mishaps.retain(|mishap| !mishap.is_finished());
            }
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                let events = record.entries.borrow().len();
                let busy = lines.iter().filter(|line| line.wants().is_some()).count();
                tell(&format!(
                    "{nth} operations, {events} events, {busy} devices are away or busy"
                ));
            }
        }
        for mishap in mishaps {
            let _ = mishap.await;
        }
    }
}

/// From what is drawn: equal draws of equal dice are equal, whatever the cluster does.
struct Draws<'a> {
    lines: usize,
    users: &'a [UserId],
    rate: u64,
    text_bytes: usize,
    which: Mishaps,
}

/// What is wanted at one device, and what befalls one besides.
#[derive(Debug)]
struct Step {
    line: usize,
    wish: Wish,
    mishap: Option<Mishap>,
}

impl Draws<'_> {
    fn step(&self, nth: u64, dice: &mut Dice) -> Step {
        let dice = RefCell::new(dice);
        let below = |limit: u64| dice.borrow_mut().roll() % limit;
        let lines = self.lines as u64;
        let line = below(lines) as usize;
        let wish = lengthened(Wish::draw(below, self.users, nth as usize), self.text_bytes);
        // So that each device has its share.
        let befalls = below(self.rate * MISHAPS_S) < lines;
        let mishap = befalls.then(|| {
            let line = below(lines) as usize;
            let lasts = Duration::from_millis(self.which.least_ms() + below(MISHAP_MS));
            let other = self.users[below(self.users.len() as u64) as usize];
            Mishap { line, kind: Kind::draw(self.which, below(5), other), lasts }
        });
        Step { line, wish, mishap }
    }
}

/// Has a text as many bytes as every one has at least.
fn lengthened(wish: Wish, bytes: usize) -> Wish {
    let long = |text: String| format!("{text:.<bytes$}");
    match wish {
        Wish::Write { to, text } => Wish::Write { to, text: long(text) },
        Wish::Edit { to, text } => Wish::Edit { to, text: long(text) },
        Wish::Delete { .. } | Wish::Contradict | Wish::Look { .. } => wish,
    }
}

/// Something that befalls a device, and passes.
#[derive(Debug)]
struct Mishap {
    line: usize,
    kind: Kind,
    lasts: Duration,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It connects anew, and reads what it missed.
    Blinks,
    /// It connects anew, and reads nothing of it for as long as this lasts.
    BlinksDeaf,
    /// It does not read.
    Deaf,
    /// It has no network.
    Away,
    /// The same, and the node does not see it go.
    Vanishes,
    /// It loses what it kept.
    Forgets,
    /// Its user blocks somebody; himself he cannot, and then it does not read.
    Blocks(UserId),
}

impl Kind {
    fn draw(which: Mishaps, nth: u64, other: UserId) -> Self {
        match (which, nth) {
            (Mishaps::SlowReaders, 0) => Self::Blinks,
            (Mishaps::SlowReaders, 1) => Self::BlinksDeaf,
            (Mishaps::All, 0) => Self::Away,
            (Mishaps::All, 1) => Self::Vanishes,
            (Mishaps::All, 2) => Self::Forgets,
            (Mishaps::All, 3) => Self::Blocks(other),
            (Mishaps::SlowReaders | Mishaps::All, _) => Self::Deaf,
        }
    }
}

impl Mishap {
    async fn befalls(self, line: Rc<Line>) {
        match self.kind {
            Kind::Blinks | Kind::BlinksDeaf => {
                line.set_reads(self.kind == Kind::Blinks);
                line.set_online(false);
                sleep(BLINK).await;
                line.set_online(true);
            }
            Kind::Away => line.set_online(false),
            Kind::Vanishes => line.vanish(),
            Kind::Forgets => line.forget(),
            Kind::Blocks(other) if other != line.user() => {
                return line.block(other, self.lasts).await;
            }
            Kind::Blocks(_) | Kind::Deaf => line.set_reads(false),
        }
        sleep(self.lasts).await;
        line.set_reads(true);
        line.set_online(true);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::discriminant;

    use super::*;

    const RATE: u64 = 50;

    fn users() -> [UserId; 3] {
        ["ana", "ben", "cid"].map(|name| name.parse().unwrap())
    }

    /// Draws what twelve devices want and suffer in a minute.
    fn drawn(seed: u64, which: Mishaps, text_bytes: usize) -> Vec<Step> {
        let (users, mut dice) = (users(), Dice::new(seed));
        let draws = Draws { lines: 12, users: &users, rate: RATE, text_bytes, which };
        (0..60 * RATE).map(|nth| draws.step(nth, &mut dice)).collect()
    }

    #[test]
    fn a_seed_replays_every_wish_and_every_mishap() {
        let words = |seed| format!("{:?}", drawn(seed, Mishaps::All, 0));
        assert_eq!(words(7), words(7));
        assert_ne!(words(7), words(8));
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        let wrong: Vec<i64> = (0..1_000).map(|_| wrong_clock(&mut one)).collect();
        assert!(wrong.iter().all(|wrong_by_ms| *wrong_by_ms == wrong_clock(&mut other)));
        assert!(wrong.iter().any(|by| *by < -10_000) && wrong.iter().any(|by| *by > 10_000));
        assert!(wrong.iter().all(|by| by.abs() <= WRONG.1));
        assert!(wrong.iter().filter(|by| **by == 0).count() > 700, "most clocks are right");
    }

    #[test]
    fn a_minute_has_every_kind_of_wish_at_every_device_and_to_everybody() {
        let steps = drawn(1, Mishaps::All, 0);
        let mut seen = [0; 5];
        for Step { wish, .. } in &steps {
            seen[match wish {
                Wish::Write { .. } => 0,
                Wish::Edit { .. } => 1,
                Wish::Delete { .. } => 2,
                Wish::Contradict => 3,
                Wish::Look { .. } => 4,
            }] += 1;
        }
        assert!(seen.iter().all(|count| *count >= 20), "{seen:?}");
        let devices: BTreeSet<usize> = steps.iter().map(|step| step.line).collect();
        assert_eq!(devices, (0..12).collect());
        let written: BTreeSet<UserId> = steps
            .iter()
            .filter_map(|step| match &step.wish {
                Wish::Write { to, .. } => Some(*to),
                _ => None,
            })
            .collect();
        assert_eq!(written, BTreeSet::from(users()));
    }

    #[test]
    fn every_mishap_comes_in_its_time_and_no_other_in_a_calm() {
        let [ana, ..] = users();
        let calm = [Kind::Blinks, Kind::BlinksDeaf, Kind::Deaf];
        let rough = [Kind::Away, Kind::Vanishes, Kind::Forgets, Kind::Blocks(ana), Kind::Deaf];
        for (which, kinds) in [(Mishaps::SlowReaders, &calm[..]), (Mishaps::All, &rough[..])] {
            let steps = drawn(3, which, 0);
            let mishaps: Vec<&Mishap> =
                steps.iter().filter_map(|step| step.mishap.as_ref()).collect();
            let is =
                |mishap: &&Mishap, kind: &Kind| discriminant(&mishap.kind) == discriminant(kind);
            for kind in kinds {
                assert!(mishaps.iter().any(|mishap| is(mishap, kind)), "{which:?}: no {kind:?}");
            }
            for mishap in &mishaps {
                assert!(kinds.iter().any(|kind| is(mishap, kind)), "{which:?}: {mishap:?}");
                let ms = mishap.lasts.as_millis() as u64;
                assert!((which.least_ms()..which.least_ms() + MISHAP_MS).contains(&ms), "{ms}");
            }
            // Twelve devices, one each twelve seconds.
            assert!((40..80).contains(&mishaps.len()), "{} in a minute", mishaps.len());
        }
    }

    #[test]
    fn texts_are_as_long_as_was_asked_and_never_too_long() {
        for bytes in [0, 5_000, MOST_TEXT_BYTES] {
            for step in drawn(2, Mishaps::All, bytes) {
                if let Wish::Write { text, .. } | Wish::Edit { text, .. } = step.wish {
                    assert!(text.len() >= bytes);
                    // What contradicts it says so in front of it.
                    assert!(format!("not {text}").len() <= TEXT_BYTES);
                }
            }
        }
    }
}
