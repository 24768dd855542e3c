//! What a device asks of the server, and the cursor that it keeps once all is answered.

use rally_schema::frame::{ClientFrame, HistoryQuery, InboxQuery, Sync};
use rally_schema::{ConversationId, MessageId, Ref};

use super::{Host, Phone};

impl<H: Host> Phone<H> {
    pub(super) fn load(&mut self, conversation: ConversationId, before: Option<MessageId>) {
        let (r#ref, limit) = (self.new_ref(), Some(100));
        self.ask(r#ref, HistoryQuery { r#ref, conversation, before, limit });
    }

    pub(super) fn load_inbox(&mut self, before: Option<MessageId>) {
        let (r#ref, limit) = (self.new_ref(), Some(100));
        self.ask(r#ref, InboxQuery { r#ref, before, limit });
    }

    pub(super) fn ask(&mut self, r#ref: Ref, question: impl Into<ClientFrame>) {
        let frame = question.into();
        self.out.push(frame.clone());
        self.loads.insert(r#ref, (frame, None));
    }

    /// A cursor is kept only with all that it covers.
    pub(super) fn keep_cursor(&mut self, cursor: Option<String>) {
        self.next_cursor = cursor.or(self.next_cursor.take());
        if self.loads.is_empty() && self.next_cursor.is_some() {
            self.cursor = self.next_cursor.take();
        }
    }

    /// Asks for a catch-up, once for each message that is missing.
    pub(super) fn ask_for(&mut self, id: MessageId) {
        if self.synced && self.asked.insert(id) {
            self.hole = true;
            self.out.push(Sync { cursor: None }.into());
        }
    }
}
