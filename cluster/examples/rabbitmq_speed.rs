//! What the broker on RabbitMQ costs: parcels a second, CPU a parcel, and how long one takes.
//!
//! `RALLY_TEST_AMQP=amqp://… cargo run --release -p rally-cluster --example rabbitmq_speed`
//! publishes from one life to another of the same process, so its CPU is that of both ends. Linux
//! only: it reads its CPU time from `/proc`.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use rally_cluster::broker::rabbitmq::{Options, RabbitBroker};
use rally_cluster::broker::{Arrival, Arrivals, Broker as _, Parcel};
use rally_schema::{Envelope, Life, Pushed, Stage};
use tokio::time::{Instant, interval, timeout};
use uuid::Uuid;

/// How long each measurement publishes.
const LENGTH: Duration = Duration::from_secs(5);

/// Parcels without a confirmation, at full speed.
const UNDER_WAY: usize = 512;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rabbitmq_speed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("RALLY_TEST_AMQP")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned());
    let exchange = format!("rally.speed.{}", Uuid::new_v4());
    let url = url.parse().map_err(|error| format!("RALLY_TEST_AMQP is no AMQP URL: {error}"))?;
    let options = Options { exchange, ..Options::new(url) };
    let connected = RabbitBroker::connect(options).await;
    let broker = connected.map_err(|error| format!("RALLY_TEST_AMQP: {error}"))?;
    println!("envelopes of 200 bytes; {LENGTH:?} each");
    for (generation, (per_second, envelopes)) in
        [(Some(100), 1), (Some(500), 1), (Some(2_000), 1), (None, 1), (Some(500), 32), (None, 32)]
            .into_iter()
            .enumerate()
    {
        let to = life("ben", generation as u64);
        let mut arrivals = broker.open(to);
        assert_eq!(arrivals.next().await, Some(Arrival::Reopened));
        measure(&broker, to, arrivals, per_second, envelopes).await?;
    }
    Ok(())
}

fn life(node: &str, generation: u64) -> Life {
    Life { node: node.parse().expect("a node's name"), generation }
}

/// For microseconds, up to a minute.
fn spans() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are some")
}

fn parcel(number: u64, envelopes: usize) -> Parcel {
    let push = Pushed {
        to: "ben".parse().expect("a user's name"),
        stage: Stage::Home,
        except: None,
        passing: false,
        frame: format!(r#"{{"type":"message","text":"{}"}}"#, "x".repeat(200)),
        traceparent: None,
    };
    Parcel { from: life("ana", 1), number, envelopes: vec![Envelope::Push(push); envelopes] }
}

async fn measure(
    broker: &RabbitBroker,
    to: Life,
    mut arrivals: Arrivals,
    per_second: Option<u64>,
    envelopes: usize,
) -> Result<(), Box<dyn Error>> {
    let (begun, cpu_begun) = (Instant::now(), cpu_us());
    let mut sent: Vec<Instant> = Vec::new();
    let mut confirms = FuturesUnordered::new();
    let (mut arrive, mut confirm) = (spans(), spans());
    let mut pace = interval(Duration::from_secs(1) / per_second.unwrap_or(1_000_000) as u32);
    while begun.elapsed() < LENGTH {
        tokio::select! {
            Some((published, answer)) = confirms.next() => {
                let answer: Result<(), _> = answer;
                answer.map_err(|error| format!("RabbitMQ takes no more: {error}"))?;
                confirm.saturating_record(micros(published));
            }
            Some(arrival) = arrivals.next() => note(arrival, &sent, &mut arrive)?,
            () = tick(&mut pace, per_second), if may(confirms.len(), sent.len(), arrive.len()) => {
                let published = Instant::now();
                sent.push(published);
                let confirmation = broker.publish(to, parcel(sent.len() as u64, envelopes));
                confirms.push(confirmation.map(move |answer| (published, answer)));
            }
        }
    }
    let took = begun.elapsed();
    while (arrive.len() as usize) < sent.len() {
        let arrival = timeout(LENGTH, arrivals.next()).await;
        let late = || format!("{} of {} arrived, {LENGTH:?} later", arrive.len(), sent.len());
        let arrival = arrival.map_err(|_| late())?.ok_or("the queue was closed")?;
        note(arrival, &sent, &mut arrive)?;
    }
    let parcels = sent.len() as u64;
    println!(
        "{:>9}/s x {envelopes:>2}: {:>6.0} parcels/s, CPU {:>4} us a parcel; arrival p50 {} p99 {} us; \
         confirm p50 {} p99 {} us",
        per_second.map_or("all".to_owned(), |rate| rate.to_string()),
        parcels as f64 / took.as_secs_f64(),
        (cpu_us() - cpu_begun) / parcels,
        arrive.value_at_quantile(0.5),
        arrive.value_at_quantile(0.99),
        confirm.value_at_quantile(0.5),
        confirm.value_at_quantile(0.99),
    );
    Ok(())
}

/// Both ends share one thread: who publishes must not fill the queue of who receives.
fn may(unconfirmed: usize, sent: usize, arrived: u64) -> bool {
    unconfirmed < UNDER_WAY && sent - (arrived as usize) < 2 * UNDER_WAY
}

async fn tick(pace: &mut tokio::time::Interval, per_second: Option<u64>) {
    match per_second {
        Some(_) => drop(pace.tick().await),
        None => tokio::task::yield_now().await,
    }
}

/// Why there is no figure: something else than what was published arrived.
#[derive(Debug)]
enum Disturbed {
    Reopened,
    Unreadable,
}

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reopened => "the connection was lost, and parcels with it: run it again, and see RabbitMQ's log",
            Self::Unreadable => "something arrived that is no parcel: does another program publish to this exchange?",
        })
    }
}

impl Error for Disturbed {}

fn note(arrival: Arrival, sent: &[Instant], arrive: &mut Histogram<u64>) -> Result<(), Disturbed> {
    let parcel = match arrival {
        Arrival::Parcel(parcel) => parcel,
        Arrival::Reopened => return Err(Disturbed::Reopened),
        Arrival::Unreadable => return Err(Disturbed::Unreadable),
    };
    arrive.saturating_record(micros(sent[parcel.number as usize - 1]));
    Ok(())
}

fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

/// Reads the CPU time of this process so far, in ticks of 10 ms.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    // After the name, which may hold blanks: state is the first, user and system time follow.
    let fields: Vec<&str> =
        stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) * 10_000
}
