//! Tells the others of this node, and decides who of them stands how.
//!
//! The only user of the membership. Four times a second it writes the node's card anew if it has
//! changed, asks after suspects, and, when other lives are ready than before, gives the node its
//! new map of homes, and has the store know how the nodes stand. Its mailbox holds signs of life: 256; beyond that they are dropped, and the
//! next one counts as well. Knows nothing of users.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, StreamHandler,
    WrapFuture as _,
};
use rally_cluster::membership::Card;
use rally_cluster::membership::clocks::Clocks;
use rally_cluster::membership::roster::{Question, Roster};
use rally_schema::{Envelope, Life};
use tracing::{error, info, warn};

use crate::incidents::Kind;
use crate::node::Node;
use crate::records::Records;

/// Signs of life that wait.
const MAILBOX: usize = 256;

/// How often the actor looks around.
const LOOK: Duration = Duration::from_millis(250);

/// How often other lives are told how far the numbers of this one's links are.
const NUMBERS: Duration = Duration::from_secs(1);

/// How often what the store knows of nodes is read.
const RECORDS: Duration = Duration::from_secs(10);

/// How old the clock on a card may be.
const CLOCK_MS: u64 = 1_000;

/// Exit code of a process that hears the others no more, as of one whose store failed (sysexits'
/// EX_IOERR).
const GOSSIP_ENDED: i32 = 74;

/// A life is alive: it answered, or somebody hears it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Sign {
    /// Which.
    pub of: Life,
}

/// What was sent to a life came back.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Returned {
    /// Which.
    pub to: Life,
}

/// Somebody asks whether this node hears a life.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Asked {
    /// Who asks.
    pub by: Life,
    /// About whom.
    pub about: Life,
}

/// The actor that gossips.
pub struct Gossip {
    node: Arc<Node>,
    roster: Roster,
    clocks: Clocks,
    /// Whether the machine's clock has gone ahead at once and is still there.
    stepped: bool,
    records: Records,
    told: Option<Card>,
    ready: Vec<Life>,
}

impl Gossip {
    /// Gossips for a node.
    pub fn new(node: Arc<Node>) -> Self {
        let roster = Roster::new(node.life);
        let (clocks, records) = (Clocks::default(), Records::new(node.life));
        Self { node, roster, clocks, stepped: false, records, told: None, ready: Vec::new() }
    }

    /// Writes the card if others should know what is new.
    fn announce(&mut self) {
        let card = self.node.card();
        let known = |told: &Card| {
            let as_told = Card { clock_ms: told.clock_ms, ..card.clone() };
            *told == as_told && card.clock_ms < told.clock_ms + CLOCK_MS
        };
        if !self.told.as_ref().is_some_and(known) {
            self.node.membership.announce(card.clone());
            self.told = Some(card);
        }
    }

    /// Decides who is right when the machine's clock has gone ahead at once: the wall, or this
    /// node's clock, which goes on without it. The others know; alone it is the wall. Where both are
    /// wrong the doubt lasts until the wall is set right.
    fn judge_step(&mut self) {
        let clock = &self.node.clock;
        let Some(by_ms) = clock.stepped_ms() else {
            clock.pass_over_wall(false);
            self.stepped = false;
            return;
        };
        if !self.stepped {
            self.stepped = true;
            // If the machine slept, what the others said before says nothing now.
            self.clocks.begin_anew();
            warn!(
                by_ms,
                "the machine's clock went ahead at once: nothing is dated until it is known to be right"
            );
            let words = format!("the machine's clock went ahead by {by_ms} ms at once");
            self.node.incident(Kind::ClockStepped, words);
        }
        let by_ms = by_ms as i64;
        let tolerance_ms = self.node.settings.overlap.clock_tolerance_ms();
        let (follow, pass_over) = match self.clocks.others_ahead_ms() {
            Some(ahead_ms) => {
                let near = |ms: i64| ms.abs_diff(ahead_ms) <= tolerance_ms;
                (near(by_ms), near(0))
            }
            // What the others said of it before they fell silent holds.
            None => (clock.is_in_doubt() && !self.has_company(), false),
        };
        if follow {
            info!(by_ms, "the machine's clock is right: followed");
            clock.follow_wall();
            self.clocks.begin_anew();
            self.stepped = false;
        } else if pass_over && clock.is_in_doubt() {
            warn!(by_ms, "the machine's clock is wrong: passed over until it is set");
            clock.pass_over_wall(true);
        }
    }

    /// Tells whether another node may be alive.
    fn has_company(&self) -> bool {
        let mut others = self.roster.members().filter(|m| m.card.life != self.node.life);
        others.any(|member| !member.standing.is_over())
    }

