//! How the store opens: session, keyspace, migrations, statements, identity.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use rally_schema::StoreId;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::Node;
use scylla::cluster::metadata::Strategy;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::StoreError;
use super::lives::{self, Stamps};
use super::options::{OpenError, Options};
use super::requests::Requests;
use super::statements::{Profiles, Statements};
use super::writes::Buckets;
use super::{Inner, migrate};

/// How long a change of the schema may take, and how long until every node knows of it.
pub(super) const SCHEMA_MS: u64 = 60_000;

/// After how long a read is asked of a second node: a coordinator that is paused, or whose machine
/// lost its power, says nothing, and would cost every read the whole time-out. Reading twice
/// changes nothing; writes are never sent twice here.
const SECOND_READ_MS: u64 = 500;

/// How often making the identity, or using the keyspace, is tried.
const ATTEMPTS: u32 = 5;

pub(super) async fn open(options: Options) -> Result<Inner, OpenError> {
    let options = options.checked()?;
    let session = connect(&options).await?;
    let datacenter = datacenter(&session, options.local_datacenter.as_deref())?;
    let schema = schema_profile(&datacenter);
    make_keyspace(&session, &schema, &options, &datacenter).await?;
    use_keyspace(&session, &options.keyspace).await?;
    migrate::to_this_version(&session, &schema, &options.keyspace).await?;
    let profiles = profiles(&options, &datacenter);
    let statements = Statements::prepare(&session, &profiles).await?;
    let requests = Requests::new(session, options.in_flight, profiles.write);
    let (id, secret) = identity(&requests, &statements).await?;
    let high_water_ms = AtomicU64::new(0);
    let (buckets, stamps) = (Buckets::new(), Stamps::new());
    let inner = Inner {
        id,
        secret,
        requests,
        statements,
        buckets,
        stamps,
        high_water_ms,
        homes: Mutex::default(),
    };
    inner.note_time(lives::latest_ms(&inner).await?);
    Ok(inner)
}

async fn connect(options: &Options) -> Result<Session, OpenError> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .connection_timeout(Duration::from_millis(options.connect_timeout_ms))
        .schema_agreement_timeout(Duration::from_millis(SCHEMA_MS))
        .tcp_nodelay(true)
        // A machine that lost its power closes nothing: this is how its connections end.
        .keepalive_interval(Duration::from_secs(5))
        .keepalive_timeout(Duration::from_secs(5));
    if let Some(credentials) = &options.credentials {
        builder = builder.user(&credentials.user, &credentials.password);
    }
    builder.build().await.map_err(|error| OpenError::Connect {
        contact_points: options.contact_points.join(", "),
        error: Box::new(error),
    })
}

/// Finds the datacenter that is asked for, or the only one.
fn datacenter(session: &Session, asked: Option<&str>) -> Result<String, OpenError> {
    let state = session.get_cluster_state();
    let mut known: Vec<String> =
        state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    known.sort();
    known.dedup();
    let found = match (asked, &known[..]) {
        (Some(asked), known) => known.iter().find(|name| *name == asked),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let none = || OpenError::Datacenter { asked: asked.map(str::to_owned), known: known.clone() };
    found.cloned().ok_or_else(none)
}

/// Requests go to a replica of the partition, in the local datacenter, at random among those.
fn balancing(datacenter: &str) -> Arc<dyn scylla::policies::load_balancing::LoadBalancingPolicy> {
    DefaultPolicy::builder()
        .prefer_datacenter(datacenter.to_owned())
        .token_aware(true)
        .permit_dc_failover(false)
        .build()
}

/// Quorums of the local datacenter for everything.
fn profiles(options: &Options, datacenter: &str) -> Profiles {
    let all = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(Duration::from_millis(options.request_timeout_ms)))
        .load_balancing_policy(balancing(datacenter));
    let second = SimpleSpeculativeExecutionPolicy {
        max_retry_count: 1,
        retry_interval: Duration::from_millis(SECOND_READ_MS),
    };
    let read = all
        .clone()
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(Some(Arc::new(second)));
    // The driver's default policy does not repeat a write that timed out either, but it does
    // others; here none is, so that what was sent is sent by whoever knows its change ids.
    let write = all.retry_policy(Arc::new(FallthroughRetryPolicy::new()));
    Profiles { read: read.build().into_handle(), write: write.build().into_handle() }
}

