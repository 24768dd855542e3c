//! Every actor of a node, one a file.
//!
//! A *session* owns one client's socket; a *router* knows the sessions of one user;
//! a *committer* makes intents durable; the *presence watch* tells who is online; the
//! *sweeper* pings and ends silent sessions; the *ingress* takes what other nodes send; the
//! *gossip* decides who of them is ready; the *drain* sends everybody away.
//!
//! Works on the traits of `rally-cluster`; knows no driver, no HTTP route, starts no
//! thread, and asks no clock but the node's, so that whole nodes can be simulated.

pub mod admission;
pub mod committer;
pub mod deadlines;
pub mod drain;
pub mod gossip;
pub mod greet;
pub mod incidents;
pub mod ingress;
pub mod io;
pub mod link;
pub mod metrics;
pub mod node;
mod outlive;
mod path;
pub mod presence_watch;
pub mod push;
pub mod rate;
pub mod records;
pub mod router;
pub mod routers;
pub mod session;
pub mod settings;
pub mod socket;
pub mod standings;
pub mod sweeper;
pub mod together;
pub mod wire;

pub use metrics::Metrics;
pub use node::{Gate, Node, Worker};
pub use settings::Settings;
