//! Ctrl-C as a flag: a run that is cut short still reports what it saw.
//!
//! The second Ctrl-C ends the process at once, as a terminal's user expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;

use crate::report::Report;

/// Ends a preparation when the user asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("stopped")]
pub struct Stopped;

/// Tells whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for SIGINT and SIGTERM from now on.
    pub fn on_signals() -> std::io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Order matters: the shutdown looks at the flag before this same signal sets it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Tells whether to stop now.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks to stop, as Ctrl-C does.
    #[cfg(test)]
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Gives an error when it is time to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.asked() { Err(Stopped) } else { Ok(()) }
    }
}

/// Makes runs until they are done or the user stops; then what the finished ones showed is
/// still there to be reported. Says whether every run was clean.
pub fn runs(
    report: &mut Report,
    count: u32,
    stop: &Stop,
    mut run: impl FnMut(&mut Report, u32) -> Result<bool>,
) -> Result<bool> {
    let mut clean = true;
    for number in 1..=count {
        match run(report, number) {
            Ok(was_clean) => clean &= was_clean,
            Err(error) if error.is::<Stopped>() => {}
            Err(error) => return Err(error),
        }
        if stop.asked() {
            report.note(format!("interrupted in run {number} of {count}"));
            break;
        }
    }
    Ok(clean)
}
