//! Measures the store on a Cassandra cluster: what its doc comments and ARCHITECTURE.md quote.
//!
//! ```text
//! cargo run --release -p rally-cluster --example cassandra_figures -- COMMAND POINTS FACTOR [NUMBERS]
//!
//! load POINTS FACTOR RATE SECONDS    commits at a rate, and bare rows: what two members add
//! pages POINTS FACTOR                history of 50,000, inboxes, catch-up among 10,000
//! ```
//!
//! In the keyspace `rally_figures`, which stays.

mod figures;

use std::env::args;

use rally_cluster::store::cassandra::{CassandraStore, Options};
use rally_cluster::store::{Commit, Store};

use figures::among_200;

async fn open(points: &str, factor: &str) -> CassandraStore {
    let options = Options {
        contact_points: points.split(',').map(str::to_owned).collect(),
        keyspace: "rally_figures".to_owned(),
        replication_factor: factor.parse().expect("a number"),
        request_timeout_ms: 10_000,
        // A database that has just begun is slow, and figures of refusals are none.
        in_flight: 16_384,
        ..Options::default()
    };
    CassandraStore::open(options).await.expect("opened")
}

/// Only the message's own row.
fn bare(commit: Commit) -> Commit {
    Commit { members: Vec::new(), ..commit }
}

/// Warms up, then measures commits and bare rows in turn, twice.
async fn load(store: &impl Store, rate: u64, seconds: u64) {
    figures::load(store, "warming up", rate, seconds, among_200).await;
    let mut first = 1_000_000;
    for _ in 0..2 {
        figures::load(store, "commits", rate, seconds, |nth| among_200(first + nth)).await;
        first += 1_000_000;
        figures::load(store, "bare rows", rate, seconds, |nth| bare(among_200(first + nth))).await;
        first += 1_000_000;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match args[..] {
        ["load", points, factor, rate, seconds] => {
            load(&open(points, factor).await, number(rate), number(seconds)).await;
        }
        ["pages", points, factor] => figures::pages(&open(points, factor).await).await,
        _ => println!("load POINTS FACTOR RATE SECONDS | pages POINTS FACTOR"),
    }
}
