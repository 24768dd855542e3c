//! The few HTTP requests that socket tests need, each on a connection of its own.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a request; gives status and body.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, String) {
    let body = body.map_or(String::new(), |body| body.to_string());
    let bearer = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{bearer}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).expect("a status line").parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
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

/// Asks discovery for a ticket.
pub async fn ticket(address: SocketAddr, token: &str, client: &str) -> String {
    let body = serde_json::json!({"client": client});
    let place = post(address, "/api/discover", Some(token), body).await;
    place["ticket"].as_str().unwrap().to_owned()
}
