//! The broker: carries envelopes from one node's life to another's.
//!
//! What it carries are hints, so it may lose them; what it may not do is lose them unseen.
//! `local.rs` is the one for nodes of one process, `conformance.rs` the suite that every
//! implementation passes.

#[cfg(any(test, feature = "conformance"))]
#[macro_use]
pub mod conformance;
pub mod local;

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::BoxStream;
use rally_schema::{Envelope, Life};
use thiserror::Error;

pub use local::LocalBroker;

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
    /// The queue is full: it never arrives.
    #[error("the queue of {0} is full")]
    Refused(Life),
    /// It may arrive or not.
    #[error("the broker did not confirm: {0}")]
    Unknown(String),
}

/// What arrives for one life; the queue is gone when this is dropped.
pub type Arrivals = BoxStream<'static, Parcel>;

/// Tells, later, whether a queue has taken a parcel.
pub type Confirmation = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

/// Carries parcels between the lives of nodes.
///
/// **Order.** What one life publishes to another arrives in the order in which `publish` was
/// called, each parcel once or not at all. Between two publishers there is no order.
///
/// **Loss.** A parcel that was confirmed is in a queue; it may still be lost with the broker or
/// the receiver. One that was refused or returned never arrives. A queue is bounded, and when
/// it is full it refuses what is new and keeps what it has.
pub trait Broker: Send + Sync + 'static {
    /// Makes the queue of a life, empty, and gives what arrives in it.
    fn open(&self, life: Life) -> Arrivals;

    /// Publishes a parcel to the queue of a life. It is under way when this returns, whether
    /// the confirmation is waited for or not.
    fn publish(&self, to: Life, parcel: Parcel) -> Confirmation;
}
