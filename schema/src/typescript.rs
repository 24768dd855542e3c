//! The wire types as TypeScript: one committed file that a check compares with this.

use ts_rs::{Config, TS};

use crate::{error, frame, ids, limits};

/// Gives the whole generated file.
pub fn declarations() -> String {
    let config = Config::default();
    let mut file = String::from(
        "// Generated from schema/ by `cargo xtask gen`; do not edit. Drift fails the check.\n",
    );
    macro_rules! declare {
        ($($type:ty),* $(,)?) => {
            $(
                file.push_str("\nexport ");
                file.push_str(&<$type>::decl(&config));
                file.push('\n');
            )*
        };
    }
    declare!(
        ids::UserId,
        ids::NodeId,
        ids::ClientId,
        ids::ConversationId,
        ids::Ref,
        ids::StoreId,
        ids::MessageId,
        ids::EditId,
        error::ErrorCode,
        frame::ByeReason,
        frame::Hello,
        frame::Send,
        frame::Forget,
        frame::Edit,
        frame::Delete,
        frame::Mark,
        frame::Delivered,
        frame::Read,
        frame::Typing,
        frame::Watch,
        frame::Unwatch,
        frame::InboxQuery,
        frame::HistoryQuery,
        frame::Sync,
        frame::Beat,
        frame::Welcome,
        frame::Ack,
        frame::Message,
        frame::Edited,
        frame::Deleted,
        frame::Receipt,
        frame::Presence,
        frame::PeerTyping,
        frame::Head,
        frame::InboxEntry,
        frame::Inbox,
        frame::History,
        frame::Synced,
        frame::Reset,
        frame::BeatReply,
        frame::ErrorFrame,
        frame::Bye,
        frame::ClientFrame,
        frame::ServerFrame,
    );
    let overlap = limits::Overlap::default();
    file.push_str(&format!(
        "\nexport const SUBPROTOCOL = {:?};\nexport const TEXT_BYTES = {};\n\
         export const FRAME_BYTES = {};\n\
         export const HISTORY_PAGE = {};\nexport const INBOX_PAGE = {};\n\
         export const UNREAD_CAP = {};\nexport const PREVIEW_CHARS = {};\n\
         export const MAX_N = {};\nexport const STAMP_BEHIND_MS = {};\n",
        limits::SUBPROTOCOL,
        limits::TEXT_BYTES,
        limits::FRAME_BYTES,
        limits::HISTORY_PAGE,
        limits::INBOX_PAGE,
        limits::UNREAD_CAP,
        limits::PREVIEW_CHARS,
        ids::MAX_N,
        overlap.stamp_behind_ms(),
    ));
    file
}
