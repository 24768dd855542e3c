//! One device that stays connected: asks any node for a place, comes back when it loses it, and
//! keeps what it was told, as the browser client does.

use std::net::SocketAddr;
use std::time::Duration;

use rally_schema::ClientId;
use rally_schema::frame::ServerFrame;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::harness::client::Client;
use super::harness::http;

/// The longest wait after the first failure; it doubles with each, as the browser's does.
const FIRST_MS: u64 = 500;

/// How long asking for a place and being welcomed may take.
const WELCOME: Duration = Duration::from_secs(15);

/// A device between two connections.
pub struct Device {
    user: String,
    token: String,
    client: ClientId,
    cursor: Option<String>,
    nodes: Vec<SocketAddr>,
    failures: u32,
}

impl Device {
    pub fn new(user: &str, token: &str, nodes: &[SocketAddr]) -> Self {
        let (user, token, nodes) = (user.to_owned(), token.to_owned(), nodes.to_vec());
        Self { user, token, client: Uuid::new_v4().into(), cursor: None, nodes, failures: 0 }
    }

    /// Connects, and gives the node's name: as often as it takes.
    pub async fn connect(&mut self) -> (Client, String) {
        loop {
            match timeout(WELCOME, self.try_connect()).await {
                Ok(Some(connected)) => {
                    self.failures = 0;
                    return connected;
                }
                Ok(None) | Err(_) => {
                    let span = FIRST_MS << self.failures.min(4);
                    self.failures += 1;
                    sleep(Duration::from_millis(Uuid::new_v4().as_u128() as u64 % span)).await;
                }
            }
        }
    }

    async fn try_connect(&self) -> Option<(Client, String)> {
        let asked = self.who_answers().await?;
        let body = json!({ "client": self.client }).to_string();
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", &bearer)];
        let answer =
            http::try_exchange(asked, "POST", "/api/discover", &headers, Some(&body)).await?;
        if answer.status != 200 {
            return None;
        }
        let place = answer.json();
        let address = place["address"].as_str()?.strip_prefix("ws://")?.strip_suffix("/ws")?;
        let (address, ticket) = (address.parse().ok()?, place["ticket"].as_str()?.to_owned());
        let client =
            Client::try_hello(address, &self.user, &self.token, self.client, &self.cursor, ticket)
                .await?;
        Some((client, place["node"].as_str()?.to_owned()))
    }

    /// Finds a node that is there, going on with the next one at once when one is not.
    async fn who_answers(&self) -> Option<SocketAddr> {
        let first = self.failures as usize % self.nodes.len();
        for node in self.nodes[first..].iter().chain(&self.nodes[..first]) {
            if tokio::net::TcpStream::connect(node).await.is_ok() {
                return Some(*node);
            }
        }
        None
    }

    /// Keeps the cursor of a catch-up that ended.
    pub fn note(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Synced(synced) => self.cursor = Some(synced.cursor.clone()),
            ServerFrame::Reset(reset) => self.cursor = Some(reset.cursor.clone()),
            _ => {}
        }
    }
}

/// Microseconds since a moment.
pub fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
