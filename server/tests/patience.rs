//! Whoever begins a request, sends a body, or is answered, and leaves it at that: how long the server
//! waits for him.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::time::Duration;

use harness::{PATIENCE, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /api/config HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    ended.expect("a connection that says nothing stays for ever").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn half_a_request_is_given_up() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{\"user\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    ended.expect("a connection that says no more stays for ever").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("urn:rally:problem:slow"), "{answer}");
    assert_eq!(server.metric("rally_http_broken_off_total{of=\"slow\"}").await, 1.0);
}

#[tokio::test]
async fn half_of_a_later_request_is_given_up() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.write_all(b"G").await.unwrap();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    ended.expect("a connection that says no more stays for ever").unwrap();
    assert_eq!(server.metric("rally_http_broken_off_total{of=\"slow\"}").await, 1.0);
}

/// Nobody waits for the body of a request that is refused.
#[tokio::test]
async fn a_body_that_nobody_wants_does_not_come_for_ever() {
    let server = Server::start();
    let head = "POST /api/logout HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let endless = async {
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, endless).await.expect("a body that nobody wants is read for ever");
}

/// Else its answers would be kept for it for ever.
#[tokio::test]
async fn who_does_not_read_what_he_is_answered_is_given_up() {
    let server = Server::start();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let many = "GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(90);
    stream.write_all(many.as_bytes()).await.unwrap();
    // The one that asks is open, too.
    let gone = async {
        while server.metric("rally_http_connections").await > 1.0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(3 * PATIENCE, gone).await.expect("he is kept for ever");
    drop(stream);
}
