//! A server whose power is cut under load, and one whose disk fills: what it acknowledged is
//! there, in its order, once, and nothing is there by half.
//!
//! The real program, on a layer that knows what it synced (`layer/`). A cut is kill -9, and then
//! a disk that holds what was synced, and of the rest what chance leaves (`cut.rs`).
//! `RALLY_TEST_CUTS` says how many cuts, and `RALLY_TEST_SEED` repeats what chance drew; what the
//! server was doing at the time of the cut is as it comes.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod cut;
mod disk;
mod full;
#[path = "../harness/mod.rs"]
mod harness;
mod preload;
#[path = "layer/src/record.rs"]
mod record;
mod tree;

use std::time::Duration;

use cut::Survives;
use disk::Disk;
use futures_util::future::join_all;
use harness::book::{Book, NO_RATES};
use harness::{Refused, Server, ports};
use tokio::sync::Notify;

/// How many cuts there are under load, if nothing else is asked for.
const CUTS: u64 = 12;

/// How many of them one store goes through.
const CUTS_A_STORE: u64 = 6;

/// The most that each writer has acknowledged from one cut to the next.
const MOST_ACKED: u32 = 120;

/// Within how many milliseconds the power goes then.
const MOST_AFTER_MS: u32 = 8;

/// About how many records it takes to start on a store that is there, and to make one.
const STARTING: u32 = 8;
const MAKING: u32 = 120;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn seed() -> u64 {
    let seed = setting("RALLY_TEST_SEED", u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("RALLY_TEST_SEED={seed}");
    seed
}

/// Starts a server on the layer, whose power may go while it starts.
fn try_server(
    disk: &Disk,
    layer: &[(&'static str, u64)],
    flags: &[&str],
) -> Result<Server, Refused> {
    let flags: Vec<&str> = NO_RATES.iter().chain(flags).copied().collect();
    let listen = ports::free().to_string();
    Server::try_under(preload::environment(disk, layer), &listen, &disk.home(), &flags)
}

/// Starts a server on the layer.
fn server(disk: &Disk, flags: &[&str]) -> Server {
    try_server(disk, &[], flags).unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// Has all write, and the server die so long after each has so much more acknowledged.
async fn write_until_killed(server: &mut Server, books: &mut [Book], each: usize, after: Duration) {
    let clients = join_all(books.iter_mut().map(|book| book.join(server))).await;
    let enough: Vec<_> = books.iter().map(|_| Notify::new()).collect();
    let writing = clients.into_iter().zip(books).zip(&enough);
    let writing = writing.map(|((client, book), enough)| book.write(client, each, enough));
    let dying = async {
        join_all(enough.iter().map(Notify::notified)).await;
        tokio::time::sleep(after).await;
        server.kill();
    };
    tokio::join!(join_all(writing), dying);
}

/// Draws what survives: all, nothing, or half; of bytes and of names.
fn survives(disk: &mut Disk) -> Survives {
    let [bytes, names] = [disk.draw(3), disk.draw(3)].map(|halves| halves * 2);
    Survives { bytes, names }
}

/// Counts what was acknowledged, and what has no answer.
fn count(books: &[Book]) -> (usize, usize) {
    let acked = books.iter().map(|book| book.outbox.acked.len()).sum();
    (acked, books.iter().map(|book| book.outbox.open.len()).sum())
}

/// Writes so much that the journal is about to be followed by another one.
async fn fill_journal(server: &Server) {
    let mut book = Book::of("novak", "andy", |_| 60_000);
    let client = book.join(server).await;
    let enough = Notify::new();
    tokio::select! {
        () = book.write(client, 950, &enough) => panic!("the connection ended"),
        () = enough.notified() => {}
    }
}

/// Cuts the power of one store again and again.
async fn cut_again_and_again(cuts: u64, disk: &mut Disk, server: &mut Server, books: &mut [Book]) {
    for cut in 1..=cuts {
        let each = 1 + disk.draw(MOST_ACKED) as usize;
        // An answer follows a sync at once: only then would little be unsynced.
        let after = Duration::from_millis(disk.draw(MOST_AFTER_MS).into());
        write_until_killed(server, books, each, after).await;
        let survives = survives(disk);
        let taken = disk.cut(survives);
        let (acked, open) = count(books);
        println!("cut {cut}: {acked} acknowledged, {open} open; {survives}: {taken}");
        // Every other time it goes again while the server starts.
        if disk.draw(2) == 0 {
            let records = u64::from(1 + disk.draw(STARTING));
            server.environment = preload::environment(disk, &[("POWER_CUT", records)]);
            match server.try_restart() {
                Ok(()) => server.kill(),
                Err((code, said)) => assert_eq!(code, None, "it was killed: {said:?}"),
            }
            let taken = disk.cut(survives);
            println!("and again after {records} records, or when it was ready: {taken}");
        }
        server.environment = preload::environment(disk, &[]);
        server.restart();
        Book::check_all(books, server).await;
    }
    server.assert_no_panic();
}

#[tokio::test]
async fn everything_acknowledged_is_there_once_after_each_power_cut() {
    let (seed, cuts) = (seed(), setting("RALLY_TEST_CUTS", CUTS));
    let mut all = 0;
    for (nth, before) in (0..cuts).step_by(CUTS_A_STORE as usize).enumerate() {
        let mut disk = Disk::new(seed + nth as u64);
        let mut server = server(&disk, &[]);
        // Every other store writes its memory to files meanwhile, and begins a new journal.
        let is_large = nth % 2 == 1;
        if is_large {
            fill_journal(&server).await;
        }
        let mut books = Book::all(if is_large { |n| 8_000 * (n % 3) as usize } else { |_| 0 });
        let some = (cuts - before).min(CUTS_A_STORE);
        cut_again_and_again(some, &mut disk, &mut server, &mut books).await;
        all += count(&books).0;
    }
    println!("{cuts} cuts under load: all {all} acknowledged were there, once and in their order");
}

/// A sync of a file does not make its folder's name last, nor those above it.
#[tokio::test]
async fn what_a_new_store_acknowledged_survives_a_cut_that_leaves_no_unsynced_name() {
    let mut disk = Disk::new(1);
    let mut server = server(&disk, &[]);
    let mut books = Book::all(|_| 0);
    write_until_killed(&mut server, &mut books, 1, Duration::ZERO).await;
    println!("{}", disk.cut(Survives::NOTHING));
    server.restart();
    Book::check_all(&mut books, &server).await;
}

/// A clean stop empties the journals: what they held has to be in files that last.
#[tokio::test]
async fn what_was_acknowledged_survives_a_cut_right_after_a_clean_stop() {
    let mut disk = Disk::new(1);
    let mut server = server(&disk, &[]);
    let mut books = Book::all(|_| 0);
    write_until_killed(&mut server, &mut books, 20, Duration::ZERO).await;
    disk.cut(Survives::ALL);
    server.restart();
    assert_eq!(server.terminate(), Some(0));
    println!("{}", disk.cut(Survives::NOTHING));
    server.restart();
    Book::check_all(&mut books, &server).await;
}

#[tokio::test]
async fn a_store_whose_power_is_cut_while_it_is_made_is_made_again() {
    let seed = seed();
    for cut in 0..setting("RALLY_TEST_CUTS", CUTS) {
        let mut disk = Disk::new(seed + cut);
        let records = 1 + disk.draw(MAKING);
        match try_server(&disk, &[("POWER_CUT", records.into())], &[]) {
            Ok(mut server) => server.kill(),
            Err((code, said)) => assert_eq!(code, None, "it was killed: {said:?}"),
        }
        let survives = survives(&mut disk);
        println!("after {records} records; {survives}: {}", disk.cut(survives));
        let mut server = server(&disk, &[]);
        let mut books = Book::all(|_| 0);
        write_until_killed(&mut server, &mut books, 1, Duration::ZERO).await;
        disk.cut(Survives::NOTHING);
        server.restart();
        Book::check_all(&mut books, &server).await;
    }
}

/// So a layer that took nothing would be found out.
#[tokio::test]
async fn a_server_that_does_not_sync_loses_what_it_acknowledged() {
    let mut disk = Disk::new(1);
    let mut server = server(&disk, &["--durability=os"]);
    let mut books = Book::all(|_| 0);
    write_until_killed(&mut server, &mut books, 20, Duration::ZERO).await;
    let taken = disk.cut(Survives { bytes: 0, names: 4 });
    server.environment = preload::environment(&disk, &[]);
    server.restart();
    let (mut lost, (acked, _)) = (0, count(&books));
    for book in &mut books {
        let history = book.history(&server).await;
        lost += book.lost_from(&history);
    }
    println!("{lost} of {acked} acknowledged are lost: {taken}");
    assert!(lost > 0, "the layer takes what was not synced");
}

#[tokio::test]
async fn the_layer_sees_all_that_a_server_writes() {
    let mut disk = Disk::new(1);
    let mut server = server(&disk, &[]);
    let mut books = Book::all(|_| 30_000);
    // More than memory holds, so that there are files of every kind.
    let mut writer = books[0].join(&server).await;
    for _ in 0..700 {
        let draft = books[0].draft(&mut writer);
        writer.send(&draft).await;
    }
    assert_eq!(server.terminate(), Some(0));
    disk.assert_all_was_seen();
}
