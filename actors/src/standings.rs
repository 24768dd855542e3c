//! What changed in how other lives stand: as a number, a gauge, an incident, and a death.
//!
//! Knows nothing of why: that is the roster's.

use std::collections::BTreeMap;

use rally_cluster::membership::Status;
use rally_cluster::membership::roster::{Member, Standing};
use rally_cluster::roles::Role;
use rally_schema::Life;

use crate::incidents::Kind;
use crate::metrics::{Label, Metrics, count};

/// All lives that this node knows.
pub type Members = BTreeMap<Life, Member>;

/// Counts who stands how now, and notes what changed since `before`.
pub fn observe(metrics: &Metrics, now_ms: u64, before: &Members, after: &Members) {
    // Those that nobody has show as none.
    for name in Standing::NAMES {
        let stand = after.values().filter(|member| member.standing.name() == name).count();
        metrics.cluster.nodes.get_or_create(&Label { of: name }).set(stand as i64);
    }
    for (life, member) in after {
        let Some(known) = before.get(life) else { continue };
        let (kind, words) = match (known.standing, member.standing) {
            (Standing::Live, Standing::Suspect { .. }) => {
                metrics.cluster.suspicions.inc();
                (Kind::Suspected, format!("{life} is not heard any more"))
            }
            (Standing::Live | Standing::Suspect { .. }, Standing::Offline { .. }) => {
                count(&metrics.cluster.verdicts, "offline");
                (Kind::Offline, format!("{life} is given up: its users have other homes"))
            }
            (Standing::Suspect { .. } | Standing::Offline { .. }, Standing::Live) => {
                count(&metrics.cluster.verdicts, "back");
                (Kind::Back, format!("{life} is heard again"))
            }
            (Standing::Offline { .. }, Standing::Suspect { .. }) => {
                (Kind::Back, format!("{life} was given up, and gave a sign of life"))
            }
            (Standing::Live, Standing::Live)
            | (Standing::Suspect { .. }, Standing::Suspect { .. })
            | (Standing::Offline { .. }, Standing::Offline { .. }) => continue,
        };
        metrics.incidents.note(now_ms, kind, words);
    }
}

/// Tells whether a life ended that had users: one that took them, or that had some when it was last
/// heard. One that sends them away, or whose clock is off, takes none and may have many.
pub fn has_died(before: &Members, after: &Members) -> bool {
    let had_users = |Member { card, .. }: &Member| {
        card.roles.has(Role::Chat) && (card.status == Status::Ready || card.sessions > 0)
    };
    after
        .iter()
        .filter(|(_, member)| member.standing.is_over() && had_users(member))
        .any(|(life, _)| before.get(life).is_some_and(|known| !known.standing.is_over()))
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use rally_cluster::membership::Card;
    use rally_cluster::roles::Roles;

    use super::*;

    fn member(node: &str, standing: Standing) -> Member {
        let life = Life { node: node.parse().unwrap(), generation: 1 };
        let (address, version, status) = (String::new(), String::new(), Status::Ready);
        let roles = Roles::all();
        let card =
            Card { life, status, address, roles, version, sessions: 0, most: 9, clock_ms: 0 };
        Member { standing, ..Member::new(card, 0) }
    }

    #[test]
    fn whoever_had_users_when_it_was_last_heard_has_died() {
        let with = |status, sessions, roles, standing| {
            let mut member = member("b", standing);
            member.card.status = status;
            member.card.sessions = sessions;
            member.card.roles = roles;
            Members::from([(member.card.life, member)])
        };
        let dies = |status, sessions, roles: &str| {
            let roles: Roles = roles.parse().unwrap();
            let before = with(status, 9, roles, Standing::Live);
            let over = Standing::Offline { since_ms: 3, pinged_ms: 0 };
            let after = with(status, sessions, roles, over);
            assert!(!has_died(&after, &after), "once is enough");
            has_died(&before, &after)
        };
        assert!(dies(Status::Ready, 0, "all"), "who comes is not told at once");
        assert!(dies(Status::Draining, 1, "all") && dies(Status::Starting, 1, "all"));
        assert!(!dies(Status::Draining, 0, "all") && !dies(Status::Starting, 0, "all"));
        assert!(!dies(Status::Ready, 0, "discovery"));
    }

    #[test]
    fn a_death_and_a_return_are_counted_and_noted_once() {
        let metrics = Metrics::new(&mut Registry::default());
        let suspect = Standing::Suspect { sign_ms: 1, pinged_ms: 0 };
        let later = Standing::Suspect { sign_ms: 2, pinged_ms: 1 };
        let way = [
            Standing::Live,
            suspect,
            later,
            Standing::Offline { since_ms: 3, pinged_ms: 0 },
            Standing::Offline { since_ms: 3, pinged_ms: 0 },
            suspect,
            Standing::Live,
        ];
        for (now_ms, pair) in (0..).zip(way.windows(2)) {
            let [before, after] = [pair[0], pair[1]].map(|standing| {
                let member = member("b", standing);
                Members::from([(member.card.life, member)])
            });
            observe(&metrics, now_ms, &before, &after);
        }
        let kinds: Vec<Kind> =
            metrics.incidents.newest_first().into_iter().map(|incident| incident.kind).collect();
        assert_eq!(kinds, [Kind::Back, Kind::Back, Kind::Offline, Kind::Suspected]);
        let verdict = |of| metrics.cluster.verdicts.get_or_create(&Label { of }).get();
        assert_eq!(
            (metrics.cluster.suspicions.get(), verdict("offline"), verdict("back")),
            (1, 1, 1)
        );
        let stand = |of| metrics.cluster.nodes.get_or_create(&Label { of }).get();
        assert_eq!((stand("live"), stand("suspect"), stand("offline")), (1, 0, 0));
    }
}
