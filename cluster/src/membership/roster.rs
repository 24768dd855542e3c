//! Who stands how, as one node sees it.
//!
//! Silence alone proves nothing: it may be the gossip that is cut. A life that is heard no more
//! is *suspect*: it is pinged through the broker, and the others are asked whether they hear it.
//! Only without a sign of life for [`ANSWER_MS`] is it *offline*; until then it keeps its users,
//! and for a while after it is asked whether it was a mistake.
//! A life that is heard again, or gives a sign, is live again, however long it was away. Whoever
//! is alone gets no answer from anybody and decides by itself.
//!
//! No I/O and no clock: what has to be sent is given back.

use std::collections::BTreeMap;

use rally_schema::{Life, NodeId};

use super::{Card, Status};
use crate::roles::Role;

/// How long a sign of life counts, and how long a suspect has to give one.
pub const ANSWER_MS: u64 = 1_500;

/// How often a suspect is pinged, and the others are asked about it.
pub const PING_MS: u64 = 500;

/// How long after its end an offline life is still asked after: gossip and broker may have been
/// cut at once, and the broker be back first.
pub const DOUBT_MS: u64 = 60_000;

/// How often, meanwhile.
pub const DOUBT_PING_MS: u64 = 2_000;

/// How long a life that is over is remembered, if it was its node's last.
pub const REMEMBER_MS: u64 = 7 * 86_400_000;

/// How long, if its node began another: until the store's rows, which are read several times a
/// minute, say the same of it. A node that begins again and again has thousands of those.
pub const EARLIER_MS: u64 = 5 * 60_000;

/// How a life stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is heard.
    Live,
    /// It is heard no more, and may be alive.
    Suspect {
        /// When it was given up, unless there is a sign after it.
        sign_ms: u64,
        /// When it was pinged last.
        pinged_ms: u64,
    },
    /// It is dead, as far as can be known.
    Offline {
        /// Since when.
        since_ms: u64,
        /// When it was pinged last.
        pinged_ms: u64,
    },
}

impl Standing {
    /// Tells whether the life is dead, as far as can be known.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }

    /// The name of every standing.
    pub const NAMES: [&str; 3] = ["live", "suspect", "offline"];

    /// Gives its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => Self::NAMES[0],
            Self::Suspect { .. } => Self::NAMES[1],
            Self::Offline { .. } => Self::NAMES[2],
        }
    }
}

/// One life, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it told last.
    pub card: Card,
    /// How it stands.
    pub standing: Standing,
    /// Since when it stands so.
    pub since_ms: u64,
    /// When news of it came by gossip last.
    pub heard_ms: u64,
    /// Whether something came back that was sent to it, since it was heard last: then only a
    /// newer card says that it lives.
    pub doubted: bool,
}

impl Member {
    /// Makes a member that is heard for the first time.
    pub fn new(card: Card, now_ms: u64) -> Self {
        let (standing, since_ms, heard_ms) = (Standing::Live, now_ms, now_ms);
        Self { card, standing, since_ms, heard_ms, doubted: false }
    }

    fn stand(&mut self, standing: Standing, now_ms: u64) {
        (self.standing, self.since_ms) = (standing, now_ms);
    }

    /// Takes over a card that is heard.
    fn hear(&mut self, card: Card, now_ms: u64) {
        if self.doubted && self.card == card {
            return;
        }
        self.doubted = false;
        let again = self.standing != Standing::Live;
        if again {
            self.stand(Standing::Live, now_ms);
        }
        if again || self.card != card {
            (self.card, self.heard_ms) = (card, now_ms);
        }
    }
}

/// What has to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A ping to a suspect.
    Ping(Life),
    /// To a live one: whether it hears a suspect.
    Ask {
        /// Who is asked.
        to: Life,
        /// About whom.
        about: Life,
    },
}

/// All lives that this node knows.
#[derive(Debug)]
pub struct Roster {
    me: Life,
    members: BTreeMap<Life, Member>,
}

impl Roster {
    /// Begins knowing nobody.
    pub fn new(me: Life) -> Self {
        Self { me, members: BTreeMap::new() }
    }

