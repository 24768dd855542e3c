//! Who writes as much as one message holds, and more, and reads it again.

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rally_schema::frame::HistoryQuery;
use rally_schema::limits::{FRAME_BYTES, TEXT_BYTES};
use rally_schema::{ClientFrame, ServerFrame};
use tokio::time::{Instant, timeout_at};

use crate::harness::client::new_ref;
use crate::harness::raw::{self, opcode};
use crate::scene::{Scene, Seen, Visitor};

/// Sends the longest texts there are as fast as they are taken, now and then a longer one, and
/// in the end more than a frame may hold.
pub fn long(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    const AT_ONCE: usize = 3;
    async move {
        let end = Instant::now() + scene.lasts;
        let mut seen = Seen::default();
        let each = scene.visitors(AT_ONCE).into_iter().map(|visitor| write(visitor, end));
        for one in join_all(each).await {
            seen.join(one);
        }
        let more = raw::frame(opcode::TEXT, &vec![b'x'; FRAME_BYTES + 1]);
        seen.attempt(scene.visitor().throw(&more).await);
        seen
    }
    .boxed_local()
}

async fn write(visitor: Visitor, end: Instant) -> Seen {
    let mut me = visitor.join().await;
    let mut seen = Seen::default();
    while Instant::now() < end {
        for length in [TEXT_BYTES, TEXT_BYTES, TEXT_BYTES + 1] {
            let mut draft = me.draft(&visitor.name, &"x".repeat(length));
            let r#ref = draft.r#ref;
            loop {
                seen.attempts += 1;
                me.tell(draft.clone()).await;
                let (answer, wait) = me
                    .wait_for("an answer", |frame| match frame {
                        ServerFrame::Ack(ack) if ack.r#ref == r#ref => Some(("ack", None)),
                        ServerFrame::Error(error) if error.r#ref == Some(r#ref) => {
                            Some((error.code.name(), error.retry_after_ms))
                        }
                        _ => None,
                    })
                    .await;
                // What is beyond the rate comes again; the row of floods has that.
                if answer != "rate" {
                    seen.add(answer);
                }
                match wait {
                    Some(ms) => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
                    None if answer == "ack" || answer == "text_too_long" => break,
                    None => (draft.at, draft.n) = me.stamp(),
                }
            }
        }
    }
    seen
}

/// Asks for whole pages of the longest texts, and the next one before the last has come.
pub fn pages(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    const AT_ONCE: usize = 3;
    async move {
        let mut seen = Seen::default();
        let each = scene.visitors(AT_ONCE).into_iter().map(|visitor| read(visitor, scene));
        for one in join_all(each).await {
            seen.join(one);
        }
        seen
    }
    .boxed_local()
}

async fn read(visitor: Visitor, scene: &Scene) -> Seen {
    /// As many as may be written at once.
    const TEXTS: usize = 90;
    let mut me = visitor.join().await;
    for _ in 0..TEXTS {
        me.say(&visitor.name, &"x".repeat(TEXT_BYTES)).await;
    }
    let conversation = me.chat(&visitor.name);
    let questions: Vec<u8> = (0..20)
        .flat_map(|_| {
            let ask =
                HistoryQuery { r#ref: new_ref(), conversation, before: None, limit: Some(100) };
            raw::text(&ClientFrame::from(ask).encode())
        })
        .collect();
    let end = Instant::now() + scene.lasts;
    let poured = crate::floods::pour(me.into_stream(), &questions, end);
    let (_, answers) = timeout_at(end + crate::harness::PATIENCE, poured).await.unwrap();
    let mut seen = Seen::default();
    let (frames, _) = raw::parse(&answers);
    for frame in frames {
        seen.attempt([frame.kind()]);
    }
    seen
}
