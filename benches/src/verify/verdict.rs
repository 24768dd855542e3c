//! The verdict: promise by promise, with what was counted.

use std::process::ExitCode;

use rally_proof::{History, PROMISES, judge};

/// Judges, and says what was found; the status is 1 when a promise was broken.
pub fn say(history: &History) -> ExitCode {
    let breaches = judge(history);
    println!("\n    {:7} promise", "verdict");
    for promise in &PROMISES {
        let breach = breaches.iter().find(|breach| breach.number == promise.number);
        let verdict = if breach.is_some() { "BROKEN" } else { "kept" };
        println!(
            "{:>2}  {verdict:7} {} ({})",
            promise.number,
            promise.words,
            promise.counts(history)
        );
        if let Some(breach) = breach {
            println!("            {}", breach.values);
        }
    }
    ExitCode::from(u8::from(!breaches.is_empty()))
}
