//! What the operator sees of a message: one trace from frame to delivery, log lines that name
//! it, and in none of this what was written, or any secret.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::HashMap;

use harness::client::{Client, new_ref};
use harness::collector::{Collector, hex};
use harness::{Server, http};
use rally_schema::frame::{Edit, Send};
use serde_json::{Value, json};

/// The trace that the sender's page began, and its span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PAGE: &str = "00f067aa0ba902b7";

/// What may appear nowhere.
const MARKER: &str = "zebra-crossing-at-midnight";
const PASSWORD: &str = "a-secret-horse-battery";

#[tokio::test]
async fn one_trace_leads_from_the_frame_over_the_commit_to_the_delivery() {
    let collector = Collector::default();
    let endpoint = format!("--otlp-endpoint=http://{}", collector.listen());
    let server = Server::with(&[&*endpoint, "--log-format=json", "--log-filter=trace"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let traceparent = Some(format!("00-{TRACE}-{PAGE}-01"));
    let draft = Send { traceparent, ..rafa.draft("roger", "hello") };
    rafa.send(&draft).await;
    roger.hears("hello").await;
    let server = server.left().await;

    let spans = collector.spans(TRACE);
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
    };
    let send = named("send");
    assert_eq!(hex(&send.parent_span_id), PAGE);
    for name in ["commit", "fan_out", "deliver"] {
        let span = named(name);
        let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
        assert!(parent.is_some(), "{name} hangs in the air: {spans:#?}");
        assert!(span.start_time_unix_nano >= send.start_time_unix_nano, "{name} came first");
    }
    assert!(named("deliver").start_time_unix_nano >= named("commit").end_time_unix_nano);

    // A log line about it says which trace it belongs to.
    let lines = json_lines(&server);
    let traced: Vec<&Value> = lines.iter().filter(|line| line["trace_id"] == TRACE).collect();
    assert!(!traced.is_empty(), "no line names the trace");
    let ids: HashMap<String, &str> =
        spans.iter().map(|span| (hex(&span.span_id), &*span.name)).collect();
    for message in ["commit ended", "push taken"] {
        assert!(traced.iter().any(|line| line["message"] == message), "no {message}: {traced:?}");
    }
    for line in traced {
        assert!(ids.contains_key(line["span_id"].as_str().unwrap()), "{line}");
    }
}

#[tokio::test]
async fn a_log_that_goes_into_a_file_has_no_colours() {
    let server = Server::with(&["--log-filter=info"]).left().await;
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("ready address=127.0.0.1:")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains('\u{1b}')), "{log:?}");
}

/// Reads the log: JSON, but for the one line that says where the node is.
fn json_lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.iter().filter(|line| !line.starts_with("Rally is ready"));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
        let ours = line["target"].as_str().is_some_and(|target| target.starts_with("rally"));
        assert!(!ours || line["message"].is_string(), "no message: {line}");
        assert!(line["target"] != "log" && line.get("log.file").is_none(), "{line}");
    }
    // Libraries log otherwise than we do, and at this level some always do.
    assert!(lines.iter().any(|line| !line["target"].as_str().unwrap().starts_with("rally")));
    lines
}

#[tokio::test]
async fn no_text_and_no_secret_is_in_a_span_a_log_line_or_a_metric() {
    let collector = Collector::default();
    let endpoint = format!("--otlp-endpoint=http://{}", collector.listen());
    let server = Server::with(&[&*endpoint, "--log-format=json", "--log-filter=trace"]);
    let address = server.address;
    let account = json!({"user": "ana", "password": PASSWORD, "bearer": true});
    http::post(address, "/api/register", None, account.clone()).await;
    let token = http::post(address, "/api/login", None, account).await["token"].clone();
    let token = token.as_str().unwrap().to_owned();
    let wrong = json!({"user": "ana", "password": format!("{PASSWORD}!")});
    assert_eq!(http::ask(address, "POST", "/api/login", None, Some(wrong)).await.status, 401);
    let spare = http::ticket(address, &token, &uuid::Uuid::new_v4().to_string()).await;

    let client = uuid::Uuid::new_v4().into();
    let mut ana = Client::join_as(address, "ana", token.clone(), client, None).await;
    let mut roger = server.join("roger").await;
    let chat = ana.chat("roger");
    let id = ana.say("roger", MARKER).await;
    roger.hears(MARKER).await;
    let (at, n) = ana.stamp();
    let text = format!("{MARKER}, edited");
    let edit = Edit { r#ref: new_ref(), conversation: chat, id, at, n, text, retry: false };
    ana.tell(edit.clone()).await;
    ana.acked(edit.r#ref).await;
    // What is refused is not told to the log either.
    for text in [
        format!(r#"{{"type":"send","text":"{MARKER}"}}"#),
        format!(r#"{{"type":"hello","ticket":"{spare}"}}"#),
        format!(r#"{{"type":"{MARKER}"}}"#),
        format!("{MARKER} {spare} {token}"),
    ] {
        ana.tell_raw(&text).await;
    }
    let mut late = ana.draft("roger", MARKER);
    late.at -= 60_000;
    ana.tell(late.clone()).await;
    ana.refused(late.r#ref).await;
    let page = http::get(address, "/metrics", None).await.1;
    let server = server.left().await;

    let spans = collector.everything();
    let log = server.log().join("\n");
    assert!(spans.contains("deliver"), "the collector got nothing");
    assert!(log.contains("rally_actors") && log.contains("\"TRACE\""), "the log is not at trace");
    for (place, text) in [("spans", &spans), ("log", &log), ("metrics", &page)] {
        for secret in [MARKER, PASSWORD, &*token, &*spare, "rally-demo"] {
            let found = text.find(secret).map(|at| &text[at.saturating_sub(300)..at]);
            assert!(found.is_none(), "a secret is in the {place}, after {found:?}");
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_spans_and_no_message() {
    // A port that was free a moment ago: nobody answers there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("--otlp-endpoint=http://{free}");
    let server = Server::with(&[&*endpoint]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    for i in 0..20 {
        rafa.say("roger", &format!("m{i}")).await;
        roger.hears(&format!("m{i}")).await;
    }
    server.left().await.assert_no_panic();
}

#[tokio::test]
async fn of_what_is_not_sampled_only_what_was_slow_is_sent() {
    for (slow, kept) in [("none", false), ("3600000", false), ("0", true)] {
        let collector = Collector::default();
        let endpoint = format!("--otlp-endpoint=http://{}", collector.listen());
        let slow = format!("--trace-slow-ms={slow}");
        let server = Server::with(&[&*endpoint, "--trace-ratio=0", &slow]);
        let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
        rafa.say("roger", "hello").await;
        roger.hears("hello").await;
        server.left().await;
        let names = collector.all().into_iter().map(|(_, span)| span.name).collect::<Vec<_>>();
        for name in ["send", "commit", "fan_out", "deliver"] {
            assert_eq!(names.iter().any(|known| known == name), kept, "{slow}: {names:?}");
        }
    }
}
