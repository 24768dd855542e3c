//! The spans that follow a message where its push goes: to another node, through a router, to a
//! session.
//!
//! A push whose cause is not traced has none of them, so that no node begins a trace in the
//! middle of somebody's way. Between nodes names and attributes are OpenTelemetry's for
//! messaging. Knows no tracing backend: what turns a span into a `traceparent` and back comes
//! with the node's parts.

use rally_cluster::broker::Broker;
use rally_schema::Life;
use tracing::{Span, info_span};

/// Makes the span of a router that hands a push on.
pub fn fan_out(cause: &Span) -> Span {
    if cause.is_disabled() {
        return Span::none();
    }
    info_span!(target: "rally_path", parent: cause, "fan_out")
}

/// Makes the span of a session that takes a push to its socket.
pub fn deliver(cause: &Span) -> Span {
    if cause.is_disabled() {
        return Span::none();
    }
    info_span!(target: "rally_path", parent: cause, "deliver")
}

/// Makes the span of a push that is put into an envelope for another life.
pub fn publish(cause: &Span, broker: &dyn Broker, to: Life) -> Span {
    if cause.is_disabled() {
        return Span::none();
    }
    info_span!(
        target: "rally_path",
        parent: cause,
        "publish",
        otel.kind = "producer",
        messaging.system = broker.system(),
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = %to,
    )
}

/// Makes the span of a push that came in an envelope; whose child it is comes with that.
pub fn process(broker: &dyn Broker, here: Life) -> Span {
    info_span!(
        target: "rally_path",
        parent: None,
        "process",
        otel.kind = "consumer",
        messaging.system = broker.system(),
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = %here,
    )
}
