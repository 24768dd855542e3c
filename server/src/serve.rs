//! `rally-server`: runs a node until it is told to leave.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::config::Settings;
use crate::config::value::StoreKind;
use crate::node;
use crate::telemetry;

/// Runs a node on a new actix system. SIGTERM or SIGINT has it leave; a second one ends it now.
pub fn serve(settings: Arc<Settings>) -> anyhow::Result<()> {
    actix_rt::System::new().block_on(async move {
        // Before anything that takes time, so that a node can be told to leave while it starts.
        let mut signals = Signals::new().context("cannot listen to signals")?;
        let telemetry = telemetry::start(&settings.telemetry, settings.node.node)?;
        #[cfg(feature = "planted")]
        crate::planted::warn();
        let running = tokio::select! {
            biased;
            running = node::start(settings.clone()) => running?,
            () = signals.next() => return Ok(()),
        };
        tokio::select! {
            biased;
            () = running.become_ready() => {
                announce(&running);
                signals.next().await;
            }
            () = signals.next() => {}
        }
        info!("told to leave");
        tokio::select! {
            biased;
            () = running.leave() => {}
            () = signals.next() => warn!("told to leave twice: leaving now"),
        }
        telemetry.end().await;
        Ok(())
    })
}

/// Says where the node is, for people and for programs that started it.
fn announce(running: &node::Running) {
    let (address, settings) = (running.address, &running.settings);
    let kept = match settings.store.store {
        StoreKind::Embedded => format!("data in {}", settings.store.data_dir.display()),
        StoreKind::Cassandra => format!("keyspace {}", settings.store.cassandra_keyspace.0),
    };
    info!(%address, kept, roles = %settings.node.roles, demo = settings.node.demo, "ready");
    println!("Rally is ready at http://{address} ({kept})");
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
