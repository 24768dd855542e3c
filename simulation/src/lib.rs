//! Whole nodes in one process under simulated time, so that a seed replays exactly.
//!
//! The actors, routers, leases and gossip are those that ship; simulated are the ways between
//! them: broker, gossip, sockets, the store's answers, and every clock. `run.rs` makes a seed into
//! a history, `faults.rs` holds what goes wrong. What a client does is `phone` of `rally-proof`, and
//! what a history is worth is judged there, too.

mod absence;
mod blocks;
mod broker;
mod calm;
pub mod faults;
mod first_words;
mod last_words;
mod line;
mod log_outs;
mod membership;
mod node;
mod pipe;
pub mod run;
mod store;
pub mod sum;
mod world;
mod wrong_clock;
