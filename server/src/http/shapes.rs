//! How frames look that HTTP answers with, for the description of the API alone.
//!
//! `rally_schema` has the types that are sent; these say the same in the words of OpenAPI. A test
//! reads what is sent as what is described, so that neither can change without the other.

#![allow(dead_code, reason = "read by the description, never made")]

use utoipa::ToSchema;
use uuid::Uuid;

use super::openapi::UserIdText;

/// A page of the asker's inbox.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Inbox {
    /// Newest head first.
    entries: Vec<InboxEntry>,
    /// Whether older entries exist.
    more: bool,
}

/// One conversation in an inbox.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct InboxEntry {
    /// Which conversation.
    conversation: Uuid,
    /// The other member (oneself when alone).
    #[schema(value_type = UserIdText)]
    peer: String,
    /// Its newest message.
    head: Head,
    /// Messages of the peer above `read_up_to` and not above `head`, up to 1,000.
    #[schema(maximum = 1000)]
    unread: u32,
    /// How far the asker read.
    #[schema(nullable = false)]
    read_up_to: Option<Uuid>,
    /// How far a device of the peer got it.
    #[schema(nullable = false)]
    peer_delivered_up_to: Option<Uuid>,
    /// How far the peer read.
    #[schema(nullable = false)]
    peer_read_up_to: Option<Uuid>,
}

/// The newest message of a conversation.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Head {
    /// Which message.
    id: Uuid,
    /// Who wrote it.
    #[schema(value_type = UserIdText)]
    sender: String,
    /// The beginning of its text; empty when deleted.
    preview: String,
    /// Whether it was deleted.
    #[schema(nullable = false)]
    deleted: Option<bool>,
}

/// A page of a conversation.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct History {
    /// Which conversation.
    conversation: Uuid,
    /// Newest first.
    messages: Vec<Message>,
    /// Whether older messages exist.
    more: bool,
}

/// A message as it stands now.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Message {
    /// Names it and fixes its place.
    id: Uuid,
    /// In which conversation.
    conversation: Uuid,
    /// Who wrote it.
    #[schema(value_type = UserIdText)]
    sender: String,
    /// The other member of the conversation (oneself when alone).
    #[schema(value_type = UserIdText)]
    to: String,
    /// The sender's name for it.
    r#ref: Uuid,
    /// The newest text; empty when deleted.
    text: String,
    /// The message that it answers.
    #[schema(nullable = false)]
    reply_to: Option<Uuid>,
    /// The edit whose text this is.
    #[schema(nullable = false)]
    edit: Option<Uuid>,
    /// Whether it was deleted.
    #[schema(nullable = false)]
    deleted: Option<bool>,
}

/// Whether somebody is online.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Presence {
    /// Who.
    #[schema(value_type = UserIdText)]
    user: String,
    /// Whether a session of his is live.
    online: bool,
    /// When he was last seen, in milliseconds; absent when unknown or not for the asker.
    #[schema(nullable = false)]
    last_seen: Option<u64>,
}

#[cfg(test)]
mod tests {
    use rally_schema::frame::ServerFrame;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    fn reads<T: DeserializeOwned>(frame: &impl serde::Serialize) {
        let text = serde_json::to_string(frame).unwrap();
        if let Err(error) = serde_json::from_str::<T>(&text) {
            panic!("{text} is not as described: {error}");
        }
    }

    #[test]
    fn what_is_sent_is_what_is_described() {
        let golden: Vec<Value> =
            serde_json::from_str(include_str!("../../../schema/fixtures/server_frames.json"))
                .unwrap();
        let mut seen = [0; 3];
        for frame in golden {
            match ServerFrame::decode(&frame.to_string()).unwrap() {
                ServerFrame::Inbox(page) => {
                    seen[0] += page.entries.len();
                    reads::<Inbox>(&rally_schema::frame::Inbox { r#ref: None, ..page });
                }
                ServerFrame::History(mut page) => {
                    seen[1] += page.messages.len();
                    page.messages.iter_mut().for_each(|message| message.after = None);
                    reads::<History>(&rally_schema::frame::History { r#ref: None, ..page });
                }
                ServerFrame::Presence(presence) => {
                    seen[2] += 1;
                    reads::<Presence>(&presence);
                }
                _ => {}
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}
