//! Real nodes over real services, under load, and what happens to them.
//!
//! Three `rally-server` processes over the RabbitMQ and the Cassandra that `cargo xtask services up`
//! starts; `RALLY_TEST_AMQP`, with commas where there are several brokers, and
//! `RALLY_TEST_CASSANDRA`, with commas where there are several nodes of it, name others.
//! `RALLY_TEST_XTASK` is the program that does things to them. Ten pairs write, 200 messages a
//! second together (`RALLY_TEST_RATE`). Each test does something again and again
//! (`RALLY_TEST_FAULTS` times), prints after how long messages flowed again, and then judges:
//! everything that was sent is acknowledged, shown, and shown once.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod brokers;
mod crowd;
mod device;
#[path = "../harness/mod.rs"]
mod harness;
mod load;
mod nodes;
mod services;
mod slow;
mod stores;
mod trial;
