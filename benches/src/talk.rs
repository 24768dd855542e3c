//! What the generator drives in Rally's own protocol: everybody writes to his peer.
//!
//! Stamps as a client must (strictly increasing in a conversation), names each message's number
//! in its `ref`, and tells the ledger what came back. Knows nothing of rates.

use std::time::Duration;

use anyhow::{Result, bail};
use rally_schema::frame::{ClientFrame, Delivered, Mark, Send, ServerFrame};
use rally_schema::{ConversationId, MessageId, Ref, UserId};
use uuid::Uuid;

use crate::crowd::{Crowd, ServerTime};
use crate::dice::Dice;
use crate::generator::{Clock, Target, peer_of};
use crate::ledger::{Told, What};

/// The stamp that a conversation's last message got.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stamper {
    at: u64,
    n: u16,
}

impl Stamper {
    /// Gives the next stamp at a moment: above every one before it.
    pub fn next(&mut self, now_ms: u64) -> (u64, u16) {
        if now_ms > self.at {
            *self = Self { at: now_ms, n: 0 };
        } else if self.n == 0xfff {
            *self = Self { at: self.at + 1, n: 0 };
        } else {
            self.n += 1;
        }
        (self.at, self.n)
    }
}

/// Names message `seq` of a run.
pub fn ref_of(run: u64, seq: usize) -> Ref {
    Ref::from(Uuid::from_u64_pair(run, seq as u64))
}

/// Gives the number that a ref names, if it is of this run.
fn seq_of(run: u64, r#ref: Ref) -> Option<usize> {
    let (of, seq) = Uuid::from(r#ref).as_u64_pair();
    (of == run).then_some(seq as usize)
}

fn number(id: MessageId) -> u128 {
    Uuid::from(id).as_u128()
}

/// Pairs that write to each other, one line a user.
pub struct Talk<'a> {
    crowd: &'a mut Crowd,
    run: u64,
    users: Vec<UserId>,
    time: ServerTime,
    /// By conversation, so at half of a user's number.
    stamps: Vec<Stamper>,
    text_bytes: usize,
    /// Whether receivers answer `delivered`, as browsers do.
    marks: bool,
    dice: Dice,
    text: Vec<u8>,
    /// Marks to be sent after a turn: by line, the newest message of its conversation.
    due: Vec<(usize, Mark)>,
}

impl<'a> Talk<'a> {
    /// Lets the users of a crowd talk, line by line; `run` tells this run's messages from others.
    pub fn of(
        crowd: &'a mut Crowd,
        run: u64,
        users: Vec<UserId>,
        text_bytes: usize,
        marks: bool,
    ) -> Self {
        let stamps = vec![Stamper::default(); users.len().div_ceil(2)];
        let time = crowd.time();
        let dice = Dice::new(run);
        Self {
            crowd,
            run,
            users,
            time,
            stamps,
            text_bytes,
            marks,
            dice,
            text: Vec::new(),
            due: Vec::new(),
        }
    }
}

impl Target for Talk<'_> {
    fn send(&mut self, sender: usize, seq: usize) -> Result<()> {
        let (user, peer) = (self.users[sender], self.users[peer_of(sender)]);
        let (at, n) = self.stamps[sender / 2].next(self.time.now_ms());
        self.text.clear();
        self.dice.text(self.text_bytes, &mut self.text);
        let text = String::from_utf8(std::mem::take(&mut self.text)).expect("letters are UTF-8");
        let send = Send {
            r#ref: ref_of(self.run, seq),
            conversation: ConversationId::direct(user, peer),
            to: Some(peer),
            at,
            n,
            text,
            after: None,
            reply_to: None,
            retry: false,
            traceparent: None,
        };
        self.crowd.say(sender, &ClientFrame::from(send))
    }

    fn turn(&mut self, timeout: Duration, clock: &Clock, told: &mut Vec<Told>) -> Result<()> {
        let Self { crowd, run, users, marks, due, .. } = self;
        let mut strange = None;
        crowd.turn(timeout, |line, frame| {
            let (r#ref, what) = match frame {
                ServerFrame::Ack(ack) => (ack.r#ref, What::Acked(number(ack.id))),
                ServerFrame::Message(message) => {
                    if *marks && message.sender != users[line] {
                        let Mark { conversation, id } =
                            Mark { conversation: message.conversation, id: message.id };
                        match due.iter_mut().find(|(of, _)| *of == line) {
                            Some((_, mark)) => mark.id = mark.id.max(id),
                            None => due.push((line, Mark { conversation, id })),
                        }
                    }
                    (message.r#ref, What::Delivered(number(message.id)))
                }
                ServerFrame::Error(error) => match error.r#ref {
                    Some(r#ref) => (r#ref, What::Refused(error.code.name())),
                    None => {
                        strange = Some(format!("{}: {}", error.code, error.text));
                        return;
                    }
                },
                _ => return,
            };
            if let Some(seq) = seq_of(*run, r#ref) {
                told.push(Told { seq, at_ns: clock.ns(), what });
            }
        })?;
        if let Some(strange) = strange {
            bail!("the server complained about no message in particular: {strange}");
        }
        for (line, mark) in self.due.drain(..) {
            self.crowd.say(line, &ClientFrame::from(Delivered(mark)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_only_grow_even_when_time_stands_or_goes_back() {
        let mut stamper = Stamper::default();
        let mut last = (0, 0);
        for now in [5, 5, 5, 4, 6].into_iter().chain(std::iter::repeat_n(6, 5000)) {
            let next = stamper.next(now);
            assert!(next > last && next.1 <= 0xfff, "{next:?} after {last:?}");
            last = next;
        }
        assert_eq!(last.0, 7, "4,096 fit into a millisecond");
    }

    #[test]
    fn a_ref_names_its_message_and_its_run() {
        assert_eq!(seq_of(3, ref_of(3, 77)), Some(77));
        assert_eq!(seq_of(4, ref_of(3, 77)), None);
    }
}
