//! What a client that does not read costs the server, and that it has everything in the end.
//! That others do not wait for it, nor for any other hostile client, is in `matrix/`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::HashSet;
use std::time::Duration;

use harness::client::Client;
use harness::measure::{is_near, peak, pulse};
use harness::{Server, http};
use rally_schema::MessageId;
use rally_schema::frame::ServerFrame;
use tokio::net::TcpSocket;
use tokio::time::{Instant, interval};
use uuid::Uuid;

/// How much each of two people writes to the one who does not read.
const WRITTEN: usize = 190;
const WRITTEN_BYTES: usize = 60_000;
const WRITING: Duration = Duration::from_millis(5_700);

/// What the server and others show while somebody is written 4 MB a second.
struct Flood {
    grown: u64,
    median: Duration,
    sent: HashSet<MessageId>,
}

/// Writes long messages at an even pace.
async fn write_much(mut from: Client, to: &str) -> Vec<MessageId> {
    let mut pace = interval(WRITING / WRITTEN as u32);
    let mut refs = Vec::new();
    for i in 0..WRITTEN {
        pace.tick().await;
        let draft = from.draft(to, &format!("{i:0>WRITTEN_BYTES$}"));
        refs.push(draft.r#ref);
        from.tell(draft).await;
    }
    let mut ids = Vec::new();
    for r#ref in refs {
        ids.push(from.acked(r#ref).await.id);
    }
    ids
}

/// Has two people write to roger, with two others beside them.
async fn flood(server: &Server) -> Flood {
    let (rafa, andy) = (server.join("rafa").await, server.join("andy").await);
    let (mut carlos, mut novak) = (server.join("carlos").await, server.join("novak").await);
    let before = server.rss();
    let begun = Instant::now();
    let end = begun + WRITING;
    let (one, two, median, most) = tokio::join!(
        write_much(rafa, "roger"),
        write_much(andy, "roger"),
        pulse(&mut carlos, &mut novak, end),
        peak(server, end),
    );
    let rate = (2 * WRITTEN * WRITTEN_BYTES) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!(
        "{rate:.1} MB/s written, memory grew by {} KiB, median {median:?}",
        (most - before) / 1024
    );
    // Twice the 2 MB/s that are promised where the machine has nothing else to do.
    assert!(rate >= 0.5, "only {rate} MB/s were written");
    let sent = one.into_iter().chain(two).collect();
    Flood { grown: most - before, median, sent }
}

#[tokio::test]
async fn a_client_that_never_reads_costs_its_budget_slows_nobody_and_catches_up_later() {
    const BUDGET: u64 = 256 * 1024;
    // What the allocator and the store may differ by between two runs; half of what is written.
    const NOISE: u64 = 12 * 1024 * 1024;
    let flags = [
        "--rate-sends-per-second=10000",
        "--rate-frames-per-second=10000",
        "--out-budget-bytes=262144",
        // It is not the disk that is measured.
        "--durability=os",
    ];
    let usual = {
        let server = Server::with(&flags);
        let mut roger = server.join("roger").await;
        tokio::select! {
            flood = flood(&server) => flood,
            () = async { while roger.next().await.is_some() {} } => panic!("roger was sent away"),
        }
    };
    let server = Server::with(&flags);
    let socket = TcpSocket::new_v4().unwrap();
    // Little, so that what is not read waits in the server and not in this kernel.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let token = http::log_in(server.address, "roger").await;
    let mut roger = Client::hello_on(stream, "roger", token, Uuid::new_v4().into(), None).await;
    roger.caught_up().await;
    let seen = flood(&server).await;
    assert_eq!(server.metric("rally_lagged_total").await, 1.0);
    assert!(
        seen.grown <= usual.grown + BUDGET + NOISE,
        "memory grew by {} with him, by {} without",
        seen.grown,
        usual.grown
    );
    assert!(is_near(seen.median, usual.median), "{:?} after {:?}", seen.median, usual.median);
    let mut missing = seen.sent;
    while !missing.is_empty() {
        match roger.next().await {
            Some(ServerFrame::Message(message)) => _ = missing.remove(&message.id),
            Some(_) => {}
            // On a slow machine it took longer than the kernel waits for a reader.
            None => roger = roger.come_back().await,
        }
    }
    roger.caught_up().await;
    assert_eq!(server.metric("rally_lagging").await, 0.0);
    let mut rafa = server.join("rafa").await;
    rafa.say("roger", "live again").await;
    roger.hears("live again").await;
    server.assert_no_panic();
}
