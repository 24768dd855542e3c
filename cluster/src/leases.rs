//! Attachments: what ties the edge where a user's sessions end to the home where pushes arrive.
//!
//! An attachment is a lease. The edge asks for it, renews it every [`RENEW_MS`], and may count on
//! it for [`LEASE_MS`] from when it asked; the home keeps it for as long from when it heard. So a
//! home never forgets an edge that still counts on it, whatever the way between them takes. What
//! an edge cannot count on is doubt. No I/O, no clock.

use rally_schema::Life;

use crate::planted::{self, Fault};

/// How often an attachment is renewed.
pub const RENEW_MS: u64 = 10_000;

/// How long an attachment lasts without being renewed.
pub const LEASE_MS: u64 = 30_000;

/// How soon an attachment that was not answered is asked for again.
pub const ASK_AGAIN_MS: u64 = 1_000;

/// The home's side, for one user: the edges that hold sessions of his.
#[derive(Debug, Default)]
pub struct Edges {
    kept: Vec<(Life, u64)>,
    lapsed: u64,
}

impl Edges {
    /// Keeps an edge for a lease from `now_ms`.
    pub fn attach(&mut self, edge: Life, now_ms: u64) {
        self.detach(edge);
        self.kept.push((edge, now_ms + LEASE_MS));
    }

    /// Forgets an edge.
    pub fn detach(&mut self, edge: Life) {
        self.kept.retain(|(other, _)| *other != edge);
    }

    /// Gives the edges whose leases run, and forgets the others.
    pub fn live(&mut self, now_ms: u64) -> impl Iterator<Item = Life> + '_ {
        let before = self.kept.len();
        self.kept.retain(|(_, until_ms)| now_ms < *until_ms);
        self.lapsed += (before - self.kept.len()) as u64;
        self.kept.iter().map(|(edge, _)| *edge)
    }

    /// Gives how many leases ran out since this was asked last.
    pub fn take_lapsed(&mut self) -> u64 {
        std::mem::take(&mut self.lapsed)
    }

    /// Tells whether no edge is kept, its lease over or not.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What an edge must do about one user now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// Ask this home for an attachment, naming the time.
    Ask(Life),
    /// His sessions here catch up.
    Doubt,
}

/// The edge's side, for one user: where his pushes come from.
#[derive(Debug)]
pub struct Tenure {
    here: Life,
    home: Life,
    /// When the attachment was asked for first and last, if it was.
    asked_ms: Option<(u64, u64)>,
    /// Until when the edge may count on it; 0 before it was answered.
    until_ms: u64,
}

impl Tenure {
    /// Begins at `home`, with nothing to catch up: a session that attaches does so anyway.
    pub fn new(here: Life, home: Life) -> Self {
        Self { here, home, asked_ms: None, until_ms: 0 }
    }

    /// Gives where the user is at home.
    pub fn home(&self) -> Life {
        self.home
    }

    /// Tells whether pushes arrive here: the home is here, or counts this edge in.
    pub fn stands(&self, now_ms: u64) -> bool {
        self.home == self.here || now_ms < self.until_ms
    }

    /// Tells whether the home is elsewhere.
    pub fn is_away(&self) -> bool {
        self.home != self.here
    }

    /// Takes over a home, which may be the same.
    pub fn moved(&mut self, home: Life, now_ms: u64) -> Todo {
        if home == self.home {
            return Todo::Nothing;
        }
        (self.home, self.asked_ms, self.until_ms) = (home, None, 0);
        // Elsewhere: the doubt comes with the answer, after which nothing more is missed.
        if home == self.here { Todo::Doubt } else { self.ask(now_ms) }
    }

    /// Takes a home's answer to what was asked at `asked_ms`, which need not be the last
    /// question. One that was not counted on any more is doubt. An answer to somebody who asked before
    /// this one is none: between the two the home may have been told that nobody is here.
    pub fn attached(&mut self, by: Life, asked_ms: u64, now_ms: u64) -> Todo {
        if self.asked_ms.is_none_or(|(first_ms, _)| asked_ms < first_ms) {
            return Todo::Nothing;
        }
        if by != self.home || by == self.here || now_ms >= asked_ms + LEASE_MS {
            return Todo::Nothing;
        }
        let stood = self.stands(now_ms) || planted::on(Fault::LapseUnheard);
        self.until_ms = self.until_ms.max(asked_ms + LEASE_MS);
        if stood { Todo::Nothing } else { Todo::Doubt }
    }

    /// Looks whether something is due; to be called about once a second.
    pub fn look(&mut self, now_ms: u64) -> Todo {
        let pause_ms = if self.stands(now_ms) { RENEW_MS } else { ASK_AGAIN_MS };
        let due = self.home != self.here
            && self.asked_ms.is_none_or(|(_, last_ms)| now_ms >= last_ms + pause_ms);
        if due { self.ask(now_ms) } else { Todo::Nothing }
    }

