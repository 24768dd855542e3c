//! Who wants to know when people come and go whom he has never written to.

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rally_schema::ServerFrame;
use rally_schema::frame::{Unwatch, Watch};
use rally_schema::limits::WATCHES_PER_SESSION;
use tokio::time::Instant;

use crate::scene::{Scene, Seen, Visitor};

/// Watches strangers, the neighbours among them, and lets go of them, as often as he may.
pub fn watched(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let end = Instant::now() + scene.lasts;
        let mut seen = Seen::default();
        let each = scene.visitors(4).into_iter().map(|visitor| watch(visitor, end));
        for one in join_all(each).await {
            seen.join(one);
        }
        seen
    }
    .boxed_local()
}

async fn watch(visitor: Visitor, end: Instant) -> Seen {
    let mut me = visitor.join().await;
    let mut seen = Seen::default();
    let strangers = || (0..=WATCHES_PER_SESSION).map(|i| format!("visitor-{i}").parse().unwrap());
    while Instant::now() < end {
        for user in strangers() {
            seen.attempts += 1;
            me.tell(Watch { user }).await;
        }
        for frame in me.settled().await {
            match frame {
                // His own is no secret to him.
                ServerFrame::Presence(p) if p.user == me.user => {}
                ServerFrame::Presence(p) if p.online => seen.add("online"),
                ServerFrame::Presence(_) => seen.add("not online"),
                ServerFrame::Error(error) => seen.add(error.code.name()),
                other => seen.add(other.kind()),
            }
        }
        for user in strangers() {
            me.tell(Unwatch(Watch { user })).await;
        }
        me.settled().await;
    }
    seen
}
