//! Where the attacks take place: one server, and visitors who come from addresses of their own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rally_schema::frame::{ByeReason, Hello};
use rally_schema::{ClientFrame, ClientId, ServerFrame};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::client::open_on;
use crate::harness::{Client, PATIENCE, Server, http, raw};

/// A server, and how long an attack goes on that ends only when it is told to.
pub struct Scene {
    /// The one that is attacked.
    pub server: Server,
    /// For how long.
    pub lasts: Duration,
    visitors: Cell<u16>,
}

impl Scene {
    /// Starts a server with its settings as they are, but for a shorter silence and no syncs.
    pub fn set(lasts: Duration) -> Self {
        let server = Server::with(&[
            "--demo=false",
            "--ping-interval-ms=800",
            "--silence-ms=2500",
            // It is not the disk that is measured, which others of this machine use as well.
            "--durability=os",
            // What holds when nobody sets it; tests otherwise have it wider.
            "--rate-logins-per-minute-user=10",
            "--rate-logins-per-minute-address=60",
            "--rate-registers-per-minute-address=20",
            "--rate-requests-per-second-address=100",
            "--rate-requests-burst-address=500",
            "--rate-requests-per-second-user=20",
            "--rate-requests-burst-user=100",
        ]);
        Self { server, lasts, visitors: Cell::new(0) }
    }

    /// Gives somebody who was never here, at an address that nobody else has.
    pub fn visitor(&self) -> Visitor {
        let number = self.visitors.get();
        self.visitors.set(number + 1);
        let [high, low] = number.to_be_bytes();
        // Not 127.0.0.1, from where the test looks at the metrics.
        let source = Ipv4Addr::new(127, 1, high, low);
        Visitor { source, name: format!("visitor-{number}"), server: self.server.address }
    }

    /// Gives several of them.
    pub fn visitors(&self, count: usize) -> Vec<Visitor> {
        (0..count).map(|_| self.visitor()).collect()
    }
}

/// Somebody at an address of his own.
#[derive(Clone)]
pub struct Visitor {
    /// From where.
    pub source: Ipv4Addr,
    /// By which name he registers.
    pub name: String,
    server: SocketAddr,
}

impl Visitor {
    /// Connects from his address.
    pub async fn connect(&self) -> TcpStream {
        self.try_connect().await.unwrap()
    }

    /// Connects to a server that may refuse.
    pub async fn try_connect(&self) -> std::io::Result<TcpStream> {
        self.connect_by(TcpSocket::new_v4()?).await
    }

    /// Connects by a socket of one's own making.
    pub async fn connect_by(&self, socket: TcpSocket) -> std::io::Result<TcpStream> {
        socket.bind((IpAddr::V4(self.source), 0).into())?;
        let stream = socket.connect(self.server).await?;
        // As browsers do: otherwise a frame waits up to 40 ms for the acknowledgement of another.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Asks with a JSON body.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<serde_json::Value>,
    ) -> http::Answer {
        http::ask_on(self.connect().await, method, path, token, body).await
    }

    /// Makes an account, and logs in.
    pub async fn register(&self) -> String {
        let body = json!({"user": self.name, "password": "rally-demo", "bearer": true});
        for (path, wanted) in [("/api/register", 201), ("/api/login", 200)] {
            let answer = self.ask("POST", path, None, Some(body.clone())).await;
            assert_eq!(answer.status, wanted, "{answer:?}");
            if wanted == 200 {
                return answer.json()["token"].as_str().unwrap().to_owned();
            }
        }
        unreachable!("the second answer has the token")
    }

    /// Asks for a ticket.
    pub async fn ticket(&self, token: &str, client: ClientId) -> String {
        let body = Some(json!({"client": client}));
        let place = self.ask("POST", "/api/discover", Some(token), body).await.json();
        place["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a WebSocket without saying hello.
    pub async fn open(&self) -> TcpStream {
        open_on(self.server, self.connect().await).await.into_inner()
    }

    /// Makes an account and opens a session.
    pub async fn join(&self) -> Client {
        let token = self.register().await;
        self.enter(&token, TcpSocket::new_v4().unwrap(), None).await
    }

    /// Opens a session by a socket of one's own making, and waits until it has caught up.
    pub async fn enter(&self, token: &str, socket: TcpSocket, cursor: Option<String>) -> Client {
        let client: ClientId = Uuid::new_v4().into();
        let ticket = self.ticket(token, client).await;
        let stream = self.connect_by(socket).await.unwrap();
        let mut me =
            Client::enter(stream, ticket, &self.name, token.to_owned(), client, cursor).await;
        me.caught_up().await;
        me
    }

    /// Opens a WebSocket, writes bytes, ends its own half, and gives what came back.
    pub async fn throw(&self, bytes: &[u8]) -> Vec<String> {
        let mut stream = self.open().await;
        // The server may have ended the connection before it has taken all of it.
        let _ = stream.write_all(bytes).await;
        last_words(stream).await
    }
}

/// Writes a hello.
pub fn hello(ticket: &str, client: ClientId) -> Vec<u8> {
    let ticket = ticket.to_owned();
    raw::text(&ClientFrame::from(Hello { ticket, client, cursor: None }).encode())
}

/// Ends one's own half, and names what comes until the server has ended its own.
pub async fn last_words(mut stream: TcpStream) -> Vec<String> {
    let _ = stream.shutdown().await;
    name(&rest(&mut stream).await)
}

/// Reads to the end, however that comes: a reset is one as well, and what was read before it counts.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("no end came");
    drop(read);
    all
}

/// Names what a server wrote to a WebSocket.
pub fn name(bytes: &[u8]) -> Vec<String> {
    let (frames, code) = raw::parse(bytes);
    let mut names: Vec<String> = frames
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code.name().to_owned()),
            ServerFrame::Bye(bye) => Some(format!("bye {}", reason(bye.reason))),
            ServerFrame::Ack(_) => Some("ack".to_owned()),
            _ => None,
        })
        .collect();
    names.extend(code.map(|code| code.to_string()));
    if names.is_empty() {
        names.push("ended".to_owned());
    }
    names
}

fn reason(reason: ByeReason) -> String {
    serde_json::to_value(reason).unwrap().as_str().unwrap().to_owned()
}

/// What attackers were answered, and how often.
#[derive(Default)]
pub struct Seen {
    /// How many attempts were made, or connections held.
    pub attempts: usize,
    /// How often each answer came.
    pub answers: BTreeMap<String, usize>,
}

impl Seen {
    /// Counts an answer.
    pub fn add(&mut self, answer: impl Into<String>) {
        *self.answers.entry(answer.into()).or_default() += 1;
    }

    /// Counts one attempt and what it was answered.
    pub fn attempt<T: Into<String>>(&mut self, answers: impl IntoIterator<Item = T>) {
        self.attempts += 1;
        answers.into_iter().for_each(|answer| self.add(answer));
    }

    /// Adds what another one saw.
    pub fn join(&mut self, other: Seen) {
        self.attempts += other.attempts;
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }
}
