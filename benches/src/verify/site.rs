//! The cluster as a client sees it: accounts, places, sockets.

use std::cell::Cell;
use std::time::Duration;

use actix_rt::time::sleep;
use anyhow::{Context as _, Result, bail};
use awc::error::{SendRequestError, WsClientError};
use awc::http::StatusCode;
use awc::{BoxedSocket, Client, ws};
use rally_schema::limits::SUBPROTOCOL;
use rally_schema::{ClientId, NodeId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the largest frame that is read.
const FRAME_BYTES: usize = 1 << 20;

/// A socket that speaks frames.
pub type Wire = actix_codec::Framed<BoxedSocket, ws::Codec>;

/// The nodes that are asked for places, one after the other.
pub struct Site {
    urls: Vec<String>,
    next: Cell<usize>,
    client: Client,
}

/// Where a client may open its socket, for the next 30 seconds.
#[derive(Debug, Deserialize)]
pub struct Place {
    address: String,
    /// Which node it is.
    pub node: NodeId,
    /// For `hello`.
    pub ticket: String,
}

impl Site {
    /// Takes the addresses of nodes, as browsers open them.
    pub fn new(urls: &[String]) -> Self {
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let client = Client::builder().timeout(PATIENCE).finish();
        Self { urls, next: Cell::new(0), client }
    }

    /// Makes an account, however long the cluster has one wait; gives its token.
    pub async fn register(&self, user: UserId, password: &str) -> Result<String> {
        let account = json!({ "user": user, "password": password });
        loop {
            let (status, wait, text) = self.post("/api/register", None, &account).await?;
            match status {
                StatusCode::CREATED => return self.log_in(user, password).await,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    sleep(wait).await;
                }
                _ => bail!("{user} could not be registered ({status}): {text}"),
            }
        }
    }

    async fn log_in(&self, user: UserId, password: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct LoggedIn {
            token: String,
        }
        let question = json!({ "user": user, "password": password, "bearer": true });
        loop {
            let (status, wait, text) = self.post("/api/login", None, &question).await?;
            match status {
                StatusCode::OK => {
                    let LoggedIn { token } = serde_json::from_str(&text).context("logging in")?;
                    return Ok(token);
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    sleep(wait).await;
                }
                _ => bail!("{user} could not log in ({status}): {text}"),
            }
        }
    }

    /// Asks where a client may connect; the next question goes to the next node.
    pub async fn place(&self, token: &str, client: ClientId) -> Option<Place> {
        let question = json!({ "client": client });
        let answer = self.post("/api/discover", Some(token), &question).await;
        let (status, _, text) = answer.ok()?;
        (status == StatusCode::OK).then(|| serde_json::from_str(&text).ok()).flatten()
    }

    /// Opens a socket.
    pub async fn open(&self, place: &Place) -> Result<Wire, WsClientError> {
        let request = self.client.ws(&place.address).protocols([SUBPROTOCOL]);
        let connecting = request.max_frame_size(FRAME_BYTES).connect();
        let timeout = || WsClientError::SendRequest(SendRequestError::Timeout);
        let connected = actix_rt::time::timeout(PATIENCE, connecting).await;
        let (_, wire) = connected.map_err(|_| timeout())??;
        Ok(wire)
    }

    /// Posts JSON to the node whose turn it is; gives the status, how long to wait, and the body.
    async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<(StatusCode, Duration, String)> {
        let turn = self.next.replace(self.next.get() + 1) % self.urls.len();
        let url = format!("{}{path}", self.urls[turn]);
        let mut request = self.client.post(&url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let sent = request.send_json(body).await;
        let mut answer = sent.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
        let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        let wait = Duration::from_secs(wait.and_then(|wait| wait.parse().ok()).unwrap_or(1));
        let text = answer.body().await.with_context(|| format!("reading from {url}"))?;
        Ok((answer.status(), wait, String::from_utf8_lossy(&text).into_owned()))
    }
}
