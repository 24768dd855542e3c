//! A device that sends without a pause and outlives the node that it is connected to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rally_schema::frame::{Send, ServerFrame, Sync};
use rally_schema::{MessageId, Ref};

use super::client::Client;
use super::cluster::Person;

/// A device that sends until told otherwise, and asks for what it finds missing.
pub struct Writer {
    /// Its session.
    pub client: Client,
    /// Whom it writes to.
    pub peer: String,
    /// What was acknowledged, and as what.
    pub acked: BTreeMap<Ref, MessageId>,
    /// What has no answer yet.
    pub open: Vec<Send>,
    /// What it shows: its own and the peer's.
    pub shown: BTreeSet<MessageId>,
}

impl Writer {
    /// Makes one of a session.
    pub fn new(client: Client, peer: &Person) -> Self {
        let (acked, open, shown) = Default::default();
        Self { client, peer: peer.name.clone(), acked, open, shown }
    }

    /// Sends until this many more are acknowledged; gives up when the connection ends.
    pub async fn write(&mut self, enough: usize) -> Result<(), ()> {
        let enough = self.acked.len() + enough;
        for open in self.open.clone() {
            self.client.try_tell(Send { retry: true, ..open }).await?;
        }
        while self.acked.len() < enough {
            while self.open.len() < 8 {
                let number = self.acked.len() + self.open.len();
                let draft = self.client.draft(&self.peer, &format!("message {number}"));
                let draft = Send { after: self.shown.last().copied(), ..draft };
                self.open.push(draft.clone());
                self.client.try_tell(draft).await?;
            }
            self.take().await?;
        }
        Ok(())
    }

    /// Takes one frame as a client does.
    pub async fn take(&mut self) -> Result<(), ()> {
        match self.client.next().await.ok_or(())? {
            ServerFrame::Ack(ack) => {
                self.open.retain(|open| open.r#ref != ack.r#ref);
                self.acked.insert(ack.r#ref, ack.id);
                self.shown.insert(ack.id);
            }
            ServerFrame::Message(message) => {
                self.shown.insert(message.id);
                if message.after.is_some_and(|after| !self.shown.contains(&after)) {
                    self.client.try_tell(Sync { cursor: None }).await?;
                }
            }
            ServerFrame::Error(error) => {
                assert!(error.retry, "{error:?}");
                let open = self.open.iter_mut().find(|open| Some(open.r#ref) == error.r#ref);
                let open = open.unwrap_or_else(|| panic!("{error:?}"));
                if matches!(error.code.name(), "expired" | "clock") {
                    (open.at, open.n) = self.client.stamp();
                    open.retry = false;
                }
                let again = open.clone();
                self.client.try_tell(again).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Comes back where `bases` send it, and catches up.
    pub async fn come_back(self, bases: &[SocketAddr]) -> Self {
        let Client { user, token, client, cursor, .. } = self.client;
        let mut client = Client::arrive(bases, user.as_str(), token, client, cursor).await;
        client.caught_up().await;
        Self { client, ..self }
    }

    /// Waits until it shows all of these.
    pub async fn shows(&mut self, ids: &BTreeMap<Ref, MessageId>) {
        while !ids.values().all(|id| self.shown.contains(id)) {
            self.take().await.expect("the session stays");
        }
    }
}
