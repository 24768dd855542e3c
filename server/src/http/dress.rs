//! What every answer wears: security headers, and errors in one shape.
//!
//! Outside of all that answers, so that nothing leaves without. Knows no route.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError};

use super::admit::{is_api, routed_path};
use super::caller::state_of;
use super::origins;
use super::problem::{PROBLEM_JSON, Problem};
use super::state::HttpState;
use crate::config::value::BrokerKind;
use crate::origin::Origin;

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
    // Made before the call: routing needs the request to itself.
    let headers = headers(request.request());
    // Routes and the layers inside answer their errors themselves; none comes as `Err`.
    let answer = next.call(request).await?.map_into_boxed_body();
    let mut answer = in_one_shape(answer);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        for (name, value) in headers {
            if name != header::CACHE_CONTROL || !answer.headers().contains_key(&name) {
                answer.headers_mut().insert(name, value);
            }
        }
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

/// Gives the headers that the answer to a request wears.
fn headers(asked: &HttpRequest) -> Vec<(HeaderName, HeaderValue)> {
    let state = state_of(asked);
    let network = &state.settings.network;
    let always = ALWAYS.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
    let mut headers: Vec<_> = always.collect();
    if network.public_url.as_ref().is_some_and(|url| url.secure) {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.push((header::STRICT_TRANSPORT_SECURITY, year));
    }
    if is_api(routed_path(asked)) {
        headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    // Older browsers do not count a WebSocket under 'self'; the other nodes never are.
    let own = origins::own_origin(network, asked).map(|own| own.websocket(""));
    let others = state.node.addresses().into_iter().filter_map(|address| {
        let socket = address.parse::<Origin>().ok()?.websocket("");
        Some(format!("{address} {socket}"))
    });
    let reached: Vec<String> = own.into_iter().chain(others).chain(later(&state)).collect();
    if let Ok(policy) = HeaderValue::try_from(policy(&reached.join(" "))) {
        headers.push((header::CONTENT_SECURITY_POLICY, policy));
    }
    headers
}

/// Names where nodes may be that join while the page is open, whose policy stays as it is: where
/// the log-in counts, which is on every port of the page's host, and below `cookie_domain`.
///
/// Without this a browser would refuse to go where discovery sends it, until somebody reloads.
fn later(state: &HttpState) -> Option<String> {
    let (network, cluster) = (&state.settings.network, &state.settings.cluster);
    let own = network.public_url.as_ref().filter(|_| cluster.broker == BrokerKind::Rabbitmq);
    own.map(|url| {
        let below = network.cookie_domain.as_ref().map(|domain| format!("*.{}", domain.0));
        let hosts = [Some(url.authority.host.clone()), below].into_iter().flatten();
        let (page, socket) = if url.secure { ("https", "wss") } else { ("http", "ws") };
        let all = hosts.map(|host| format!("{page}://{host}:* {socket}://{host}:*"));
        all.collect::<Vec<_>>().join(" ")
    })
}

fn policy(reached: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; manifest-src 'self'; connect-src 'self' {reached}; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
}
