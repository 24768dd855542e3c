//! What the log names, read and encoded once for all sessions of a thread that want the same.
//!
//! The tabs and devices of a user that come back together have missed the same messages. Whoever wants
//! them before they begin to be read shares the reading; whoever wants them afterwards has it done anew,
//! so that no row is older than what was asked for. One place is taken for it, among those who have
//! begun. Knows nothing of who wants them.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rally_cluster::planted::{self, Fault};
use rally_cluster::store::StoreError;
use rally_cluster::{pages, twins};
use rally_schema::frame::{History, Inbox, ServerFrame};
use rally_schema::{ConversationId, MessageId, UserId};

use crate::admission::{Line, Permit};
use crate::node::Node;
use crate::together::Together;
use crate::wire;

/// Messages of the window that replaces a cut conversation's.
const WINDOW: usize = 50;

/// The rows that sessions of one thread wait for, and none of which are being read yet.
pub type Rows = Together<Wanted, (), Result<Rc<Page>, StoreError>>;

/// What is read at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// These messages, those of a conversation together.
    Messages(Vec<(ConversationId, MessageId)>),
    /// The newest messages of a conversation.
    Window(ConversationId),
    /// A user's inbox entries of these conversations.
    Entries(UserId, Vec<ConversationId>),
}

/// What was read, as it is written.
pub struct Page {
    /// In their order.
    pub(super) frames: Vec<Bytes>,
    /// Given back when it was read, unless the fault is planted.
    _place: Option<Permit>,
}

/// Reads what is wanted, together with all who want it by then.
pub(super) async fn read(
    rows: &Rows,
    node: &Arc<Node>,
    wanted: Wanted,
) -> Result<Rc<Page>, StoreError> {
    let (work, _) = rows.join(wanted.clone(), |_, unbegun| {
        let node = node.clone();
        async move {
            // Who was told of the log at the same moment asks before it begins. In a task of its own: an
            // actor may poll what it waits for again and again in one turn.
            let _ = actix::spawn(tokio::task::yield_now()).await;
            let place = node.admission.enter(Line::Begun).await;
            drop(unbegun);
            let frames = wanted.read(&node).await?;
            let _place = planted::on(Fault::PlaceKept).then_some(place);
            Ok(Rc::new(Page { frames, _place }))
        }
    });
    work.await
}

impl Wanted {
    async fn read(self, node: &Node) -> Result<Vec<Bytes>, StoreError> {
        let store = &*node.store;
        match self {
            Self::Messages(wanted) => {
                let rows = pages::messages(store, &wanted).await?;
                Ok(rows.iter().map(|row| encode(row.to_frame())).collect())
            }
            Self::Window(conversation) => {
                let (mut rows, more) = pages::rows(store, conversation, None, WINDOW).await?;
                twins::fold(&mut rows);
                let messages = rows.iter().map(|row| row.to_frame()).collect();
                Ok(vec![encode(History { r#ref: None, conversation, messages, more })])
            }
            Self::Entries(user, conversations) => {
                let rows = store.inbox_rows(user, conversations).await?;
                let entries = pages::entries(store, user, rows).await?;
                Ok(vec![encode(Inbox { r#ref: None, entries, more: false })])
            }
        }
    }
}

fn encode(frame: impl Into<ServerFrame>) -> Bytes {
    wire::text(frame.into().encode())
}
