//! Who is online, made of what each edge wrote of him.
//!
//! An edge writes a row a user and life when he comes and when he goes. One that dies writes
//! nothing more: so a row says *online* only for as long as its life is living, and of a dead one
//! the last seen is its own end. No I/O, no clock.

use rally_schema::Life;

use crate::store::PresenceRow;

/// What is known of a user, and shown to who may know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether a session of his is open on some node.
    pub online: bool,
    /// When he was last seen; `None` while online (it is now), and of who was never there.
    pub last_seen: Option<u64>,
}

/// Folds a user's rows; `ended_ms` gives when a life that is not living ended, as far as known.
pub fn fold(
    rows: &[PresenceRow],
    is_living: impl Fn(Life) -> bool,
    ended_ms: impl Fn(Life) -> u64,
) -> Seen {
    let is_there = |row: &PresenceRow| row.online_since.is_some() && is_living(row.life);
    let last_seen = |row: &PresenceRow| match row.online_since {
        Some(_) => row.last_seen.max(ended_ms(row.life)),
        None => row.last_seen,
    };
    match rows.iter().any(is_there) {
        true => Seen { online: true, last_seen: None },
        false => Seen { online: false, last_seen: rows.iter().map(last_seen).max() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, online_since: Option<u64>, last_seen: u64) -> PresenceRow {
        let life = Life { node: node.parse().unwrap(), generation: 1 };
        PresenceRow { user: "ana".parse().unwrap(), life, online_since, last_seen }
    }

    fn folded(rows: &[PresenceRow], living: &str) -> Seen {
        fold(rows, |life| living.contains(life.node.as_str()), |_| 500)
    }

    const fn offline(last_seen: u64) -> Seen {
        Seen { online: false, last_seen: Some(last_seen) }
    }

    #[test]
    fn he_is_online_while_one_living_edge_holds_him() {
        let rows = [row("a", None, 700), row("b", Some(1), 1), row("c", Some(1), 1)];
        assert_eq!(folded(&rows, "abc"), Seen { online: true, last_seen: None });
        assert_eq!(
            folded(&rows, "ac"),
            Seen { online: true, last_seen: None },
            "b died, c did not"
        );
        assert_eq!(folded(&rows, "a"), offline(700));
    }

    #[test]
    fn a_dead_edge_saw_him_until_its_own_end() {
        assert_eq!(folded(&[row("a", Some(1), 1)], ""), offline(500));
        assert_eq!(folded(&[row("a", Some(1), 600)], ""), offline(600));
        assert_eq!(folded(&[row("a", None, 1)], ""), offline(1), "unless he had gone before");
    }

    #[test]
    fn who_was_never_there_was_never_seen() {
        assert_eq!(folded(&[], "abc"), Seen::default());
    }
}
