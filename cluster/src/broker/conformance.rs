//! The one suite that every broker passes: each check is a promise of the trait.

use std::future::Future;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use rally_schema::{Envelope, Life, Pushed, Stage};

use super::{Arrivals, Broker, Parcel, PublishError};

/// How many parcels a queue of the fixture's broker holds.
pub const CAPACITY: usize = 8;

/// Gives a check the broker that it judges.
pub trait Fixture: Sized + Send {
    /// Which broker.
    type Broker: Broker;

    /// Makes one without queues, whose queues hold [`CAPACITY`] parcels.
    fn empty() -> impl Future<Output = Self> + Send;

    /// Borrows it.
    fn broker(&self) -> &Self::Broker;
}

fn life(node: &str, generation: u64) -> Life {
    Life { node: node.parse().expect("a node id"), generation }
}

fn parcel(from: Life, number: u64) -> Parcel {
    let push = Pushed {
        to: "ben".parse().expect("a user id"),
        stage: Stage::Home,
        except: None,
        passing: false,
        frame: format!("frame {number}"),
        traceparent: None,
    };
    Parcel { from, number, envelopes: vec![Envelope::Push(push)] }
}

async fn next(arrivals: &mut Arrivals) -> Option<Parcel> {
    let waited = tokio::time::timeout(Duration::from_secs(10), arrivals.next()).await;
    waited.expect("a confirmed parcel arrives")
}

/// What one life publishes arrives whole and in its order, whoever else publishes.
pub async fn parcels_arrive_whole_and_in_order<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, cid, ben) = (life("ana", 1), life("cid", 1), life("ben", 1));
    let mut arrivals = fixture.broker().open(ben);
    for number in 1..=4 {
        for from in [ana, cid] {
            fixture.broker().publish(ben, parcel(from, number)).await.expect("confirmed");
        }
    }
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(next(&mut arrivals).await.expect("open"));
    }
    for from in [ana, cid] {
        let his: Vec<Parcel> = heard.iter().filter(|one| one.from == from).cloned().collect();
        assert_eq!(his, (1..=4).map(|number| parcel(from, number)).collect::<Vec<_>>());
    }
}

/// A publisher need not wait for one confirmation before the next parcel, or for any.
pub async fn parcels_that_nobody_waits_for_arrive_in_order<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = fixture.broker().open(ben);
    for number in 1..=CAPACITY as u64 {
        drop(fixture.broker().publish(ben, parcel(ana, number)));
    }
    for number in 1..=CAPACITY as u64 {
        assert_eq!(next(&mut arrivals).await, Some(parcel(ana, number)));
    }
}

/// Two lives of one node are two receivers.
pub async fn a_life_gets_nothing_that_was_meant_for_another<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, before, after) = (life("ana", 1), life("ben", 1), life("ben", 2));
    let (mut old, mut new) = (fixture.broker().open(before), fixture.broker().open(after));
    fixture.broker().publish(after, parcel(ana, 1)).await.expect("confirmed");
    assert_eq!(next(&mut new).await, Some(parcel(ana, 1)));
    assert_eq!(old.next().now_or_never(), None);
}

/// What goes to nobody comes back.
pub async fn a_parcel_to_nobody_is_returned<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let returned = fixture.broker().publish(ben, parcel(ana, 1)).await;
    assert_eq!(returned, Err(PublishError::Returned(ben)));
}

/// A queue is gone with its receiver.
pub async fn a_queue_goes_with_its_receiver<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    drop(fixture.broker().open(ben));
    let returned = async || fixture.broker().publish(ben, parcel(ana, 1)).await.is_err();
    while !returned().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A full queue refuses what is new and keeps what it has.
pub async fn a_full_queue_refuses_and_keeps_what_it_has<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = fixture.broker().open(ben);
    for number in 1..=CAPACITY as u64 {
        fixture.broker().publish(ben, parcel(ana, number)).await.expect("confirmed");
    }
    let refused = fixture.broker().publish(ben, parcel(ana, 99)).await;
    assert_eq!(refused, Err(PublishError::Refused(ben)));
    for number in 1..=CAPACITY as u64 {
        assert_eq!(next(&mut arrivals).await, Some(parcel(ana, number)));
    }
    fixture.broker().publish(ben, parcel(ana, 100)).await.expect("there is room again");
    assert_eq!(next(&mut arrivals).await, Some(parcel(ana, 100)));
}

/// Declares the checks once, and a macro that makes a test of each.
macro_rules! checks {
    (($d:tt) $($name:ident)*) => {
        /// Makes each check of the suite a test of the given [`Fixture`].
        #[macro_export]
        macro_rules! broker_conformance {
            ($d fixture:ty) => {
                $(
                    #[tokio::test]
                    async fn $name() {
                        $crate::broker::conformance::$name::<$d fixture>().await;
                    }
                )*
            };
        }
    };
}

checks! {($)
    parcels_arrive_whole_and_in_order
    parcels_that_nobody_waits_for_arrive_in_order
    a_life_gets_nothing_that_was_meant_for_another
    a_parcel_to_nobody_is_returned
    a_queue_goes_with_its_receiver
    a_full_queue_refuses_and_keeps_what_it_has
}