    /// Takes over whose cards are heard now.
    pub fn hear(&mut self, cards: Vec<Card>, now_ms: u64) {
        let heard: BTreeMap<Life, Card> = cards.into_iter().map(|card| (card.life, card)).collect();
        for (life, member) in &mut self.members {
            // Heard again after a silence, any card will do.
            member.doubted &= heard.contains_key(life);
            if member.standing == Standing::Live && !heard.contains_key(life) && *life != self.me {
                member.stand(Standing::Suspect { sign_ms: now_ms, pinged_ms: 0 }, now_ms);
            }
        }
        for (life, card) in heard {
            match self.members.get_mut(&life) {
                Some(member) => member.hear(card, now_ms),
                None => drop(self.members.insert(life, Member::new(card, now_ms))),
            }
        }
        self.retire(now_ms);
    }

    /// Takes that something which was sent to a life came back: it has no queue. It is suspected
    /// at once, and not only when gossip misses it; one that lives shows a newer card in a second.
    pub fn returned(&mut self, of: Life, now_ms: u64) {
        let Some(member) = self.members.get_mut(&of).filter(|_| of != self.me) else { return };
        if member.standing == Standing::Live {
            member.doubted = true;
            member.stand(Standing::Suspect { sign_ms: now_ms, pinged_ms: 0 }, now_ms);
        }
    }

    /// Takes a sign of life: a pong, or somebody else's word. An offline life that answers was
    /// paused, or cut off.
    pub fn sign(&mut self, of: Life, now_ms: u64) {
        let Some(member) = self.members.get_mut(&of) else { return };
        match &mut member.standing {
            Standing::Live => {}
            Standing::Suspect { sign_ms, .. } => *sign_ms = now_ms,
            Standing::Offline { .. } => {
                member.stand(Standing::Suspect { sign_ms: now_ms, pinged_ms: 0 }, now_ms);
                self.retire(now_ms);
            }
        }
    }

    /// Tells whether this node hears a life itself: only then may it vouch for it.
    pub fn hears(&self, life: Life) -> bool {
        self.members.get(&life).is_some_and(|member| member.standing == Standing::Live)
    }

    /// Gives up who gave no sign, forgets who is long gone, and gives what has to be sent; to
    /// be called several times a second.
    pub fn look(&mut self, now_ms: u64) -> Vec<Question> {
        let others =
            |member: &&Member| member.standing == Standing::Live && member.card.life != self.me;
        let live: Vec<Life> = self.members.values().filter(others).map(|m| m.card.life).collect();
        let mut questions = Vec::new();
        for (life, member) in &mut self.members {
            let pinged_ms = match &mut member.standing {
                Standing::Live => continue,
                Standing::Suspect { sign_ms, .. } if now_ms >= *sign_ms + ANSWER_MS => {
                    let offline = Standing::Offline { since_ms: now_ms, pinged_ms: now_ms };
                    member.stand(offline, now_ms);
                    continue;
                }
                Standing::Suspect { pinged_ms, .. } if now_ms >= *pinged_ms + PING_MS => pinged_ms,
                Standing::Offline { since_ms, pinged_ms }
                    if now_ms < *since_ms + DOUBT_MS
                        && now_ms >= pinged_ms.saturating_add(DOUBT_PING_MS) =>
                {
                    pinged_ms
                }
                Standing::Suspect { .. } | Standing::Offline { .. } => continue,
            };
            *pinged_ms = now_ms;
            questions.push(Question::Ping(*life));
            questions.extend(live.iter().map(|to| Question::Ask { to: *to, about: *life }));
        }
        self.forget(now_ms);
        questions
    }

    /// Forgets who has been over for long enough.
    fn forget(&mut self, now_ms: u64) {
        // In their order: of each node the newest stays.
        let newest: BTreeMap<NodeId, u64> =
            self.members.keys().map(|life| (life.node, life.generation)).collect();
        self.members.retain(|life, member| match member.standing {
            Standing::Offline { since_ms, .. } => {
                let is_newest = newest.get(&life.node) == Some(&life.generation);
                now_ms < since_ms + if is_newest { REMEMBER_MS } else { EARLIER_MS }
            }
            Standing::Live | Standing::Suspect { .. } => true,
        });
    }

