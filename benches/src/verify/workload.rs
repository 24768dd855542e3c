//! What users want and what befalls their devices, drawn from a seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_rt::time::sleep;
use rally_proof::phone::Wish;
use rally_schema::UserId;

use super::line::{Line, Record};
use super::{PROGRESS, tell};
use crate::dice::Dice;
use crate::stop::Stop;

/// Of so many devices one has a clock that is wrong, by up to so many milliseconds.
const WRONG: (u64, i64) = (6, 90_000);

/// About how many seconds pass between two things that befall one device.
const MISHAPS_S: u64 = 12;

/// How long one lasts at most.
const MISHAP_MS: u64 = 8_000;

/// Draws by how much a device's clock is wrong.
pub fn wrong_clock(dice: &mut Dice) -> i64 {
    let (rarity, most_ms) = WRONG;
    match dice.roll() % rarity {
        0 => (dice.roll() % (2 * most_ms as u64)) as i64 - most_ms,
        _ => 0,
    }
}

/// What befalls devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishaps {
    /// They stop reading their sockets for a while.
    SlowReaders,
    /// They also lose the network, with and without a word, and what they kept; and users block
    /// each other.
    All,
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
}

impl Load<'_> {
    /// Has users want things, and their devices suffer, for some seconds and until all is done that
    /// is done to the cluster. Every device is well again when it ends.
    pub async fn run(&mut self, seconds: u64, which: Mishaps, done: &Cell<bool>, dice: &mut Dice) {
        let Self { lines, users, record, stop, rate } = *self;
        let dice = RefCell::new(dice);
        let below = |limit: u64| dice.borrow_mut().roll() % limit;
        let (begun, mut told) = (Instant::now(), Instant::now());
        let mut mishaps = Vec::new();
        for nth in 0.. {
            let is_over = nth >= rate * seconds && done.get();
            if is_over || stop.asked() {
                break;
            }
            let due = Duration::from_secs_f64(nth as f64 / rate as f64);
            sleep(due.saturating_sub(begun.elapsed())).await;
            let line = &lines[below(lines.len() as u64) as usize];
            line.wish(Wish::draw(below, users, nth as usize));
            // So that each device has its share.
            if below(rate * MISHAPS_S) < lines.len() as u64 {
                let unlucky = lines[below(lines.len() as u64) as usize].clone();
                let lasts = Duration::from_millis(below(MISHAP_MS));
                let other = users[below(users.len() as u64) as usize];
                mishaps.push(actix_rt::spawn(mishap(unlucky, which, below(5), lasts, other)));
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

/// Something befalls a device, and passes.
async fn mishap(line: Rc<Line>, which: Mishaps, nth: u64, lasts: Duration, other: UserId) {
    match nth {
        _ if which == Mishaps::SlowReaders => line.set_reads(false),
        0 => line.set_online(false),
        1 => line.vanish(),
        2 => line.forget(),
        3 if other != line.user() => return line.block(other, lasts).await,
        _ => line.set_reads(false),
    }
    sleep(lasts).await;
    line.set_reads(true);
    line.set_online(true);
}
