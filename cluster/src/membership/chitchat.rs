//! The membership of nodes on a network: each one's card is a key of chitchat's gossip, by UDP.
//!
//! Chitchat (MIT) is Quickwit's library for what Cassandra calls gossip: anti-entropy between
//! random peers, with a phi-accrual failure detector. Nodes gossip every 200 ms, and a silent one
//! is heard no more after 1.0 to 1.2 s (measured on loopback). What follows from silence is not
//! decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chitchat::transport::{Transport, UdpTransport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, ProtocolVersion,
    spawn_chitchat,
};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use rally_schema::Life;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

use super::{Card, Heard, Membership};

/// The key under which a node's card stands.
const CARD: &str = "card";

/// How often a node gossips.
const INTERVAL: Duration = Duration::from_millis(200);

/// Beyond this phi a silent node is heard no more: with regular heartbeats, about five intervals.
const PHI: f64 = 8.0;

/// What the detector takes for the interval before it has measured one.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// A longer silence is no interval, so that a pause does not dull the detector.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// Intervals that the detector remembers.
const WINDOW: usize = 1_000;

/// How long the gossip remembers a life that is gone; for half of it, it tells others of it.
///
/// Whom it told of stands in every digest, and a digest is one datagram: beyond some 1,300 lives
/// none could be sent. A node that is cut off for longer is found again by the seeds, its own or
/// the others'.
const REMEMBER: Duration = Duration::from_secs(600);

/// Why a node cannot gossip.
#[derive(Debug, Error)]
#[error("cannot gossip on {listen} (UDP): {why}: set another address with --gossip-listen")]
pub struct GossipError {
    /// Where it was to listen.
    pub listen: SocketAddr,
    /// Why it cannot.
    pub why: String,
}

/// Where and with whom a node gossips.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes of another cluster are not heard.
    pub cluster: String,
    /// Who this is.
    pub life: Life,
    /// Where it listens, by UDP.
    pub listen: SocketAddr,
    /// Where the others reach it.
    pub advertise: SocketAddr,
    /// Addresses (`host:port`) of nodes that are asked for the others; names are looked up again
    /// every minute.
    pub seeds: Vec<String>,
}

/// A node's part in the gossip; it ends when this is dropped.
pub struct ChitchatMembership {
    handle: ChitchatHandle,
    card: watch::Sender<Option<Card>>,
}

impl ChitchatMembership {
    /// Begins to gossip by UDP.
    pub async fn start(options: Options) -> Result<Self, GossipError> {
        Self::start_over(options, &UdpTransport).await
    }

    async fn start_over(options: Options, by: &dyn Transport) -> Result<Self, GossipError> {
        let listen = options.listen;
        let handle = spawn_chitchat(configuration(options), Vec::new(), by).await;
        let handle = handle.map_err(|error| GossipError { listen, why: format!("{error:#}") })?;
        let (card, cards) = watch::channel(None);
        tokio::spawn(write(cards, handle.chitchat()));
        Ok(Self { handle, card })
    }
}

fn configuration(options: Options) -> ChitchatConfig {
    let Options { cluster, life, listen, advertise, seeds } = options;
    ChitchatConfig {
        chitchat_id: ChitchatId::new(life.node.as_str(), life.generation, advertise),
        cluster_id: cluster,
        gossip_interval: INTERVAL,
        listen_addr: listen,
        seed_nodes: seeds,
        failure_detector_config: FailureDetectorConfig::new(
            PHI,
            WINDOW,
            LONGEST_INTERVAL,
            FIRST_INTERVAL,
            REMEMBER,
        ),
        marked_for_deletion_grace_period: REMEMBER,
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V0,
    }
}

/// Writes each card that is announced; of several in a burst the last.
async fn write(
    mut cards: watch::Receiver<Option<Card>>,
    gossip: std::sync::Arc<tokio::sync::Mutex<chitchat::Chitchat>>,
) {
    while cards.changed().await.is_ok() {
        let card = cards.borrow_and_update().clone();
        let json = serde_json::to_string(&card).expect("a card has only plain fields");
        gossip.lock().await.self_node_state().set(CARD, json);
    }
}

impl Membership for ChitchatMembership {
    fn announce(&self, card: Card) {
        self.card.send_replace(Some(card));
    }

    fn heard(&self) -> Heard {
        let gossip = self.handle.chitchat();
        let live = async move { gossip.lock().await.live_nodes_watch_stream() };
        // By itself the stream goes on without the task that gossips, and shows the same for ever.
        let ended = self.handle.termination_watcher().map(|ended| {
            if let Err(error) = ended {
                error!(%error, "the gossip ended: nobody is heard any more");
            }
        });
        stream::once(live).flatten().map(cards).take_until(ended).boxed()
    }
}

