//! One device that stays connected: asks any node for a place, comes back when it loses it, and
//! keeps what it was told, as the browser client does.

use std::net::SocketAddr;
use std::time::Duration;

use rally_schema::ClientId;
use rally_schema::frame::{Beat, ServerFrame};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::harness::client::Client;
use super::harness::http;

/// The longest wait after the first failure; it doubles with each, as the browser's does.
const FIRST_MS: u64 = 500;

/// How long asking for a place and being welcomed may take.
const WELCOME: Duration = Duration::from_secs(15);

/// How long it hears nothing until it asks whether anybody is there, and until it gives up.
const BEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(10);

/// How long a node may take to name a place, as the browser has it.
const NEXT: Duration = Duration::from_secs(4);

/// A device between two connections.
pub struct Device {
    user: String,
    token: String,
    client: ClientId,
    cursor: Option<String>,
    nodes: Vec<SocketAddr>,
    failures: u32,
    /// When it last heard anything, and whether it has asked since whether anybody is there.
    heard: Instant,
    asked: bool,
}

impl Device {
    pub fn new(user: &str, token: &str, nodes: &[SocketAddr]) -> Self {
        let (user, token, nodes) = (user.to_owned(), token.to_owned(), nodes.to_vec());
        Self {
            user,
            token,
            client: Uuid::new_v4().into(),
            cursor: None,
            nodes,
            failures: 0,
            heard: Instant::now(),
            asked: false,
        }
    }

    /// Connects, and gives the node's name: as often as it takes.
    pub async fn connect(&mut self) -> (Client, String) {
        loop {
            match timeout(WELCOME, self.try_connect()).await {
                Ok(Some(connected)) => {
                    (self.failures, self.heard, self.asked) = (0, Instant::now(), false);
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
        let place = self.place().await?;
        let address = place["address"].as_str()?.strip_prefix("ws://")?.strip_suffix("/ws")?;
        let (address, ticket) = (address.parse().ok()?, place["ticket"].as_str()?.to_owned());
        let client =
            Client::try_hello(address, &self.user, &self.token, self.client, &self.cursor, ticket)
                .await?;
        Some((client, place["node"].as_str()?.to_owned()))
    }

    /// Asks for a place, and goes on with the next node when one is not there or says nothing.
    async fn place(&self) -> Option<Value> {
        let body = json!({ "client": self.client }).to_string();
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", &bearer)];
        let first = self.failures as usize % self.nodes.len();
        for node in self.nodes[first..].iter().chain(&self.nodes[..first]) {
            let asked = http::try_exchange(*node, "POST", "/api/discover", &headers, Some(&body));
            if let Ok(Some(answer)) = timeout(NEXT, asked).await {
                return (answer.status == 200).then(|| answer.json());
            }
        }
        None
    }

    /// Gives when it should ask whether anybody is there, or has waited for an answer for too long.
    pub fn due(&self) -> Instant {
        self.heard + if self.asked { SILENCE } else { BEAT }
    }

    /// Does what is due: asks, or gives the connection up.
    pub async fn ask(&mut self, client: &mut Client) -> bool {
        !std::mem::replace(&mut self.asked, true) && client.try_tell(Beat {}).await.is_ok()
    }

    /// Keeps the cursor of a catch-up that ended.
    pub fn note(&mut self, frame: &ServerFrame) {
        (self.heard, self.asked) = (Instant::now(), false);
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
