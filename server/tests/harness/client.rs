//! A client on a real socket, speaking Rally's frames.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rally_schema::frame::{
    Ack, Bye, ErrorFrame, Hello, History, HistoryQuery, Inbox, InboxQuery, Mark, Message, Send,
    ServerFrame,
};
use rally_schema::ids::Stamp;
use rally_schema::{ClientFrame, ClientId, ConversationId, ErrorCode, MessageId, Ref, UserId};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use uuid::Uuid;

use super::{PATIENCE, http};

/// A socket after its handshake.
pub type Socket = WebSocketStream<TcpStream>;

/// One device of a user.
pub struct Client {
    /// Who it is.
    pub user: UserId,
    /// Which device.
    pub client: ClientId,
    /// Its log-in.
    pub token: String,
    address: SocketAddr,
    socket: Socket,
    /// What came and was not waited for yet.
    waiting: VecDeque<ServerFrame>,
    /// Server's time minus this machine's, in milliseconds.
    offset: i64,
    stamped: (u64, u16),
    /// The last cursor.
    pub cursor: Option<String>,
    /// Whom `welcome` named to ask where to connect.
    pub addresses: Vec<String>,
}

/// Opens a socket without saying hello.
pub async fn open(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    open_on(address, stream).await
}

/// Opens a WebSocket on a connected stream.
pub async fn open_on(address: SocketAddr, stream: TcpStream) -> Socket {
    try_open_on(address, stream).await.unwrap()
}

/// Opens a WebSocket at a server that may die meanwhile.
pub async fn try_open_on(address: SocketAddr, stream: TcpStream) -> Option<Socket> {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "rally.v1".parse().unwrap());
    // A buffer of 128 KiB for each of thousands would have the test itself take the machine's time.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    let opened = client_async_with_config(request, stream, Some(config)).await;
    opened.ok().map(|opened| opened.0)
}

/// Draws a new ref.
pub fn new_ref() -> Ref {
    Uuid::new_v4().into()
}

impl Client {
    /// Logs a demo user in and opens a session of a new client, without a cursor.
    pub async fn join(address: SocketAddr, user: &str) -> Self {
        let token = http::log_in(address, user).await;
        Self::join_as(address, user, token, Uuid::new_v4().into(), None).await
    }

    /// Opens a session and waits until it has caught up.
    pub async fn join_as(
        address: SocketAddr,
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        let mut joined = Self::hello(address, user, token, client, cursor).await;
        joined.caught_up().await;
        joined
    }

    /// Opens a session and returns after `welcome`.
    pub async fn hello(
        address: SocketAddr,
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::hello_on(stream, user, token, client, cursor).await
    }

    /// Opens a session on a connected stream and returns after `welcome`.
    pub async fn hello_on(
        stream: TcpStream,
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        let address = stream.peer_addr().unwrap();
        let ticket = http::ticket(address, &token, &client.to_string()).await;
        Self::enter(stream, ticket, user, token, client, cursor).await
    }

