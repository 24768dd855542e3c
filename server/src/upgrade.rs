//! HTTP on a listener, and WebSockets taken out of it.
//!
//! actix's HTTP/1 dispatcher keeps two buffers a connection for as long as it lives, and a
//! response body that is not read freezes whoever writes it. So a WebSocket leaves the
//! dispatcher: a handler answers the handshake with [`take_over`], and the *upgrade service*
//! writes that response, then hands the bare socket, and what arrived early, to the closure.
//! All other requests are served as usual, on connections that the door has let in (`door.rs`), a
//! few of them in each turn of the thread (`turns.rs`).
//! Knows nothing of routes or sessions.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response, h1};
use actix_rt::net::TcpStream;
use actix_server::{Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use socket2::SockRef;
use tracing::debug;

use crate::door::Door;
use crate::sip::Sipped;
use crate::turns::in_turns;

/// How long a client has to send the head of a request, and a connection to be idle.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long the kernel keeps on trying to hand a client what it does not take: long enough for
/// a telephone that is without a network for a while, since a page that is half there stays so.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What actix serves: a socket, what is spoken on it, and who is at its other end.
type Connection = (Sipped, Protocol, Option<SocketAddr>);

/// What is done with a socket once its handshake is written.
type TakeOver = Box<dyn FnOnce(TcpStream, Bytes)>;

/// Leaves with the request's response; taken out again by the upgrade service.
struct Claim(TakeOver);

/// Has the socket of `request` handed to `with`, once the response to it is written.
pub fn take_over(request: &HttpRequest, with: impl FnOnce(TcpStream, Bytes) + 'static) {
    request.extensions_mut().insert(Claim(Box::new(with)));
}

/// Serves the application that `make` makes, on every listener, with `workers` threads.
///
/// `make` runs on each of them. The server does not listen to signals.
pub fn server<M, I, S>(
    listeners: Vec<TcpListener>,
    workers: usize,
    door: &Arc<Door>,
    make: M,
) -> io::Result<Server>
where
    M: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: Application,
{
    let mut builder: ServerBuilder = Server::build()
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(1)
        // Connections that were taken over are not the server's to count.
        .max_concurrent_connections(usize::MAX >> 4);
    for listener in listeners {
        let (make, door) = (make.clone(), door.clone());
        builder = builder
            .listen("rally", listener, move || behind(door.clone(), service(make.clone())))?;
    }
    Ok(builder.run())
}

/// What actix's `App` turns into.
pub trait Application:
    ServiceFactory<
        Request,
        Config = AppConfig,
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    > + 'static
{
}

impl<S> Application for S where
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static
{
}

/// Hands on the connections that the door lets in, and closes the others.
fn behind<F>(
    door: Arc<Door>,
    factory: F,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    F: ServiceFactory<
            Connection,
            Config = (),
            Response = (),
            Error = DispatchError,
            InitError = (),
        > + 'static,
{
    fn_factory(move || {
        let (door, made) = (door.clone(), factory.new_service(()));
        async move {
            let http = Rc::new(made.await?);
            Ok(fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                let pass = peer.and_then(|peer| door.enter(peer.ip()));
                let http = http.clone();
                async move {
                    let Some(pass) = pass else { return Ok(()) };
                    let ended = in_turns(|| serve(stream, peer, http)).await;
                    pass.ended(&ended);
                    ended
                }
            }))
        }
    })
}

/// Speaks HTTP on a connection until it ends, or has taken too long over something.
async fn serve<H>(
    stream: TcpStream,
    peer: Option<SocketAddr>,
    http: Rc<H>,
) -> Result<(), DispatchError>
where
    H: Service<Connection, Response = (), Error = DispatchError>,
{
    give_up_in_time(&stream);
    let socket = Sipped::new(stream);
    let pace = socket.pace().clone();
    tokio::select! {
        biased;
        ended = http.call((socket, Protocol::Http1, peer)) => ended,
        () = pace.overdue() => Err(DispatchError::SlowRequestTimeout),
    }
}

/// Has the kernel give up a peer that takes nothing: what waits for him would be kept for ever.
fn give_up_in_time(socket: &TcpStream) {
    if let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(USER_TIMEOUT)) {
        debug!(%error, "a socket option could not be set");
    }
}

fn service<M, I, S>(
    make: M,
) -> impl ServiceFactory<Connection, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    M: Fn() -> I + Clone + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: Application,
{
    let upgrade = {
        let make = make.clone();
        fn_factory(move || {
            let app = make().into_factory();
            async move {
                let app = Rc::new(app.new_service(AppConfig::default()).await?);
                Ok::<_, ()>(fn_service(move |(request, framed)| {
                    let app = app.clone();
                    async move { answer(&*app, request, framed).await }
                }))
            }
        })
    };
    let app = make().into_factory().map_err(|error: actix_web::Error| error.error_response());
    HttpService::build()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_TIMEOUT)
        .upgrade(upgrade)
        .on_connect_ext(|socket: &Sipped, shared| _ = shared.insert(socket.pace().clone()))
        .finish(map_config(app, |()| AppConfig::default()))
}

/// Answers a request that asked for an upgrade; without a claim like any other, then closes.
async fn answer<S>(
    app: &S,
    request: Request,
    mut framed: Framed<Sipped, h1::Codec>,
) -> Result<(), actix_web::Error>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
{
    let response = match app.call(request).await {
        Ok(response) => response,
        Err(error) => return write_whole(&mut framed, error.error_response()).await,
    };
    let claim = response.request().extensions_mut().remove::<Claim>();
    let (_, response) = response.into_parts();
    match claim {
        Some(Claim(with)) => {
            let head = Response::from(response).drop_body();
            framed.send(h1::Message::Item((head, BodySize::None))).await.map_err(other)?;
            let parts = framed.into_parts();
            let early = parts.read_buf.freeze();
            drop(parts.write_buf);
            with(parts.io.into_inner(), early);
            Ok(())
        }
        None => write_whole(&mut framed, response).await,
    }
}

async fn write_whole(
    framed: &mut Framed<Sipped, h1::Codec>,
    response: HttpResponse,
) -> Result<(), actix_web::Error> {
    let (head, body) = Response::from(response).into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(body) => actix_web::body::to_bytes(body).await.map_err(other)?,
    };
    let size = BodySize::Sized(body.len() as u64);
    framed.send(h1::Message::Item((head, size))).await.map_err(other)?;
    if !body.is_empty() {
        framed.send(h1::Message::Chunk(Some(body))).await.map_err(other)?;
    }
    framed.send(h1::Message::Chunk(None)).await.map_err(other)?;
    // Reads the end of the request, if there is one, so that the response is not lost to a reset.
    let rest = tokio::time::timeout(Duration::from_millis(200), framed.next()).await;
    debug!(rest = rest.is_ok(), "an upgrade was asked for and not made");
    Ok(())
}

/// The peer has gone, or sends what is no HTTP: nobody is left to be told.
fn other(error: impl std::fmt::Display) -> actix_web::Error {
    actix_web::error::ErrorBadRequest(error.to_string())
}
