//! Who speaks no HTTP, or no WebSocket: what is right up to some byte, for every byte there is.

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use rally_schema::frame::{Beat, Hello};
use rally_schema::limits::FRAME_BYTES;
use rally_schema::{ClientFrame, ClientId};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use crate::floods::{statuses, upgrade};
use crate::harness::raw::{self, opcode};
use crate::scene::{Scene, Seen, Visitor, last_words, rest};

/// How many connections are under way at once.
const AT_ONCE: usize = 16;

/// Requests that end, or have a byte that does not belong there, at every length; and heads of
/// every order of length.
pub fn http(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let body = r#"{"user":"visitor-0","password":"rally-demo"}"#;
        let request = format!(
            "POST /api/login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            scene.server.address,
            body.len()
        )
        .into_bytes();
        let mut all = broken(&request);
        for length in (0..=20).map(|order| 1_usize << order) {
            all.push(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(length)).into_bytes());
            all.push(format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(length)).into_bytes());
            all.push(vec![b'x'; length]);
        }
        throw_all(scene, &all).await
    }
    .boxed_local()
}

/// The head that asks for a WebSocket: as requests are above, and with another letter for each of
/// its bytes, by which it asks for something else, or asks wrongly, or is no head.
pub fn handshake(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let request = upgrade(scene);
        let mut all = broken(&request);
        all.extend((0..request.len()).map(|at| {
            let mut other = request.clone();
            other[at] = b'x';
            other
        }));
        throw_all(scene, &all).await
    }
    .boxed_local()
}

/// Cuts a request off at every length, and puts a byte at every place that belongs to none.
fn broken(request: &[u8]) -> Vec<Vec<u8>> {
    let with_another = |at: usize| [&request[..at], &[1], &request[at..]].concat();
    (0..request.len()).flat_map(|at| [request[..at].to_vec(), with_another(at)]).collect()
}

/// Writes each on a connection of its own, and counts what came.
async fn throw_all(scene: &Scene, all: &[Vec<u8>]) -> Seen {
    // Few from each address: it is not the rate that is to answer.
    let visitors = scene.visitors(all.len().div_ceil(50));
    let throwing = all.iter().enumerate().map(|(i, bytes)| throw(&visitors[i / 50], bytes));
    let answers: Vec<_> = stream::iter(throwing).buffer_unordered(AT_ONCE).collect().await;
    let mut seen = Seen::default();
    answers.into_iter().for_each(|one| seen.attempt(one));
    seen
}

/// Writes bytes to the port, ends its own half, and names the statuses that came.
async fn throw(visitor: &Visitor, bytes: &[u8]) -> Vec<String> {
    let mut stream = visitor.connect().await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    match statuses(&rest(&mut stream).await) {
        none if none.is_empty() => vec!["ended".to_owned()],
        some => some,
    }
}

/// Before `hello` and in a session: messages that end, or have another byte, at every length; and
/// messages of every order of length.
pub fn websocket(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let (ticket, client) = ("A".repeat(200), Uuid::new_v4().into());
        let hello = raw::text(&ClientFrame::from(Hello { ticket, client, cursor: None }).encode());
        let beat = raw::text(&ClientFrame::from(Beat {}).encode());
        let mut strangers = bent(&hello);
        let mut guests = bent(&beat);
        for order in 0..=20 {
            let payload = vec![b'x'; 1 << order];
            for kind in [opcode::TEXT, opcode::BINARY, opcode::CONTINUATION, opcode::PING, 3, 15] {
                strangers.push(raw::frame(kind, &payload));
            }
        }
        guests.push(raw::frame(opcode::TEXT, &vec![b'x'; FRAME_BYTES + 1]));
        guests.push(raw::frame(opcode::CONTINUATION, b"x"));
        let mut seen = Seen::default();
        let visitors = scene.visitors(strangers.len().div_ceil(50));
        let throwing = strangers.iter().enumerate().map(|(i, bytes)| visitors[i / 50].throw(bytes));
        let answers: Vec<_> = stream::iter(throwing).buffer_unordered(AT_ONCE).collect().await;
        answers.into_iter().for_each(|one| seen.attempt(one));
        let visitors = scene.visitors(guests.len().div_ceil(20));
        let mut tokens = Vec::new();
        for visitor in &visitors {
            tokens.push(visitor.register().await);
        }
        for (i, bytes) in guests.iter().enumerate() {
            seen.attempt(as_guest(&visitors[i / 20], &tokens[i / 20], bytes).await);
        }
        seen
    }
    .boxed_local()
}

/// Cuts a message off at every length, and changes each of its bytes.
fn bent(message: &[u8]) -> Vec<Vec<u8>> {
    let changed = |at: usize| {
        let mut bytes = message.to_vec();
        bytes[at] ^= 0xff;
        bytes
    };
    (0..message.len()).flat_map(|at| [message[..at].to_vec(), changed(at)]).collect()
}

/// Opens a session, writes bytes, ends its own half, and names what came.
async fn as_guest(visitor: &Visitor, token: &str, bytes: &[u8]) -> Vec<String> {
    let client: ClientId = Uuid::new_v4().into();
    let ticket = visitor.ticket(token, client).await;
    let mut stream = visitor.open().await;
    stream.write_all(&crate::scene::hello(&ticket, client)).await.unwrap();
    let _ = stream.write_all(bytes).await;
    last_words(stream).await
}
