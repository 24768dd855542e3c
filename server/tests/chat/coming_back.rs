//! What a client is told that was away: what it missed, or that it has to begin anew.

use rally_schema::frame::{Delete, Edit, ServerFrame};
use rally_schema::{Cursor, StoreId};
use uuid::Uuid;

use crate::harness::Server;
use crate::harness::client::{Client, new_ref};

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let server = Server::start();
    let (mut rafa, roger) = (server.join("rafa").await, server.join("roger").await);
    let chat = rafa.chat("roger");
    let kept = rafa.say("roger", "while here").await;
    let (address, token, client, cursor) =
        (server.address, roger.token.clone(), roger.client, roger.cursor.clone());
    drop(roger);
    let (edited, gone) = (rafa.say("roger", "helo").await, rafa.say("roger", "oops").await);
    let (at, n) = rafa.stamp();
    let text = "hello".to_owned();
    let edit = Edit { r#ref: new_ref(), conversation: chat, id: edited, at, n, text, retry: false };
    rafa.tell(edit.clone()).await;
    rafa.acked(edit.r#ref).await;
    let delete = Delete { r#ref: new_ref(), conversation: chat, id: gone };
    rafa.tell(delete.clone()).await;
    rafa.acked(delete.r#ref).await;
    let mut roger = Client::join_as(address, "roger", token, client, cursor).await;
    let frames = roger.settled().await;
    let mut messages: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Message(message) => Some((message.id, &*message.text, message.deleted)),
            _ => None,
        })
        .collect();
    messages.sort();
    let wanted = [(kept, "while here", false), (edited, "hello", false), (gone, "", true)];
    assert_eq!(messages, wanted);
    let entry = frames.iter().find_map(|frame| match frame {
        ServerFrame::Inbox(page) => page.entries.first(),
        _ => None,
    });
    assert_eq!(entry.expect("the entry is sent with what it covers").head.id, gone);
}

#[tokio::test]
async fn a_cursor_of_no_use_is_answered_with_reset() {
    let server = Server::start();
    let rafa = server.join("rafa").await;
    let good: Cursor = rafa.cursor.clone().unwrap().parse().unwrap();
    let store = StoreId::from_bytes([7; 16]);
    let old = good.at - 13 * 86_400_000 - 60_000;
    for cursor in [
        "garbage".to_owned(),
        Cursor { store, ..good }.to_string(),
        Cursor { at: good.at + 3_600_000, ..good }.to_string(),
        Cursor { at: old, ..good }.to_string(),
    ] {
        let (token, client) = (rafa.token.clone(), Uuid::new_v4().into());
        let mut back =
            Client::hello(server.address, "rafa", token, client, Some(cursor.clone())).await;
        let kind = back
            .wait_for("an end", |frame| {
                let kind = frame.kind();
                matches!(kind, "synced" | "reset").then_some(kind)
            })
            .await;
        assert_eq!(kind, "reset", "{cursor}");
    }
}

#[tokio::test]
async fn much_in_one_conversation_is_cut_and_much_altogether_is_a_reset() {
    let server = Server::with(&["--rate-sends-per-second=100000", "--rate-sends-burst=100000"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    roger.say("rafa", "before").await;
    let chat = rafa.chat("roger");
    let mut roger = roger.come_back().await;
    roger.caught_up().await;
    let (address, token, client, cursor) =
        (server.address, roger.token.clone(), roger.client, roger.cursor.clone());
    drop(roger);
    let mut sent = 0;
    for (burst, end) in [(250, "synced"), (1_800, "reset")] {
        let drafts: Vec<_> =
            (sent..sent + burst).map(|i| rafa.draft("roger", &format!("m{i}"))).collect();
        sent += burst;
        for chunk in drafts.chunks(100) {
            for draft in chunk {
                rafa.tell(draft.clone()).await;
            }
            for draft in chunk {
                rafa.acked(draft.r#ref).await;
            }
        }
        let mut roger =
            Client::hello(address, "roger", token.clone(), client, cursor.clone()).await;
        let (kind, cut) = roger
            .wait_for("an end", |frame| match frame {
                ServerFrame::Synced(synced) => Some(("synced", synced.cut.clone())),
                ServerFrame::Reset(_) => Some(("reset", Vec::new())),
                _ => None,
            })
            .await;
        assert_eq!(kind, end);
        if kind == "synced" {
            assert_eq!(cut, [chat]);
            let frames = roger.settled().await;
            let window = frames.iter().find_map(|frame| match frame {
                ServerFrame::History(page) => Some(page),
                _ => None,
            });
            let window = window.expect("a cut conversation comes with its newest page");
            assert_eq!(&*window.messages[0].text, "m249");
            assert!(window.more);
        }
    }
}
