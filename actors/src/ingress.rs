//! Takes what other nodes send to this life, and hands it to the routers here.
//!
//! A gap in a sender's numbers, an envelope of a kind that is not known here, and a queue that
//! was lost and begins anew are doubt: every user with a session here catches up. So is a sender's
//! new map of homes, for the users whom it did not take to be at home here until then. Its mailbox
//! holds nothing: parcels wait in the broker's queue, which is bounded, and which refuses what is
//! new when this actor is behind. Knows nothing of how parcels travel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, Addr, AsyncContext as _, Context, Handler, Message, SpawnHandle, StreamHandler,
};
use rally_cluster::broker::{Arrival, Parcel};
use rally_cluster::homes::{Homes, NewMap};
use rally_cluster::links::{Heard, Incoming};
use rally_cluster::planted::{self, Fault};
use rally_schema::{Envelope, Life, Pushed, Stage, UserId};
use tracing::{Span, info, warn};

use crate::gossip::{Asked, Gossip, Sign};
use crate::incidents::Kind;
use crate::metrics::count;
use crate::node::Node;
use crate::path;
use crate::presence_watch::{Changed, Doubt, MapHeard, PresenceWatch, Watching};
use crate::push::Push;
use crate::router::{About, LogOut, Said};

/// After how long a queue that began anew is taken to be known to all brokers of a cluster. Until
/// then one of them may send back what another life publishes to it, or confirm it and put it into
/// the queue that is gone, after everybody here has caught up.
const SPREAD: Duration = Duration::from_secs(2);

/// How often a life is asked anew that has not been heard since this one's queue began anew: what
/// was lost with the broker may be back at different times, the way out last.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The actor that receives.
pub struct Ingress {
    node: Arc<Node>,
    gossip: Addr<Gossip>,
    numbers: Incoming,
    /// Where each sender sends, as far as is known.
    maps: BTreeMap<Life, Homes>,
    /// Who was asked since this life's queue began anew, and not heard since.
    asked: BTreeSet<Life>,
    asking: Option<SpawnHandle>,
}

impl Ingress {
    /// Starts receiving what arrives for the node's life, on the current thread.
    pub fn start(node: Arc<Node>, gossip: Addr<Gossip>) {
        let arrivals = node.broker.open(node.life);
        Self::create(|ctx| {
            Self::add_stream(arrivals, ctx);
            let (numbers, maps, asked) = Default::default();
            Self { node, gossip, numbers, maps, asked, asking: None }
        });
    }

    fn receive(&mut self, parcel: Parcel) {
        let Parcel { from, number, envelopes } = parcel;
        let metrics = &self.node.metrics.link;
        metrics.arrived.inc();
        match self.numbers.hear(from, number) {
            Heard::Next => {}
            // Devices key by id: what came before does no harm, and costs them little.
            Heard::Again => return,
            Heard::Gap if planted::on(Fault::GapUnheard) => {}
            Heard::Gap => {
                metrics.gaps.inc();
                warn!(%from, number, "parcels were lost: everybody here catches up");
                let words = format!("parcels of {from} before number {number} were lost");
                self.node.incident(Kind::GapHeard, words);
                self.node.routers.doubt_all();
                self.doubt_presence();
                // A map may be among what was lost.
                if !planted::on(Fault::GapKeepsMap) {
                    self.maps.remove(&from);
                }
            }
        }
        self.asked.remove(&from);
        envelopes.into_iter().for_each(|envelope| self.take(from, envelope));
    }

    fn take(&mut self, from: Life, envelope: Envelope) {
        match envelope {
            Envelope::Push(pushed) => self.push(pushed),
            // An edge needs a router here even when no session of the user is.
            Envelope::Attach { user, at } => {
                self.node.routers.join(user, &self.node);
                self.say(user, from, About::Attach { at });
            }
            Envelope::Attached { user, at } => self.say(user, from, About::Attached { at }),
            Envelope::Detach { user } => self.say(user, from, About::Detach),
            Envelope::Watch { user, at } => self.watching(user, from, About::Attach { at }),
            Envelope::Watching { user, at } => self.watching(user, from, About::Attached { at }),
            Envelope::Unwatch { user } => self.watching(user, from, About::Detach),
            Envelope::Presence { user, stage } => {
                count(&self.node.metrics.cluster.presence, "heard");
                self.presence(Changed { user, stage });
            }
            Envelope::LoggedOut { user, epoch, log_in } => {
                self.node.log_out(user, LogOut { epoch, log_in });
            }
            Envelope::Doubt { users, stage } => {
                users.into_iter().for_each(|user| self.node.routers.doubt(user, stage));
            }
            Envelope::Map { .. } if planted::on(Fault::MapIgnored) => {}
            Envelope::Map { lives } => self.follow(from, Homes::of(lives)),
            Envelope::Ping {} => self.node.tell(from, Envelope::Pong {}),
            // Signs that find no room are dropped: the next one counts as well.
            Envelope::Pong {} => drop(self.gossip.try_send(Sign { of: from })),
            Envelope::Vouch { about } => drop(self.gossip.try_send(Sign { of: about })),
            Envelope::Ask { about } => drop(self.gossip.try_send(Asked { by: from, about })),
            Envelope::Unknown => {
                warn!(%from, "an envelope of a later version: everybody here catches up");
                self.node.routers.doubt_all();
                self.doubt_presence();
            }
        }
    }

