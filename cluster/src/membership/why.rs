//! Why a life stands as it does, in words for whoever looks after the cluster.
//!
//! Says what this node knows and since when; decides nothing. No I/O, no clock.

use rally_schema::Life;

use super::roster::{ANSWER_MS, Member, Standing};

/// Says why a member stands as it does, as `me` sees it at `now_ms` of its monotonic clock.
pub fn why(me: Life, member: &Member, members: &[Member], now_ms: u64) -> String {
    let ago = |ms: u64| span(now_ms.saturating_sub(ms));
    if member.card.life == me {
        return format!("this node itself, up for {}", ago(member.since_ms));
    }
    match member.standing {
        Standing::Live => format!(
            "heard by gossip, its last news {} ago; live for {}",
            ago(member.heard_ms),
            ago(member.since_ms)
        ),
        Standing::Suspect { sign_ms, pinged_ms } => {
            let pinged = match pinged_ms {
                0 => "not pinged yet".to_owned(),
                ms => format!("pinged through the broker {} ago", ago(ms)),
            };
            let sign = match sign_ms > member.since_ms {
                true => format!("answered, or vouched for, {} ago", ago(sign_ms)),
                false => "nobody vouches for it".to_owned(),
            };
            let left = span((sign_ms + ANSWER_MS).saturating_sub(now_ms));
            format!(
                "not heard for {}; {pinged}; {sign}; offline in {left} without a sign",
                ago(member.heard_ms)
            )
        }
        Standing::Offline { since_ms, .. } => match later(member, members) {
            Some(later) => {
                format!("offline for {}: its node began another life, {later}", ago(since_ms))
            }
            None => format!(
                "offline for {}: not heard for {}, no answer through the broker, and nobody vouched",
                ago(since_ms),
                ago(member.heard_ms)
            ),
        },
    }
}

/// Gives the newest life of the same node, if it is a later one.
fn later(member: &Member, members: &[Member]) -> Option<Life> {
    let life = member.card.life;
    let same = members.iter().map(|other| other.card.life).filter(|other| other.node == life.node);
    same.filter(|other| other.generation > life.generation).max_by_key(|other| other.generation)
}

/// Writes a time as people say it.
pub fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1_000),
        600_000..36_000_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::super::roster::{PING_MS, Roster};
    use super::super::{Card, Status};
    use super::*;
    use crate::roles::Roles;

    fn life(node: &str, generation: u64) -> Life {
        Life { node: node.parse().unwrap(), generation }
    }

    fn card(life: Life, clock_ms: u64) -> Card {
        let (address, version) = (String::new(), String::new());
        let (status, roles) = (Status::Ready, Roles::all());
        Card { life, status, address, roles, version, sessions: 0, most: 9, clock_ms }
    }

    fn of_b(roster: &Roster, now_ms: u64) -> String {
        let members: Vec<Member> = roster.members().cloned().collect();
        let b = members.iter().find(|member| member.card.life == life("b", 1)).unwrap();
        why(life("a", 1), b, &members, now_ms)
    }

    #[test]
    fn each_standing_says_what_it_rests_on_and_since_when() {
        let (a, b) = (life("a", 1), life("b", 1));
        let mut roster = Roster::new(a);
        roster.hear(vec![card(a, 1), card(b, 1)], 1_000);
        // The same card again is no news.
        roster.hear(vec![card(a, 2), card(b, 1)], 1_500);
        let says = "heard by gossip, its last news 700 ms ago; live for 700 ms";
        assert_eq!(of_b(&roster, 1_700), says);
        roster.hear(vec![card(a, 3), card(b, 2)], 2_000);
        roster.hear(vec![card(a, 3)], 3_000);
        let says = "not heard for 1000 ms; not pinged yet; nobody vouches for it; \
            offline in 1500 ms without a sign";
        assert_eq!(of_b(&roster, 3_000), says);
        roster.look(3_100);
        roster.sign(b, 3_200);
        let says = "not heard for 1400 ms; pinged through the broker 300 ms ago; \
            answered, or vouched for, 200 ms ago; offline in 1300 ms without a sign";
        assert_eq!(of_b(&roster, 3_400), says);
        roster.look(3_200 + ANSWER_MS + PING_MS);
        let says = "offline for 20 s: not heard for 23 s, no answer through the broker, and \
            nobody vouched";
        assert_eq!(of_b(&roster, 25_200), says);
        roster.hear(vec![card(a, 4), card(life("b", 2), 3)], 30_000);
        assert!(of_b(&roster, 30_000).ends_with("began another life, b@2"));
    }
}
