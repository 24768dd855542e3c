//! The broker: carries envelopes from one node's life to another's.
//!
//! What it carries are hints, so it may lose them; what it may not do is lose them unseen.
//! `local.rs` is the one for nodes of one process, `rabbitmq/` the one for nodes apart, whose
//! parcels travel as `wire.rs` says; `conformance.rs` is the suite that every implementation
//! passes.

#[cfg(any(test, feature = "conformance"))]
#[macro_use]
pub mod conformance;
pub mod local;
pub mod rabbitmq;
pub mod wire;

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::BoxStream;
use rally_schema::{Envelope, Life};
use thiserror::Error;

pub use local::LocalBroker;
pub use rabbitmq::RabbitBroker;

/// Envelopes that travel together from one life to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Who sent it.
    pub from: Life,
    /// Counts, from 1, what that life sent to the receiver: a number left out is a loss.
    pub number: u64,
    /// What it carries, in the order of sending.
    pub envelopes: Vec<Envelope>,
}

/// Why a parcel did not reach a queue, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// No such life has a queue: it never arrives.
    #[error("{0} has no queue")]
    Returned(Life),
    /// The queue, or the way to it, is full: it never arrives.
    #[error("the queue of {0}, or the way there, is full")]
    Refused(Life),
    /// It may arrive or not.
    #[error("the broker did not confirm: {0}")]
    Unknown(String),
}

/// One thing that comes out of a life's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A parcel, in its place.
    Parcel(Parcel),
    /// What arrived cannot be read, and whose it was may not be known: a loss.
    Unreadable,
    /// The queue was lost and begins anew, or it begins later than it was opened. What was in it,
    /// and what was sent meanwhile, may be missing, from anybody; what is sent from now on
    /// arrives after this.
    Reopened,
}

/// What arrives for one life; the queue is gone when this is dropped.
pub type Arrivals = BoxStream<'static, Arrival>;

/// Tells, later, whether a queue has taken a parcel.
pub type Confirmation = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

/// Carries parcels between the lives of nodes.
///
/// **Order.** What one life publishes to another arrives in the order in which `publish` was
/// called, each parcel once or not at all; only what is answered [`PublishError::Unknown`] may
/// still come later than what was published after it. Between two publishers there is no order.
///
/// **Loss.** A parcel that was confirmed is in a queue; it may still be lost with the broker or
/// the receiver. One that was refused or returned never arrives. A queue is bounded, and when
/// it is full it refuses what is new and keeps what it has. While the broker is out of reach
/// nothing is kept: every confirmation is an error at once.
///
/// **Return.** A life whose queue is about to begin anew has none for a while: a return says
/// that this parcel never arrives, and no more.
pub trait Broker: Send + Sync + 'static {
    /// Gives what OpenTelemetry calls a messaging system of this kind.
    fn system(&self) -> &'static str {
        "rally"
    }

    /// Makes the queue of a life, empty, and gives what arrives in it. It may take a moment
    /// until the queue is there; what is published to it until then is returned, and the first
    /// arrival is then [`Arrival::Reopened`].
    fn open(&self, life: Life) -> Arrivals;

    /// Publishes a parcel to the queue of a life. It is under way when this returns, whether
    /// the confirmation is waited for or not.
    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation;
}
