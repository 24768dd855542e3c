//! Takes what other nodes send to this life, and hands it to the routers here.
//!
//! A gap in a sender's numbers, or an envelope of a version that is not known here, is doubt:
//! every user with a session here catches up. Its mailbox holds nothing: parcels wait in the broker's
//! queue, which is bounded, and which refuses what is new when this actor is behind. Knows
//! nothing of how parcels travel.

use std::sync::Arc;

use actix::{Actor, Context, StreamHandler};
use rally_cluster::broker::Parcel;
use rally_cluster::links::{Heard, Incoming};
use rally_schema::ENVELOPE_VERSION;
use tracing::{Span, warn};

use crate::node::Node;
use crate::push::{Push, Weight};
use crate::wire;

/// The actor that receives.
pub struct Ingress {
    node: Arc<Node>,
    numbers: Incoming,
}

impl Ingress {
    /// Starts receiving what arrives for the node's life, on the current thread.
    pub fn start(node: Arc<Node>) {
        let arrivals = node.broker.open(node.life);
        Self::create(|ctx| {
            Self::add_stream(arrivals, ctx);
            Self { node, numbers: Incoming::default() }
        });
    }
}

impl Actor for Ingress {
    type Context = Context<Self>;
}

impl StreamHandler<Parcel> for Ingress {
    fn handle(&mut self, parcel: Parcel, _: &mut Self::Context) {
        let Parcel { from, number, envelopes } = parcel;
        match self.numbers.hear(from, number) {
            Heard::Next => {}
            // Devices key by id: what came before does no harm, and costs them little.
            Heard::Again => return,
            Heard::Gap => {
                warn!(%from, number, "parcels were lost: everybody here catches up");
                self.node.routers.doubt_all();
            }
        }
        for envelope in envelopes {
            if envelope.v > ENVELOPE_VERSION {
                warn!(%from, version = envelope.v, "an envelope of a later version");
                self.node.routers.doubt_all();
                continue;
            }
            let span = Span::none();
            let weight = if envelope.passing { Weight::Passing } else { Weight::Stored };
            let bytes = wire::text(envelope.frame);
            let push = Push { bytes, weight, except: envelope.except, received_us: None, span };
            self.node.routers.deliver(envelope.to, push);
        }
    }
}