    /// Decides whether this node's clock is near enough to the others' to take users.
    fn compare_clocks(&mut self, cards: &[Card]) {
        self.clocks.hear(self.node.life, cards, self.node.clock.now_ms());
        self.judge_step();
        let node = &self.node;
        let ahead_ms = self.clocks.median_ahead_ms();
        node.set_clocks(self.clocks.ahead_ms(), ahead_ms);
        let known = self.clocks.others_ahead_ms().is_some();
        // Who does not hear the others has learnt nothing; who is alone is right.
        let off = match !known && self.has_company() {
            true => node.clock_is_off(),
            false => ahead_ms.unsigned_abs() > node.settings.overlap.clock_tolerance_ms(),
        };
        if off != node.clock_is_off() {
            node.set_clock_is_off(off);
            let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
            let by_ms = ahead_ms.unsigned_abs();
            let words = format!("the median of all clocks is {by_ms} ms {side} this one");
            match off {
                true => {
                    warn!(ahead_ms, "the others' clocks are elsewhere: not ready until set");
                    node.incident(Kind::ClockOff, words);
                }
                false => {
                    info!(ahead_ms, "the clock is near the others' again");
                    node.incident(Kind::ClockNear, words);
                }
            }
        }
    }

    /// Writes what the store should know of the nodes, one row after the other.
    fn record(&mut self, ctx: &mut Context<Self>) {
        let Some(row) = self.records.due(&self.node.members(), self.node.clock.now_ms()) else {
            return;
        };
        let written = self.node.store.set_node(row.clone()).into_actor(self);
        ctx.spawn(written.map(move |written, gossip, ctx| {
            if let Err(error) = &written {
                gossip.node.store_failed("what became of a node was not written", error);
            }
            gossip.records.done(&row, written.is_ok(), gossip.node.clock.now_ms());
            if written.is_ok() {
                gossip.record(ctx);
            }
        }));
    }

    /// Reads what the store knows of nodes, those among them that are not heard here.
    fn read_records(&mut self, ctx: &mut Context<Self>) {
        let read = self.node.store.nodes().into_actor(self);
        ctx.spawn(read.map(|read, Self { node, .. }, _| match read {
            Ok(rows) => node.set_records(rows),
            Err(error) => node.store_failed("what is known of nodes could not be read", &error),
        }));
    }

    /// Asks after suspects, and takes over who is ready now.
    fn look(&mut self) {
        for question in self.roster.look(self.node.clock.monotonic_ms()) {
            match question {
                Question::Ping(life) => self.node.tell(life, Envelope::Ping {}),
                Question::Ask { to, about } => self.node.tell(to, Envelope::Ask { about }),
            }
        }
        self.node.set_members(self.roster.by_life().clone());
        let ready: Vec<Life> = self.roster.ready().collect();
        if ready != self.ready {
            let names: Vec<String> = ready.iter().map(Life::to_string).collect();
            info!(ready = names.join(" "), "these nodes take users now");
            self.node.set_lives(&ready);
            self.ready = ready;
        }
    }
}

impl Actor for Gossip {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.announce();
        ctx.add_stream(self.node.membership.heard());
        ctx.run_interval(LOOK, |gossip, ctx| {
            gossip.judge_step();
            gossip.announce();
            gossip.look();
            gossip.record(ctx);
        });
        ctx.run_interval(NUMBERS, |gossip, _| gossip.node.tell_numbers());
        ctx.run_interval(RECORDS, Self::read_records);
    }
}

impl StreamHandler<Vec<Card>> for Gossip {
    fn handle(&mut self, cards: Vec<Card>, _: &mut Self::Context) {
        self.compare_clocks(&cards);
        self.roster.hear(cards, self.node.clock.monotonic_ms());
        self.look();
    }

    /// Who hears no more, and is not heard, would stay ready by a map of homes that is nobody
    /// else's. Only a new start helps: the process ends, as it does when its store fails.
    fn finished(&mut self, _: &mut Self::Context) {
        error!("the gossip ended: this process ends");
        std::process::exit(GOSSIP_ENDED);
    }
}

impl Handler<Sign> for Gossip {
    type Result = ();

    fn handle(&mut self, sign: Sign, _: &mut Self::Context) {
        self.roster.sign(sign.of, self.node.clock.monotonic_ms());
    }
}

impl Handler<Returned> for Gossip {
    type Result = ();

    fn handle(&mut self, returned: Returned, _: &mut Self::Context) {
        self.roster.returned(returned.to, self.node.clock.monotonic_ms());
        self.look();
    }
}

impl Handler<Asked> for Gossip {
    type Result = ();

    fn handle(&mut self, asked: Asked, _: &mut Self::Context) {
        if self.roster.hears(asked.about) {
            self.node.tell(asked.by, Envelope::Vouch { about: asked.about });
        }
    }
}