    /// Gives the lives that take users: with the role chat, ready, and not known to be dead.
    pub fn ready(&self) -> impl Iterator<Item = Life> + '_ {
        let takes = |member: &&Member| {
            member.card.roles.has(Role::Chat)
                && member.card.status == Status::Ready
                && !matches!(member.standing, Standing::Offline { .. })
        };
        self.members.values().filter(takes).map(|member| member.card.life)
    }

    /// Gives everybody, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Gives everybody by their names.
    pub fn by_life(&self) -> &BTreeMap<Life, Member> {
        &self.members
    }

    /// A node has one life: an earlier one is over as soon as a later one is known.
    fn retire(&mut self, now_ms: u64) {
        let mut later: Option<Life> = None;
        for (life, member) in self.members.iter_mut().rev() {
            let over = later.is_some_and(|later| later.node == life.node);
            if over && !matches!(member.standing, Standing::Offline { .. }) {
                // A later life says so: nobody need be asked.
                let offline = Standing::Offline { since_ms: now_ms, pinged_ms: u64::MAX };
                member.stand(offline, now_ms);
            }
            later = Some(*life);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Roles;

    fn life(node: &str, generation: u64) -> Life {
        Life { node: node.parse().unwrap(), generation }
    }

    fn card(life: Life) -> Card {
        let (address, version) = (String::new(), String::new());
        let (status, roles) = (Status::Ready, Roles::all());
        Card { life, status, address, roles, version, sessions: 0, most: 9, clock_ms: 0 }
    }

    fn cards(nodes: &[&str]) -> Vec<Card> {
        nodes.iter().map(|node| card(life(node, 1))).collect()
    }

    fn of(nodes: &[&str]) -> Roster {
        let mut roster = Roster::new(life("a", 1));
        roster.hear(cards(nodes), 0);
        roster
    }

    fn ready(roster: &Roster) -> String {
        roster.ready().map(|life| life.node.to_string()).collect()
    }

    #[test]
    fn a_silent_life_is_pinged_asked_about_and_given_up() {
        let mut roster = of(&["a", "b", "c"]);
        roster.hear(cards(&["a", "b"]), 10_000);
        let (b, c) = (life("b", 1), life("c", 1));
        let asked = [Question::Ping(c), Question::Ask { to: b, about: c }];
        assert_eq!(roster.look(10_000), asked);
        assert_eq!(roster.look(10_499), []);
        assert_eq!(roster.look(10_500), asked);
        assert_eq!(ready(&roster), "abc", "it keeps its users meanwhile");
        assert_eq!(roster.look(11_500), []);
        assert_eq!(ready(&roster), "ab");
    }

    #[test]
    fn who_answers_through_the_broker_stays_however_long_the_gossip_is_cut() {
        let mut roster = of(&["a", "b"]);
        roster.hear(cards(&["a"]), 10_000);
        for now_ms in (10_000..100_000).step_by(250) {
            for question in roster.look(now_ms) {
                assert_eq!(question, Question::Ping(life("b", 1)));
                roster.sign(life("b", 1), now_ms + 20);
            }
            assert_eq!(ready(&roster), "ab");
        }
        assert!(!roster.hears(life("b", 1)), "and nobody may vouch for it who does not hear it");
    }

    #[test]
    fn the_last_one_gives_up_all_others() {
        let mut roster = of(&["a", "b", "c"]);
        roster.hear(cards(&["a"]), 10_000);
        (10_000..12_000).step_by(250).for_each(|now_ms| drop(roster.look(now_ms)));
        assert_eq!(ready(&roster), "a");
    }

    #[test]
    fn a_node_is_not_given_up_by_itself() {
        let mut roster = of(&["a"]);
        roster.hear(Vec::new(), 10_000);
        roster.look(20_000);
        assert_eq!(ready(&roster), "a");
    }

    #[test]
    fn who_was_paused_is_live_again_by_itself() {
        for gossip in [true, false] {
            let mut roster = of(&["a", "b"]);
            roster.hear(cards(&["a"]), 10_000);
            (10_000..12_000).step_by(250).for_each(|now_ms| drop(roster.look(now_ms)));
            assert_eq!(ready(&roster), "a");
            match gossip {
                true => roster.hear(cards(&["a", "b"]), 50_000),
                false => roster.sign(life("b", 1), 50_000),
            }
            assert_eq!(ready(&roster), "ab");
        }
    }

    #[test]
    fn what_comes_back_makes_its_receiver_suspect_until_a_newer_card_is_heard() {
        let mut roster = of(&["a", "b", "c"]);
        roster.returned(life("b", 1), 10_000);
        roster.returned(life("a", 1), 10_000);
        let standing = |roster: &Roster, node: &str| {
            roster.members().find(|m| m.card.life == life(node, 1)).unwrap().standing
        };
        let suspect = Standing::Suspect { sign_ms: 10_000, pinged_ms: 0 };
        assert_eq!((standing(&roster, "b"), standing(&roster, "a")), (suspect, Standing::Live));
        roster.hear(cards(&["a", "b", "c"]), 10_100);
        assert_eq!(standing(&roster, "b"), suspect, "gossip has not missed it yet");
        let newer = Card { clock_ms: 7, ..card(life("b", 1)) };
        roster.hear(vec![card(life("a", 1)), newer, card(life("c", 1))], 10_200);
        assert_eq!(standing(&roster, "b"), Standing::Live);
    }

    #[test]
    fn who_was_given_up_is_asked_after_for_a_while() {
        let mut roster = of(&["a", "b", "c"]);
        roster.hear(cards(&["a", "b"]), 10_000);
        (10_000..12_000).step_by(250).for_each(|now_ms| drop(roster.look(now_ms)));
        assert_eq!(ready(&roster), "ab");
        let mut asked = Vec::new();
        for now_ms in (12_000..100_000).step_by(250) {
            if roster.look(now_ms).contains(&Question::Ping(life("c", 1))) {
                asked.push(now_ms);
            }
        }
        assert_eq!(asked[..2], [13_500, 15_500]);
        assert_eq!(asked.last(), Some(&69_500), "and then left in peace");
        roster.sign(life("c", 1), 100_000);
        assert_eq!(ready(&roster), "abc");
    }

    #[test]
    fn a_later_life_ends_the_earlier_one_at_once() {
        let mut roster = of(&["a", "b"]);
        let later = life("b", 2);
        roster.hear(vec![card(life("a", 1)), card(life("b", 1)), card(later)], 10_000);
        let now: Vec<Life> = roster.ready().collect();
        assert_eq!(now, [life("a", 1), later]);
        roster.sign(life("b", 1), 10_001);
        assert_eq!(roster.ready().count(), 2, "no sign brings it back");
    }

    #[test]
    fn who_starts_or_leaves_takes_no_users() {
        let mut roster = of(&["a", "b", "c"]);
        let with = |node, status| Card { status, ..card(life(node, 1)) };
        roster.hear(vec![with("a", Status::Ready), with("b", Status::Starting)], 10_000);
        assert_eq!(ready(&roster), "ac");
        roster.hear(vec![with("a", Status::Draining), with("b", Status::Ready)], 10_100);
        assert_eq!(ready(&roster), "bc");
    }

    #[test]
    fn who_does_not_chat_takes_no_users_and_is_known_all_the_same() {
        let mut roster = of(&["a", "b", "c"]);
        let roles = Roles::of([Role::Discovery, Role::Presence]);
        roster.hear(vec![card(life("a", 1)), Card { roles, ..card(life("b", 1)) }], 10_000);
        assert_eq!(ready(&roster), "ac");
        assert!(roster.hears(life("b", 1)));
    }

    #[test]
    fn the_long_gone_are_forgotten() {
        let mut roster = of(&["a", "b"]);
        roster.hear(cards(&["a"]), 10_000);
        roster.look(20_000);
        roster.look(20_000 + REMEMBER_MS - 1);
        assert_eq!(roster.members().count(), 2);
        roster.look(20_000 + REMEMBER_MS);
        assert_eq!(roster.members().count(), 1);
    }

    #[test]
    fn of_a_node_that_begins_again_and_again_only_the_newest_lives_are_remembered() {
        const EACH_MS: u64 = 10_000;
        let mut roster = of(&["a"]);
        for generation in 1..=1_000 {
            let now_ms = generation * EACH_MS;
            roster.hear(vec![card(life("a", 1)), card(life("b", generation))], now_ms);
            roster.look(now_ms);
        }
        let kept = roster.members().filter(|member| member.card.life.node.as_str() == "b");
        assert_eq!(kept.count() as u64, EARLIER_MS / EACH_MS + 1);
        // Its last life is over, too, and is what is known of it.
        let end_ms = 1_000 * EACH_MS;
        roster.hear(vec![card(life("a", 1))], end_ms);
        roster.look(end_ms + ANSWER_MS);
        roster.look(end_ms + ANSWER_MS + EARLIER_MS);
        let kept: Vec<Life> = roster.members().map(|member| member.card.life).collect();
        assert_eq!(kept, [life("a", 1), life("b", 1_000)]);
    }
}
