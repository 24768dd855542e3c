//! One connection to RabbitMQ: how it is made, and how long it is waited for.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::ExchangeDeclareOptions;
use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ExchangeKind};
use parking_lot::Mutex;
use thiserror::Error;

use super::Options;

/// The first limit of the waits between attempts.
const LEAST: Duration = Duration::from_millis(100);

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
}

/// Makes a connection with one channel on which the exchange is declared.
pub(super) async fn connect(
    options: &Options,
    purpose: &str,
) -> Result<(Connection, Channel), ConnectError> {
    let address = options.url.to_string();
    match tokio::time::timeout(options.connect_timeout, make(options, purpose)).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(ConnectError::Refused { address, error: error.to_string() }),
        Err(_) => {
            Err(ConnectError::Silent { address, after_ms: options.connect_timeout.as_millis() })
        }
    }
}

async fn make(options: &Options, purpose: &str) -> lapin::Result<(Connection, Channel)> {
    let mut uri = options.url.0.clone();
    uri.query.heartbeat = Some(options.heartbeat.as_secs().clamp(1, 600) as u16);
    uri.query.frame_max = Some(FRAME_BYTES);
    let name = format!("{} {purpose}", options.exchange);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let begun = Begun::default();
    let (socket, patience) = (begun.0.clone(), options.connect_timeout);
    let runtime = default_runtime()?;
    let reactor = runtime.clone();
    let connect = async move |uri: AMQPUri, _| {
        let connecting = tokio::time::timeout(patience, uri.connect_async(&reactor));
        let stream = connecting.await.map_err(io::Error::from)??;
        if let AsyncTcpStream::Plain(stream) = &stream {
            let shared = stream.get_ref().as_fd().try_clone_to_owned()?;
            *socket.lock() = Some(shared.into());
        }
        Ok(stream)
    };
    let connection = Connection::connector(uri, runtime, connect, properties).await?;
    let channel = connection.create_channel().await?;
    // Neither durable nor deleted with its last queue: publishing to no exchange is an error.
    let declare = ExchangeDeclareOptions::default();
    let (name, arguments) = (options.exchange.as_str().into(), FieldTable::default());
    channel.exchange_declare(name, ExchangeKind::Direct, declare, arguments).await?;
    begun.0.lock().take();
    Ok((connection, channel))
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

/// How long to wait before the next attempt: drawn between nothing and a limit that doubles, so
/// that nodes which lost the same broker do not come back at once.
pub(super) struct Backoff {
    limit: Duration,
    most: Duration,
}

impl Backoff {
    /// Begins anew.
    pub(super) fn new(most: Duration) -> Self {
        Self { limit: LEAST.min(most), most }
    }

    /// Draws a wait.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.limit.mul_f64(rand::random::<f64>());
        self.limit = (self.limit * 2).min(self.most);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_limit() {
        let most = Duration::from_secs(1);
        let mut backoff = Backoff::new(most);
        assert!(backoff.next() <= LEAST);
        let waits: Vec<Duration> = (0..1_000).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait <= most));
        assert!(waits.iter().any(|wait| *wait > most / 2), "the limit is reached");
        assert!(waits.iter().any(|wait| *wait < most / 10), "and drawn from nothing up");
    }
}
