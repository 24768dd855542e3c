//! Logs and traces: where they go, and what joins them.
//!
//! Log lines are for people, or JSON with the ids of the trace they belong to. Spans of the
//! message path have the target `rally_path`; without a collector they are off, and cost one
//! look at a flag. What is sampled is decided where a trace begins (`--trace-ratio`); `slow.rs`
//! keeps what was slow or failed of the rest. A collector that is down costs its spans, never a message. Texts, tokens
//! and tickets are in neither: nothing hands them to a span or an event.

mod json;
mod slow;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, SpanProcessor, TracerProviderBuilder,
};
use rally_schema::NodeId;
use thiserror::Error;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

use crate::config;
use crate::config::value::LogFormat;
use crate::version::VERSION;
use json::JsonLines;
use slow::{KeepSlow, Record};

/// The target of the spans that follow a message.
pub const PATH: &str = "rally_path";

/// How long an export may take before its spans are given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why logs or traces cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The exporter cannot be made.
    #[error("traces cannot be sent to {endpoint}: {error}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why.
        error: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody else has set up logging in this process.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sends what is still waiting when the process ends.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Flushes and ends the exporter, for a bounded time; a collector that is down is no reason
    /// to stay.
    pub async fn end(self) {
        if let Some(provider) = self.provider {
            // Off this thread: the exporter needs its runtime to go on meanwhile.
            let end = move || provider.shutdown_with_timeout(EXPORT_TIMEOUT);
            let _ = tokio::task::spawn_blocking(end).await;
        }
    }
}

/// Sets up logs and, where a collector is named, traces; needs a running runtime.
pub fn start(settings: &config::Telemetry, node: NodeId) -> Result<Telemetry, TelemetryError> {
    let endpoint = settings.otlp_endpoint.as_ref().map(ToString::to_string);
    let provider = endpoint.map(|to| provider(to, settings, node)).transpose()?;
    subscriber(settings, provider.as_ref()).try_init()?;
    Ok(Telemetry { provider })
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Puts the layers together. A list, not an `Option` of a layer: one that is absent has no
/// filter, and has every span of the path made for nobody.
fn subscriber(
    settings: &config::Telemetry,
    provider: Option<&SdkTracerProvider>,
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + use<> {
    let layers = provider.map(traces).into_iter().chain([logs(settings, provider.is_some())]);
    tracing_subscriber::registry().with(layers.collect::<Vec<Boxed>>())
}

fn traces(provider: &SdkTracerProvider) -> Boxed {
    let scope = InstrumentationScope::builder("rally").build();
    let only = Targets::new().with_target(PATH, LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_filter(only)
        .boxed()
}

fn logs(settings: &config::Telemetry, traced: bool) -> Boxed {
    // The path's spans are kept from the logs unless they give them their trace ids.
    let path = if traced { format!("{PATH}=info") } else { format!("{PATH}=off") };
    let quiet = [
        "opentelemetry=warn",
        "fjall=warn",
        "lsm_tree=warn",
        "actix_server=warn",
        // An error each time that a stranger sends what is no HTTP.
        "actix_http=off",
        &path,
    ]
    .map(|directive| directive.parse().expect("the directives above are well formed"));
    let chosen = EnvFilter::new(&settings.log_filter.0);
    let filter = quiet.into_iter().fold(chosen, EnvFilter::add_directive);
    // The AMQP library logs what is returned to it, texts and all, and no filter that an operator
    // writes may let it.
    let amqp = filter_fn(|metadata| !metadata.target().starts_with("lapin"));
    // Without the hint nothing says what level is the most that anybody wants, and every line that a
    // library might log is put together before it is thrown away.
    let filter = filter.and(amqp.with_max_level_hint(LevelFilter::TRACE));
    let mut layer = tracing_subscriber::fmt::layer();
    if !std::io::stdout().is_terminal() {
        // Colours would stand between a field's name and its value in a file that somebody searches.
        layer = layer.with_ansi(false);
    }
    match settings.log_format {
        LogFormat::Text => layer.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.event_format(JsonLines).with_filter(filter).boxed(),
    }
}

fn provider(
    endpoint: String,
    settings: &config::Telemetry,
    node: NodeId,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| TelemetryError::Exporter { endpoint, error })?;
    let resource = Resource::builder()
        .with_service_name("rally-server")
        .with_attributes([
            KeyValue::new("service.version", VERSION.as_str()),
            KeyValue::new("service.instance.id", node.to_string()),
        ])
        .build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    let batches = BatchSpanProcessor::builder(exporter).build();
    Ok(sampled(provider, batches, settings).build())
}

/// Says which traces are sent: of those that begin here a share, and, if it is wanted, what was
/// slow or failed here of the others.
fn sampled(
    provider: TracerProviderBuilder,
    send: impl SpanProcessor + 'static,
    settings: &config::Telemetry,
) -> TracerProviderBuilder {
    let share = Sampler::TraceIdRatioBased(settings.trace_ratio);
    let sampler = Sampler::ParentBased(Box::new(share));
    match settings.trace_slow_ms {
        None => provider.with_sampler(sampler).with_span_processor(send),
        Some(ms) => provider
            .with_sampler(Record(sampler))
            .with_span_processor(KeepSlow::new(Duration::from_millis(ms), send)),
    }
}

/// Makes `span` the child of a W3C `traceparent`; what is none changes nothing.
pub fn link_span(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        // Refused only for a span that has begun to be exported; this one has just been made.
        let _ = span.set_parent(context);
    }
}

/// Gives the W3C `traceparent` of a span that is sampled; of others there is nothing to go on with.
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    if !context.span().span_context().is_sampled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove("traceparent")
}

