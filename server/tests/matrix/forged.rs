//! Who shows what is not his, is used up, or was never made.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rally_schema::frame::{Delete, Edit, HistoryQuery, Sync};
use rally_schema::{ClientFrame, ClientId, Cursor, MessageId, StoreId};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::Client;
use crate::harness::client::{new_ref, wall_ms};
use crate::harness::raw::Dice;
use crate::scene::{Scene, Seen, Visitor, hello};

/// How many attackers do the same at once.
const AT_ONCE: usize = 4;

/// Has several attackers do something again and again for as long as an attack lasts.
async fn again_and_again(scene: &Scene, attack: impl AsyncFn(Visitor, Instant) -> Seen) -> Seen {
    let end = Instant::now() + scene.lasts;
    let mut seen = Seen::default();
    for one in join_all(scene.visitors(AT_ONCE).into_iter().map(|one| attack(one, end))).await {
        seen.join(one);
    }
    seen
}

/// Opens a session by a ticket, and then tries the same ticket again.
pub fn replayed_tickets(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    again_and_again(scene, async |visitor, end| {
        let token = visitor.register().await;
        let client: ClientId = Uuid::new_v4().into();
        let ticket = visitor.ticket(&token, client).await;
        let mut good = visitor.open().await;
        good.write_all(&hello(&ticket, client)).await.unwrap();
        good.readable().await.unwrap();
        let mut seen = Seen::default();
        while Instant::now() < end {
            seen.attempt(visitor.throw(&hello(&ticket, client)).await);
            pause().await;
        }
        seen
    })
    .boxed_local()
}

/// Shows log-ins and tickets of which single characters are others.
pub fn forged_tokens(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    again_and_again(scene, async |visitor, end| {
        let token = visitor.register().await;
        let client: ClientId = Uuid::new_v4().into();
        let ticket = visitor.ticket(&token, client).await;
        let mut dice = Dice::new(u64::from(visitor.source.octets()[3]));
        let mut seen = Seen::default();
        while Instant::now() < end {
            let answer = visitor.ask("GET", "/api/me", Some(&bent(&token, &mut dice)), None).await;
            seen.attempt([answer.status.to_string()]);
            seen.attempt(visitor.throw(&hello(&bent(&ticket, &mut dice), client)).await);
            pause().await;
        }
        seen
    })
    .boxed_local()
}

/// Changes one character. Not the last: its lowest bits may mean nothing.
fn bent(word: &str, dice: &mut Dice) -> String {
    let mut bytes = word.as_bytes().to_vec();
    let at = dice.below(bytes.len() as u64 - 1) as usize;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// Few enough a second that it is not the rate that answers.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(25)).await;
}

/// Asks for, edits, deletes and continues what is between two others.
pub fn foreign_ids(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let (theirs, id) = their_chat(scene).await;
        again_and_again(scene, async |visitor, end| {
            let mut me = visitor.join().await;
            let conversation = theirs.0;
            repeat(&mut me, end, |me| {
                let (r#ref, (at, n)) = (new_ref(), me.stamp());
                let text = "mine".to_owned();
                let before = Some(id);
                let mut send = me.draft(&theirs.1, "mine");
                send.conversation = conversation;
                vec![
                    HistoryQuery { r#ref, conversation, before, limit: Some(u32::MAX) }.into(),
                    Edit { r#ref: new_ref(), conversation, id, at, n, text, retry: false }.into(),
                    Delete { r#ref: new_ref(), conversation, id }.into(),
                    send.into(),
                ]
            })
            .await
        })
        .await
    }
    .boxed_local()
}

/// Marks what is between two others, and in a chat of his own what was never written.
pub fn forged_marks(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let (theirs, id) = their_chat(scene).await;
        again_and_again(scene, async |visitor, end| {
            let mut me = visitor.join().await;
            let mine = me.chat(&visitor.name);
            me.say(&visitor.name, "to myself").await;
            let never: MessageId = "ffffffff-ffff-7fff-bfff-ffffffffffff".parse().unwrap();
            let seen = repeat(&mut me, end, |_| {
                use rally_schema::frame::{Delivered, Mark, Read};
                let mark = |conversation, id| Mark { conversation, id };
                vec![
                    Delivered(mark(theirs.0, id)).into(),
                    Read(mark(theirs.0, id)).into(),
                    Read(mark(mine, never)).into(),
                ]
            })
            .await;
            let read = me.inbox().await.entries[0].read_up_to;
            assert!(read < Some(never), "what was never written is read: {read:?}");
            seen
        })
        .await
    }
    .boxed_local()
}

/// Asks to catch up from where he never was.
pub fn forged_cursors(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    again_and_again(scene, async |visitor, end| {
        let mut me = visitor.join().await;
        let known: Cursor = me.cursor.as_deref().unwrap().parse().unwrap();
        let other = Cursor { store: StoreId::from_bytes([7; 16]), at: known.at };
        let ahead = Cursor { at: wall_ms() + 86_400_000, ..known };
        let old = Cursor { at: 0, ..known };
        let cursors = [
            String::new(),
            "no cursor".to_owned(),
            "A".repeat(90_000),
            other.to_string(),
            ahead.to_string(),
            old.to_string(),
        ];
        let mut seen = Seen::default();
        while Instant::now() < end {
            for cursor in &cursors {
                me.tell(Sync { cursor: Some(cursor.clone()) }).await;
                // One is answered before the next is taken up: otherwise they are one catch-up.
                let answer = me.wait_for("reset or synced", |frame| {
                    matches!(frame.kind(), "reset" | "synced").then_some(frame.kind())
                });
                seen.attempt([answer.await]);
            }
            pause().await;
        }
        seen
    })
    .boxed_local()
}

/// Has two people write to each other; gives their conversation, one of them, and a message.
async fn their_chat(scene: &Scene) -> ((rally_schema::ConversationId, String), MessageId) {
    let (one, other) = (scene.visitor(), scene.visitor());
    let (mut ana, ben) = (one.join().await, other.join().await);
    let id = ana.say(&other.name, "between us").await;
    let chat = (ana.chat(&other.name), other.name);
    drop(ben);
    (chat, id)
}

/// Sends these frames again and again, and names what comes.
async fn repeat(
    me: &mut Client,
    end: Instant,
    mut frames: impl FnMut(&mut Client) -> Vec<ClientFrame>,
) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < end {
        for frame in frames(me) {
            seen.attempts += 1;
            me.tell(frame).await;
        }
        for frame in me.settled().await {
            match frame {
                rally_schema::ServerFrame::Error(error) => seen.add(error.code.name()),
                rally_schema::ServerFrame::Receipt(_) => {}
                other => seen.add(other.kind()),
            }
        }
        // Below the rate of sends, which would answer otherwise.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    seen
}
