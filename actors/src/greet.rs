//! What happens on a socket before there is a session: one `hello`, or a goodbye.
//!
//! No actor yet: a stranger costs a small future and no more, for a stated time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use rally_schema::ErrorCode;
use rally_schema::frame::{Bye, ByeReason, ClientFrame, ErrorFrame, Hello, ServerFrame};
use rally_schema::limits::{FRAME_BYTES, HELLO_BYTES, HELLO_MS};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::deadlines;
use crate::io::Io;
use crate::metrics::count;
use crate::node::{Admitted, Node};
use crate::socket::Socket;
use crate::wire::{self, Decoder, Incoming};
use rally_cluster::membership::Status;

/// Who was let in.
pub struct Guest {
    /// What his ticket says.
    pub admitted: Admitted,
    /// What he said.
    pub hello: Hello,
    /// What came after `hello`, not yet decoded.
    pub decoder: Decoder,
}

/// Why nobody was let in: what he is told, and the close code.
struct Refusal {
    error: Option<ErrorFrame>,
    reason: ByeReason,
    code: u16,
}

/// Waits for `hello` and spends its ticket. `None`: the socket was told why, and is closed.
pub async fn greet<S: Socket>(node: &Node, mut socket: S, early: Bytes) -> Option<(S, Guest)> {
    let mut decoder = Decoder::new(HELLO_BYTES);
    decoder.feed(&early);
    drop(early);
    node.metrics.opening.inc();
    let deadline = Instant::now() + Duration::from_millis(HELLO_MS);
    let said = deadlines::before(deadline, hello(node, &mut socket, decoder)).await;
    node.metrics.opening.dec();
    let refusal = match said {
        Some(Ok(Some(guest))) => return Some((socket, guest)),
        Some(Ok(None)) => return None,
        Some(Err(refusal)) => refusal,
        None => {
            let text = format!("no hello within {HELLO_MS} ms");
            refuse(ErrorCode::HelloExpected, text, ByeReason::Silent)
        }
    };
    count(&node.metrics.ended, "refused");
    tell(node, Box::new(socket), refusal).await;
    None
}

fn refuse(code: ErrorCode, text: impl Into<String>, reason: ByeReason) -> Refusal {
    Refusal { error: Some(ErrorFrame::new(code, text)), reason, code: 1008 }
}

/// Reads until the first whole message; `Ok(None)` when the peer left.
async fn hello(
    node: &Node,
    socket: &mut dyn Socket,
    mut decoder: Decoder,
) -> Result<Option<Guest>, Refusal> {
    let text = loop {
        match decoder.decode() {
            Ok(Some(Incoming::Text(text))) => break text,
            Ok(Some(Incoming::Ping(_) | Incoming::Pong)) => continue,
            Ok(Some(Incoming::Close(_))) => return Ok(None),
            Ok(Some(Incoming::Binary(_))) => {
                let text = "a binary message: this protocol is text";
                return Err(refuse(ErrorCode::BinaryFrame, text, ByeReason::Protocol));
            }
            Ok(None) => {}
            Err(error) => {
                let code = error.close_code();
                return Err(Refusal { error: None, reason: ByeReason::Protocol, code });
            }
        }
        if !read(socket, &mut decoder).await {
            return Ok(None);
        }
    };
    let hello = match ClientFrame::decode(&text) {
        Ok(ClientFrame::Hello(hello)) => hello,
        Ok(other) => {
            let text = format!("the first frame was {:?}: send hello", other.kind());
            return Err(refuse(ErrorCode::HelloExpected, text, ByeReason::Protocol));
        }
        Err(error) => return Err(refuse(error.code(), error.to_string(), ByeReason::Protocol)),
    };
    if node.status() == Status::Draining {
        return Err(Refusal { error: None, reason: ByeReason::Draining, code: 1001 });
    }
    match node.gate.admit(&hello.ticket, hello.client) {
        Ok(admitted) => {
            decoder.allow(FRAME_BYTES);
            Ok(Some(Guest { admitted, hello, decoder }))
        }
        Err(why) => Err(refuse(ErrorCode::BadTicket, why, ByeReason::Refused)),
    }
}

/// Adds what arrives to the decoder; `false` at the end or when the socket is broken.
async fn read(socket: &mut dyn Socket, decoder: &mut Decoder) -> bool {
    poll_fn(|cx| {
        // Small: until it is known who this is, nobody needs more at once.
        let mut scratch = [0; 2_048];
        let mut buf = ReadBuf::new(&mut scratch);
        socket.poll_read(cx, &mut buf).map(|read| {
            decoder.feed(buf.filled());
            read.is_ok() && !buf.filled().is_empty()
        })
    })
    .await
}

/// Says why, and closes; gives up when the peer does not read it within a second.
async fn tell(node: &Node, socket: Box<dyn Socket>, refusal: Refusal) {
    let io = Io::new(socket, 0, 0);
    if let Some(error) = refusal.error {
        count(&node.metrics.errors, error.code.name());
        io.answer(wire::text(ServerFrame::from(error).encode()));
    }
    let reconnect_after_ms = (refusal.reason == ByeReason::Draining).then_some(250);
    let bye = Bye { reason: refusal.reason, reconnect_after_ms };
    io.answer(wire::text(ServerFrame::from(bye).encode()));
    io.answer(wire::close(Some(refusal.code)));
    io.finish();
    let gone = poll_fn(|cx| io.poll_finished(cx));
    let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
}
