//! Nodes and clients in one process: actors over the model store, on real loopback sockets.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use actix_http::ws::{Codec, Frame, Message as WsMessage};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use prometheus_client::registry::Registry;
use rally_actors::greet::Guest;
use rally_actors::node::{Admitted, NoTickets, Parts};
use rally_actors::session::Session;
use rally_actors::wire::Decoder;
use rally_actors::{Metrics, Node, Settings, Worker};
use rally_cluster::broker::{Broker, LocalBroker};
use rally_cluster::clock::{Clock, MachineTime, TimeSource};
use rally_cluster::homes::Homes;
use rally_cluster::membership::{LocalMembership, Membership};
use rally_cluster::roles::Roles;
use rally_cluster::store::{Model, Store, UserRow};
use rally_schema::frame::{ByeReason, ClientFrame, Hello, Send, ServerFrame, Watch};
use rally_schema::ids::Stamp;
use rally_schema::limits::FRAME_BYTES;
use rally_schema::{ClientId, Life, Ref, UserId};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;
use uuid::Uuid;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What nodes of one process meet by.
pub struct Peers {
    /// Carries parcels.
    pub broker: LocalBroker,
    /// Tells who is heard.
    pub membership: LocalMembership,
}

impl Default for Peers {
    fn default() -> Self {
        Self { broker: LocalBroker::new(64), membership: LocalMembership::default() }
    }
}

/// One node.
pub struct TestNode {
    /// What its actors share.
    pub node: Arc<Node>,
    worker: std::rc::Rc<Worker>,
}

/// Makes the store's model with some accounts.
pub async fn model() -> Model {
    let model = Model::new(Uuid::new_v4().into(), [7; 32]);
    for user in ["ana", "ben", "cid"].map(|name| name.parse::<UserId>().unwrap()) {
        let (name, password) = (user.to_string(), None);
        let row = UserRow { user, name, password, epoch: 0, hide_presence: false };
        assert!(model.create_user(row).await.unwrap());
    }
    model
}

/// Names a life.
pub fn life(node: &str) -> Life {
    Life { node: node.parse().unwrap(), generation: 1 }
}

/// How a node is to be; [`TestNode::start`] does for most.
pub struct Plan<'a> {
    name: &'a str,
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    membership: Arc<dyn Membership>,
    settings: Settings,
    roles: Roles,
    clock: Clock,
}

impl<'a> Plan<'a> {
    /// Plans a node that does all, by the machine's clock.
    pub fn new(name: &'a str, store: Arc<dyn Store>, peers: &Peers, settings: Settings) -> Self {
        let clock = clock(MachineTime::new(), name, &settings);
        let broker = Arc::new(peers.broker.clone());
        let membership = Arc::new(peers.membership.clone());
        Self { name, store, broker, membership, settings, roles: Roles::all(), clock }
    }

    /// Has it read the time from somewhere else.
    pub fn by(self, time: impl TimeSource) -> Self {
        let clock = clock(time, self.name, &self.settings);
        Self { clock, ..self }
    }

    /// Has it reach others by another way.
    pub fn over(self, broker: impl Broker) -> Self {
        Self { broker: Arc::new(broker), ..self }
    }

    /// Has it hear others by another way.
    pub fn hearing(self, membership: impl Membership) -> Self {
        Self { membership: Arc::new(membership), ..self }
    }

    /// Has it do less.
    pub fn with(self, roles: Roles) -> Self {
        Self { roles, ..self }
    }

    /// Starts it.
    pub fn start(self) -> TestNode {
        let Self { name, store, broker, membership, settings, roles, clock } = self;
        let past = store.nodes().now_or_never().expect("these stores answer at once");
        let node = Node::start(Parts {
            life: life(name),
            roles,
            address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            past: past.expect("these stores answer"),
            broker,
            membership,
            clock,
            settings,
            metrics: Metrics::new(&mut Registry::default()),
            gate: Arc::new(NoTickets),
            link_span: |_, _| {},
            traceparent: |_| None,
        });
        node.set_ready();
        let worker = Worker::start(node.clone());
        TestNode { node, worker }
    }
}

fn clock(time: impl TimeSource, name: &str, settings: &Settings) -> Clock {
    Clock::new(time, 0, name.len() as u64, settings.overlap.clock_step_ms())
}

/// Starts two nodes, `one` and `other`, that know each other.
pub async fn two(
    store: impl Store + Clone,
    peers: &Peers,
    settings: impl Fn() -> Settings,
) -> (TestNode, TestNode) {
    let start = |name| TestNode::start(name, Arc::new(store.clone()), peers, settings());
    let (one, other) = (start("one"), start("other"));
    for node in [&one, &other] {
        node.knows(&["one", "other"]).await;
    }
    (one, other)
}

impl TestNode {
    /// Starts a node that does all, by the machine's clock.
    pub fn start(name: &str, store: Arc<dyn Store>, peers: &Peers, settings: Settings) -> Self {
        Plan::new(name, store, peers, settings).start()
    }

