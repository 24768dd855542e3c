//! What a device has sent and has no answer for, and how it sends that again: the browser
//! client's rules.

use std::collections::BTreeMap;
use std::time::Duration;

use rally_schema::frame::{Send, ServerFrame};
use rally_schema::{MessageId, Ref};

use super::Client;

/// What a writer knows of what it wrote.
#[derive(Default)]
pub struct Outbox {
    /// What was acknowledged, and as what.
    pub acked: BTreeMap<Ref, MessageId>,
    /// What has no answer yet, in the order in which it was written.
    pub open: Vec<Send>,
    /// How many were written.
    pub sent: u64,
    /// How often what was refused.
    pub refusals: BTreeMap<&'static str, u64>,
}

impl Outbox {
    /// Takes an answer; gives what has to be sent again, after how long.
    pub fn hear(&mut self, frame: &ServerFrame) -> Option<Duration> {
        match frame {
            ServerFrame::Ack(ack) => {
                if let Some(at) = self.open.iter().position(|send| send.r#ref == ack.r#ref) {
                    self.open.remove(at);
                }
                self.acked.insert(ack.r#ref, ack.id);
                None
            }
            ServerFrame::Error(error) => {
                let at = self.open.iter().position(|send| Some(send.r#ref) == error.r#ref)?;
                assert!(error.retry, "{error:?}");
                *self.refusals.entry(error.code.name()).or_default() += 1;
                match error.code.name() {
                    // This one and all after it have to sort after what was stored meanwhile.
                    "clock" | "expired" => self.open[at..].iter_mut().for_each(|send| send.at = 0),
                    "unknown" => self.open[at].retry = true,
                    _ => {}
                }
                Some(Duration::from_millis(error.retry_after_ms.unwrap_or(200)))
            }
            _ => None,
        }
    }

    /// Gives all that is open, in order, stamped where that is needed.
    pub fn again(&mut self, client: &mut Client) -> Vec<Send> {
        for send in self.open.iter_mut().filter(|send| send.at == 0) {
            (send.at, send.n) = client.stamp();
            send.retry = false;
        }
        self.open.clone()
    }
}
