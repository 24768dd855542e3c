//! The gate before the API: a rate by address, and no writes from foreign pages.
//!
//! Comes before routing and before a body is read, so that a flood costs little. Knows no
//! users.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError};

use super::admin::ADMIN;
use super::caller::{has_authorization, is_unsafe, state_of};
use super::origins;
use super::problem::Problem;
use crate::limits::Subscriber;

/// Under which path the API is.
pub const API: &str = "/api/";

/// Tells whether a path is for programs, the operator's among them, and not a page.
pub fn is_api(path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    path.starts_with(API) || path.strip_prefix(ADMIN).is_some_and(below)
}

/// Lets a request through to its route, or answers it.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let verdict = judge(request.request());
    match verdict {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

fn judge(request: &HttpRequest) -> Result<(), Problem> {
    if !is_api(request.path()) {
        return Ok(());
    }
    let state = state_of(request);
    state.limits.requests_address.take(&subscriber(request))?;
    if is_unsafe(request.method()) && !has_authorization(request) {
        origins::check(&state, request)?;
    }
    Ok(())
}

/// Gives the address that rate limits go by.
///
/// The peer's own, unless the operator trusts `n` proxies in front: then what the outermost of
/// them saw, the n-th entry of X-Forwarded-For from its end. What stands before it anybody may
/// have written.
pub fn subscriber(request: &HttpRequest) -> Subscriber {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |addr| addr.ip());
    let hops = usize::from(state_of(request).settings.network.trusted_hops);
    Subscriber::from(forwarded(request, hops).unwrap_or(peer))
}

fn forwarded(request: &HttpRequest, hops: usize) -> Option<IpAddr> {
    let back = hops.checked_sub(1)?;
    let headers: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|header| header.to_str().ok())
        .collect();
    let mut entries = headers.iter().rev().flat_map(|header| header.rsplit(','));
    entries.nth(back)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_what_a_trusted_proxy_wrote_is_believed() {
        let request = TestRequest::default()
            .append_header(("x-forwarded-for", "6.6.6.6, 1.1.1.1"))
            .append_header(("x-forwarded-for", "10.0.0.9"))
            .to_http_request();
        let seen = |hops| forwarded(&request, hops).map(|ip| ip.to_string());
        assert_eq!(seen(0), None);
        assert_eq!(seen(1).as_deref(), Some("10.0.0.9"));
        assert_eq!(seen(2).as_deref(), Some("1.1.1.1"));
        assert_eq!(seen(9), None);
    }
}