    fn ask(&mut self, now_ms: u64) -> Todo {
        let first_ms = self.asked_ms.map_or(now_ms, |(first_ms, _)| first_ms);
        self.asked_ms = Some((first_ms, now_ms));
        Todo::Ask(self.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(node: &str) -> Life {
        Life { node: node.parse().unwrap(), generation: 1 }
    }

    fn away() -> Tenure {
        Tenure::new(life("edge"), life("home"))
    }

    #[test]
    fn an_edge_is_kept_for_a_lease_and_renewed_by_asking_again() {
        let mut edges = Edges::default();
        edges.attach(life("a"), 0);
        edges.attach(life("b"), 5_000);
        edges.attach(life("a"), 10_000);
        assert_eq!(edges.live(34_999).collect::<Vec<_>>(), [life("b"), life("a")]);
        assert_eq!(edges.live(35_000).collect::<Vec<_>>(), [life("a")]);
        edges.detach(life("a"));
        assert_eq!((edges.take_lapsed(), edges.take_lapsed()), (1, 0), "the one that ran out");
        assert!(edges.is_empty());
    }

    #[test]
    fn an_unanswered_edge_asks_every_second_and_an_attached_one_renews() {
        let mut tenure = away();
        assert_eq!(tenure.look(100_000), Todo::Ask(life("home")));
        assert_eq!(tenure.look(100_999), Todo::Nothing);
        assert_eq!(tenure.look(101_000), Todo::Ask(life("home")));
        assert!(!tenure.stands(101_000));
        assert_eq!(tenure.attached(life("home"), 101_000, 101_100), Todo::Doubt);
        assert!(tenure.stands(101_100));
        assert_eq!(tenure.look(110_999), Todo::Nothing);
        assert_eq!(tenure.look(111_000), Todo::Ask(life("home")));
        assert_eq!(
            tenure.attached(life("home"), 111_000, 111_050),
            Todo::Nothing,
            "it stood all the time"
        );
    }

    #[test]
    fn a_lease_that_lapsed_before_it_was_renewed_is_doubt() {
        let mut tenure = away();
        tenure.look(100_000);
        tenure.attached(life("home"), 100_000, 100_010);
        for now_ms in (110_000..150_000).step_by(1_000) {
            tenure.look(now_ms);
        }
        assert!(!tenure.stands(130_000));
        assert_eq!(tenure.attached(life("home"), 149_000, 149_500), Todo::Doubt);
    }

    #[test]
    fn an_edge_never_counts_on_longer_than_its_home_keeps_it() {
        // The second question is lost, and the answer to the first one comes after it.
        let (mut tenure, mut edges) = (away(), Edges::default());
        assert_eq!(tenure.look(100_000), Todo::Ask(life("home")));
        edges.attach(life("edge"), 103_000);
        assert_eq!(tenure.look(104_000), Todo::Ask(life("home")));
        tenure.attached(life("home"), 100_000, 109_000);
        for now_ms in 109_000..140_000 {
            let kept = edges.live(now_ms).count() == 1;
            assert!(kept || !tenure.stands(now_ms), "{now_ms}");
        }
    }

    #[test]
    fn what_an_earlier_edge_asked_is_not_answered_to_this_one() {
        let mut tenure = away();
        assert_eq!(tenure.attached(life("home"), 99_000, 99_500), Todo::Nothing, "nobody asked");
        assert_eq!(tenure.look(100_000), Todo::Ask(life("home")));
        assert_eq!(tenure.attached(life("home"), 99_000, 100_010), Todo::Nothing);
        assert!(!tenure.stands(100_010));
        assert_eq!(tenure.attached(life("home"), 100_000, 100_020), Todo::Doubt);
        assert!(tenure.stands(100_020));
    }

    #[test]
    fn a_move_to_elsewhere_is_doubt_once_answered() {
        let mut tenure = Tenure::new(life("edge"), life("edge"));
        assert_eq!(tenure.moved(life("home"), 100_000), Todo::Ask(life("home")));
        assert_eq!(tenure.moved(life("home"), 100_000), Todo::Nothing);
        assert_eq!(tenure.attached(life("other"), 100_000, 100_010), Todo::Nothing);
        assert_eq!(tenure.attached(life("home"), 100_000, 100_020), Todo::Doubt);
        for now_ms in (101_000..200_000).step_by(1_000) {
            if let Todo::Ask(home) = tenure.look(now_ms) {
                assert_eq!(tenure.attached(home, now_ms, now_ms + 5), Todo::Nothing);
            }
        }
    }

    #[test]
    fn a_move_to_here_is_doubt_at_once() {
        let mut tenure = away();
        assert_eq!(tenure.moved(life("edge"), 100_000), Todo::Doubt);
        assert!(tenure.stands(100_000));
        assert_eq!(tenure.look(130_000), Todo::Nothing);
    }
}
