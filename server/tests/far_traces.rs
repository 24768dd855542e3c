//! One trace from a sender's socket on one node to a receiver's on another, over the real
//! services.
//!
//!     cargo xtask services up
//!     cargo test -p rally-server --test far_traces -- --ignored

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use harness::collector::{Collector, hex, text};
use harness::http;
use harness::nodes::Two;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rally_schema::frame::Send;

/// The trace that the sender's page began and had sampled, its span, and a trace that was not.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PAGE: &str = "00f067aa0ba902b7";
const UNSAMPLED: &str = "5cf92f3577b34da6a3ce929d0e0e4737";

/// What may be in no span.
const MARKER: &str = "zebra-crossing-at-midnight";

/// Gives the span and all those above it, this one first, each with its node.
fn upwards(spans: &[(String, Span)], from: &str) -> Vec<(String, Span)> {
    let found = spans.iter().find(|(_, span)| span.name == from);
    let mut way = vec![found.unwrap_or_else(|| panic!("no {from}: {spans:#?}")).clone()];
    loop {
        let below = &way[way.len() - 1].1;
        match spans.iter().find(|(_, span)| span.span_id == below.parent_span_id) {
            Some(parent) => way.push(parent.clone()),
            None => return way,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn one_trace_leads_from_a_senders_socket_to_a_receivers_on_another_node() {
    let collector = Collector::default();
    let endpoint = format!("--otlp-endpoint=http://{}", collector.listen());
    let two = Two::start(&[&endpoint]).await;
    let (ana, ben) = (two.at_home("node-0").await[0], two.at_home("node-1").await[0]);
    let (mut sender, mut receiver) = (two.a.join(ana).await, two.b.join(ben).await);
    for (trace, sampled, marker) in [(UNSAMPLED, "00", "quiet"), (TRACE, "01", MARKER)] {
        let traceparent = Some(format!("00-{trace}-{PAGE}-{sampled}"));
        let draft = Send { traceparent, ..sender.draft(ben, marker) };
        sender.send(&draft).await;
        receiver.hears(marker).await;
    }
    let spare = http::ticket(two.a.address, &sender.token, &uuid::Uuid::new_v4().to_string()).await;
    let secrets = [MARKER, "quiet", "rally-demo", &*spare, &*sender.token, &*receiver.token];
    let secrets = secrets.map(str::to_owned);
    let Two { a, b, .. } = two;
    a.left().await;
    b.left().await;

    let all = collector.all();
    let of = |trace: &str| {
        let of = all.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
        of.cloned().collect::<Vec<_>>()
    };
    let spans = of(TRACE);
    let way = upwards(&spans, "deliver");
    let named: Vec<(&str, &str)> = way.iter().map(|(node, span)| (&**node, &*span.name)).collect();
    assert_eq!(
        named,
        [
            ("node-1", "deliver"),
            ("node-1", "fan_out"),
            ("node-1", "process"),
            ("node-0", "publish"),
            ("node-0", "send"),
        ]
    );
    assert_eq!(hex(&way[4].1.parent_span_id), PAGE);
    let commit = upwards(&spans, "commit");
    assert_eq!((&*commit[0].0, &*commit[1].1.name), ("node-0", "send"));
    assert!(way[3].1.start_time_unix_nano >= commit[0].1.end_time_unix_nano, "stored first");

    let kinds = [(2, SpanKind::Consumer, "process"), (3, SpanKind::Producer, "send")];
    for (at, kind, operation) in kinds {
        let span = &way[at].1;
        assert_eq!(span.kind(), kind);
        let of = |key| text(&span.attributes, key);
        assert_eq!(of("messaging.system").as_deref(), Some("rabbitmq"));
        assert_eq!(of("messaging.operation.type").as_deref(), Some(operation));
        let to = of("messaging.destination.name").unwrap();
        assert!(to.starts_with("node-1@"), "{to}");
    }

    assert!(of(UNSAMPLED).is_empty(), "{:#?}", of(UNSAMPLED));
    let far = all.iter().filter(|(node, span)| node == "node-1" && hex(&span.trace_id) != TRACE);
    let far: Vec<&str> = far.map(|(_, span)| &*span.name).collect();
    let begun = ["process", "fan_out", "deliver"];
    assert!(!far.iter().any(|name| begun.contains(name)), "a trace began in the middle: {far:?}");
    let everything = collector.everything();
    for secret in secrets {
        assert!(!everything.contains(&secret), "a secret is in the spans");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn the_trace_goes_on_through_a_home_to_an_edge_elsewhere() {
    let collector = Collector::default();
    let endpoint = format!("--otlp-endpoint=http://{}", collector.listen());
    let two = Two::start(&[&endpoint]).await;
    // The receiver is at home where neither of the two is connected.
    let (sender, receiver) = (two.at_home("node-1").await[0], two.at_home("node-0").await[0]);
    let (mut ana, mut ben) = (two.b.join(sender).await, two.b.join(receiver).await);
    let traceparent = Some(format!("00-{TRACE}-{PAGE}-01"));
    let draft = Send { traceparent, ..ana.draft(receiver, MARKER) };
    ana.send(&draft).await;
    ben.hears(MARKER).await;
    let leases = "rally_leases_total";
    assert!(two.b.metric(leases).await >= 2.0, "asked and answered");
    let Two { a, b, .. } = two;
    b.left().await;
    a.left().await;

    let all = collector.all().into_iter();
    let spans: Vec<_> = all.filter(|(_, span)| hex(&span.trace_id) == TRACE).collect();
    let way = upwards(&spans, "deliver");
    let named: Vec<String> =
        way.iter().map(|(node, span)| format!("{node} {}", span.name)).collect();
    assert_eq!(
        named,
        [
            "node-1 deliver",
            "node-1 fan_out",
            "node-1 process",
            "node-0 publish",
            "node-0 fan_out",
            "node-0 process",
            "node-1 publish",
            "node-1 send",
        ]
    );
}
