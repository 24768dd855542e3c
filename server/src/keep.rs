//! The store of a node: opened as the settings say, watched, and closed.
//!
//! The embedded one has a thread of its own, whose failure ends the process: what the disk then
//! holds is known only after a new start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use rally_cluster::store::Store;
use rally_cluster::store::cassandra::{self, CassandraStore};
use rally_cluster::store::embedded::{self, EmbeddedStore};
use tracing::error;

use crate::config;
use crate::config::value::{Durability, StoreKind};
use crate::node::StartError;

/// Exit code of a process whose store failed (sysexits' EX_IOERR).
const STORE_FAILED: i32 = 74;

/// Requests that a node has under way at a shared store for each write that it may have in
/// flight: a message, and two members.
const REQUESTS_A_WRITE: usize = 3;

/// The store that a node keeps everything in.
pub enum Keep {
    /// A folder of this node's.
    Embedded {
        /// The store.
        store: EmbeddedStore,
        /// The thread that writes.
        commit_loop: JoinHandle<()>,
        /// Whether that thread has stopped.
        ended: Arc<AtomicBool>,
    },
    /// Shared with other nodes.
    Cassandra(CassandraStore),
}

impl Keep {
    /// Opens the store that the settings name.
    pub async fn open(settings: &config::Store) -> Result<Self, StartError> {
        match settings.store {
            StoreKind::Embedded => Self::open_embedded(settings),
            StoreKind::Cassandra => {
                let store = CassandraStore::open(shared_options(settings)).await?;
                Ok(Self::Cassandra(store))
            }
        }
    }

    fn open_embedded(settings: &config::Store) -> Result<Self, StartError> {
        let options = embedded_options(settings);
        let (store, commit_loop) = EmbeddedStore::open(&settings.data_dir, options)?;
        let ended = Arc::new(AtomicBool::new(false));
        let commit_loop = run_commits(commit_loop, ended.clone())?;
        Ok(Self::Embedded { store, commit_loop, ended })
    }

    /// Gives what everybody else knows of it.
    pub fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded { store, .. } => Arc::new(store.clone()),
            Self::Cassandra(store) => Arc::new(store.clone()),
        }
    }

    /// Shows what it counts.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("store");
        match self {
            Self::Embedded { store, .. } => store.metrics().register(registry),
            Self::Cassandra(store) => store.metrics().register(registry),
        }
    }

    /// Gives a flag that is raised when a part of it has stopped that must run.
    pub fn ended(&self) -> Arc<AtomicBool> {
        match self {
            Self::Embedded { ended, .. } => ended.clone(),
            Self::Cassandra(_) => Arc::default(),
        }
    }

    /// Finishes what was begun, and closes it.
    pub async fn close(self) {
        let Self::Embedded { store, commit_loop, .. } = self else { return };
        store.close();
        match tokio::task::spawn_blocking(move || commit_loop.join()).await {
            // The store itself said so.
            Ok(Ok(())) => {}
            _ => error!("the commit loop did not end well"),
        }
    }
}

fn embedded_options(store: &config::Store) -> embedded::Options {
    embedded::Options {
        durability: match store.durability {
            Durability::Sync => embedded::Durability::Sync,
            Durability::Os => embedded::Durability::Os,
        },
        group_interval_us: store.group_interval_us,
        queue_bytes: store.commit_queue_bytes,
        cache_bytes: store.cache_bytes,
    }
}

fn shared_options(store: &config::Store) -> cassandra::Options {
    let password = store.cassandra_password.as_ref();
    let credentials = store.cassandra_user.as_ref().map(|user| cassandra::Credentials {
        user: user.0.clone(),
        password: password.map(|password| password.expose().clone()).unwrap_or_default(),
    });
    let in_flight = store.commits_in_flight.saturating_mul(REQUESTS_A_WRITE);
    cassandra::Options {
        contact_points: store.cassandra.iter().map(|place| place.0.clone()).collect(),
        keyspace: store.cassandra_keyspace.0.clone(),
        replication_factor: store.cassandra_replication,
        local_datacenter: store.cassandra_datacenter.as_ref().map(|name| name.0.clone()),
        credentials,
        in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        ..cassandra::Options::default()
    }
}

/// Runs the loop on a thread of its own; its failure is the end of the process.
fn run_commits(
    commit_loop: embedded::CommitLoop,
    ended: Arc<AtomicBool>,
) -> Result<JoinHandle<()>, StartError> {
    let run = move || {
        let outcome = commit_loop.run();
        ended.store(true, Ordering::Release);
        if let Err(failed) = outcome {
            error!(error = %failed, "the store failed: this process ends");
            eprintln!("rally-server: {failed}");
            std::process::exit(STORE_FAILED);
        }
    };
    std::thread::Builder::new()
        .name("rally-commit".to_owned())
        .spawn(run)
        .map_err(StartError::Thread)
}
