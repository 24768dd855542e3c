//! What the server has in the end: a conversation, read by a device that knew nothing.

use std::time::Duration;

use rally_schema::frame::{History, HistoryQuery, Message, ServerFrame};
use rally_schema::{ConversationId, MessageId};
use tokio::time::{sleep, timeout};

use super::device::Device;
use super::harness::PATIENCE;
use super::harness::client::{Client, new_ref};

/// Messages of a page, and how long one is waited for that is refused without a time.
const PAGE: u32 = 100;
const AGAIN_MS: u64 = 200;

/// Reads every message between the device's user and a peer, oldest first.
pub async fn whole(mut device: Device, peer: &str) -> Vec<Message> {
    let reading = async {
        let mut read: Vec<Message> = Vec::new();
        loop {
            let (mut client, _) = device.connect().await;
            let conversation = client.chat(peer);
            let before = |read: &[Message]| read.last().map(|message| message.id);
            while let Some(next) = page(&mut device, &mut client, conversation, before(&read)).await
            {
                read.extend(next.messages);
                if !next.more {
                    read.reverse();
                    return read;
                }
            }
        }
    };
    timeout(4 * PATIENCE, reading).await.expect("a conversation is read to its begin")
}

/// Asks for a page until it comes; none when the connection ended before.
async fn page(
    device: &mut Device,
    client: &mut Client,
    conversation: ConversationId,
    before: Option<MessageId>,
) -> Option<History> {
    loop {
        let (r#ref, limit) = (new_ref(), Some(PAGE));
        client.try_tell(HistoryQuery { r#ref, conversation, before, limit }).await.ok()?;
        let refused = loop {
            match device.next(client).await? {
                ServerFrame::History(page) if page.r#ref == Some(r#ref) => return Some(page),
                ServerFrame::Error(error) if error.r#ref == Some(r#ref) => break error,
                _ => {}
            }
        };
        assert!(refused.retry, "{refused:?}");
        sleep(Duration::from_millis(refused.retry_after_ms.unwrap_or(AGAIN_MS))).await;
    }
}
