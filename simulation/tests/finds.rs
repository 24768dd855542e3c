//! The judges find what is wrong: every fault that can be planted into a simulation is found by the
//! promise that it breaks, within a stated number of seeds.
//!
//! A run has one thread, and a fault is planted into a thread, so runs go on side by side.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rally_cluster::planted::{self, Fault};
use rally_proof::Breach;
use rally_simulation::run::{Size, run};

/// Seeds that are tried for one fault.
const SEEDS: u64 = 1_000;

/// No promise: after each run the simulation itself looks whether a log-in outlived its end.
const LOG_INS: u8 = 0;

/// What a device lacks when a push went nowhere and nobody was in doubt: a message, or the newest
/// of its edits, marks and badges.
const A_PUSH_IS_MISSED: &[u8] = &[2, 6, 8];

/// Gives the promises that a fault breaks: one of their judges must find it. Others may see what
/// follows from it, such as a badge that counts a message that is not stored, and see it earlier.
fn promises(fault: Fault) -> &'static [u8] {
    match fault {
        Fault::AckUnconfirmed => &[1],
        Fault::HoldForgotten => &[3],
        Fault::TwinsShown | Fault::ConflictSwallowed => &[4],
        Fault::MarksMoveBack | Fault::ReadUndelivered => &[5],
        Fault::MarkUnlogged | Fault::CountBeyondHead => &[6],
        Fault::EditBeatsDeletion => &[8],
        Fault::UnknownSaidFailed | Fault::RetryGivenUp => &[9],
        Fault::NoOverlap
        | Fault::MissedMeanwhile
        | Fault::GapUnheard
        | Fault::ReopenedUnasked
        | Fault::DeathUnheard
        | Fault::MapIgnored
        | Fault::LeftOutUntold
        | Fault::GapKeepsMap
        | Fault::EdgesUncounted
        | Fault::FullUnheard
        | Fault::LagForgotten => A_PUSH_IS_MISSED,
        // What is dated ahead is missed; and nobody admits what it stamped to be sent again.
        Fault::StepFollowed => &[2, 6, 8, 9],
        // Presence is watched by leases, too.
        Fault::LapseUnheard => &[2, 6, 7, 8],
        Fault::LogOutUnread => &[LOG_INS],
        Fault::OneGoneAllGone | Fault::SilenceEndless => &[7],
        Fault::BudgetEndless | Fault::PlaceKept => &[10],
        // No simulated conversation is long enough to be cut: `benches/tests/planted.rs` has one.
        Fault::CutUntold => &[],
    }
}

/// Runs seeds until a judge of its promise finds it; gives the smallest such seed and all that was
/// found there.
fn find(fault: Fault) -> Option<(u64, Vec<Breach>)> {
    let (next, found) = (AtomicU64::new(1), Mutex::new(None::<(u64, Vec<Breach>)>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while found.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        break;
                    }
                    let outcome = planted::with(Some(fault), || run(seed, Size::default(), false));
                    let words = "no session outlives its log-in";
                    let outlived = outcome.outlived.clone();
                    let outlived = outlived.map(|values| Breach { number: LOG_INS, words, values });
                    let breaches: Vec<Breach> =
                        outcome.breaches().into_iter().chain(outlived).collect();
                    let expected = promises(fault);
                    let is_it = breaches.iter().any(|breach| expected.contains(&breach.number));
                    let mut found = found.lock();
                    if is_it && found.as_ref().is_none_or(|(f, _)| seed < *f) {
                        *found = Some((seed, breaches));
                    }
                }
            });
        }
    });
    found.into_inner()
}

#[test]
fn every_planted_fault_is_found_by_the_judge_of_its_promise() {
    let mut wrong = Vec::new();
    println!("| fault | breaks | found by | seeds | replay |");
    println!("|---|---|---|---|---|");
    for fault in Fault::ALL {
        let expected = promises(*fault);
        if expected.is_empty() {
            continue;
        }
        let Some((seed, breaches)) = find(*fault) else {
            println!("| {fault:?} | {expected:?} | nobody | {SEEDS} | |");
            wrong.push(format!("{fault:?} was not found by {expected:?} in {SEEDS} seeds"));
            continue;
        };
        let by: Vec<u8> = breaches.iter().map(|breach| breach.number).collect();
        println!(
            "| {fault:?} | {expected:?} | {by:?} | {seed} | \
             `cargo xtask simulate --seeds 1 --seed {seed} --plant {fault:?}` |"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_fault_is_planted_only_while_it_is_asked_for() {
    planted::with(Some(Fault::NoOverlap), || {
        assert!(planted::on(Fault::NoOverlap) && !planted::on(Fault::GapUnheard));
        planted::with(None, || assert!(!planted::on(Fault::NoOverlap)));
        assert!(planted::on(Fault::NoOverlap));
        std::thread::spawn(|| assert!(!planted::on(Fault::NoOverlap))).join().unwrap();
    });
    assert!(!planted::on(Fault::NoOverlap));
}
