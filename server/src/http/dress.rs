//! What every answer wears: security headers, and errors in one shape.
//!
//! The outermost layer but one, so that nothing leaves without. Knows no route.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError};

use super::admit::API;
use super::caller::state_of;
use super::origins;
use super::problem::{PROBLEM_JSON, Problem};

/// Headers that are always the same.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Dresses the answer of everything inside.
pub async fn dress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let asked = request.request().clone();
    let answer = match next.call(request).await {
        Ok(answer) => answer.map_into_boxed_body(),
        Err(error) => ServiceResponse::new(asked.clone(), error.error_response()),
    };
    let mut answer = in_one_shape(answer);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        put_headers(&asked, answer.headers_mut());
    }
    Ok(answer)
}

/// Turns an error that is not ours into a problem; keeps what `Allow` it names.
fn in_one_shape(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = answer.status();
    let ours = answer.headers().get(header::CONTENT_TYPE).is_some_and(|ty| ty == PROBLEM_JSON);
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let keep = [header::ALLOW, header::UPGRADE, header::SEC_WEBSOCKET_VERSION];
    let kept: Vec<(HeaderName, HeaderValue)> = keep
        .into_iter()
        .filter_map(|name| answer.headers().get(&name).cloned().map(|value| (name, value)))
        .collect();
    let mut problem = Problem::of_status(status).error_response();
    *problem.status_mut() = status;
    for (name, value) in kept {
        problem.headers_mut().insert(name, value);
    }
    answer.into_response(problem)
}

fn put_headers(asked: &HttpRequest, headers: &mut HeaderMap) {
    let state = state_of(asked);
    let network = &state.settings.network;
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if network.public_url.as_ref().is_some_and(|url| url.secure) {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if asked.path().starts_with(API) && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // Older browsers do not count a WebSocket under 'self'.
    let socket = origins::own_origin(network, asked).map(|own| own.websocket(""));
    if let Ok(policy) = HeaderValue::try_from(policy(&socket.unwrap_or_default())) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

fn policy(socket: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; manifest-src 'self'; connect-src 'self' {socket}; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
}
