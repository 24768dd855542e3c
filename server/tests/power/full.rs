//! The disk fills under load: the process ends and says why, nothing acknowledged is lost, and
//! once there is room all goes on where it was.
//!
//! On a real disk of a few megabytes, for those who may mount one, and for everybody on the layer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::disk::Disk;
use super::harness::Server;
use super::harness::book::{Book, NO_RATES};
use super::harness::small_disk::SmallDisk;
use super::{count, preload, server, write_until_killed};

/// Exit code of a process whose store failed.
const STORE_FAILED: i32 = 74;

/// Exit code for settings that cannot be used, the folder among them.
const BAD_CONFIG: i32 = 78;

/// How much more each writer has acknowledged once there is room.
const MORE: usize = 50;

/// A disk with little room.
enum Small<'a> {
    Mounted(&'a SmallDisk),
    Layer(&'a Disk),
}

impl Small<'_> {
    /// Says how much room there is on the layer, from the next start on.
    fn set_room(&self, server: &mut Server, bytes: Option<u64>) {
        if let Self::Layer(disk) = self {
            let room = bytes.map(|bytes| ("POWER_ROOM", bytes));
            server.environment = preload::environment(disk, room.as_slice());
        }
    }

    fn make_room(&self, server: &mut Server) {
        self.set_room(server, None);
        if let Self::Mounted(disk) = self {
            disk.grow("300m");
        }
    }
}

/// Has all write until the disk is full, which ends the server; then makes room.
async fn fill(what: &str, disk: Small<'_>, mut server: Server) {
    let server = &mut server;
    let mut books = Book::all(|number| 10_000 * (number % 3) as usize);
    let clients = join_all(books.iter_mut().map(|book| book.join(server))).await;
    let never = Notify::new();
    let writing = clients.into_iter().zip(&mut books);
    join_all(writing.map(|(client, book)| book.write(client, usize::MAX / 2, &never))).await;
    assert_eq!(server.wait().await, Some(STORE_FAILED));
    let said = server.log().join("\n");
    assert!(said.contains("the store failed") && said.contains("is full"), "{said}");
    let (acked, open) = count(&books);
    assert!(acked > 0 && open > 0, "{acked} acknowledged, {open} open");

    disk.set_room(server, Some(0));
    let (code, said) = server.try_restart().expect_err("it is still full");
    assert_eq!(code, Some(BAD_CONFIG), "{said:?}");
    assert!(said.last().unwrap().contains("free some space and start again"), "{said:?}");

    disk.make_room(server);
    server.restart();
    Book::check_all(&mut books, server).await;
    write_until_killed(server, &mut books, MORE, Duration::ZERO).await;
    server.restart();
    Book::check_all(&mut books, server).await;
    server.assert_no_panic();
    let (after, _) = count(&books);
    println!(
        "{what} full after {acked} acknowledged, with {open} open; all there, and {} more since",
        after - acked
    );
}

#[tokio::test]
async fn a_small_disk_that_fills_under_load_loses_nothing_and_goes_on_with_more_room() {
    // The latter when memory is being written to files, too.
    for size in ["6m", "30m"] {
        let Some(disk) = SmallDisk::mount(size) else { return };
        let server = Server::on(disk.path(), &NO_RATES);
        fill(size, Small::Mounted(&disk), server).await;
    }
}

#[tokio::test]
async fn a_write_that_finds_no_room_loses_nothing_and_all_goes_on_with_more() {
    for bytes in [3_000_000, 21_234_567] {
        let disk = Disk::new(1);
        let mut server = server(&disk, &[]);
        server.kill();
        let disk = Small::Layer(&disk);
        disk.set_room(&mut server, Some(bytes));
        server.restart();
        fill(&format!("{bytes} bytes"), disk, server).await;
    }
}
