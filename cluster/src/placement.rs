//! Where a client is sent: to a node that takes users, preferably the user's home.
//!
//! At home a push crosses no broker. But homes are drawn by hashing, and users differ in how many
//! devices they have: so a node that holds much more than its share takes nobody, and the client
//! goes to the node that is next in the user's own order (consistent hashing with bounded loads,
//! Mirrokni, Thorup and Zadimoghaddam 2016). No I/O, no clock.

use rally_schema::{Life, UserId};

use crate::homes::Homes;
use crate::membership::Status;
use crate::membership::roster::{Member, Standing};
use crate::roles::Role;

/// A node may hold this much of the average, in percent.
const LOAD_PERCENT: u64 = 125;

/// Sessions that a node may hold in any case: few of them are no load.
const LOAD_FREE: u64 = 100;

/// How a node is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The user's home, or the next in his order if that one has too much.
    Home,
    /// One after the other.
    RoundRobin,
}

/// Why a node would be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It does not take users.
    NotReady,
    /// It is not heard: clients may not reach it either.
    NotHeard,
    /// It holds as many sessions as this, or more.
    Full {
        /// So many are allowed now, or it may ever hold.
        allowed: u64,
    },
}

/// A node, in the order in which it is considered, and why it is passed over, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The node.
    pub member: &'a Member,
    /// Why it is passed over.
    pub passed: Option<Passed>,
}

/// Gives all nodes with the role chat in the order in which they are considered for a user.
/// `turn` counts the placements before, for [`Policy::RoundRobin`].
pub fn consider<'a>(
    policy: Policy,
    user: UserId,
    members: &'a [Member],
    turn: u64,
) -> Vec<Candidate<'a>> {
    let allowed = allowed(members);
    let passed = |member: &Member| match (fit(member), policy) {
        (Err(passed), _) => Some(passed),
        (Ok(()), _) if !has_room(member) => Some(Passed::Full { allowed: member.card.most.into() }),
        (Ok(()), Policy::Home) if u64::from(member.card.sessions) >= allowed => {
            Some(Passed::Full { allowed })
        }
        (Ok(()), _) => None,
    };
    let order: Vec<Life> = match policy {
        Policy::Home => Homes::of(chatting(members).map(|member| member.card.life)).ranked(user),
        Policy::RoundRobin => {
            let mut fit: Vec<Life> =
                chatting(members).filter(|m| fit(m).is_ok()).map(|m| m.card.life).collect();
            let turns = fit.len().max(1) as u64;
            fit.rotate_left((turn % turns) as usize);
            fit
        }
    };
    let find = |life| members.iter().find(|member| member.card.life == life);
    let candidates = order.into_iter().filter_map(find);
    candidates.map(|member| Candidate { member, passed: passed(member) }).collect()
}

/// Chooses a node for a user; `None` when none takes users, or has room for one more.
///
/// When all hold more than their share, the first that has room does: somebody has to.
pub fn place(policy: Policy, user: UserId, members: &[Member], turn: u64) -> Option<&Member> {
    let candidates = consider(policy, user, members, turn);
    let free = candidates.iter().find(|candidate| candidate.passed.is_none());
    let full = || {
        let full = |one: &&Candidate<'_>| matches!(one.passed, Some(Passed::Full { .. }));
        candidates.iter().find(|one| full(one) && has_room(one.member))
    };
    free.or_else(full).map(|candidate| candidate.member)
}

/// Gives those that can have users at all.
fn chatting(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| member.card.roles.has(Role::Chat))
}

/// Tells whether a node may hold one more session: some have more memory, or more files, than others.
fn has_room(member: &Member) -> bool {
    member.card.sessions < member.card.most
}

fn fit(member: &Member) -> Result<(), Passed> {
    match (member.card.status, member.standing) {
        (Status::Starting | Status::Draining, _) => Err(Passed::NotReady),
        (Status::Ready, Standing::Live) => Ok(()),
        (Status::Ready, Standing::Suspect { .. } | Standing::Offline { .. }) => {
            Err(Passed::NotHeard)
        }
    }
}

