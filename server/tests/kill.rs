//! A server killed with -9 under load, again and again: what it acknowledged is there, once.

mod harness;

use std::collections::HashMap;

use futures_util::future::join_all;
use harness::Server;
use harness::client::Client;
use rally_schema::frame::ServerFrame;
use rally_schema::{MessageId, Ref};

/// How often the server dies, and how much must have been acknowledged since the last time.
const DEATHS: usize = 20;
const ACKED: usize = 500;

/// Pairs who write to each other; each keeps this many sends in flight.
const PAIRS: [(&str, &str); 4] =
    [("rafa", "roger"), ("carlos", "novak"), ("andy", "rafa"), ("roger", "carlos")];
const IN_FLIGHT: usize = 32;

/// What a writer knows when the server dies.
#[derive(Default)]
struct Book {
    acked: HashMap<Ref, (MessageId, String)>,
    open: HashMap<Ref, rally_schema::frame::Send>,
}

/// Writes until the server has acknowledged enough, then goes on until the connection ends.
async fn write(mut client: Client, peer: &str, book: &mut Book, enough: &tokio::sync::Notify) {
    let mut acked = 0;
    let mut number = book.acked.len() + book.open.len();
    // What was open when the server died comes first, as a retry, in its own order.
    let mut again: Vec<_> = book.open.values().cloned().collect();
    again.sort_by_key(|send| (send.at, send.n));
    for send in again {
        client.tell(rally_schema::frame::Send { retry: true, ..send }).await;
    }
    loop {
        while book.open.len() < IN_FLIGHT {
            number += 1;
            let draft = client.draft(peer, &format!("message {number}"));
            book.open.insert(draft.r#ref, draft.clone());
            if client.try_tell(draft).await.is_err() {
                return;
            }
        }
        match client.next().await {
            Some(ServerFrame::Ack(ack)) => {
                let send = book.open.remove(&ack.r#ref).expect("acked once");
                book.acked.insert(ack.r#ref, (ack.id, send.text));
                acked += 1;
                if acked == ACKED / PAIRS.len() + 1 {
                    enough.notify_one();
                }
            }
            Some(ServerFrame::Error(error)) => {
                let send = error.r#ref.and_then(|r#ref| book.open.get_mut(&r#ref));
                let send = send.unwrap_or_else(|| panic!("{error:?}"));
                // The restart took longer than a stamp is good for: stamped anew, sent anew.
                assert!(error.retry, "{error:?}");
                if matches!(error.code.name(), "expired" | "clock") {
                    (send.at, send.n) = client.stamp();
                    send.retry = false;
                }
                let send = send.clone();
                if client.try_tell(send).await.is_err() {
                    return;
                }
            }
            Some(_) => {}
            None => return,
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_once_after_each_of_twenty_deaths() {
    let mut server = Server::with(&[
        "--rate-sends-per-second=1000000",
        "--rate-sends-burst=1000000",
        "--rate-frames-per-second=1000000",
        "--rate-frames-burst=1000000",
    ]);
    let mut books: Vec<Book> = PAIRS.iter().map(|_| Book::default()).collect();
    for death in 1..=DEATHS {
        let mut clients = Vec::new();
        for (writer, _) in PAIRS {
            clients.push(server.join(writer).await);
        }
        let before: usize = books.iter().map(|book| book.acked.len()).sum();
        let enough: Vec<_> = PAIRS.iter().map(|_| tokio::sync::Notify::new()).collect();
        let writing = join_all(
            clients
                .into_iter()
                .zip(PAIRS)
                .zip(books.iter_mut())
                .zip(&enough)
                .map(|(((client, (_, peer)), book), enough)| write(client, peer, book, enough)),
        );
        let dying = async {
            join_all(enough.iter().map(|enough| enough.notified())).await;
            server.kill();
        };
        tokio::join!(writing, dying);
        server.restart();
        let acked: usize = books.iter().map(|book| book.acked.len()).sum();
        let open: usize = books.iter().map(|book| book.open.len()).sum();
        assert!(acked - before >= ACKED, "only {} were acknowledged", acked - before);
        assert!(open > 0, "nothing was in flight");
        println!("death {death}: {} acknowledged since the last, {open} open", acked - before);
        for ((writer, peer), book) in PAIRS.into_iter().zip(&books) {
            check(&server, writer, peer, book).await;
        }
    }
}

/// Reads a conversation as its reader does: all that was acknowledged, once, in order.
async fn check(server: &Server, writer: &str, peer: &str, book: &Book) {
    let mut reader = server.join(peer).await;
    let chat = reader.chat(writer);
    let history = reader.whole_history(chat).await;
    assert!(history.windows(2).all(|pair| pair[0].id < pair[1].id), "history is in order");
    let mut by_ref: HashMap<Ref, (MessageId, &str)> = HashMap::new();
    for message in history.iter().filter(|message| message.sender.as_str() == writer) {
        let twice = by_ref.insert(message.r#ref, (message.id, &message.text));
        assert!(twice.is_none(), "{} is there twice", message.r#ref);
        let known =
            book.acked.contains_key(&message.r#ref) || book.open.contains_key(&message.r#ref);
        assert!(known, "{} was never sent", message.r#ref);
    }
    for (r#ref, (id, text)) in &book.acked {
        let found = by_ref.get(r#ref);
        assert_eq!(found, Some(&(*id, &**text)), "{ref} was acknowledged");
    }
    let head = reader.inbox().await.entries.into_iter().find(|entry| entry.conversation == chat);
    let newest = history.last().map(|message| message.id);
    assert_eq!(head.map(|entry| entry.head.id), newest, "the inbox shows the newest");
}
