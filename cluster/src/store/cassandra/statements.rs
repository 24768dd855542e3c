//! Every statement that the store sends once it is open, prepared once.
//!
//! Statements that write carry their timestamp (`USING TIMESTAMP`), except those with a
//! condition, whose order the database keeps. Values are told by their place.

use scylla::client::execution_profile::ExecutionProfileHandle;
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;

use super::options::OpenError;

/// How requests are sent, by what they are for.
pub(super) struct Profiles {
    /// For what only reads: may be asked again.
    pub(super) read: ExecutionProfileHandle,
    /// For what writes, with a condition or without: sent once.
    pub(super) write: ExecutionProfileHandle,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The prepared statements.
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares all of them.
            pub(super) async fn prepare(
                session: &Session,
                profiles: &Profiles,
            ) -> Result<Self, OpenError> {
                Ok(Self { $($name: prepare(session, profiles, $text).await?,)* })
            }
        }
    };
}

statements! {
    /// Timestamp: the id's.
    put = "INSERT INTO messages (conversation, bucket, id, sender, recipient, ref, body, reply_to) \
           VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    /// Timestamp: the edit's.
    edit = "UPDATE messages USING TIMESTAMP ? SET edit = ? \
            WHERE conversation = ? AND bucket = ? AND id = ?";
    /// Timestamp: the id's; only ever set.
    delete = "UPDATE messages USING TIMESTAMP ? SET deleted = true \
              WHERE conversation = ? AND bucket = ? AND id = ?";
    /// Timestamp: the id's; only ever set.
    remove = "UPDATE messages USING TIMESTAMP ? SET removed = true \
              WHERE conversation = ? AND bucket = ? AND id = ?";
    /// Timestamp: the last there is, so that no text comes back.
    erase_text = "DELETE body, edit FROM messages USING TIMESTAMP ? \
                  WHERE conversation = ? AND bucket = ? AND id = ?";
    /// Timestamp: the beginning of the bucket.
    add_bucket = "INSERT INTO buckets (conversation, bucket) VALUES (?, ?) USING TIMESTAMP ?";
    /// Newest first.
    buckets = "SELECT bucket FROM buckets WHERE conversation = ? AND bucket <= ?";
    messages = "SELECT id, sender, recipient, ref, body, reply_to, edit, deleted, removed \
                FROM messages WHERE conversation = ? AND bucket = ? AND id IN ?";
    /// Newest first.
    messages_between = "SELECT id, sender, recipient, ref, body, reply_to, edit, deleted, removed \
                        FROM messages \
                        WHERE conversation = ? AND bucket = ? AND id >= ? AND id <= ?";
    /// Newest first.
    named_between = "SELECT id, sender, ref, removed FROM messages \
                     WHERE conversation = ? AND bucket = ? AND id >= ? AND id <= ?";
    /// Newest first.
    messages_below = "SELECT id, sender, recipient, ref, body, reply_to, edit, deleted, removed \
                      FROM messages WHERE conversation = ? AND bucket = ? AND id < ?";
    /// Newest first.
    senders_to = "SELECT id, sender, removed FROM messages \
                  WHERE conversation = ? AND bucket = ? AND id <= ?";
    /// Newest first.
    senders_between = "SELECT id, sender, removed FROM messages \
                       WHERE conversation = ? AND bucket = ? AND id > ? AND id <= ?";

    /// Timestamp: that of the ids in the cells that are set; the others stay unset.
    inbox_cells = "UPDATE inbox USING TIMESTAMP ? SET peer = ?, head = ?, head_edit = ?, \
                   read_up_to = ?, peer_delivered_up_to = ?, peer_read_up_to = ? \
                   WHERE user = ? AND conversation = ?";
    inbox = "SELECT conversation, peer, head, head_edit, read_up_to, peer_delivered_up_to, \
             peer_read_up_to FROM inbox WHERE user = ?";
    inbox_rows = "SELECT conversation, peer, head, head_edit, read_up_to, peer_delivered_up_to, \
                  peer_read_up_to FROM inbox WHERE user = ? AND conversation IN ?";
    /// Timestamp: the change id's.
    add_change = "INSERT INTO changes (user, change, conversation, id, kind) \
                  VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    /// Oldest first.
    changes = "SELECT change, conversation, id, kind FROM changes \
               WHERE user = ? AND change > ? LIMIT ?";

    create_user = "INSERT INTO users (user, name, password, epoch, hide_presence, version) \
                   VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    change_user = "UPDATE users SET name = ?, password = ?, epoch = ?, hide_presence = ?, \
                   version = ? WHERE user = ? IF version = ?";
    user = "SELECT user, name, password, epoch, hide_presence, version FROM users WHERE user = ?";
    /// Timestamp: this process's, rising.
    add_name = "INSERT INTO users_by_letter (letter, user) VALUES (?, ?) USING TIMESTAMP ?";
    /// In order.
    names = "SELECT user FROM users_by_letter WHERE letter = ? AND user >= ? AND user < ?";

    /// Timestamp: later than what was read.
    set_block = "UPDATE blocks USING TIMESTAMP ? SET active = ? WHERE user = ? AND blocked = ?";
    block = "SELECT active, WRITETIME(active) FROM blocks WHERE user = ? AND blocked = ?";
    /// In order.
    blocks = "SELECT blocked, active FROM blocks WHERE user = ?";

    /// Timestamp: this process's, rising.
    set_presence = "INSERT INTO presence (user, node, generation, online_since, last_seen) \
                    VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    /// Timestamp: this process's, rising.
    fold_presence = "DELETE FROM presence USING TIMESTAMP ? \
                     WHERE user = ? AND node = ? AND generation = ?";
    presence = "SELECT node, generation, online_since, last_seen FROM presence WHERE user = ?";

    /// Timestamp: the heartbeat's.
    beat = "UPDATE nodes USING TIMESTAMP ? SET address = ?, heartbeat_at = ? \
            WHERE cluster = 'rally' AND node = ? AND generation = ?";
    /// Timestamp: the verdict's, the last there is for a deletion.
    judge = "UPDATE nodes USING TIMESTAMP ? SET status = ?, status_at = ? \
             WHERE cluster = 'rally' AND node = ? AND generation = ?";
    nodes = "SELECT node, generation, address, status, status_at, heartbeat_at FROM nodes \
             WHERE cluster = 'rally'";
    /// Timestamp: the heartbeat's.
    date = "INSERT INTO dated (cluster, node, generation, dated_at) VALUES ('rally', ?, ?, ?) \
            USING TIMESTAMP ?";
    dated = "SELECT node, generation, dated_at FROM dated WHERE cluster = 'rally'";

    /// Timestamp: the end, so that the later end stays.
    revoke = "INSERT INTO revocations (id, until) VALUES (?, ?) USING TIMESTAMP ? AND TTL ?";
    revoked = "SELECT until FROM revocations WHERE id = ?";

    make_identity = "INSERT INTO store (key, id, secret) VALUES ('identity', ?, ?) IF NOT EXISTS";
    identity = "SELECT id, secret FROM store WHERE key = 'identity'";
    /// Timestamp: this process's, rising.
    write_check = "INSERT INTO store (key, checked_at) VALUES ('checked', ?) USING TIMESTAMP ?";
    read_check = "SELECT checked_at FROM store WHERE key = 'checked'";
}

async fn prepare(
    session: &Session,
    profiles: &Profiles,
    text: &str,
) -> Result<PreparedStatement, OpenError> {
    let prepared = session.prepare(text).await;
    let mut prepared = prepared.map_err(|error| OpenError::statement(text, error))?;
    let reads = text.starts_with("SELECT");
    let profile = if reads { &profiles.read } else { &profiles.write };
    prepared.set_execution_profile_handle(Some(profile.clone()));
    prepared.set_is_idempotent(reads);
    Ok(prepared)
}
