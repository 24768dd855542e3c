//! One device that stays connected: asks any node for a place, comes back when it loses it, and
//! keeps what it was told, as the browser client does.

use std::net::SocketAddr;
use std::time::Duration;

use rally_schema::ClientId;
use rally_schema::frame::{Beat, ServerFrame};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::harness::client::Client;
use super::harness::http;

/// The longest wait after a connection ended, which doubles with each failure, and the longest of
/// all: as the browser's.
const FIRST_MS: u64 = 500;
const LONGEST_MS: u64 = 30_000;

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
    /// Whether it was connected, and what has failed since.
    was_connected: bool,
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
            was_connected: false,
            failures: 0,
            heard: Instant::now(),
            asked: false,
        }
    }

    /// Connects, and gives the node's name: as often as it takes.
    pub async fn connect(&mut self) -> (Client, String) {
        if self.was_connected {
            self.wait(Duration::ZERO).await;
        }
        loop {
            let tried = timeout(WELCOME, self.try_connect()).await;
            match tried.unwrap_or(Err(Duration::ZERO)) {
                Ok(connected) => {
                    (self.was_connected, self.failures) = (true, 0);
                    (self.heard, self.asked) = (Instant::now(), false);
                    return connected;
                }
                Err(asked) => self.wait(asked).await,
            }
        }
    }

    /// Waits for as long as it was asked to, and for some time of its own.
    async fn wait(&mut self, asked: Duration) {
        let span = (FIRST_MS << self.failures.min(6)).min(LONGEST_MS);
        self.failures += 1;
        sleep(asked + Duration::from_millis(Uuid::new_v4().as_u128() as u64 % span)).await;
    }

    /// Connects, or says how long it was asked to wait.
    async fn try_connect(&self) -> Result<(Client, String), Duration> {
        let place = self.place().await?;
        let found = async {
            let address = place["address"].as_str()?.strip_prefix("ws://")?.strip_suffix("/ws")?;
            let (address, ticket) = (address.parse().ok()?, place["ticket"].as_str()?.to_owned());
            let (user, token, client) = (&self.user, &self.token, self.client);
            let client =
                Client::try_hello(address, user, token, client, &self.cursor, ticket).await?;
            Some((client, place["node"].as_str()?.to_owned()))
        };
        found.await.ok_or(Duration::ZERO)
    }

    /// Asks for a place, and goes on with the next node when one is not there or says nothing.
    async fn place(&self) -> Result<Value, Duration> {
        let body = json!({ "client": self.client }).to_string();
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", &bearer)];
        let first = self.failures as usize % self.nodes.len();
        for node in self.nodes[first..].iter().chain(&self.nodes[..first]) {
            let asked = http::try_exchange(*node, "POST", "/api/discover", &headers, Some(&body));
            if let Ok(Some(answer)) = timeout(NEXT, asked).await {
                let after = answer.header("retry-after").map_or(0, |after| after.parse().unwrap());
                let ok = answer.status == 200;
                return ok.then(|| answer.json()).ok_or(Duration::from_secs(after));
            }
        }
        Err(Duration::ZERO)
    }

    /// Gives the next frame; `None` when the connection is over, or nobody is there any more.
    pub async fn next(&mut self, client: &mut Client) -> Option<ServerFrame> {
        loop {
            tokio::select! {
                frame = client.next() => {
                    let frame = frame?;
                    self.note(&frame);
                    return Some(frame);
                }
                () = sleep_until(self.due()) => {
                    if !self.ask(client).await {
                        return None;
                    }
                }
            }
        }
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