    /// Asks one process after the other for a place until one of them sends it to a node that
    /// takes it, and returns after `welcome`.
    pub async fn arrive(
        bases: &[SocketAddr],
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        let arriving = async {
            loop {
                for base in bases {
                    let placed = http::try_place(*base, &token, &client.to_string()).await;
                    let Some((address, ticket)) = placed else { continue };
                    if let Ok(stream) = TcpStream::connect(address).await {
                        return (stream, ticket);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arriving).await;
        let (stream, ticket) = arrived.expect("a node takes the client");
        Self::enter(stream, ticket, user, token, client, cursor).await
    }

    /// Says hello with a ticket and returns after `welcome`.
    pub async fn enter(
        stream: TcpStream,
        ticket: String,
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        let address = stream.peer_addr().unwrap();
        let mut socket = open_on(address, stream).await;
        let hello = ClientFrame::from(Hello { ticket, client, cursor: cursor.clone() });
        socket.send(Ws::text(hello.encode())).await.unwrap();
        let mut this = Self::over(socket, address, user, token, client, cursor);
        let welcome = this
            .wait_for("welcome", |frame| match frame {
                ServerFrame::Welcome(welcome) => Some(welcome.clone()),
                _ => None,
            })
            .await;
        this.offset = welcome.now as i64 - wall_ms() as i64;
        this.addresses = welcome.addresses;
        this
    }

    /// Opens a session at a server that may die meanwhile, with a ticket for it.
    pub async fn try_hello(
        address: SocketAddr,
        user: &str,
        token: &str,
        client: ClientId,
        cursor: &Option<String>,
        ticket: String,
    ) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut socket = try_open_on(address, stream).await?;
        let hello = ClientFrame::from(Hello { ticket, client, cursor: cursor.clone() });
        socket.send(Ws::text(hello.encode())).await.ok()?;
        let (token, cursor) = (token.to_owned(), cursor.clone());
        let mut this = Self::over(socket, address, user, token, client, cursor);
        match this.receive().await? {
            ServerFrame::Welcome(welcome) => {
                this.offset = welcome.now as i64 - wall_ms() as i64;
                Some(this)
            }
            _ => None,
        }
    }

    fn over(
        socket: Socket,
        address: SocketAddr,
        user: &str,
        token: String,
        client: ClientId,
        cursor: Option<String>,
    ) -> Self {
        Self {
            user: user.parse().unwrap(),
            client,
            token,
            address,
            socket,
            waiting: VecDeque::new(),
            offset: 0,
            stamped: (0, 0),
            cursor,
            addresses: Vec::new(),
        }
    }

    /// Waits for `synced` or `reset`, and keeps its cursor.
    pub async fn caught_up(&mut self) {
        let cursor = self
            .wait_for("synced or reset", |frame| match frame {
                ServerFrame::Synced(synced) => Some(synced.cursor.clone()),
                ServerFrame::Reset(reset) => Some(reset.cursor.clone()),
                _ => None,
            })
            .await;
        self.cursor = Some(cursor);
    }

    /// Opens another session of the same client with the cursor it has.
    pub async fn come_back(self) -> Self {
        let Self { address, user, token, client, cursor, socket, .. } = self;
        drop(socket);
        Self::hello(address, user.as_str(), token, client, cursor).await
    }

    /// Opens another session of the same client, wherever those that `welcome` named send it.
    pub async fn come_back_through_others(self) -> Self {
        let Self { user, token, client, cursor, socket, addresses, .. } = self;
        drop(socket);
        let bases = addresses.iter().map(|one| one.strip_prefix("http://").unwrap().parse());
        let bases: Vec<SocketAddr> = bases.map(Result::unwrap).collect();
        Self::arrive(&bases, user.as_str(), token, client, cursor).await
    }

    /// Gives where its socket ends.
    pub fn node(&self) -> SocketAddr {
        self.address
    }

    /// Sends a frame.
    pub async fn tell(&mut self, frame: impl Into<ClientFrame>) {
        self.socket.send(Ws::text(frame.into().encode())).await.unwrap();
    }

    /// Sends a frame to a server that may be dead.
    pub async fn try_tell(&mut self, frame: impl Into<ClientFrame>) -> Result<(), ()> {
        self.socket.send(Ws::text(frame.into().encode())).await.map_err(|_| ())
    }

    /// Sends any text.
    pub async fn tell_raw(&mut self, text: &str) {
        self.socket.send(Ws::text(text)).await.unwrap();
    }

    /// Sends a binary message, which the protocol does not have.
    pub async fn tell_bytes(&mut self, bytes: &'static [u8]) {
        self.socket.send(Ws::binary(bytes)).await.unwrap();
    }

    /// Gives the socket, for tests that misuse it.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Gives the bare stream, for tests that misuse it. What was received and not waited for
    /// is lost.
    pub fn into_stream(self) -> TcpStream {
        self.socket.into_inner()
    }

    /// Gives the next frame; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<ServerFrame> {
        if let Some(frame) = self.waiting.pop_front() {
            return Some(frame);
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Option<ServerFrame> {
        // One deadline for the frame: pings come in between for as long as one waits.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = tokio::time::timeout_at(deadline, self.socket.next()).await;
            match message.expect("no frame came within the test's patience") {
                Some(Ok(Ws::Text(text))) => {
                    let frame = ServerFrame::decode(&text).unwrap();
                    if let ServerFrame::Message(message) = &frame {
                        // What it shows, the next stamp has to be above.
                        let shown = message.id.stamp();
                        self.stamped = self.stamped.max((shown.at, shown.n));
                    }
                    return Some(frame);
                }
                Some(Ok(Ws::Ping(_) | Ws::Pong(_))) => {}
                Some(Ok(Ws::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?} is no frame of Rally's"),
            }
        }
    }

    /// Waits for the first frame that `pick` takes; what else comes stays for later.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&ServerFrame) -> Option<T>,
    ) -> T {
        if let Some(at) = self.waiting.iter().position(|frame| pick(frame).is_some()) {
            return pick(&self.waiting.remove(at).unwrap()).unwrap();
        }
        loop {
            let Some(frame) = self.receive().await else {
                panic!("{}: the connection ended before {what}: {:?}", self.user, self.waiting);
            };
            match pick(&frame) {
                Some(picked) => return picked,
                None => self.waiting.push_back(frame),
            }
        }
    }

    /// Names the conversation with a peer.
    pub fn chat(&self, peer: &str) -> ConversationId {
        ConversationId::direct(self.user, peer.parse().unwrap())
    }

    /// Stamps something new, after everything stamped before.
    pub fn stamp(&mut self) -> (u64, u16) {
        let now = (wall_ms() as i64 + self.offset) as u64;
        self.stamped = match self.stamped {
            (at, n) if at >= now && n < 4095 => (at, n + 1),
            (at, _) if at >= now => (at + 1, 0),
            _ => (now, 0),
        };
        self.stamped
    }

    /// Makes a first attempt to send.
    pub fn draft(&mut self, peer: &str, text: &str) -> Send {
        let (at, n) = self.stamp();
        Send::first(new_ref(), [self.user, peer.parse().unwrap()], Stamp { at, n }, text)
    }

    /// Sends a text and waits for its ack.
    pub async fn say(&mut self, peer: &str, text: &str) -> MessageId {
        let draft = self.draft(peer, text);
        self.send(&draft).await.id
    }

    /// Sends a draft and waits for its ack.
    pub async fn send(&mut self, draft: &Send) -> Ack {
        self.tell(draft.clone()).await;
        self.acked(draft.r#ref).await
    }

    /// Waits for an ack.
    pub async fn acked(&mut self, r#ref: Ref) -> Ack {
        self.wait_for("ack", |frame| match frame {
            ServerFrame::Ack(ack) if ack.r#ref == r#ref => Some(ack.clone()),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => panic!("{error:?}"),
            _ => None,
        })
        .await
    }

    /// Waits for the error about an intent.
    pub async fn refused(&mut self, r#ref: Ref) -> ErrorFrame {
        self.wait_for("error", |frame| match frame {
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => Some(error.clone()),
            ServerFrame::Ack(ack) if ack.r#ref == r#ref => panic!("{ack:?}"),
            _ => None,
        })
        .await
    }

    /// Waits for an error with a code, about anything.
    pub async fn fails(&mut self, code: ErrorCode) -> ErrorFrame {
        self.wait_for(code.name(), |frame| match frame {
            ServerFrame::Error(error) if error.code == code => Some(error.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the push of a text.
    pub async fn hears(&mut self, text: &str) -> Message {
        self.wait_for(text, |frame| match frame {
            ServerFrame::Message(message) if message.text == text => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the goodbye.
    pub async fn goodbye(&mut self) -> Bye {
        self.wait_for("bye", |frame| match frame {
            ServerFrame::Bye(bye) => Some(bye.clone()),
            _ => None,
        })
        .await
    }

    /// Marks a conversation as read.
    pub async fn read(&mut self, conversation: ConversationId, id: MessageId) {
        self.tell(rally_schema::frame::Read(Mark { conversation, id })).await;
    }

    /// Marks a conversation as delivered.
    pub async fn delivered(&mut self, conversation: ConversationId, id: MessageId) {
        self.tell(rally_schema::frame::Delivered(Mark { conversation, id })).await;
    }

    /// Reads a page of history.
    pub async fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: u32,
    ) -> History {
        let r#ref = new_ref();
        let limit = Some(limit);
        self.tell(HistoryQuery { r#ref, conversation, before, limit }).await;
        self.wait_for("history", |frame| match frame {
            ServerFrame::History(page) if page.r#ref == Some(r#ref) => Some(page.clone()),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => panic!("{error:?}"),
            _ => None,
        })
        .await
    }

    /// Reads every message of a conversation, oldest first.
    pub async fn whole_history(&mut self, conversation: ConversationId) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let before = all.last().map(|message: &Message| message.id);
            let page = self.history(conversation, before, 100).await;
            all.extend(page.messages);
            if !page.more {
                all.reverse();
                return all;
            }
        }
    }

    /// Reads the first page of the inbox.
    pub async fn inbox(&mut self) -> Inbox {
        let r#ref = new_ref();
        self.tell(InboxQuery { r#ref, before: None, limit: None }).await;
        self.wait_for("inbox", |frame| match frame {
            ServerFrame::Inbox(page) if page.r#ref == Some(r#ref) => Some(page.clone()),
            _ => None,
        })
        .await
    }

    /// Gives what has come and was not waited for, up to the answer to a question asked now.
    pub async fn settled(&mut self) -> Vec<ServerFrame> {
        self.inbox().await;
        self.waiting.drain(..).filter(|frame| !is_unasked(frame)).collect()
    }
}

/// Tells whether a frame says no more than that the node lives.
pub fn is_unasked(frame: &ServerFrame) -> bool {
    matches!(frame, ServerFrame::Beat(beat) if beat.unasked)
}

/// This machine's time.
pub fn wall_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}
