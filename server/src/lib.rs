//! The program: configuration, HTTP, accounts, telemetry, and the one place where the parts
//! of a node are put together.
//!
//! A library, so that tests run whole nodes in their own process; `main.rs` only calls it.
//! Has no business rules: those are in `rally-actors` and `rally-cluster`.

// Planted faults are for checks: they come by this crate's own feature, on no other way, and into
// no release.
#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("rally-server is released without faults: leave the feature `planted` out");
const _: () = assert!(
    cfg!(feature = "planted") || !rally_cluster::planted::POSSIBLE,
    "rally-server is built with the feature `planted` of rally-cluster: build it alone"
);

pub mod alerts;
pub mod cli;
pub mod config;
pub mod demo;
pub mod display_name;
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
#[cfg(feature = "planted")]
pub mod planted;
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
pub mod turns;
pub mod upgrade;
pub mod version;

pub use config::{Config, Settings};
