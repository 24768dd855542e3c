//! The outermost layer but one: a span and two metrics a request.
//!
//! Names routes by their pattern, never by path: a path may name a user, and there is no end
//! of paths. Of what is answered it knows what the store failed at: that is told once for all who ask.

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use tracing::{Instrument, field};

use super::Problem;
use super::caller::state_of;
use super::metrics::{Answered, Asked};

/// Measures everything inside.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = state_of(request.request());
    let begun_us = state.clock.monotonic_us();
    let method = method_name(request.method());
    let span = tracing::info_span!("http", method, route = field::Empty, status = field::Empty);
    let answer = next.call(request).instrument(span.clone()).await?.map_into_boxed_body();
    let route = answer.request().match_pattern().unwrap_or_else(|| "other".to_owned());
    let status = answer.status().as_u16();
    span.record("route", &route);
    span.record("status", status);
    let failed = answer.response().error().and_then(|error| error.as_error::<Problem>());
    if let Some(cause) = failed.and_then(Problem::cause) {
        span.in_scope(|| state.node.store_failed("a request could not be answered", cause));
    }
    let took_us = state.clock.monotonic_us().saturating_sub(begun_us);
    span.in_scope(|| tracing::debug!(took_us, "answered"));
    let metrics = &state.metrics;
    metrics.requests.get_or_create(&Answered { route: route.clone(), method, status }).inc();
    metrics
        .request_seconds
        .get_or_create(&Asked { route, method })
        .observe(took_us as f64 / 1_000_000.0);
    Ok(answer)
}

/// Gives a method's name out of a fixed set, so that nobody can invent label values.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
