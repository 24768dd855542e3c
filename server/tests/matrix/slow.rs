//! Who takes nothing, or next to nothing, of what is written to him.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rally_schema::ClientFrame;
use rally_schema::frame::Beat;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{interval, timeout};

use crate::harness::{PATIENCE, raw};
use crate::scene::{Scene, Seen, Visitor, rest};

/// How many do so at once.
const AT_ONCE: usize = 3;

/// Bytes of a text that is written to them, and how often one is.
const TEXT: usize = 60_000;
const PACE: Duration = Duration::from_millis(80);

/// How a reader reads.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Nothing,
    /// One byte a second, and says in between that he is there.
    OneByte,
}

pub fn never(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    several(scene, Reads::Nothing).boxed_local()
}

pub fn one_byte_a_second(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    several(scene, Reads::OneByte).boxed_local()
}

/// Goes on until the server has ended all of them.
async fn several(scene: &Scene, reads: Reads) -> Seen {
    let ended = "rally_sessions_ended_total{of=\"silent\"}";
    let before = scene.server.metric(ended).await;
    let all_ended = async {
        while scene.server.metric(ended).await < before + AT_ONCE as f64 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let all_ended = timeout(PATIENCE, all_ended).map(|ended| ended.expect("they are not ended"));
    let all_ended = all_ended.shared();
    let each =
        (0..AT_ONCE).map(|_| one(scene.visitor(), scene.visitor(), reads, all_ended.clone()));
    let mut seen = Seen::default();
    for ended in join_all(each).await {
        seen.attempt(ended);
    }
    seen
}

/// Has somebody write to a reader until the server has ended that one's session.
async fn one(
    reader: Visitor,
    writer: Visitor,
    reads: Reads,
    ended: impl Future<Output = ()>,
) -> [&'static str; 1] {
    let socket = TcpSocket::new_v4().unwrap();
    // Little, so that what is not read waits in the server and not in this kernel.
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let token = reader.register().await;
    let mut stream = reader.enter(&token, socket, None).await.into_stream();
    let mut writer = writer.join().await;
    let (mut pace, mut second) = (interval(PACE), interval(Duration::from_secs(1)));
    let beat = raw::text(&ClientFrame::from(Beat {}).encode());
    let mut number = 0;
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = pace.tick() => {
                number += 1;
                let draft = writer.draft(&reader.name, &format!("{number:0>TEXT$}"));
                writer.tell(draft).await;
            }
            _ = writer.next() => {}
            _ = second.tick(), if reads == Reads::OneByte => {
                stream.write_all(&beat).await.ok();
                timeout(Duration::from_millis(1), stream.read_exact(&mut [0])).await.ok();
            }
            () = &mut ended => break,
        }
    }
    // What the kernels held, and maybe a goodbye; and then the end.
    rest(&mut stream).await;
    ["ended"]
}
