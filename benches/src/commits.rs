//! Bare commits: all rows of a message, written to the database that nodes share and nothing else.
//!
//! What a message between nodes is measured against. Writes by the driver that the nodes use, on
//! the generator's schedule; there are no sockets, sessions or brokers in it.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rally_cluster::clock::Clock as NodeClock;
use rally_cluster::intent::{Intent, Pair};
use rally_cluster::store::cassandra::{CassandraStore, Options};
use rally_cluster::store::{Store as _, StoreError, UserRow};
use rally_schema::ids::Stamp;
use rally_schema::limits::Overlap;
use rally_schema::{MessageId, UserId};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::dice::Dice;
use crate::generator::{Clock, Target, peer_of};
use crate::ledger::{Told, What};
use crate::talk::ref_of;

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

/// Pairs whose messages are committed and told to nobody.
pub struct Commits<'a> {
    database: &'a Database,
    clock: NodeClock,
    run: u64,
    users: Vec<UserId>,
    text_bytes: usize,
    dice: Dice,
    done: Receiver<(usize, MessageId, Result<(), StoreError>)>,
    tell: Sender<(usize, MessageId, Result<(), StoreError>)>,
}

impl<'a> Commits<'a> {
    /// Lets users write; `run` tells this run's messages from others.
    pub fn of(database: &'a Database, run: u64, users: Vec<UserId>, text_bytes: usize) -> Self {
        let (tell, done) = mpsc::channel();
        let bits = Uuid::new_v4().as_u64_pair().0;
        let clock = NodeClock::machine(0, bits, Overlap::default().clock_step_ms());
        Self { database, clock, run, users, text_bytes, dice: Dice::new(run), done, tell }
    }
}

impl Target for Commits<'_> {
    fn send(&mut self, sender: usize, seq: usize) -> Result<()> {
        let pair = Pair::direct(self.users[sender], self.users[peer_of(sender)]);
        let mut text = Vec::new();
        self.dice.text(self.text_bytes, &mut text);
        let (text, r#ref) = (String::from_utf8(text)?, ref_of(self.run, seq));
        let stamp = Stamp { at: self.clock.now_ms(), n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        let intent = Intent::Send { id, r#ref, text, reply_to: None };
        let written = self.database.store.commit(vec![intent.commit(pair, || self.clock.mint())]);
        let tell = self.tell.clone();
        self.database.runtime.spawn(async move {
            let _ = tell.send((seq, id, written.await));
        });
        Ok(())
    }

    fn turn(&mut self, timeout: Duration, clock: &Clock, told: &mut Vec<Told>) -> Result<()> {
        let first = match self.done.recv_timeout(timeout) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(error) => bail!("the commits ended: {error}"),
        };
        for (seq, id, written) in std::iter::once(first).chain(self.done.try_iter()) {
            let (at_ns, number) = (clock.ns(), Uuid::from(id).as_u128());
            written.context("a bare commit failed")?;
            told.extend([What::Acked(number), What::Delivered(number)].map(|what| Told {
                seq,
                at_ns,
                what,
            }));
        }
        Ok(())
    }
}
