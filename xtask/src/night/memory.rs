//! Whether nodes hold as much memory in the end as at half of the time.
//!
//! Judges looks from outside. Knows nothing of what was done to the nodes, only that none is ended
//! in the second half.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::cluster::Memory;

/// How much more a node may hold in the end.
const MOST: f64 = 1.25;

/// In a second half that is shorter than this, memory has not the time to grow.
const LEAST: Duration = Duration::from_secs(600);

/// What all nodes held at one time.
#[derive(Debug, Clone)]
pub struct Look {
    /// How long after the beginning.
    pub after: Duration,
    /// The nodes that ran.
    pub nodes: Vec<Memory>,
}

/// Judges looks, in their order: none that are too few or too short. Gives the figures as well.
pub fn judge(looks: &[Look]) -> (Option<bool>, Vec<String>) {
    let mut words: Vec<String> = looks.iter().map(ToString::to_string).collect();
    let half = looks.last().map_or(Duration::ZERO, |last| last.after / 2);
    let (Some(first), Some(last)) = (looks.iter().find(|look| look.after >= half), looks.last())
    else {
        words.push("not judged: nobody looked".to_owned());
        return (None, words);
    };
    let known: BTreeSet<u8> =
        looks.iter().flat_map(|look| &look.nodes).map(|memory| memory.node).collect();
    let verdicts: Vec<(bool, String)> =
        known.iter().map(|node| compare(*node, first, last)).collect();
    let kept = !known.is_empty() && verdicts.iter().all(|(kept, _)| *kept);
    words.extend(verdicts.into_iter().map(|(_, words)| words));
    if half < LEAST {
        words.push(format!(
            "not judged: the second half lasted {:.1} min of {:.0} that it takes",
            minutes(half),
            minutes(LEAST)
        ));
        return (None, words);
    }
    (Some(kept), words)
}

/// Compares what a node held at half of the time and in the end.
fn compare(node: u8, first: &Look, last: &Look) -> (bool, String) {
    let at = |look: &Look| look.nodes.iter().copied().find(|memory| memory.node == node);
    match (at(first), at(last)) {
        (Some(was), Some(is)) if was.pid == is.pid => {
            let times = is.kib as f64 / was.kib as f64;
            let after = minutes(first.after);
            let words = format!(
                "{was} after {after:.1} min, {} MiB in the end: {times:.2} times, at most {MOST}",
                is.kib / 1_024
            );
            (times <= MOST, words)
        }
        (_, Some(is)) => (false, format!("{is} in the end began anew in the second half")),
        (_, None) => (false, format!("node-{node} does not run in the end")),
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(f, "after {:5.1} min: {}", minutes(self.after), nodes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every five minutes at one node, of whom it is said which process it is and what it
    /// holds in MiB.
    fn looks(held: &[(i32, u64)]) -> Vec<Look> {
        let look = |(nth, (pid, mib)): (usize, &(i32, u64))| Look {
            after: Duration::from_secs(300 * nth as u64),
            nodes: vec![Memory { node: 1, pid: *pid, kib: mib * 1_024 }],
        };
        held.iter().enumerate().map(look).collect()
    }

    fn last_words(held: &[(i32, u64)]) -> (Option<bool>, String) {
        let (kept, mut words) = judge(&looks(held));
        (kept, words.pop().unwrap())
    }

    #[test]
    fn a_node_may_hold_a_quarter_more_in_the_end_than_at_half_of_the_time() {
        let (kept, words) = last_words(&[(1, 20), (2, 30), (2, 40), (2, 90), (2, 50)]);
        assert_eq!(kept, Some(true));
        let figures =
            "node-1 (2) 40 MiB after 10.0 min, 50 MiB in the end: 1.25 times, at most 1.25";
        assert_eq!(words, figures);
        let (kept, words) = last_words(&[(2, 20), (2, 30), (2, 40), (2, 50), (2, 51)]);
        assert_eq!(kept, Some(false), "{words}");
        assert!(words.contains("51 MiB in the end: 1.27 times"), "{words}");
    }

    #[test]
    fn between_two_looks_half_of_the_time_is_at_the_later_one() {
        let (kept, words) = last_words(&[(1, 20), (1, 20), (1, 20), (1, 40), (1, 50), (1, 50)]);
        assert_eq!(kept, Some(true), "{words}");
        assert!(words.starts_with("node-1 (1) 40 MiB after 15.0 min"), "{words}");
    }

    #[test]
    fn what_began_anew_or_is_gone_is_told_and_not_taken_for_small() {
        let (kept, words) = last_words(&[(1, 20), (1, 30), (1, 40), (2, 10), (2, 12)]);
        assert_eq!(kept, Some(false));
        assert_eq!(words, "node-1 (2) 12 MiB in the end began anew in the second half");
        let mut looks = looks(&[(1, 20), (1, 30), (1, 40), (1, 40), (1, 40)]);
        looks.last_mut().unwrap().nodes.clear();
        let (kept, words) = judge(&looks);
        assert_eq!((kept, &*words[5]), (Some(false), "node-1 does not run in the end"));
        looks.iter_mut().for_each(|look| look.nodes.clear());
        assert_eq!(judge(&looks).0, Some(false), "no node was ever seen");
    }

    #[test]
    fn what_is_too_short_is_shown_and_not_judged() {
        let (kept, words) = judge(&looks(&[(1, 20), (1, 30), (1, 90), (1, 900)]));
        assert_eq!(kept, None);
        assert!(words[4].contains("10.00 times"), "{words:?}");
        assert!(
            words[5].starts_with("not judged: the second half lasted 7.5 min of 10"),
            "{words:?}"
        );
        assert_eq!(judge(&[]).0, None);
    }
}
