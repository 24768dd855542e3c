//! The other nodes: the ways to them, and when this one may take users.

use std::sync::Arc;
use std::time::Duration;

use rally_actors::Node;
use rally_cluster::broker::rabbitmq::{AmqpUrls, Options, RabbitBroker};
use rally_cluster::broker::{Broker, LocalBroker};
use rally_cluster::membership::{ChitchatMembership, LocalMembership, Membership, chitchat};
use rally_cluster::store::{NodeRow, NodeStatus};
use rally_schema::Life;
use tracing::{info, warn};

use crate::config;
use crate::config::value::BrokerKind;
use crate::node::StartError;

/// Parcels that may wait for a life that is alone.
const LOCAL_PARCELS: usize = 1_024;

/// How often a starting node looks whether it hears somebody.
const LOOK: Duration = Duration::from_millis(50);

/// How long a starting node waits for a sign of the others before it asks the store.
const SEEDS: Duration = Duration::from_secs(10);

/// A heartbeat in the store that is younger than this is a node that lives.
const FRESH_MS: u64 = 60_000;

/// The ways to other nodes.
pub struct Peers {
    /// Carries envelopes.
    pub broker: Arc<dyn Broker>,
    /// Tells who is heard.
    pub membership: Arc<dyn Membership>,
}

/// Opens the ways that the settings name.
pub async fn meet(settings: &config::Cluster, life: Life) -> Result<Peers, StartError> {
    if settings.broker == BrokerKind::Local {
        return Ok(Peers {
            broker: Arc::new(LocalBroker::new(LOCAL_PARCELS)),
            membership: Arc::new(LocalMembership::default()),
        });
    }
    let urls: AmqpUrls = settings.amqp_url.expose().parse()?;
    let exchange = format!("rally.{}", settings.cluster.0);
    let broker = RabbitBroker::connect(Options { exchange, ..Options::new(urls) }).await?;
    let membership = ChitchatMembership::start(chitchat::Options {
        cluster: settings.cluster.0.clone(),
        life,
        listen: settings.gossip_listen,
        advertise: settings.gossip_address.unwrap_or(settings.gossip_listen),
        seeds: settings.seeds.iter().map(|seed| seed.0.clone()).collect(),
    })
    .await?;
    Ok(Peers { broker: Arc::new(broker), membership: Arc::new(membership) })
}

/// Waits until the node may take users: it hears another one, or there is none to hear.
///
/// A node that hears nobody cannot tell whether it is the first, or cut off from all others and
/// about to be home to everybody a second time. The store can: nodes that live write there.
pub async fn await_others(node: &Arc<Node>, settings: &config::Cluster) {
    let own = settings.gossip_address.unwrap_or(settings.gossip_listen).to_string();
    if settings.seeds.iter().all(|seed| seed.0 == own) {
        return;
    }
    loop {
        if tokio::time::timeout(SEEDS, hears_somebody(node)).await.is_ok() {
            return;
        }
        match node.store.nodes().await {
            Ok(rows) => match living(&rows, node) {
                Some(life) => {
                    warn!(%life, "a node writes that it lives, and is not heard: check gossip");
                }
                None => {
                    info!("no other node lives: this one is the first");
                    return;
                }
            },
            Err(error) => warn!(%error, "the store does not say who else lives"),
        }
    }
}

async fn hears_somebody(node: &Arc<Node>) {
    while node.members().len() < 2 {
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives another node that lives, as the store has it.
fn living(rows: &[NodeRow], node: &Node) -> Option<Life> {
    let since_ms = node.clock.now_ms().saturating_sub(FRESH_MS);
    let lives = |row: &&NodeRow| {
        row.life.node != node.life.node
            && row.heartbeat_ms >= since_ms
            && matches!(row.status, NodeStatus::Ready | NodeStatus::Starting)
    };
    rows.iter().find(lives).map(|row| row.life)
}
