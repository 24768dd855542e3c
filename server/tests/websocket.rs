//! The WebSocket end against the public conformance cases.
//!
//! An echo made of the product's own parts (the take-over of the socket, the reader, the
//! decoder, the outgoing queue) stands before a tool that plays Autobahn's cases. The tool is
//! named by `RALLY_KOSOKU`; `cargo xtask test` installs it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::poll_fn;
use prometheus_client::registry::Registry;
use rally_actors::Metrics;
use rally_actors::io::Io;
use rally_actors::session::reader::Reader;
use rally_actors::wire::{self, Decoder, Incoming};
use rally_server::door::{Bounds, Door};
use rally_server::http::HttpMetrics;
use rally_server::upgrade;
use serde::Deserialize;
use tokio::net::TcpStream;

/// The longest message of the cases.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Little enough that the long echoes run into it, and reading pauses as it does for a client.
const BUDGET_BYTES: usize = 256 * 1024;

/// How long all cases may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Compression (RFC 7692), which Rally does not offer.
const LEFT_OUT: [&str; 2] = ["12.*", "13.*"];

async fn handshake(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    let mut response = ws::handshake(&request)?;
    upgrade::take_over(&request, |socket, early| {
        actix_web::rt::spawn(echo(socket, early));
    });
    Ok(response.finish())
}

/// Answers as a session does, and sends back what came.
async fn echo(socket: TcpStream, early: Bytes) {
    let io = Rc::new(Io::new(Box::new(socket), BUDGET_BYTES, 0));
    let mut decoder = Decoder::new(MESSAGE_BYTES);
    decoder.feed(&early);
    let mut reader = Reader::new(io.clone(), decoder);
    let reading = async {
        while let Some(incoming) = reader.next().await {
            match incoming {
                Ok(Incoming::Text(text)) => io.answer(wire::text(text.into())),
                Ok(Incoming::Binary(bytes)) => io.answer(wire::binary(bytes)),
                Ok(Incoming::Ping(bytes)) => io.answer(wire::pong(bytes)),
                Ok(Incoming::Pong) => {}
                Ok(Incoming::Close(code)) => {
                    io.answer(wire::close(code));
                    io.finish();
                }
                Err(error) => {
                    io.answer(wire::close(Some(error.close_code())));
                    io.finish();
                }
            }
        }
    };
    let writing = poll_fn(|cx| io.poll_flush(cx));
    tokio::select! {
        () = reading => {}
        _ = writing => {}
    }
    io.close();
}

/// Serves the echo on the current actix system.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::default();
    let (http, sessions) = (HttpMetrics::new(&mut registry), Metrics::new(&mut registry));
    let door = Door::new(Bounds { all: usize::MAX, of_address: None }, http, sessions);
    let make = || App::new().default_service(web::to(handshake));
    actix_web::rt::spawn(upgrade::server(vec![listener], 1, &door, make).unwrap());
    address
}

/// What became of one case, as the report has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

impl Verdict {
    /// Tells whether the case passed as Autobahn counts: what the RFC leaves open is reported.
    fn passed(&self) -> bool {
        let good = |verdict: &str| matches!(verdict, "OK" | "NON-STRICT" | "INFORMATIONAL");
        good(&self.behavior) && good(&self.behavior_close)
    }
}

/// Runs the tool to its end, which it must reach in time.
async fn play(tool: &Path, address: SocketAddr, folder: &Path) -> ExitStatus {
    let mut command = Command::new(tool);
    command.args(["-p", "4", "-o"]).arg(folder);
    for case in LEFT_OUT {
        command.args(["-x", case]);
    }
    let mut child = command.arg(address.to_string()).spawn().unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if tokio::time::Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the cases were not through within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
#[ignore = "needs a tool: RALLY_KOSOKU names it, and `cargo xtask test` installs it"]
fn every_conformance_case_passes() {
    let tool = std::env::var_os("RALLY_KOSOKU").expect("RALLY_KOSOKU names the tool");
    let folder = tempfile::tempdir().unwrap();
    let status = actix_web::rt::System::new().block_on(async {
        let address = serve();
        play(Path::new(&tool), address, folder.path()).await
    });
    let report = std::fs::read(folder.path().join("index.json")).unwrap();
    let report: BTreeMap<String, BTreeMap<String, Verdict>> =
        serde_json::from_slice(&report).unwrap();
    let cases: Vec<(&String, &Verdict)> = report.values().flatten().collect();
    let mut counts = BTreeMap::new();
    for (_, verdict) in &cases {
        *counts.entry(&*verdict.behavior).or_insert(0) += 1;
    }
    println!("{} cases: {counts:?}", cases.len());
    let failed: Vec<_> = cases.iter().filter(|(_, verdict)| !verdict.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(status.success(), "the tool ended with {status}");
    assert!(cases.len() >= 300, "only {} cases were played", cases.len());
}
