//! `rally-server`: runs a node until it is told to leave.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::config::Settings;
use crate::node;
use crate::telemetry;

/// Runs a node on a new actix system. SIGTERM or SIGINT has it leave; a second one ends it now.
pub fn serve(settings: Arc<Settings>) -> anyhow::Result<()> {
    actix_rt::System::new().block_on(async move {
        // Before anything that takes time, so that a node can be told to leave while it starts.
        let mut signals = Signals::new().context("cannot listen to signals")?;
        let telemetry = telemetry::start(&settings.telemetry, settings.node.node)?;
        let running = node::start(settings.clone()).await?;
        announce(&settings, &running);
        signals.next().await;
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
fn announce(settings: &Settings, running: &node::Running) {
    let (address, data_dir) = (running.address, running.data_dir.display());
    let demo = settings.node.demo;
    info!(%address, %data_dir, demo, "ready");
    println!("Rally is ready at http://{address} (data in {data_dir})");
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
