//! The cluster as a client sees it: accounts, places, sockets.

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix_rt::time::{sleep, timeout};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use awc::http::{Method, StatusCode};
use awc::{BoxedSocket, Client, ws};
use rally_schema::limits::SUBPROTOCOL;
use rally_schema::{ClientId, NodeId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::stop::Stop;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long one account is made while the cluster says to come again.
const INSISTENCE: Duration = Duration::from_secs(120);

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

    /// Makes an account, and waits when the cluster says so.
    pub async fn register(&self, user: UserId, password: &str, stop: &Stop) -> Result<()> {
        let account = json!({ "user": user, "password": password });
        self.insist("/api/register", &account, StatusCode::CREATED, stop).await?;
        Ok(())
    }

    /// Logs a user in, and waits when the cluster says so; gives the token.
    pub async fn log_in(&self, user: UserId, password: &str, stop: &Stop) -> Result<String> {
        #[derive(Deserialize)]
        struct LoggedIn {
            token: String,
        }
        let question = json!({ "user": user, "password": password, "bearer": true });
        let text = self.insist("/api/login", &question, StatusCode::OK, stop).await?;
        let LoggedIn { token } = serde_json::from_str(&text).context("reading a log-in")?;
        Ok(token)
    }

    /// Posts until it is answered as it should be, for as long as the cluster says to come again.
    async fn insist(
        &self,
        path: &str,
        body: &impl Serialize,
        right: StatusCode,
        stop: &Stop,
    ) -> Result<String> {
        let begun = Instant::now();
        loop {
            stop.check()?;
            let (status, wait, text) = self.ask(Method::POST, path, None, body).await?;
            let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
            match status {
                status if status == right => return Ok(text),
                status if busy.contains(&status) && begun.elapsed() < INSISTENCE => {
                    sleep(wait).await;
                }
                _ => bail!("{path} answered {status}: {text}"),
            }
        }
    }

    /// Asks where a client may connect; the next question goes to the next node.
    pub async fn place(&self, token: &str, client: ClientId) -> Result<Place> {
        let question = json!({ "client": client });
        let (status, _, text) =
            self.ask(Method::POST, "/api/discover", Some(token), &question).await?;
        ensure!(status == StatusCode::OK, "/api/discover answered {status}: {text}");
        serde_json::from_str(&text).context("reading where to connect")
    }

    /// Has a user block another one, or stop.
    pub async fn block(&self, token: &str, user: UserId, blocked: bool) -> Result<()> {
        let method = if blocked { Method::PUT } else { Method::DELETE };
        let path = format!("/api/blocks/{user}");
        let (status, _, text) = self.ask(method, &path, Some(token), &()).await?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(())
    }

    /// Opens a socket.
    pub async fn open(&self, place: &Place) -> Result<Wire> {
        let request = self.client.ws(&place.address).protocols([SUBPROTOCOL]);
        let connecting = request.max_frame_size(FRAME_BYTES).connect();
        let connected = timeout(PATIENCE, connecting).await.context("connecting")?;
        let (_, wire) = connected.map_err(|error| anyhow!("{}: {error}", place.address))?;
        Ok(wire)
    }

    /// Asks the node whose turn it is; gives the status, how long to wait, and the body.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<(StatusCode, Duration, String)> {
        let turn = self.next.replace(self.next.get() + 1) % self.urls.len();
        let url = format!("{}{path}", self.urls[turn]);
        let mut request = self.client.request(method, &url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let sent = request.send_json(body).await;
        let mut answer = sent.map_err(|error| anyhow!("{url}: {error}"))?;
        let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        let wait = Duration::from_secs(wait.and_then(|wait| wait.parse().ok()).unwrap_or(1));
        let text = answer.body().await.with_context(|| format!("reading from {url}"))?;
        Ok((answer.status(), wait, String::from_utf8_lossy(&text).into_owned()))
    }
}