    /// Waits until the node takes exactly these for those that take users.
    pub async fn knows(&self, nodes: &[&str]) {
        let homes = Homes::of(nodes.iter().map(|node| life(node)));
        let known = async {
            while self.node.homes() != homes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("it heard of them in time");
    }

    /// Waits until a user is not online for his sessions here.
    pub async fn sees_leave(&self, user: &str) {
        let user = user.parse().unwrap();
        let gone = async {
            while self.node.routers.is_online(user) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("he left in time");
    }

    /// Lets a user in who has just logged in, with a new client, and waits until it is caught up.
    pub async fn join(&self, user: &str) -> Client {
        let account = self.node.store.user(user.parse().unwrap()).await.unwrap();
        let mut client = self.admit(user, account.expect("an account").epoch).await;
        client.hears(|frame| matches!(frame, ServerFrame::Reset(_)).then_some(())).await;
        client
    }

    /// Lets a user in by a ticket of this epoch, or that names none, with a new client.
    pub async fn admit(&self, user: &str, epoch: impl Into<Option<u64>>) -> Client {
        let (user, epoch) = (user.parse().unwrap(), epoch.into());
        self.admit_by(Admitted { user, epoch, log_in: None }).await
    }

    /// Lets a user in by a ticket, with a new client.
    pub async fn admit_by(&self, admitted: Admitted) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let user = admitted.user;
        let client = ClientId::from(Uuid::new_v4());
        let hello = Hello { ticket: String::new(), client, cursor: None };
        let guest = Guest { admitted, hello, decoder: Decoder::new(FRAME_BYTES) };
        Session::open(self.worker.clone(), Box::new(accepted.unwrap().0), guest);
        Client {
            user,
            wire: Framed::new(near.unwrap(), Codec::new().max_size(1 << 24).client_mode()),
            clock: self.node.clock.clone(),
            last: (0, 0),
        }
    }
}

/// One client's end of a session.
pub struct Client {
    /// Whose.
    pub user: UserId,
    wire: Framed<TcpStream, Codec>,
    clock: Clock,
    last: (u64, u16),
}

impl Client {
    /// Sends a frame.
    pub async fn says(&mut self, frame: impl Into<ClientFrame>) {
        let text = frame.into().encode().into();
        self.wire.send(WsMessage::Text(text)).await.unwrap();
    }

    /// Sends frames in one write.
    pub async fn says_all<F: Into<ClientFrame>>(&mut self, frames: impl IntoIterator<Item = F>) {
        for frame in frames {
            self.wire.feed(WsMessage::Text(frame.into().encode().into())).await.unwrap();
        }
        self.wire.flush().await.unwrap();
    }

    /// Makes a message to somebody, stamped now.
    pub fn message(&mut self, to: &str, text: &str) -> Send {
        let to: UserId = to.parse().unwrap();
        let now = self.clock.now_ms();
        self.last = if now > self.last.0 { (now, 0) } else { (self.last.0, self.last.1 + 1) };
        let stamp = Stamp { at: self.last.0, n: self.last.1 };
        Send::first(Ref::from(Uuid::new_v4()), [self.user, to], stamp, text)
    }

    /// Writes to somebody, and waits until it is stored.
    pub async fn writes(&mut self, to: &str, text: &str) -> Send {
        let message = self.message(to, text);
        self.says(message.clone()).await;
        assert_eq!(self.answer(message.r#ref).await, Ok(()));
        message
    }

    /// Watches somebody; gives whether he is online.
    pub async fn watches(&mut self, user: &str) -> bool {
        self.says(Watch { user: user.parse().unwrap() }).await;
        self.hears_online().await
    }

    /// Waits until it is told of somebody's presence; gives whether he is online.
    pub async fn hears_online(&mut self) -> bool {
        self.hears(|frame| match frame {
            ServerFrame::Presence(told) => Some(told.online),
            _ => None,
        })
        .await
    }

    /// Waits for the frame that `find` finds, passing over others.
    pub async fn hears<T>(&mut self, mut find: impl FnMut(ServerFrame) -> Option<T>) -> T {
        let found = async {
            loop {
                let frame = self.wire.next().await.expect("an open socket").expect("a frame");
                let Frame::Text(text) = frame else { continue };
                let text = std::str::from_utf8(&text).unwrap();
                if let Some(found) = find(ServerFrame::decode(text).unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it was heard in time")
    }

    /// Waits for a message of this text.
    pub async fn hears_message(&mut self, text: &str) {
        self.hears(|frame| match frame {
            ServerFrame::Message(message) if message.text == text => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for the goodbye; gives its reason.
    pub async fn hears_bye(&mut self) -> ByeReason {
        self.hears(|frame| match frame {
            ServerFrame::Bye(bye) => Some(bye.reason),
            _ => None,
        })
        .await
    }

    /// Waits for what a send is answered with: the name of its error, if it is one.
    pub async fn answer(&mut self, r#ref: Ref) -> Result<(), rally_schema::ErrorCode> {
        self.hears(|frame| match frame {
            ServerFrame::Ack(ack) if ack.r#ref == r#ref => Some(Ok(())),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => Some(Err(error.code)),
            _ => None,
        })
        .await
    }
}
