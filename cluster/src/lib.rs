//! What a node shares with its peers, and the logic that needs no I/O.
//!
//! Traits stand beside their implementations and the one conformance suite that
//! all of them pass. Knows nothing of actors or HTTP, and starts no thread.

pub mod acquaintance;
pub mod broker;
pub mod clock;
pub mod homes;
pub mod intent;
pub mod leases;
pub mod links;
pub mod membership;
pub mod pages;
pub mod placement;
pub mod planted;
pub mod presence;
pub mod roles;
pub mod store;
pub mod twins;