/// Reads the cards of all who are heard; who has not written one yet is not.
fn cards(live: BTreeMap<ChitchatId, NodeState>) -> Vec<Card> {
    live.iter().filter_map(|(id, state)| card(id, state.get(CARD)?)).collect()
}

fn card(id: &ChitchatId, json: &str) -> Option<Card> {
    match serde_json::from_str::<Card>(json) {
        Ok(card) if card.life.node.as_str() == &*id.node_id => Some(card),
        Ok(card) => {
            warn!(node_id = %id.node_id, says = %card.life, "a node's card is another's: not heard");
            None
        }
        Err(error) => {
            warn!(node_id = %id.node_id, %error, "a node's card cannot be read: not heard");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use chitchat::transport::ChannelTransport;

    use super::super::Status;
    use super::*;
    use crate::roles::Roles;

    /// Nodes on a network in memory.
    #[derive(Default)]
    struct Network(ChannelTransport);

    fn life(node: &str) -> Life {
        Life { node: node.parse().unwrap(), generation: 1 }
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn card(node: &str, sessions: u32) -> Card {
        let (address, version) = ("http://x".to_owned(), "1".to_owned());
        let (status, roles) = (Status::Ready, Roles::all());
        Card { life: life(node), status, address, roles, version, sessions, most: 9, clock_ms: 1 }
    }

    impl Network {
        async fn join(&self, node: &str, port: u16, cluster: &str) -> ChitchatMembership {
            let options = Options {
                cluster: cluster.to_owned(),
                life: life(node),
                listen: address(port),
                advertise: address(port),
                seeds: vec![address(1).to_string()],
            };
            let joined = ChitchatMembership::start_over(options, &self.0).await.unwrap();
            joined.announce(card(node, 0));
            joined
        }
    }

    /// Waits until these are heard, with these numbers of sessions.
    async fn hears(heard: &mut Heard, wanted: &[(&str, u32)]) {
        let wanted: Vec<Card> =
            wanted.iter().map(|(node, sessions)| card(node, *sessions)).collect();
        let until = async {
            while let Some(cards) = heard.next().await {
                if cards == wanted {
                    return;
                }
            }
            panic!("the gossip ended");
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), until).await;
        waited.unwrap_or_else(|_| panic!("never heard {wanted:?}"));
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_hears_the_newest_card_of_everybody() {
        let network = Network::default();
        let a = network.join("a", 1, "one").await;
        let b = network.join("b", 2, "one").await;
        let mut heard = a.heard();
        hears(&mut heard, &[("a", 0), ("b", 0)]).await;
        for sessions in 1..=5 {
            b.announce(card("b", sessions));
        }
        hears(&mut heard, &[("a", 0), ("b", 5)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_is_heard_no_more_and_again_when_it_is_back() {
        let network = Network::default();
        let a = network.join("a", 1, "one").await;
        let _b = network.join("b", 2, "one").await;
        let mut heard = a.heard();
        hears(&mut heard, &[("a", 0), ("b", 0)]).await;
        network.0.remove_link(address(1), address(2)).await;
        hears(&mut heard, &[("a", 0)]).await;
        network.0.add_link(address(1), address(2)).await;
        hears(&mut heard, &[("a", 0), ("b", 0)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_cut_off_for_so_long_that_it_was_forgotten_is_heard_when_it_is_back() {
        let network = Network::default();
        let a = network.join("a", 1, "one").await;
        let b = network.join("b", 2, "one").await;
        let (mut by_a, mut by_b) = (a.heard(), b.heard());
        hears(&mut by_a, &[("a", 0), ("b", 0)]).await;
        network.0.remove_link(address(1), address(2)).await;
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        let known = a.handle.with_chitchat(|gossip| gossip.node_states().len()).await;
        assert_eq!(known, 1, "nothing is kept of it");
        network.0.add_link(address(1), address(2)).await;
        hears(&mut by_a, &[("a", 0), ("b", 0)]).await;
        hears(&mut by_b, &[("a", 0), ("b", 0)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_is_heard_no_more() {
        let network = Network::default();
        let a = network.join("a", 1, "one").await;
        let b = network.join("b", 2, "one").await;
        let mut heard = a.heard();
        hears(&mut heard, &[("a", 0), ("b", 0)]).await;
        drop(b);
        hears(&mut heard, &[("a", 0)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whose_gossip_ended_hears_no_end_of_old_cards_but_the_end() {
        let network = Network::default();
        let a = network.join("a", 1, "one").await;
        let mut heard = a.heard();
        hears(&mut heard, &[("a", 0)]).await;
        a.handle.abort();
        let ended = async { while heard.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends, too");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let (cluster, life, seeds) = ("one".to_owned(), life("a"), Vec::new());
        let options = Options { cluster, life, listen, advertise: listen, seeds };
        let error = ChitchatMembership::start(options).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot gossip on {listen} (UDP): ")), "{error}");
    }
}