fn schema_profile(datacenter: &str) -> ExecutionProfileHandle {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(Duration::from_millis(SCHEMA_MS)))
        .load_balancing_policy(balancing(datacenter))
        .build()
        .into_handle()
}

/// Makes the keyspace when it is missing, and refuses one that is kept otherwise than asked:
/// `IF NOT EXISTS` would take it as it is, in silence. One that has not enough nodes would be made,
/// and no quorum be had.
///
/// Always by NetworkTopologyStrategy, which keeps its word when a second datacenter comes. On a
/// ScyllaDB whose tablets do not know conditions yet, an operator makes the keyspace without them.
async fn make_keyspace(
    session: &Session,
    profile: &ExecutionProfileHandle,
    options: &Options,
    datacenter: &str,
) -> Result<(), OpenError> {
    let Options { keyspace, replication_factor, .. } = options;
    if session.get_cluster_state().get_keyspace(keyspace).is_none() {
        let nodes = nodes_in(session, datacenter);
        if nodes < usize::from(*replication_factor) {
            let (datacenter, asked) = (datacenter.to_owned(), *replication_factor);
            return Err(OpenError::TooFewNodes { datacenter, nodes, asked });
        }
        let text = format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', '{datacenter}': {replication_factor}}}"
        );
        let mut statement = Statement::new(text);
        statement.set_execution_profile_handle(Some(profile.clone()));
        let made = session.query_unpaged(statement, ()).await;
        made.map_err(|error| OpenError::statement("making the keyspace", error))?;
        let agreed = session.await_schema_agreement().await;
        agreed.map_err(|error| OpenError::statement("schema agreement", error))?;
        let seen = session.refresh_metadata().await;
        seen.map_err(|error| OpenError::statement("reading the keyspace", error))?;
    }
    let state = session.get_cluster_state();
    let found = state.get_keyspace(keyspace).and_then(|known| match &known.strategy {
        Strategy::SimpleStrategy { replication_factor } => Some(replication_factor.to_string()),
        Strategy::NetworkTopologyStrategy { datacenter_repfactors } => {
            datacenter_repfactors.get(datacenter).map(ToString::to_string)
        }
        Strategy::LocalStrategy => Some("LocalStrategy".to_owned()),
        Strategy::Other { name, .. } => Some(name.clone()),
        _ => None,
    });
    if found != Some(replication_factor.to_string()) {
        let (keyspace, datacenter) = (keyspace.clone(), datacenter.to_owned());
        let asked = *replication_factor;
        return Err(OpenError::Replication { keyspace, datacenter, asked, found });
    }
    Ok(())
}

fn nodes_in(session: &Session, datacenter: &str) -> usize {
    let state = session.get_cluster_state();
    let here = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(datacenter);
    state.get_nodes_info().iter().filter(here).count()
}

/// Uses the keyspace. Another process may be making it right now, and its database still telling
/// its nodes: then it is not there yet for all connections.
async fn use_keyspace(session: &Session, keyspace: &str) -> Result<(), OpenError> {
    let mut attempt = 0;
    loop {
        match session.use_keyspace(keyspace, false).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => {
                return Err(OpenError::statement("using the keyspace", error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100 << attempt)).await,
        }
        attempt += 1;
    }
}

/// Reads who the store is, or decides it: of several who do at once, one.
async fn identity(
    requests: &Requests,
    statements: &Statements,
) -> Result<(StoreId, [u8; 32]), OpenError> {
    let damaged = || StoreError::Damaged { table: "store", what: "no identity".to_owned() };
    let mut attempt = 0;
    loop {
        type Record = (Option<Uuid>, Option<Vec<u8>>);
        if let Some((id, secret)) = requests.one::<Record>(&statements.identity, ()).await? {
            let secret = secret.and_then(|secret| secret.try_into().ok()).ok_or_else(damaged)?;
            return Ok((id.ok_or_else(damaged)?.into(), secret));
        }
        let drawn = (Uuid::new_v4(), secret().to_vec());
        match requests.write_if(&statements.make_identity, drawn).await {
            Err(error) if attempt == ATTEMPTS => return Err(error.into()),
            Ok(_) if attempt == ATTEMPTS => return Err(damaged().into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20 << attempt)).await,
            Ok(_) => {}
        }
        attempt += 1;
    }
}

/// Draws 244 bits from the system's generator, as version 4 UUIDs are drawn from it, and
/// spreads them over the secret.
fn secret() -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(Uuid::new_v4());
    hash.update(Uuid::new_v4());
    hash.finalize().into()
}
