//! The verdict: promise by promise, with what was counted.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use rally_proof::{History, PROMISES, Promise, judge};

/// Judges, and says what was found; the status is 1 when a promise was broken.
pub fn say(history: &History) -> io::Result<ExitCode> {
    let breaches = judge(history);
    let mut text = format!("\n    {:7} promise\n", "verdict");
    for promise in &PROMISES {
        let Promise { number, words, .. } = promise;
        let breach = breaches.iter().find(|breach| breach.number == *number);
        let count = promise.count(history);
        let verdict = match breach {
            Some(_) => "BROKEN",
            None if count.judged == 0 => "unseen",
            None => "kept",
        };
        let _ = writeln!(text, "{number:>2}  {verdict:7} {words} ({})", count.words);
        if let Some(breach) = breach {
            let _ = writeln!(text, "            {}", breach.values);
        }
    }
    let rest = if history.restless.is_some() { "BROKEN" } else { "kept" };
    let _ = writeln!(text, "    {rest:7} everybody comes to rest");
    if let Some(who) = &history.restless {
        let _ = writeln!(text, "            {who}");
    }
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has read enough; the status says the rest.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    let broken = !breaches.is_empty() || history.restless.is_some();
    Ok(ExitCode::from(u8::from(broken)))
}
