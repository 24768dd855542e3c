//! Keeps what was slow, or failed, of the traces that are not sampled.
//!
//! Whether a trace is worth keeping is known when it is over. So with `trace_slow_ms` spans that
//! are not sampled are recorded all the same and held here: a span ends after all that happened
//! under it, so when the first one of this node's part ends, that part is whole, and is sent or
//! forgotten. What *other* nodes did in the trace is not kept: an unsampled push carries no
//! `traceparent`, and nobody there knows later that it was asked for. Knows nothing of messages.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData, SpanProcessor,
};
use parking_lot::Mutex;

/// Spans that are held at once. Beyond that what ends is forgotten, which costs a trace its
/// inner spans.
const HELD: usize = 16_384;

/// Samples as another sampler does, and has what that one drops recorded.
#[derive(Debug, Clone)]
pub struct Record(pub Sampler);

impl ShouldSample for Record {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampled = self.0.should_sample(parent, trace, name, kind, attributes, links);
        match sampled.decision {
            SamplingDecision::Drop => {
                SamplingResult { decision: SamplingDecision::RecordOnly, ..sampled }
            }
            SamplingDecision::RecordOnly | SamplingDecision::RecordAndSample => sampled,
        }
    }
}

/// Hands on what is sampled, and of the rest what was slow or failed.
#[derive(Debug)]
pub struct KeepSlow<P> {
    slow: Duration,
    to: P,
    held: Mutex<Held>,
}

/// Spans that ended, by the span under which they happened, which has not.
#[derive(Debug, Default)]
struct Held {
    under: HashMap<SpanId, Vec<SpanData>>,
    count: usize,
}

impl Held {
    /// Takes what happened under a span, together with it.
    fn take(&mut self, span: SpanData) -> Vec<SpanData> {
        let mut all = self.under.remove(&span.span_context.span_id()).unwrap_or_default();
        self.count -= all.len();
        all.push(span);
        all
    }

    fn hold(&mut self, under: SpanId, spans: Vec<SpanData>) {
        if self.count + spans.len() <= HELD {
            self.count += spans.len();
            self.under.entry(under).or_default().extend(spans);
        }
    }
}

impl<P> KeepSlow<P> {
    /// Keeps what took longer than `slow`.
    pub fn new(slow: Duration, to: P) -> Self {
        Self { slow, to, held: Mutex::default() }
    }

    fn is_worth_it(&self, first: &SpanData, all: &[SpanData]) -> bool {
        let took = first.end_time.duration_since(first.start_time).unwrap_or_default();
        took > self.slow || all.iter().any(|span| matches!(span.status, Status::Error { .. }))
    }
}

impl<P: SpanProcessor> SpanProcessor for KeepSlow<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.to.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            return self.to.on_end(span);
        }
        let parent = span.parent_span_id;
        let is_first = parent == SpanId::INVALID || span.parent_span_is_remote;
        let mut held = self.held.lock();
        let all = held.take(span);
        if !is_first {
            return held.hold(parent, all);
        }
        drop(held);
        let first = all.last().expect("take gives the span itself last");
        if self.is_worth_it(first, &all) {
            all.into_iter().map(as_sampled).for_each(|span| self.to.on_end(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}

/// Marks a span as what it now is, so that nobody on the way drops it.
fn as_sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags() | TraceFlags::SAMPLED,
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::field::Empty;
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// What comes out in the end.
    #[derive(Debug, Clone, Default)]
    struct Sent(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Sent {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    impl Sent {
        fn names(&self) -> Vec<String> {
            let sent = self.0.lock();
            assert!(sent.iter().all(|span| span.span_context.is_sampled()));
            sent.iter().map(|span| span.name.to_string()).collect()
        }
    }

    /// Samples a share of the traces, and keeps what took longer than `slow` of the others.
    fn keep(slow: Duration, share: f64) -> (Sent, SdkTracerProvider) {
        let sent = Sent::default();
        let share = Sampler::TraceIdRatioBased(share);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Record(Sampler::ParentBased(Box::new(share))))
            .with_span_processor(KeepSlow::new(slow, sent.clone()))
            .build();
        (sent, provider)
    }

    /// Makes a span with one under it, and gives the names of what was sent.
    fn run(slow: Duration, share: f64, parent: Context, fails: bool) -> Vec<String> {
        let (sent, provider) = keep(slow, share);
        let tracer = provider.tracer("test");
        let first = parent.with_span(tracer.start_with_context("first", &parent));
        let inner = first.with_span(tracer.start_with_context("inner", &first));
        if fails {
            inner.span().set_status(Status::error("no"));
        }
        inner.span().end();
        first.span().end();
        sent.names()
    }

    #[test]
    fn a_span_of_the_path_ends_after_those_under_it_and_its_failure_counts() {
        let (sent, provider) = keep(HOUR, 0.0);
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        super::super::alone(tracing_subscriber::registry().with(layer), || {
            let first = info_span!("first");
            let inner = info_span!(parent: &first, "inner", otel.status_code = Empty);
            drop(first);
            inner.record("otel.status_code", "ERROR");
        });
        assert_eq!(sent.names(), ["inner", "first"]);
    }

    #[test]
    fn what_was_quick_and_went_well_is_not_sent() {
        assert!(run(HOUR, 0.0, Context::new(), false).is_empty());
    }

    #[test]
    fn what_was_slow_is_sent_whole() {
        assert_eq!(run(Duration::ZERO, 0.0, Context::new(), false), ["inner", "first"]);
    }

    #[test]
    fn what_failed_anywhere_is_sent_whole() {
        assert_eq!(run(HOUR, 0.0, Context::new(), true), ["inner", "first"]);
    }

    #[test]
    fn what_is_sampled_is_sent_whatever_it_took_and_once() {
        assert_eq!(run(HOUR, 1.0, Context::new(), false), ["inner", "first"]);
        assert_eq!(run(Duration::ZERO, 1.0, Context::new(), true), ["inner", "first"]);
    }

    #[test]
    fn a_part_begins_where_the_trace_came_from_elsewhere() {
        let (trace, span) = (TraceId::from_bytes([7; 16]), SpanId::from_bytes([7; 8]));
        let not_sampled = TraceFlags::default();
        let elsewhere = SpanContext::new(trace, span, not_sampled, true, Default::default());
        let parent = Context::new().with_remote_span_context(elsewhere);
        assert_eq!(run(Duration::ZERO, 1.0, parent, false), ["inner", "first"]);
    }

    #[test]
    fn nothing_is_held_when_the_part_is_over() {
        let ended = Sent::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Record(Sampler::AlwaysOff))
            .with_span_processor(ended.clone())
            .build();
        let tracer = provider.tracer("test");
        let first = Context::new().with_span(tracer.start("first"));
        for _ in 0..3 {
            drop(tracer.start_with_context("inner", &first));
        }
        first.span().end();
        let kept = KeepSlow::new(HOUR, Sent::default());
        let held = || {
            let held = kept.held.lock();
            (held.count, held.under.len())
        };
        let ended = ended.0.lock();
        ended[..3].iter().cloned().for_each(|span| kept.on_end(span));
        assert_eq!(held(), (3, 1));
        kept.on_end(ended[3].clone());
        assert_eq!(held(), (0, 0));
    }
}
