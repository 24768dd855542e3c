//! Bare commits: all rows of a message, written to the database that nodes share and nothing else.
//!
//! What a message between nodes is measured against: takes the records of the bare loop, writes by
//! the driver that the nodes use, and acknowledges and passes on what is written. There are no
//! sessions, routers or brokers in it.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use rally_cluster::clock::Clock;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::cassandra::{CassandraStore, Options};
use rally_cluster::store::{Store as _, UserRow};
use rally_schema::ids::Stamp;
use rally_schema::limits::Overlap;
use rally_schema::{MessageId, Ref};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::bare::{self, ACK, INTRODUCES, PUSHED, SENT};
use crate::people::user;
use crate::wire::text;

/// A database, and the thread that talks to it.
pub struct Database {
    runtime: Runtime,
    store: Arc<CassandraStore>,
}

impl Database {
    /// Connects, and makes the keyspace and its tables when they are missing.
    pub fn open(options: Options) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let at = options.contact_points.join(", ");
        let store = runtime.block_on(CassandraStore::open(options)).with_context(|| {
            format!("no database at {at}: start one with `cargo xtask services up`")
        })?;
        Ok(Self { runtime, store: Arc::new(store) })
    }

    /// Makes accounts.
    pub fn import(&self, rows: Vec<UserRow>) -> Result<()> {
        self.wait(self.store.import_users(rows)).context("making the accounts")?;
        Ok(())
    }

    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}

/// What all connections share.
struct Commits {
    store: Arc<CassandraStore>,
    clock: Clock,
    text_bytes: usize,
    /// Tells this process's users and messages from those of others.
    run: u64,
    /// The connections' other halves, by whose they are.
    lines: Mutex<HashMap<usize, Arc<tokio::sync::Mutex<OwnedWriteHalf>>>>,
}

/// Serves until it is killed: one user a connection.
pub fn serve(cassandra: &str, keyspace: &str, text_bytes: usize) -> Result<()> {
    // A parent that is killed must not leave this process behind.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let database = Database::open(Options {
        contact_points: vec![cassandra.to_owned()],
        keyspace: keyspace.to_owned(),
        ..Options::default()
    })?;
    let bits = Uuid::new_v4().as_u64_pair().0;
    let commits = Arc::new(Commits {
        store: database.store.clone(),
        clock: Clock::machine(0, bits, Overlap::default().clock_step_ms()),
        text_bytes,
        run: bits >> 24,
        lines: Mutex::default(),
    });
    database.wait(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            commits.take(stream)?;
        }
    })
}

impl Commits {
    /// Takes up one connection.
    fn take(self: &Arc<Self>, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (reading, writing) = stream.into_split();
        tokio::spawn(self.clone().read(reading, writing));
        Ok(())
    }

    /// Commits what comes, each record on its own.
    async fn read(self: Arc<Self>, mut reading: OwnedReadHalf, writing: OwnedWriteHalf) {
        let mut record = [0; SENT];
        let (mut line, mut writing) = (0, Some(writing));
        while reading.read_exact(&mut record).await.is_ok() {
            let head = *record.first_chunk().expect("a record is longer than its head");
            let (name, number) = bare::read(head);
            if number == INTRODUCES {
                line = name;
                let writing = writing.take().map(|half| Arc::new(tokio::sync::Mutex::new(half)));
                self.lines.lock().extend(writing.map(|half| (line, half)));
                let mut ack = [b'a'; ACK];
                ack[..12].copy_from_slice(&head);
                if self.write(line, &ack).await.is_err() {
                    return;
                }
                continue;
            }
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.commit(line, head).await {
                    // The generator finds the message missing.
                    eprintln!("a bare commit failed: {error:#}");
                }
            });
        }
    }

    async fn commit(&self, line: usize, head: [u8; 12]) -> Result<()> {
        let (peer, seq) = bare::read(head);
        let first = (self.run << 20) as usize;
        let pair = Pair::direct(user(first + line), user(first + peer));
        let mut said = String::new();
        text::write(seq as usize, self.text_bytes, &mut said);
        let r#ref = Ref::from(Uuid::from_u64_pair(self.run, seq));
        let stamp = Stamp { at: self.clock.now_ms(), n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &said);
        let intent = Intent::Send { id, r#ref, text: said, reply_to: None };
        self.store.commit(vec![intent.commit(pair, || self.clock.mint())]).await?;
        let (mut ack, mut push) = ([b'a'; ACK], [b'm'; PUSHED]);
        ack[..12].copy_from_slice(&head);
        push[..12].copy_from_slice(&head);
        self.write(line, &ack).await?;
        self.write(peer, &push).await
    }

    async fn write(&self, line: usize, bytes: &[u8]) -> Result<()> {
        let to = self.lines.lock().get(&line).cloned().context("nobody is there")?;
        Ok(to.lock().await.write_all(bytes).await?)
    }
}
