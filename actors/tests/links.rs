//! Links: what goes at once, what gathers, and what is kept of whom.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rally_actors::Metrics;
use rally_actors::link::Link;
use rally_cluster::broker::{Arrivals, Broker, Confirmation, Parcel, PublishError};
use rally_cluster::clock::{Clock, MachineTime};
use rally_cluster::links::{Heard, Incoming};
use rally_schema::{Envelope, Life, Pushed, Stage};
use tokio::sync::oneshot;

type Answer = Result<(), PublishError>;

/// A broker that answers when the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Published>>);

#[derive(Default)]
struct Published {
    parcels: Vec<Parcel>,
    unanswered: VecDeque<oneshot::Sender<Answer>>,
    /// How many answers the link has got.
    heard: usize,
}

impl Broker for Slow {
    fn open(&self, _: Life) -> Arrivals {
        unreachable!("links receive nothing")
    }

    fn publish(&self, _: Life, parcel: Parcel) -> Confirmation {
        let (answer, answered) = oneshot::channel();
        let mut published = self.0.lock();
        published.parcels.push(parcel);
        published.unanswered.push_back(answer);
        let this = self.clone();
        Box::pin(async move {
            let answer = answered.await.expect("the test answers");
            this.0.lock().heard += 1;
            answer
        })
    }
}

impl Slow {
    /// Gives number and size of each parcel published so far.
    fn published(&self) -> Vec<(u64, usize)> {
        self.0.lock().parcels.iter().map(|parcel| (parcel.number, parcel.envelopes.len())).collect()
    }

    /// Answers the oldest parcel, and waits until the link has done with it what it does.
    async fn answer(&self, answer: Answer) {
        let (oldest, before) = {
            let mut published = self.0.lock();
            let oldest = published.unanswered.pop_front().expect("a parcel is under way");
            (oldest, published.heard)
        };
        oldest.send(answer).unwrap();
        while self.0.lock().heard == before {
            tokio::task::yield_now().await;
        }
    }
}

fn life(generation: u64) -> Life {
    Life { node: "ben".parse().unwrap(), generation }
}

fn push(bytes: usize) -> Envelope {
    Envelope::Push(Pushed {
        to: "ben".parse().unwrap(),
        stage: Stage::Home,
        except: None,
        passing: false,
        frame: "x".repeat(bytes),
        traceparent: None,
    })
}

fn link() -> (Link, Slow, Registry) {
    let (broker, mut registry) = (Slow::default(), Registry::default());
    let metrics = Metrics::new(&mut registry).link;
    let clock = Clock::new(MachineTime::new(), 0, 1, 1_875);
    let from = Life { node: "ana".parse().unwrap(), generation: 1 };
    (Link::new(from, Arc::new(broker.clone()), clock, metrics), broker, registry)
}

fn send(link: &Link, many: usize) {
    (0..many).for_each(|_| link.send(life(1), push(10)));
}

#[actix::test]
async fn an_envelope_goes_at_once_and_what_follows_goes_together_when_it_is_confirmed() {
    let (link, broker, _) = link();
    send(&link, 1);
    assert_eq!(broker.published(), [(1, 1)]);
    send(&link, 5);
    assert_eq!(broker.published(), [(1, 1)]);
    broker.answer(Ok(())).await;
    assert_eq!(broker.published(), [(1, 1), (2, 5)]);
    broker.answer(Ok(())).await;
    send(&link, 1);
    assert_eq!(broker.published(), [(1, 1), (2, 5), (3, 1)]);
}

#[actix::test]
async fn a_full_parcel_waits_for_nobody() {
    let (link, broker, _) = link();
    send(&link, 1 + 256 + 3);
    assert_eq!(broker.published(), [(1, 1), (2, 256)]);
    link.send(life(1), push(64 * 1024));
    assert_eq!(broker.published(), [(1, 1), (2, 256), (3, 4)]);
}

#[actix::test]
async fn one_slow_receiver_keeps_nobody_else_waiting() {
    let (link, broker, _) = link();
    send(&link, 1);
    link.send(life(2), push(10));
    assert_eq!(broker.published(), [(1, 1), (1, 1)]);
}

#[actix::test]
async fn what_finds_no_room_is_dropped_and_shows_as_a_gap() {
    let (link, broker, registry) = link();
    send(&link, 1 + 8 * 256);
    assert_eq!(broker.published().len(), 8, "as many as may be under way");
    assert_eq!(broker.published().last(), Some(&(8, 256)));
    send(&link, 100);
    assert_eq!(broker.published().len(), 8);
    for _ in 0..8 {
        broker.answer(Ok(())).await;
    }
    // What had gathered went when there was room; the numbers between are those of the dropped.
    assert_eq!(broker.published()[8..], [(109, 256)]);
    let mut incoming = Incoming::default();
    let numbers = broker.published().into_iter().map(|(number, _)| number);
    let heard: Vec<Heard> = numbers.map(|number| incoming.hear(life(1), number)).collect();
    assert_eq!(heard.iter().filter(|heard| **heard == Heard::Gap).count(), 1, "{heard:?}");
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("envelopes_dropped_total 100\n"), "{text}");
    assert!(text.contains("parcels_answered_total{of=\"confirmed\"} 8\n"), "{text}");
}

#[actix::test]
async fn an_idle_link_tells_its_last_number_until_it_is_confirmed() {
    let (link, broker, _) = link();
    send(&link, 1);
    link.tell_numbers();
    assert_eq!(broker.published(), [(1, 1)], "what is under way tells it");
    broker.answer(Err(PublishError::Unknown("lost".to_owned()))).await;
    link.tell_numbers();
    broker.answer(Err(PublishError::Refused(life(1)))).await;
    link.tell_numbers();
    assert_eq!(broker.published(), [(1, 1), (2, 0), (3, 0)]);
    assert!(!link.is_told(), "the second may have been lost, and nothing shows it");
    broker.answer(Ok(())).await;
    link.tell_numbers();
    assert_eq!(broker.published().len(), 3, "it is told");
    assert!(link.is_told());
}

#[actix::test]
async fn what_gathered_for_a_life_without_a_queue_goes_once_and_then_nothing_is_kept() {
    let (link, broker, _) = link();
    send(&link, 4);
    // It may have its queue back by now, and what gathered is newer than that.
    broker.answer(Err(PublishError::Returned(life(1)))).await;
    assert_eq!(broker.published(), [(1, 1), (2, 3)]);
    broker.answer(Err(PublishError::Returned(life(1)))).await;
    link.tell_numbers();
    assert_eq!(broker.published().len(), 2, "nobody is told any more");
    // A life that comes back nevertheless is never told a number again.
    send(&link, 1);
    assert_eq!(broker.published().last(), Some(&(3, 1)));
}
