//! The one suite that every broker passes: each check is a promise of the trait.

use std::future::Future;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use rally_schema::{Envelope, Life, Pushed, Stage};

use super::{Arrival, Arrivals, Broker, Parcel, PublishError};
use crate::links::{Heard, Incoming};

/// How many parcels a queue of the fixture's broker holds at least.
pub const CAPACITY: usize = 8;

/// How many parcels it holds at most, with those that are on their way out of it.
pub const MOST: usize = 4 * CAPACITY;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many parcels are published while the broker is out of reach.
const MANY: u64 = 100_000;

/// Gives a check the broker that it judges.
pub trait Fixture: Sized + Send + Sync {
    /// Which broker.
    type Broker: Broker;

    /// Makes one without queues, whose queues hold [`CAPACITY`] parcels.
    fn empty() -> impl Future<Output = Self> + Send;

    /// Borrows it.
    fn broker(&self) -> &Self::Broker;

    /// Cuts every connection to the broker, and lets none come back.
    fn cut(&self) -> impl Future<Output = ()> + Send;

    /// Lets connections come back.
    fn heal(&self) -> impl Future<Output = ()> + Send;
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

/// Waits for a parcel.
async fn next(arrivals: &mut Arrivals) -> Parcel {
    match next_arrival(arrivals).await {
        Arrival::Parcel(parcel) => parcel,
        other => panic!("{other:?} instead of a parcel"),
    }
}

async fn next_arrival(arrivals: &mut Arrivals) -> Arrival {
    let waited = tokio::time::timeout(PATIENCE, arrivals.next()).await;
    waited.expect("something arrives in time").expect("the queue is open")
}

/// Publishes until the broker takes it.
async fn publish_until_taken(broker: &impl Broker, to: Life, parcel: &Parcel) {
    let taken = async {
        while broker.publish(to, parcel.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the broker takes it in time");
}

/// Opens a queue and waits until it is there.
async fn open(broker: &impl Broker, life: Life) -> Arrivals {
    let mut arrivals = broker.open(life);
    let probe = parcel(self::life("probe", 1), 1);
    publish_until_taken(broker, life, &probe).await;
    let mut first = next_arrival(&mut arrivals).await;
    if first == Arrival::Reopened {
        first = next_arrival(&mut arrivals).await;
    }
    assert_eq!(first, Arrival::Parcel(probe));
    arrivals
}

/// Cuts the connections, and waits until a publisher sees it.
async fn cut<F: Fixture>(fixture: &F) {
    fixture.cut().await;
    let (ana, ben) = (life("probe", 1), life("nobody", 1));
    let out_of_reach = async {
        let tried = async || fixture.broker().publish(ben, parcel(ana, 1)).await;
        while !matches!(tried().await, Err(PublishError::Unknown(_))) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, out_of_reach).await.expect("a cut is seen in time");
}

/// What one life publishes arrives whole and in its order, whoever else publishes.
pub async fn parcels_arrive_whole_and_in_order<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, cid, ben) = (life("ana", 1), life("cid", 1), life("ben", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    for number in 1..=4 {
        for from in [ana, cid] {
            fixture.broker().publish(ben, parcel(from, number)).await.expect("confirmed");
        }
    }
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(next(&mut arrivals).await);
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
    let mut arrivals = open(fixture.broker(), ben).await;
    for number in 1..=CAPACITY as u64 {
        drop(fixture.broker().publish(ben, parcel(ana, number)));
    }
    for number in 1..=CAPACITY as u64 {
        assert_eq!(next(&mut arrivals).await, parcel(ana, number));
    }
}

/// Two lives of one node are two receivers.
pub async fn a_life_gets_nothing_that_was_meant_for_another<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, before, after) = (life("ana", 1), life("ben", 1), life("ben", 2));
    let mut old = open(fixture.broker(), before).await;
    let mut new = open(fixture.broker(), after).await;
    fixture.broker().publish(after, parcel(ana, 1)).await.expect("confirmed");
    assert_eq!(next(&mut new).await, parcel(ana, 1));
    assert_eq!(old.next().now_or_never(), None);
}

/// What goes to nobody comes back.
pub async fn a_parcel_to_nobody_is_returned<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let returned = fixture.broker().publish(ben, parcel(ana, 1)).await;
    assert_eq!(returned, Err(PublishError::Returned(ben)));
}

