//! The cluster as a client sees it: accounts, places, sockets.

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix_rt::net::TcpStream;
use actix_rt::time::{sleep, timeout};
use actix_service::ServiceExt as _;
use actix_tls::connect::{Connection, Connector};
use anyhow::{Context as _, Result, anyhow, ensure};
use awc::http::{Method, StatusCode};
use awc::{BoxedSocket, Client, ws};
use rally_schema::limits::SUBPROTOCOL;
use rally_schema::{ClientId, NodeId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use socket2::SockRef;

use crate::stop::Stop;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long one account is made while the cluster says to come again.
const INSISTENCE: Duration = Duration::from_secs(120);

/// How often it is looked meanwhile whether the run is stopped.
const LOOK: Duration = Duration::from_millis(200);

/// Characters of an answer that are told when it is not the right one.
const QUOTED: usize = 300;

/// Bytes of the largest frame that is read: a page of a hundred of the longest texts.
const FRAME_BYTES: usize = 16 << 20;

/// Bytes that wait in a socket for a device to read them. A kernel would hold megabytes for one that
/// has read much, and a node would never learn that it stopped.
const HELD_BYTES: usize = 64 << 10;

/// A socket that speaks frames.
pub type Wire = actix_codec::Framed<BoxedSocket, ws::Codec>;

/// The nodes that are asked for places, one after the other.
pub struct Site {
    urls: Vec<String>,
    next: Cell<usize>,
    client: Client,
}

/// Where a client may open its socket, for the next 30 seconds. Not to be printed: it lets in.
#[derive(Deserialize)]
pub struct Place {
    address: String,
    /// Which node it is.
    pub node: NodeId,
    /// For `hello`.
    pub ticket: String,
}

/// Has a socket hold little that was not read. One that refuses is as good as any other.
fn hold_little<R>(connection: Connection<R, TcpStream>) -> Connection<R, TcpStream> {
    let _ = SockRef::from(connection.io_ref()).set_recv_buffer_size(HELD_BYTES);
    connection
}

impl Site {
    /// Takes the addresses of nodes, as browsers open them.
    pub fn new(urls: &[String]) -> Self {
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let connector =
            awc::Connector::new().connector(Connector::default().service().map(hold_little));
        let client = Client::builder().connector(connector).timeout(PATIENCE).finish();
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
            let answer = self.ask(Method::POST, path, None, body).await?;
            if answer.status == right {
                return Ok(answer.text);
            }
            let wait = again(&answer, begun.elapsed()).ok_or_else(|| answer.wrong(path))?;
            let asked = Instant::now();
            while asked.elapsed() < wait && !stop.asked() {
                sleep(LOOK.min(wait)).await;
            }
        }
    }

    /// Asks where a client may connect; the next question goes to the next node.
    pub async fn place(&self, token: &str, client: ClientId) -> Result<Place> {
        let question = json!({ "client": client });
        let path = "/api/discover";
        let answer = self.ask(Method::POST, path, Some(token), &question).await?;
        ensure!(answer.status == StatusCode::OK, answer.wrong(path));
        serde_json::from_str(&answer.text).context("reading where to connect")
    }

    /// Has a user block another one, or stop.
    pub async fn block(&self, token: &str, user: UserId, blocked: bool) -> Result<()> {
        let method = if blocked { Method::PUT } else { Method::DELETE };
        let path = format!("/api/blocks/{user}");
        let answer = self.ask(method, &path, Some(token), &()).await?;
        ensure!(answer.status.is_success(), answer.wrong(&path));
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

    /// Asks the node whose turn it is.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<Answer> {
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
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Answer { status: answer.status(), wait, text })
    }
}

/// What a node answered.
struct Answer {
    status: StatusCode,
    /// After how long it says to come again.
    wait: Duration,
    text: String,
}

impl Answer {
    /// Says what was not expected. What answers a success may let in whoever reads it, and is not
    /// told.
    fn wrong(&self, path: &str) -> anyhow::Error {
        let Self { status, text, .. } = self;
        if status.is_success() {
            return anyhow!("{path} answered {status}");
        }
        let quoted: String = text.chars().take(QUOTED).collect();
        anyhow!("{path} answered {status}: {quoted}")
    }
}

/// How long to wait before the same is asked again; `None` when that is no use, or would take longer
/// than it is insisted on.
fn again(answer: &Answer, since: Duration) -> Option<Duration> {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let is_due = busy.contains(&answer.status) && since.saturating_add(answer.wait) < INSISTENCE;
    is_due.then_some(answer.wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode, wait_s: u64, text: &str) -> Answer {
        Answer { status, wait: Duration::from_secs(wait_s), text: text.to_owned() }
    }

    #[test]
    fn it_comes_again_when_it_is_told_to_and_not_for_longer_than_it_insists() {
        let seconds = Duration::from_secs;
        let busy = answer(StatusCode::TOO_MANY_REQUESTS, 30, "");
        assert_eq!(again(&busy, Duration::ZERO), Some(seconds(30)));
        assert_eq!(again(&busy, seconds(89)), Some(seconds(30)));
        assert_eq!(again(&busy, seconds(90)), None, "it would be over by then");
        let later = answer(StatusCode::SERVICE_UNAVAILABLE, u64::MAX, "");
        assert_eq!(again(&later, seconds(1)), None, "a node may name any time");
        let never = answer(StatusCode::CONFLICT, 0, "");
        assert_eq!(again(&never, Duration::ZERO), None);
    }

    #[test]
    fn a_refusal_is_quoted_in_part_and_what_lets_in_is_not() {
        let refused = answer(StatusCode::CONFLICT, 0, &format!("taken{}", "é".repeat(9_000)));
        let told = refused.wrong("/api/register").to_string();
        assert!(told.starts_with("/api/register answered 409 Conflict: taken"), "{told}");
        assert!(told.chars().count() < 400, "{told}");
        let odd = answer(StatusCode::ACCEPTED, 0, "{\"token\": \"secret\"}");
        assert_eq!(odd.wrong("/api/login").to_string(), "/api/login answered 202 Accepted");
    }
}