/// Runs a test under a subscriber. No two at once: what one is interested in, all are asked about.
#[cfg(test)]
fn alone(subscriber: impl Subscriber + Send + Sync, test: impl FnOnce()) {
    static ONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    let _one = ONE.lock();
    tracing::subscriber::with_default(subscriber, test);
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::config::value::Directives;

    fn settings(filter: &str) -> config::Telemetry {
        config::Telemetry {
            log_format: LogFormat::Text,
            log_filter: Directives(filter.to_owned()),
            otlp_endpoint: None,
            trace_ratio: 1.0,
            trace_slow_ms: None,
        }
    }

    #[test]
    fn without_a_collector_the_path_s_spans_are_not_even_made() {
        for filter in ["info", "trace", "rally_path=trace"] {
            alone(subscriber(&settings(filter), None), || {
                assert!(tracing::info_span!(target: PATH, "send").is_disabled(), "{filter}");
            });
        }
    }

    #[test]
    fn what_the_amqp_library_says_is_logged_by_no_filter() {
        for filter in ["trace", "lapin=trace", "lapin::returned_messages=warn"] {
            alone(subscriber(&settings(filter), None), || {
                let warns = tracing::enabled!(target: "lapin::returned_messages", Level::WARN);
                assert!(!warns, "{filter}");
            });
        }
        alone(subscriber(&settings("trace"), None), || {
            assert!(tracing::enabled!(target: "rally_cluster", Level::WARN));
        });
    }

    #[test]
    fn what_nobody_wants_is_not_put_together() {
        let provider = SdkTracerProvider::builder().build();
        for provider in [None, Some(&provider)] {
            for (filter, most) in [("info", LevelFilter::INFO), ("debug", LevelFilter::DEBUG)] {
                let hint = subscriber(&settings(filter), provider).max_level_hint();
                assert_eq!(hint, Some(most), "{filter}");
            }
        }
    }

    #[test]
    fn with_a_collector_they_are() {
        let provider = SdkTracerProvider::builder().build();
        alone(subscriber(&settings("error"), Some(&provider)), || {
            assert!(!tracing::info_span!(target: PATH, "send").is_disabled());
        });
    }
}
