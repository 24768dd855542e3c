//! Who takes a connection and says nothing.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::floods::{statuses, upgrade};
use crate::harness::{PATIENCE, eventually};
use crate::scene::{Scene, Seen, Visitor, name, rest};

/// How many, if this process and the server may have as many files.
const SOCKETS: usize = 15_000;

/// Files that are left for all else: the server, which may have as many as this process, keeps 1,024
/// for its store, and others chat.
const FILES: usize = 1_224;

/// How many one address opens: fewer than it may at once.
const EACH: usize = 400;

/// How long a connection that is closed already may take to show it.
const AT_REST: Duration = Duration::from_millis(200);

/// How many are on their way at once.
const AT_ONCE: usize = 64;

/// Opens WebSockets and says no hello; every third one does not even ask for a WebSocket.
pub fn no_hello(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let room = files_allowed().saturating_sub(FILES);
        let count = SOCKETS.min(room);
        let visitors = scene.visitors(count.div_ceil(EACH));
        let request = upgrade(scene);
        let opening = (0..count).map(|i| open(&visitors[i / EACH], &request, i % 3 == 0));
        let open: Vec<(TcpStream, Vec<u8>)> =
            stream::iter(opening).buffer_unordered(AT_ONCE).collect().await;
        let waiting = scene.server.metric("rally_connections_opening").await;
        let idle = scene.server.metric("rally_http_connections").await;
        let is_taken = |(_, head): &&(TcpStream, Vec<u8>)| statuses(head) == ["101"];
        let taken = open.iter().filter(is_taken).count();
        println!(
            "{} of {SOCKETS} sockets were opened, {taken} of them WebSockets: {waiting} are without \
             hello, {idle} without a request",
            open.len()
        );
        assert_eq!(taken, count - count.div_ceil(3), "every WebSocket that was asked for is there");
        if room < SOCKETS {
            println!("not shown: {SOCKETS} sockets; the hard limit leaves room for {room} files");
        } else {
            assert!(open.len() >= SOCKETS, "{} sockets of {SOCKETS}", open.len());
        }
        let mut seen = Seen::default();
        for one in open {
            seen.attempt(ending(one).await);
        }
        eventually("nobody is waited for", async || {
            scene.server.metric("rally_connections_opening").await == 0.0
        })
        .await;
        seen
    }
    .boxed_local()
}

/// Opens more connections from one address than it may have.
pub fn one_address(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    /// By default 1,024 are allowed.
    const BEYOND: usize = 100;
    async move {
        let refused = "rally_http_connections_refused_total{of=\"address\"}";
        let before = scene.server.metric(refused).await;
        let visitor = scene.visitor();
        let connecting = (0..1_024 + BEYOND).map(|_| visitor.try_connect());
        let open: Vec<_> = stream::iter(connecting).buffer_unordered(AT_ONCE).collect().await;
        eventually("those beyond are refused", async || {
            scene.server.metric(refused).await >= before + BEYOND as f64
        })
        .await;
        let state = async |stream: std::io::Result<TcpStream>| {
            let Ok(mut stream) = stream else { return "closed" };
            match timeout(AT_REST, stream.read(&mut [0])).await {
                Ok(_) => "closed",
                Err(_) => "open",
            }
        };
        let mut seen = Seen::default();
        for state in join_all(open.into_iter().map(state)).await {
            seen.attempt([state]);
        }
        assert_eq!(seen.answers["closed"], BEYOND);
        seen
    }
    .boxed_local()
}

/// Connects, asks for a WebSocket unless it is to be mute, and gives what was read so far.
async fn open(visitor: &Visitor, request: &[u8], mute: bool) -> (TcpStream, Vec<u8>) {
    let mut stream = visitor.connect().await;
    let mut head = Vec::new();
    if !mute {
        stream.write_all(request).await.unwrap();
        let mut bytes = [0; 512];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            match timeout(PATIENCE, stream.read(&mut bytes)).await.expect("no answer") {
                Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                _ => break,
            }
        }
    }
    (stream, head)
}

/// Reads on to the end, and names what was said there.
async fn ending((mut stream, mut all): (TcpStream, Vec<u8>)) -> Vec<String> {
    all.extend(rest(&mut stream).await);
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    let mut seen = statuses(&all[..head]);
    match seen.as_slice() {
        [status] if status == "101" => seen = name(&all[head..]),
        [_] => {}
        _ => seen = vec!["ended".to_owned()],
    }
    seen
}

/// Gives how many files this process may have, after asking for as many as it may ask for.
fn files_allowed() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    most.map_or(usize::MAX, |most| most as usize)
}
