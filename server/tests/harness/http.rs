//! The HTTP requests that tests make, each on a connection of its own.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// Gives a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Reads the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Gives the stable name of a problem, whose shape it checks.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{self:?}");
        let name = body["type"].as_str().and_then(|name| name.strip_prefix("urn:rally:problem:"));
        name.unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    /// Gives the value of the cookie that was set.
    pub fn cookie(&self) -> Option<&str> {
        let set = self.header("set-cookie")?.strip_prefix("rally_session=")?;
        Some(set.split(';').next().unwrap_or(set))
    }
}

/// Sends a request with further headers; gives the whole answer.
pub async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Answer {
    let answer = try_exchange(address, method, path, headers, body).await;
    answer.unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Sends a request to a server that may be dead.
pub async fn try_exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Option<Answer> {
    let connecting = timeout(PATIENCE, TcpStream::connect(address)).await;
    let stream = connecting.expect("no connection within the test's patience").ok()?;
    exchange_on(stream, method, path, headers, body).await
}

/// Sends a request on a connected stream, and reads to its end.
pub async fn exchange_on(
    stream: TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Option<Answer> {
    let address = stream.peer_addr().ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    let named = |wanted: &str| headers.iter().any(|(name, _)| *name == wanted);
    if !named("host") {
        head += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = body.unwrap_or_default();
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let asking = timeout(PATIENCE, write_and_read(stream, &head, body)).await;
    let text = asking.expect("no answer within the test's patience").ok()?;
    parse(&text)
}

async fn write_and_read(mut stream: TcpStream, head: &str, body: &str) -> std::io::Result<String> {
    stream.write_all(head.as_bytes()).await?;
    // A refusal may come before the body was taken.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Err(error) if bytes.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Answer { status: status.parse().unwrap(), headers, body: body.to_owned() })
}

/// Sends a request with a bearer token and a JSON body; gives the whole answer.
pub async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Answer {
    ask_on(TcpStream::connect(address).await.unwrap(), method, path, token, body).await
}

/// Sends a request with a bearer token and a JSON body on a connected stream.
pub async fn ask_on(
    stream: TcpStream,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let body = body.map(|body| body.to_string());
    let answer = exchange_on(stream, method, path, &headers, body.as_deref()).await;
    answer.unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Sends a request; gives status and body.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, String) {
    let answer = ask(address, method, path, token, body).await;
    (answer.status, answer.body)
}

/// Sends a GET.
pub async fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
    request(address, "GET", path, token, None).await
}

/// Sends a POST and wants it to succeed with JSON.
pub async fn post(address: SocketAddr, path: &str, token: Option<&str>, body: Value) -> Value {
    let (status, body) = request(address, "POST", path, token, Some(body)).await;
    assert!((200..300).contains(&status), "{path}: {status} {body}");
    serde_json::from_str(&body).unwrap_or(Value::Null)
}

/// Logs a demo user in; gives a bearer token.
pub async fn log_in(address: SocketAddr, user: &str) -> String {
    let body = serde_json::json!({"user": user, "password": "rally-demo", "bearer": true});
    post(address, "/api/login", None, body).await["token"].as_str().unwrap().to_owned()
}

/// Registers a user; gives a bearer token.
pub async fn register(address: SocketAddr, user: &str) -> String {
    let body = serde_json::json!({"user": user, "password": "rally-demo"});
    post(address, "/api/register", None, body).await;
    log_in(address, user).await
}

/// Asks discovery for a ticket: in a cluster that places in turn, until it is one for this node.
pub async fn ticket(address: SocketAddr, token: &str, client: &str) -> String {
    let here = format!("ws://{address}/ws");
    let mut turns = 0;
    loop {
        let body = serde_json::json!({"client": client});
        let place = post(address, "/api/discover", Some(token), body).await;
        turns += 1;
        if place["address"] == here || turns == 4 {
            return place["ticket"].as_str().unwrap().to_owned();
        }
    }
}

/// Asks discovery for a place and a ticket; `None` when it is not reached, or knows of none.
pub async fn try_place(
    address: SocketAddr,
    token: &str,
    client: &str,
) -> Option<(SocketAddr, String)> {
    let body = serde_json::json!({"client": client}).to_string();
    let head = format!(
        "POST /api/discover HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let stream = TcpStream::connect(address).await.ok()?;
    let answer = parse(&write_and_read(stream, &head, &body).await.ok()?)?;
    if answer.status != 200 {
        return None;
    }
    let place = answer.json();
    let node = place["address"].as_str()?.strip_prefix("ws://")?.strip_suffix("/ws")?.parse();
    Some((node.ok()?, place["ticket"].as_str()?.to_owned()))
}
