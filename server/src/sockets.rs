//! The way from a WebSocket handshake to a session.
//!
//! Checks who may try, takes the socket out of HTTP, waits for `hello`, and opens the
//! session on the thread that owns the user. A thread that has 4,096 guests waiting
//! takes no more: the socket is closed, and the client comes back after its own delay.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::Addr;
use actix_web::http::header::SEC_WEBSOCKET_PROTOCOL;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use bytes::Bytes;
use parking_lot::Mutex;
use rally_actors::committer::Committer;
use rally_actors::greet::{Guest, greet};
use rally_actors::session::Session;
use rally_actors::{Node, Worker};
use rally_schema::UserId;
use rally_schema::limits::SUBPROTOCOL;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::http::{HttpState, Kind, Problem, origins};
use crate::upgrade;

/// Guests that wait for one thread.
const ARRIVALS: usize = 4_096;

/// How long the kernel keeps on trying to hand a client what it does not take: he comes back by
/// himself, and is told what he missed.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that the kernel holds for a client that does not read; the rest waits in the
/// session's own budget, where it is counted.
const SEND_BUFFER: usize = 64 * 1024;

/// A guest whose socket moves to the thread that owns him.
struct Arrival {
    socket: StdTcpStream,
    guest: Guest,
}

/// The threads that own users.
pub struct Workers {
    node: Arc<Node>,
    doors: Vec<OnceLock<mpsc::Sender<Arrival>>>,
    started: AtomicUsize,
    committers: Mutex<Vec<Addr<Committer>>>,
    max_connections: usize,
}

thread_local! {
    /// What this thread's sessions share, once it is one of the workers.
    static HERE: OnceCell<(usize, Rc<Worker>)> = const { OnceCell::new() };
}

impl Workers {
    /// Makes room for `count` threads, none of which has started.
    pub fn new(node: Arc<Node>, count: usize, max_connections: usize) -> Arc<Self> {
        Arc::new(Self {
            node,
            doors: (0..count).map(|_| OnceLock::new()).collect(),
            started: AtomicUsize::new(0),
            committers: Mutex::default(),
            max_connections,
        })
    }

    /// Makes the current thread one of the workers, if it is none yet.
    pub fn join(&self) {
        HERE.with(|here| {
            here.get_or_init(|| {
                let index = self.started.fetch_add(1, Ordering::AcqRel);
                let worker = Worker::start(self.node.clone());
                self.committers.lock().push(worker.committer.clone());
                if let Some(door) = self.doors.get(index) {
                    let (sender, receiver) = mpsc::channel(ARRIVALS);
                    // A second thread with this index is not possible: it was just counted.
                    let _ = door.set(sender);
                    actix_rt::spawn(receive(receiver, worker.clone()));
                }
                (index, worker)
            });
        });
    }

    /// Gives the committers of all threads, to be waited for when the node leaves.
    pub fn committers(&self) -> Vec<Addr<Committer>> {
        self.committers.lock().clone()
    }

    fn owner(&self, user: UserId) -> usize {
        // Fixed keys: the owner is the same on every thread.
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        (hasher.finish() % self.doors.len().max(1) as u64) as usize
    }

    fn is_full(&self) -> bool {
        let metrics = &self.node.metrics;
        let open = metrics.sessions.get() + metrics.opening.get();
        usize::try_from(open).is_ok_and(|open| open >= self.max_connections)
    }

    /// Waits for `hello`, then opens the session where it belongs.
    async fn welcome(self: Arc<Self>, socket: TcpStream, early: Bytes) {
        prepare(&socket);
        let Some((socket, guest)) = greet(&self.node, socket, early).await else { return };
        let here = HERE.with(|here| here.get().cloned());
        let owner = self.owner(guest.admitted.user);
        match here {
            Some((index, worker)) if index == owner => {
                Session::open(worker, Box::new(socket), guest);
            }
            _ => self.send_home(owner, socket, guest),
        }
    }

    fn send_home(&self, owner: usize, socket: TcpStream, guest: Guest) {
        let user = guest.admitted.user;
        let sent = socket.into_std().map(|socket| {
            let door = self.doors[owner].get();
            door.is_some_and(|door| door.try_send(Arrival { socket, guest }).is_ok())
        });
        if !matches!(sent, Ok(true)) {
            warn!(%user, owner, "a session could not be handed to its thread");
        }
    }
}

async fn receive(mut arrivals: mpsc::Receiver<Arrival>, worker: Rc<Worker>) {
    while let Some(Arrival { socket, guest }) = arrivals.recv().await {
        match TcpStream::from_std(socket) {
            Ok(socket) => Session::open(worker.clone(), Box::new(socket), guest),
            Err(error) => warn!(%error, "a socket could not be taken over"),
        }
    }
}

/// Sets what makes a client that does not read show itself, and end.
fn prepare(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = set {
        debug!(%error, "a socket option could not be set");
    }
}

/// Answers the handshake of `/ws`.
pub async fn connect(
    request: HttpRequest,
    state: web::Data<HttpState>,
    workers: web::Data<Workers>,
) -> Result<HttpResponse, Problem> {
    origins::check(&state, &request)?;
    state.node.ready().map_err(|why| Problem::new(Kind::NotReady, why).retry_after(2))?;
    if workers.is_full() {
        let text = "the node holds as many connections as it may";
        return Err(Problem::new(Kind::NotReady, text).retry_after(5));
    }
    if !offers_protocol(&request) {
        let text = format!("offer the subprotocol {SUBPROTOCOL}");
        return Err(Problem::new(Kind::BadUpgrade, text));
    }
    let mut response = ws::handshake_with_protocols(&request, &[SUBPROTOCOL])
        .map_err(|error| Problem::new(Kind::BadUpgrade, error.to_string()))?;
    let workers = workers.into_inner();
    upgrade::take_over(&request, move |socket, early| {
        actix_rt::spawn(workers.welcome(socket, early));
    });
    Ok(response.finish())
}

fn offers_protocol(request: &HttpRequest) -> bool {
    request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).any(|offered| {
        let offered = offered.to_str().unwrap_or_default();
        offered.split(',').any(|one| one.trim() == SUBPROTOCOL)
    })
}
