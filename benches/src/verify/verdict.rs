//! The verdict: promise by promise, with what was counted.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use clap::Args;
use rally_proof::{History, Promise, verdicts};

/// What is said, and with which status the program ends.
struct Verdict {
    text: String,
    status: u8,
}

/// The status with which a program ends that found a promise broken.
pub const BROKEN: u8 = 1;

/// What has to be judged for a verdict to be one.
#[derive(Debug, Clone, Copy, Args)]
pub struct Demand {
    /// Ends with status 2 also when one of the promises could not be judged
    #[arg(long)]
    all: bool,
}

/// Judges, and says what was found; gives the status to end with: [`BROKEN`], or 2 when nothing
/// happened by which a promise could have been, or one that is demanded.
pub fn say(history: &History, demand: Demand) -> io::Result<u8> {
    let Verdict { text, status } = verdict(history, demand);
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has read enough; the status says the rest.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    Ok(status)
}

fn verdict(history: &History, demand: Demand) -> Verdict {
    let mut text = format!("\n    {:7} promise\n", "verdict");
    let (mut seen, mut unseen, mut is_broken) = (0, 0, history.restless.is_some());
    for rally_proof::Verdict { promise, breach, count } in verdicts(history) {
        let Promise { number, words, .. } = promise;
        *if count.judged > 0 { &mut seen } else { &mut unseen } += 1;
        is_broken |= breach.is_some();
        let verdict = match &breach {
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
    let status = match (is_broken, seen) {
        (true, _) => BROKEN,
        (false, 0) => {
            let _ = writeln!(text, "            nothing happened by which a promise is judged");
            2
        }
        (false, _) if demand.all && unseen > 0 => {
            let _ =
                writeln!(text, "            {unseen} could not be judged, and --all asks for all");
            2
        }
        (false, _) => 0,
    };
    Verdict { text, status }
}

#[cfg(test)]
mod tests {
    use rally_proof::PROMISES;
    use rally_proof::history::{Device, Entry, Event};
    use rally_schema::{ConversationId, Ref};
    use uuid::Uuid;

    use super::*;

    const ANY: Demand = Demand { all: false };

    /// A history in which ana wrote to ben, and was refused or never answered.
    fn wrote(refused: bool) -> History {
        let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
        let r#ref = Ref::from(Uuid::nil());
        let conversation = ConversationId::direct(ana, ben);
        let wrote = Event::Wrote { r#ref, conversation, to: ben, text: "a".to_owned() };
        let code = rally_schema::ErrorCode::Unreachable;
        let refusal = refused.then_some(Event::Refused { r#ref, code });
        let device = Device { user: ana, number: 0 };
        let entry = |event| Entry { at_ms: 1, device, event };
        let entries = [wrote].into_iter().chain(refusal).map(entry).collect();
        History { entries, ..History::default() }
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_no_proof_of_anything() {
        let Verdict { text, status } = verdict(&History::default(), ANY);
        assert_eq!(status, 2, "{text}");
        assert_eq!(text.matches("unseen").count(), PROMISES.len(), "{text}");
        assert!(text.contains("nothing happened"), "{text}");
    }

    #[test]
    fn what_was_seen_is_kept_or_broken_and_the_rest_is_called_unseen() {
        let Verdict { text, status } = verdict(&wrote(true), ANY);
        assert_eq!(status, 0, "{text}");
        assert!(text.contains(" 9  kept ") && text.contains(" 1  unseen "), "{text}");
        let Verdict { text, status } = verdict(&wrote(false), ANY);
        assert_eq!(status, 1, "{text}");
        assert!(text.contains(" 9  BROKEN ") && text.contains("never answered"), "{text}");
    }

    #[test]
    fn who_asks_for_all_is_told_that_some_were_unseen() {
        let Verdict { text, status } = verdict(&wrote(true), Demand { all: true });
        assert_eq!(status, 2, "{text}");
        assert!(text.contains("could not be judged"), "{text}");
        let Verdict { status, .. } = verdict(&wrote(false), Demand { all: true });
        assert_eq!(status, 1, "broken is broken");
    }

    #[test]
    fn who_never_came_to_rest_is_named_and_breaks_the_run() {
        let restless = Some("ana/1 is away".to_owned());
        let Verdict { text, status } = verdict(&History { restless, ..wrote(true) }, ANY);
        assert_eq!(status, 1, "{text}");
        assert!(
            text.contains("BROKEN  everybody comes to rest\n            ana/1 is away"),
            "{text}"
        );
    }
}