/// How many sessions a node may hold now: a share of the average of those that take users.
fn allowed(members: &[Member]) -> u64 {
    let fit = || chatting(members).filter(|member| fit(member).is_ok());
    let sessions: u64 = fit().map(|member| u64::from(member.card.sessions)).sum();
    let nodes = (fit().count() as u64).max(1);
    // One more, so that the session that comes has room.
    ((sessions + 1) * LOAD_PERCENT).div_ceil(100 * nodes).max(LOAD_FREE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Card;
    use crate::roles::Roles;

    fn member(node: &str, sessions: u32) -> Member {
        let life = Life { node: node.parse().unwrap(), generation: 1 };
        let (address, version) = (format!("http://{node}"), String::new());
        let (status, roles) = (Status::Ready, Roles::all());
        let most = u32::MAX;
        let card = Card { life, status, address, roles, version, sessions, most, clock_ms: 0 };
        Member::new(card, 0)
    }

    fn nodes(sessions: [u32; 3]) -> Vec<Member> {
        ["a", "b", "c"].iter().zip(sessions).map(|(node, count)| member(node, count)).collect()
    }

    fn placed(policy: Policy, members: &[Member], turn: u64) -> Vec<String> {
        let users = (0..100).map(|n| format!("user{n}").parse().unwrap());
        let place = |user| place(policy, user, members, turn);
        users.filter_map(place).map(|member| member.card.life.node.to_string()).collect()
    }

    fn home(user: UserId, members: &[Member]) -> Life {
        Homes::of(members.iter().map(|member| member.card.life)).home(user).unwrap()
    }

    #[test]
    fn a_client_goes_to_its_users_home() {
        let members = nodes([10, 50, 99]);
        for n in 0..100 {
            let user = format!("user{n}").parse().unwrap();
            let placed = place(Policy::Home, user, &members, 0).unwrap();
            assert_eq!(placed.card.life, home(user, &members));
        }
    }

    #[test]
    fn a_node_with_more_than_its_share_takes_nobody() {
        let members = nodes([1_000, 1_000, 4_000]);
        assert!(!placed(Policy::Home, &members, 0).contains(&"c".to_owned()));
        let members = nodes([1_000, 1_000, 1_200]);
        assert!(placed(Policy::Home, &members, 0).contains(&"c".to_owned()));
    }

    #[test]
    fn a_node_that_may_hold_no_more_takes_nobody_however_little_that_is() {
        let mut members = nodes([2_688, 2_688, 2_688]);
        members[0].card.most = 2_688;
        for policy in [Policy::Home, Policy::RoundRobin] {
            let placed = placed(policy, &members, 0);
            assert!(placed.len() == 100 && !placed.contains(&"a".to_owned()), "{policy:?}");
        }
        // Those with more than their share take them, and nobody once none has room.
        members[1].card.sessions = 9_000;
        members[2].card.most = 2_688;
        assert!(placed(Policy::Home, &members, 0).iter().all(|node| node == "b"));
        members[1].card.most = 9_000;
        assert_eq!(placed(Policy::Home, &members, 0), Vec::<String>::new());
    }

    #[test]
    fn whoever_does_not_take_users_or_is_not_heard_gets_none() {
        let mut members = nodes([0, 0, 0]);
        members[0].card.status = Status::Draining;
        members[1].standing = Standing::Suspect { sign_ms: 0, pinged_ms: 0 };
        for policy in [Policy::Home, Policy::RoundRobin] {
            assert!(placed(policy, &members, 7).iter().all(|node| node == "c"));
        }
        members[2].card.status = Status::Starting;
        assert_eq!(place(Policy::Home, "ana".parse().unwrap(), &members, 0), None);
        assert_eq!(place(Policy::RoundRobin, "ana".parse().unwrap(), &[], 0), None);
    }

    #[test]
    fn in_turn_each_gets_as_many_as_the_others() {
        let members = nodes([5, 5_000, 0]);
        let ana = "ana".parse().unwrap();
        let turn = |turn| place(Policy::RoundRobin, ana, &members, turn).unwrap().card.life.node;
        let nodes: Vec<String> = (0..6).map(|n| turn(n).to_string()).collect();
        assert_eq!(nodes, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn a_process_without_chat_gets_nobody_and_is_no_part_of_the_average() {
        let mut members = nodes([300, 300, 0]);
        members[2].card.roles = Roles::of([Role::Discovery]);
        for policy in [Policy::Home, Policy::RoundRobin] {
            let placed = placed(policy, &members, 1);
            assert_eq!(placed.len(), 100);
            assert!(!placed.contains(&"c".to_owned()));
            let ana = "ana".parse().unwrap();
            let passed = consider(policy, ana, &members, 1);
            assert!(passed.iter().all(|one| one.passed.is_none()), "300 is the average of two");
        }
    }

    #[test]
    fn what_is_considered_says_why_a_node_was_passed_over() {
        let mut members = nodes([4_000, 0, 0]);
        members[1].card.status = Status::Starting;
        let why = |node: &str| {
            let candidates = consider(Policy::Home, "ana".parse().unwrap(), &members, 0);
            let of = |one: &&Candidate<'_>| one.member.card.life.node.as_str() == node;
            candidates.iter().find(of).unwrap().passed
        };
        assert_eq!(why("a"), Some(Passed::Full { allowed: 2_501 }));
        assert_eq!(why("b"), Some(Passed::NotReady));
        assert_eq!(why("c"), None);
    }
}
