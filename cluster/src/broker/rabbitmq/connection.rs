//! One connection to RabbitMQ: how it is made, and how long it is waited for.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lapin::options::ExchangeDeclareOptions;
use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ExchangeKind};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{AmqpUrl, Options};

/// Largest frame: the library below keeps 64 of them in buffers for each connection.
const FRAME_BYTES: u32 = 32 * 1024;

/// Why there is no connection to RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// It does not let us in.
    #[error("cannot connect to RabbitMQ at {address}: {error}")]
    Refused {
        /// Where it should be, without the password.
        address: String,
        /// Why.
        error: String,
    },
    /// It does not answer.
    #[error("RabbitMQ at {address} does not answer within {after_ms} ms")]
    Silent {
        /// Where it should be, without the password.
        address: String,
        /// How long it was waited for.
        after_ms: u128,
    },
    /// None of several lets us in.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Each(Vec<Self>),
}

/// A connection that is made, and kept.
pub(super) struct Open<R> {
    pub(super) connection: Connection,
    /// Held: it is closed when the last one goes.
    pub(super) channel: Channel,
    /// What it was prepared with.
    pub(super) prepared: R,
    pub(super) over: Over,
}

/// Is ready once the library's loop for a connection is over, which it may tell nobody: when
/// RabbitMQ closes the connection at certain moments, of the handshake and later ones.
pub(super) struct Over(oneshot::Receiver<Infallible>);

impl Future for Over {
    type Output = io::Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        Pin::new(&mut self.0).poll(cx).map(|_| io::ErrorKind::ConnectionAborted.into())
    }
}

/// Makes a connection with one channel on which the exchange is declared, and prepares it; all of
/// that within [`Options::connect_timeout`].
pub(super) async fn connect<P, R>(
    options: &Options,
    url: &AmqpUrl,
    purpose: &str,
    prepare: impl FnOnce(Channel) -> P,
) -> Result<Open<R>, ConnectError>
where
    P: Future<Output = lapin::Result<R>>,
{
    let address = url.to_string();
    let making = make(options, url, purpose, prepare);
    match tokio::time::timeout(options.connect_timeout, making).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(ConnectError::Refused { address, error: error.to_string() }),
        Err(_) => {
            Err(ConnectError::Silent { address, after_ms: options.connect_timeout.as_millis() })
        }
    }
}

async fn make<P, R>(
    options: &Options,
    url: &AmqpUrl,
    purpose: &str,
    prepare: impl FnOnce(Channel) -> P,
) -> lapin::Result<Open<R>>
where
    P: Future<Output = lapin::Result<R>>,
{
    let mut uri = url.0.clone();
    uri.query.heartbeat = Some(options.heartbeat.as_secs().clamp(1, 600) as u16);
    uri.query.frame_max = Some(FRAME_BYTES);
    let name = format!("{} {purpose}", options.exchange);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let begun = Begun::default();
    let (socket, patience) = (begun.0.clone(), options.connect_timeout);
    let (alive, ended) = oneshot::channel::<Infallible>();
    let mut over = Over(ended);
    let runtime = default_runtime()?;
    let reactor = runtime.clone();
    let connect = async move |uri: AMQPUri, _| {
        let _held = &alive;
        let connecting = tokio::time::timeout(patience, uri.connect_async(&reactor));
        let stream = connecting.await.map_err(io::Error::from)??;
        if let AsyncTcpStream::Plain(stream) = &stream {
            let shared = stream.get_ref().as_fd().try_clone_to_owned()?;
            *socket.lock() = Some(shared.into());
        }
        Ok(stream)
    };
    let making = async {
        let connection = Connection::connector(uri, runtime, connect, properties).await?;
        let channel = connection.create_channel().await?;
        // Neither durable nor deleted with its last queue: publishing to no exchange is an error.
        let declare = ExchangeDeclareOptions::default();
        let (name, arguments) = (options.exchange.as_str().into(), FieldTable::default());
        channel.exchange_declare(name, ExchangeKind::Direct, declare, arguments).await?;
        let prepared = prepare(channel.clone()).await?;
        lapin::Result::Ok((connection, channel, prepared))
    };
    let (connection, channel, prepared) = tokio::select! {
        biased;
        made = making => made?,
        // The library's loop owns `connect`.
        error = &mut over => return Err(error.into()),
    };
    begun.0.lock().take();
    Ok(Open { connection, channel, prepared, over })
}

/// The socket of a connection that is being made. Should that be given up, the socket is shut
/// down: the library below would wait on it for ever, with a thread and its buffers.
#[derive(Default)]
struct Begun(Arc<Mutex<Option<TcpStream>>>);

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(socket) = self.0.lock().take() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
