//! A server killed with -9 under load, again and again: what it acknowledged is there, once.

mod harness;

use futures_util::future::join_all;
use harness::Server;
use harness::book::{Book, NO_RATES};
use tokio::sync::Notify;

/// How often the server dies, and how much must have been acknowledged since the last time.
const DEATHS: usize = 20;
const ACKED: usize = 500;

#[tokio::test]
async fn everything_acknowledged_is_there_once_after_each_of_twenty_deaths() {
    let mut server = Server::with(&NO_RATES);
    let mut books = Book::all(|_| 0);
    let acked = |books: &[Book]| books.iter().map(|book| book.outbox.acked.len()).sum::<usize>();
    for death in 1..=DEATHS {
        let before = acked(&books);
        let clients = join_all(books.iter_mut().map(|book| book.join(&server))).await;
        let enough: Vec<_> = books.iter().map(|_| Notify::new()).collect();
        let each = ACKED / books.len();
        let writing = clients.into_iter().zip(books.iter_mut()).zip(&enough);
        let writing = writing.map(|((client, book), enough)| book.write(client, each, enough));
        let dying = async {
            join_all(enough.iter().map(Notify::notified)).await;
            server.kill();
        };
        tokio::join!(join_all(writing), dying);
        server.restart();
        let acked = acked(&books) - before;
        let open: usize = books.iter().map(|book| book.outbox.open.len()).sum();
        assert!(acked >= ACKED, "only {acked} were acknowledged");
        assert!(open > 0, "nothing was in flight");
        println!("death {death}: {acked} acknowledged since the last, {open} open");
        Book::check_all(&mut books, &server).await;
    }
}
