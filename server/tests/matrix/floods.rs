//! Who asks for more than his share, as fast as he can.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rally_schema::ClientFrame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::harness::Client;
use crate::harness::raw::{self, opcode};
use crate::scene::{Scene, Seen, Visitor, name};

/// Writes `what` again and again until `end`, reads all that comes, and gives both counts.
pub async fn pour(stream: TcpStream, what: &[u8], end: Instant) -> (usize, Vec<u8>) {
    let (mut reading, mut writing) = stream.into_split();
    let mut all = Vec::new();
    let mut written = 0;
    let write = async {
        while let Ok(Ok(())) = timeout_at(end, writing.write_all(what)).await {
            written += 1;
        }
    };
    let read = async {
        let mut bytes = [0; 65_536];
        while let Ok(Ok(read @ 1..)) = timeout_at(end, reading.read(&mut bytes)).await {
            all.extend_from_slice(&bytes[..read]);
        }
    };
    tokio::join!(write, read);
    (written, all)
}

/// How many do so at once, and how many frames each writes at a time.
const AT_ONCE: usize = 4;
const BATCH: usize = 1_000;

/// Messages.
pub fn sends(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    let draft = |client: &mut Client, i| {
        let me = client.user.to_string();
        raw::text(&ClientFrame::from(client.draft(&me, &format!("flood {i}"))).encode())
    };
    flood(scene, draft).boxed_local()
}

/// Questions whether the server is there, as WebSockets have them.
pub fn pings(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    flood(scene, |_, _| raw::frame(opcode::PING, b"?")).boxed_local()
}

/// What the protocol does not have.
pub fn binaries(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    flood(scene, |_, _| raw::frame(opcode::BINARY, b"?")).boxed_local()
}

/// Writes frames without a pause; no more of them are taken than the rate allows.
async fn flood(scene: &Scene, frame: impl Fn(&mut Client, usize) -> Vec<u8>) -> Seen {
    const PONG: &[u8] = b"\x8a\x01?";
    let one = async |visitor: Visitor| {
        let mut client = visitor.join().await;
        let frames: Vec<u8> = (0..BATCH).flat_map(|i| frame(&mut client, i)).collect();
        pour(client.into_stream(), &frames, Instant::now() + scene.lasts).await
    };
    let begun = Instant::now();
    let mut seen = Seen::default();
    for (written, answers) in join_all(scene.visitors(AT_ONCE).into_iter().map(one)).await {
        seen.attempts += written * BATCH;
        let pongs = answers.windows(PONG.len()).filter(|bytes| *bytes == PONG).count();
        (0..pongs).for_each(|_| seen.add("pong"));
        name(&answers).into_iter().filter(|_| pongs == 0).for_each(|answer| seen.add(answer));
    }
    let answers: usize = seen.answers.values().sum();
    // By default 1,000 frames at once and 200 a second.
    let most = AT_ONCE as f64 * (1_000.0 + 200.0 * begun.elapsed().as_secs_f64());
    assert!((answers as f64) <= most, "{answers} frames were taken of at most {most}");
    seen
}

/// Requests, on many connections from a few addresses, several at a time on each.
pub fn requests(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    flood_http(scene, "/api/config").boxed_local()
}

/// The same for a page.
pub fn pages(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    flood_http(scene, "/").boxed_local()
}

async fn flood_http(scene: &Scene, path: &str) -> Seen {
    const CONNECTIONS: usize = 16;
    const PIPELINED: usize = 8;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", scene.server.address);
    let request = request.repeat(PIPELINED).into_bytes();
    let flood = async |visitor: Visitor| {
        let end = Instant::now() + scene.lasts;
        pour(visitor.connect().await, &request, end).await
    };
    let visitors = scene.visitors(4).into_iter().flat_map(|one| vec![one; CONNECTIONS]);
    let mut seen = Seen::default();
    for (_, answers) in join_all(visitors.map(flood)).await {
        for status in statuses(&answers) {
            seen.attempt([status]);
        }
    }
    seen
}

/// Gives the statuses of all answers in a stream.
pub fn statuses(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads.filter_map(|head| head.get(..3)).map(str::to_owned).collect()
}

/// Handshakes, one after the other on many connections, each given up at once.
pub fn handshakes(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let request = upgrade(scene);
        let flood = async |visitor: Visitor| {
            let mut seen = Seen::default();
            let end = Instant::now() + scene.lasts;
            while Instant::now() < end {
                let mut stream = visitor.connect().await;
                stream.write_all(&request).await.unwrap();
                let mut head = [0; 12];
                let read = timeout_at(end + Duration::from_secs(10), stream.read_exact(&mut head));
                let status = match read.await.expect("no answer to a handshake") {
                    Ok(_) => String::from_utf8_lossy(&head[9..]).into_owned(),
                    Err(_) => "closed".to_owned(),
                };
                seen.attempt([status]);
            }
            seen
        };
        let visitors = scene.visitors(4).into_iter().flat_map(|one| vec![one; 8]);
        let mut seen = Seen::default();
        for one in join_all(visitors.map(flood)).await {
            seen.join(one);
        }
        seen
    }
    .boxed_local()
}

/// Writes the head that asks for a WebSocket.
pub fn upgrade(scene: &Scene) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: rally.v1\r\n\r\n",
        scene.server.address
    )
    .into_bytes()
}
