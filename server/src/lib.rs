//! The program: configuration, HTTP, accounts, telemetry, and the one place where the parts
//! of a node are put together.
//!
//! A library, so that tests run whole nodes in their own process; `main.rs` only calls it.
//! Has no business rules: those are in `rally-actors` and `rally-cluster`.

// Planted faults are for simulations; the feature must not reach the program, on whatever way.
const _: () = assert!(
    !rally_cluster::planted::POSSIBLE,
    "rally-server is built with the feature `planted` of rally-cluster: build it alone"
);

pub mod alerts;
pub mod cli;
pub mod config;
pub mod demo;
pub mod door;
pub mod health_check;
pub mod http;
pub mod import;
pub mod keep;
pub mod limits;
pub mod node;
pub mod origin;
pub mod passwords;
pub mod peers;
pub mod seal;
pub mod secret;
pub mod serve;
pub mod sip;
pub mod sockets;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tickets;
pub mod tokens;
pub mod upgrade;

pub use config::{Config, Settings};
