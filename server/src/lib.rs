//! The program: configuration, HTTP, accounts, telemetry, and the one place where the parts
//! of a node are put together.
//!
//! A library, so that tests run whole nodes in their own process; `main.rs` only calls it.
//! Has no business rules: those are in `rally-actors` and `rally-cluster`.

pub mod config;
pub mod demo;
pub mod http;
pub mod limits;
pub mod origin;
pub mod passwords;
pub mod seal;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod tickets;
pub mod tokens;

pub use config::{Config, Settings};