    /// A node that is no longer, or not yet, a user's home hands on what was meant for it, once;
    /// and to its own sessions and the edges that still count on it.
    fn push(&self, pushed: Pushed) {
        let (to, stage) = (pushed.to, pushed.stage);
        let span = self.span(pushed.traceparent.as_deref());
        let push = Push::of(pushed, span);
        let home = self.node.home(to);
        if stage == Stage::Home && home != self.node.life {
            self.node.push_to(home, to, &push, Stage::Forwarded);
        }
        self.node.routers.deliver(to, push);
    }

    /// Goes on with the trace of a push that is traced.
    fn span(&self, traceparent: Option<&str>) -> Span {
        let Some(traceparent) = traceparent else { return Span::none() };
        let span = path::process(&*self.node.broker, self.node.life);
        (self.node.link_span)(&span, traceparent);
        span
    }

    /// A sender that takes this node for a user's home from now on did not send here before.
    fn follow(&mut self, from: Life, map: Homes) {
        // Its node's former lives are over.
        self.maps.retain(|life, _| life.node != from.node || *life == from);
        let before = self.maps.insert(from, map.clone());
        let map = NewMap { before, after: map };
        self.node.routers.doubt_of(|user| map.brings(user, self.node.life));
        self.presence(MapHeard(map));
    }

    fn watching(&self, user: UserId, by: Life, what: About) {
        self.presence(Watching { user, by, what });
    }

    /// Presence that finds no room is read again, all of it, once there is some.
    fn presence<M>(&self, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        PresenceWatch: Handler<M>,
    {
        if self.node.presence.try_send(message).is_err() {
            self.doubt_presence();
        }
    }

    fn doubt_presence(&self) {
        let sent = self.node.presence.send(Doubt);
        actix::spawn(async move {
            let _ = sent.await;
        });
    }

    /// Anything of anybody may be missing, a map among it.
    fn lose_all(&mut self) {
        self.node.routers.doubt_all();
        self.doubt_presence();
        if !planted::on(Fault::GapKeepsMap) {
            self.maps.clear();
        }
    }

    /// Has every other life send something, so that its number tells of what was lost before.
    fn ask_numbers(&mut self, ctx: &mut Context<Self>) {
        if planted::on(Fault::ReopenedUnasked) {
            return;
        }
        let lives = self.node.members().into_iter().map(|member| member.card.life);
        self.asked = lives.filter(|life| *life != self.node.life).collect();
        self.ask(ctx);
    }

    /// Asks those that were not heard yet, until they are: question and answer may be lost, for as long
    /// as the broker takes nothing. For one that is over everybody here catches up anyway.
    fn ask(&mut self, ctx: &mut Context<Self>) {
        self.asked.retain(|life| self.node.is_living(*life));
        for life in &self.asked {
            self.node.tell(*life, Envelope::Ping {});
        }
        let again = !self.asked.is_empty();
        self.asking = again.then(|| ctx.run_later(ASK_AGAIN, Self::ask));
    }

    fn say(&self, user: UserId, by: Life, what: About) {
        self.node.routers.tell(user, Said { by, what });
    }
}

impl Actor for Ingress {
    type Context = Context<Self>;
}

impl StreamHandler<Arrival> for Ingress {
    fn handle(&mut self, arrival: Arrival, ctx: &mut Self::Context) {
        match arrival {
            Arrival::Parcel(parcel) => self.receive(parcel),
            Arrival::Unreadable => {
                self.node.metrics.link.unreadable.inc();
                warn!("a parcel cannot be read: everybody here catches up");
                self.lose_all();
            }
            Arrival::Reopened => {
                self.node.metrics.link.reopened.inc();
                info!("this node's queue begins anew: everybody here catches up");
                let words = "this node's queue began anew: everybody here catches up".to_owned();
                self.node.incident(Kind::QueueReopened, words);
                self.lose_all();
                if let Some(former) = self.asking.take() {
                    ctx.cancel_future(former);
                }
                self.asking = Some(ctx.run_later(SPREAD, Self::ask_numbers));
            }
        }
    }
}