/// Each confirmation is that of its own parcel, also when some of many come back.
pub async fn a_return_is_told_of_the_parcel_that_came_back<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben, nobody) = (life("ana", 1), life("ben", 1), life("nobody", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    for _ in 0..20 {
        // Many at once, so that answers overtake one another; a queue's fill of them to Ben.
        let published: Vec<_> = (1..=64 * CAPACITY as u64)
            .map(|number| {
                let to = if number % 64 == 0 { ben } else { nobody };
                (to, fixture.broker().publish(to, parcel(ana, number)))
            })
            .collect();
        for (to, confirmation) in published {
            let told = confirmation.await;
            assert_eq!(told, if to == ben { Ok(()) } else { Err(PublishError::Returned(nobody)) });
        }
        for _ in 0..CAPACITY {
            next(&mut arrivals).await;
        }
    }
}

/// A queue is gone with its receiver.
pub async fn a_queue_goes_with_its_receiver<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    drop(open(fixture.broker(), ben).await);
    let gone = async {
        let tried = async || fixture.broker().publish(ben, parcel(ana, 1)).await;
        while tried().await != Err(PublishError::Returned(ben)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it goes in time");
}

/// A full queue refuses what is new and keeps what it has.
pub async fn a_full_queue_refuses_and_keeps_what_it_has<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    let mut taken = 0;
    let refused = loop {
        match fixture.broker().publish(ben, parcel(ana, taken + 1)).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken <= MOST as u64, "a queue that is never full");
    };
    assert_eq!(refused, PublishError::Refused(ben));
    assert!(taken >= CAPACITY as u64, "full after {taken}");
    for number in 1..=taken {
        assert_eq!(next(&mut arrivals).await, parcel(ana, number));
    }
    publish_until_taken(fixture.broker(), ben, &parcel(ana, 100)).await;
    assert_eq!(next(&mut arrivals).await, parcel(ana, 100));
}

/// Who receives learns that his queue was lost, and then receives again.
pub async fn a_cut_is_told_to_the_receiver_and_parcels_flow_again<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    for cuts in 1..=2 {
        cut(&fixture).await;
        fixture.heal().await;
        assert_eq!(next_arrival(&mut arrivals).await, Arrival::Reopened);
        publish_until_taken(fixture.broker(), ben, &parcel(ana, cuts)).await;
        assert_eq!(next(&mut arrivals).await, parcel(ana, cuts));
    }
}

/// What is published out of the broker's reach shows as a gap in the numbers.
pub async fn what_is_published_during_a_cut_shows_as_a_gap<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    let mut numbers = Incoming::default();
    fixture.broker().publish(ben, parcel(ana, 1)).await.expect("confirmed");
    let first = next(&mut arrivals).await;
    assert_eq!(numbers.hear(first.from, first.number), Heard::Next);
    cut(&fixture).await;
    let lost = fixture.broker().publish(ben, parcel(ana, 2)).await;
    assert!(matches!(lost, Err(PublishError::Unknown(_))), "{lost:?}");
    fixture.heal().await;
    assert_eq!(next_arrival(&mut arrivals).await, Arrival::Reopened);
    publish_until_taken(fixture.broker(), ben, &parcel(ana, 3)).await;
    let second = next(&mut arrivals).await;
    assert_eq!(numbers.hear(second.from, second.number), Heard::Gap);
}

/// Nothing is kept for a broker that is out of reach: every confirmation is an error at once,
/// and what was published meanwhile never arrives.
pub async fn nothing_is_kept_while_the_broker_is_out_of_reach<F: Fixture>() {
    let fixture = F::empty().await;
    let (ana, ben) = (life("ana", 1), life("ben", 1));
    let mut arrivals = open(fixture.broker(), ben).await;
    cut(&fixture).await;
    let all = async {
        for number in 1..=MANY {
            let lost = fixture.broker().publish(ben, parcel(ana, number)).now_or_never();
            let lost = lost.expect("an answer without waiting");
            assert!(matches!(lost, Err(PublishError::Unknown(_))), "{lost:?}");
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("no publisher waits for a broker");
    fixture.heal().await;
    assert_eq!(next_arrival(&mut arrivals).await, Arrival::Reopened);
    publish_until_taken(fixture.broker(), ben, &parcel(ana, MANY + 1)).await;
    assert_eq!(next(&mut arrivals).await, parcel(ana, MANY + 1));
}

/// Declares the checks once, and a macro that makes a test of each.
macro_rules! checks {
    (($d:tt) $($name:ident)*) => {
        /// Makes each check of the suite a test of the given [`Fixture`], with an attribute
        /// such as `#[ignore]` if one is given.
        #[macro_export]
        macro_rules! broker_conformance {
            ($d fixture:ty $d(, #[$d($d attribute:tt)*])?) => {
                $(
                    #[tokio::test]
                    $d(#[$d($d attribute)*])?
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
    a_return_is_told_of_the_parcel_that_came_back
    a_queue_goes_with_its_receiver
    a_full_queue_refuses_and_keeps_what_it_has
    a_cut_is_told_to_the_receiver_and_parcels_flow_again
    what_is_published_during_a_cut_shows_as_a_gap
    nothing_is_kept_while_the_broker_is_out_of_reach
}
