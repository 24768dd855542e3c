//! Measures the embedded store alone: what its doc comments and ARCHITECTURE.md quote.
//!
//! ```text
//! cargo run --release -p rally-cluster --example store_figures -- COMMAND FOLDER [NUMBERS]
//!
//! load FOLDER RATE SECONDS GATHER_US   commits at a rate: wait, and CPU of the whole process
//! fill FOLDER MESSAGES                 as fast as it goes, then stays until it is killed
//! open FOLDER                          time to open, then a clean stop
//! kill FOLDER MESSAGES                 fills, kills, and opens what is left
//! pages FOLDER                         history of 50,000, inboxes, catch-up among 10,000
//! ```

mod figures;

use std::env::args;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use rally_cluster::store::Store;
use rally_cluster::store::embedded::{CommitFailed, EmbeddedStore, Options};
use rally_schema::ConversationId;
use tokio::time::Instant;

use figures::{T0, among_200, user};

type Running = (EmbeddedStore, JoinHandle<Result<(), CommitFailed>>);

fn open(folder: &str, options: Options) -> Running {
    let (store, commit_loop) = EmbeddedStore::open(Path::new(folder), options).expect("opened");
    let running = thread::spawn(move || commit_loop.run());
    (store, running)
}

async fn load(folder: &str, rate: u64, seconds: u64, group_interval_us: u64) {
    let options = Options { group_interval_us, ..Options::default() };
    let (store, running) = open(folder, options);
    let first = 1_000_000 + store.high_water_ms().saturating_sub(T0) * 1000;
    let what = format!("gather {group_interval_us} us");
    figures::load(&store, &what, rate, seconds, |nth| among_200(first + nth)).await;
    store.close();
    running.join().expect("joined").expect("written");
}

async fn fill(folder: &str, messages: u64) {
    let (store, _running) = open(folder, Options::default());
    let began = Instant::now();
    for first in (0..messages).step_by(256) {
        let commits = (first..messages.min(first + 256)).map(among_200).collect();
        store.commit(commits).await.expect("committed");
    }
    println!("{messages} messages in {:?}", began.elapsed());
    // Until it is killed.
    for nth in messages.. {
        store.commit(vec![among_200(nth)]).await.expect("committed");
    }
}

/// Fills a folder in another process, kills that one amid its writes, and opens what is left.
fn kill(folder: &str, messages: &str) {
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me)
        .args(["fill", folder, messages])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let said = child.stdout.take().expect("piped");
    let filled = BufReader::new(said).lines().next().expect("a line").expect("read");
    child.kill().expect("killed");
    child.wait().expect("ended");
    println!("{filled}");
    reopen(folder);
    reopen(folder);
}

fn reopen(folder: &str) {
    let began = Instant::now();
    let (store, running) = open(folder, Options::default());
    let opened = began.elapsed();
    let one = ConversationId::direct(user(0), user(100));
    let read = futures_util::future::FutureExt::now_or_never(store.history(one, None, 1));
    read.expect("at once").expect("read");
    println!("opened in {opened:?}, first page after {:?}", began.elapsed());
    let began = Instant::now();
    store.close();
    running.join().expect("joined").expect("written");
    println!("closed in {:?}", began.elapsed());
}

async fn pages(folder: &str) {
    let (store, running) = open(folder, Options { group_interval_us: 0, ..Options::default() });
    figures::pages(&store).await;
    store.close();
    running.join().expect("joined").expect("written");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match args[..] {
        ["load", folder, rate, seconds, gather] => {
            load(folder, number(rate), number(seconds), number(gather)).await;
        }
        ["fill", folder, messages] => fill(folder, number(messages)).await,
        ["open", folder] => reopen(folder),
        ["kill", folder, messages] => kill(folder, messages),
        ["pages", folder] => pages(folder).await,
        _ => println!(
            "load FOLDER RATE SECONDS GATHER_US | fill FOLDER MESSAGES | open FOLDER | \
             kill FOLDER MESSAGES | pages FOLDER"
        ),
    }
}
