//! A way to the store on which every answer takes longer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Pieces of answers that wait; a connection that has more of them is not read meanwhile.
const PIECES: usize = 1_024;

/// Connections from anybody to the store, each with the same delay.
pub struct SlowWay {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
}

impl SlowWay {
    /// Opens the way; nothing is delayed yet.
    pub async fn to_the_store() -> Self {
        let store = std::env::var("RALLY_TEST_CASSANDRA");
        let store = store.unwrap_or_else(|_| "127.0.0.1:9042".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), delay_ms: Arc::default() };
        let delay_ms = this.delay_ms.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let Ok(far) = TcpStream::connect(&store).await else { continue };
                let (mut asks, answered) = near.into_split();
                let (answers, mut asked) = far.into_split();
                tokio::spawn(async move { copy(&mut asks, &mut asked).await });
                tokio::spawn(delayed(answers, answered, delay_ms.clone()));
            }
        });
        this
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has answers take so much longer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Brings bytes on in their order, each piece when it is due.
async fn delayed(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay_ms: Arc<AtomicU64>) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    });
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
        if sender.send((due, piece[..length].to_vec())).await.is_err() {
            break;
        }
    }
}
