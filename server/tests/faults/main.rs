//! Real nodes over real services, under load, and what happens to them.
//!
//! Three `rally-server` processes over the RabbitMQ and the Cassandra that `cargo xtask services up`
//! starts; `RALLY_TEST_AMQP`, with commas where there are several brokers, and
//! `RALLY_TEST_CASSANDRA`, with commas where there are several nodes of it, name others.
//! `RALLY_TEST_XTASK` is the program that does things to them. Ten pairs write, 200 messages a
//! second together (`RALLY_TEST_RATE`). Each test does something again and again
//! (`RALLY_TEST_FAULTS` times) and prints after how long messages flowed again. Then it judges:
//! everything that was sent is acknowledged and shown, and devices that knew nothing read it once,
//! in its sender's order. What each fault delayed, lost and doubled is printed.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod brokers;
mod crowd;
mod device;
#[path = "../harness/mod.rs"]
mod harness;
mod load;
mod nodes;
mod reader;
mod services;
mod slow;
mod stores;
mod trial;
mod verdict;
