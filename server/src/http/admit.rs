//! The gate before every route: a rate by address, and no writes from foreign pages.
//!
//! Comes before routing and before a body is read, so that a flood costs little. Who is beyond a
//! rate is answered a second late: a connection has one request answered at a time, so none can
//! flood faster than that, and an address has only so many (`door.rs`). Knows no users.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};

use super::admin::ADMIN;
use super::caller::{has_authorization, is_unsafe, state_of};
use super::origins;
use super::problem::{Kind, Problem};
use crate::limits::{Subscriber, Wait};

/// Under which path the API is.
pub const API: &str = "/api/";

/// Tells whether a path is for programs, the operator's among them, and not a page.
pub fn is_api(path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    path.starts_with(API) || path.strip_prefix(ADMIN).is_some_and(below)
}

/// What supervisors ask. They may come from the address of a flood, by way of a proxy: they wait
/// with it, but are answered.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How late an answer is beyond the rate.
const SLOWED: Duration = Duration::from_secs(1);

/// How late a probe's is: who asks does not wait long.
const PROBE_SLOWED: Duration = Duration::from_millis(250);

/// How long a request may take, its body included: nobody keeps a connection by half of one.
const ANSWER: Duration = Duration::from_secs(20);

/// Lets a request through to its route, or answers it.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = state_of(request.request());
    // The next one of a connection takes its own turn (`turns.rs`), however many came at once.
    tokio::task::yield_now().await;
    let verdict = match within_rate(request.request()) {
        Ok(()) => judge(request.request()),
        Err(_) if PROBES.contains(&request.path()) => {
            tokio::time::sleep(PROBE_SLOWED).await;
            Ok(())
        }
        Err(wait) => Err(wait.into()),
    };
    let answer = match verdict {
        // actix keeps the request of an answer that is broken off to itself: the problem leaves
        // without the layers outside, which would need it.
        Ok(()) => match tokio::time::timeout(ANSWER, next.call(request)).await {
            Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
            Err(_) => {
                state.metrics.broken_off("slow");
                Err(late().into())
            }
        },
        Err(problem) => Ok(request.into_response(HttpResponse::from_error(problem))),
    };
    // Whichever rate it was: of an address, of a user, of log-ins.
    if matches!(&answer, Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS) {
        tokio::time::sleep(SLOWED).await;
    }
    answer
}

fn late() -> Problem {
    let seconds = ANSWER.as_secs();
    Problem::new(Kind::Slow, format!("the request was not there, or answered, within {seconds} s"))
}

fn within_rate(request: &HttpRequest) -> Result<(), Wait> {
    let limits = &state_of(request).limits;
    let limiter = match is_api(request.path()) {
        true => &limits.requests_address,
        false => &limits.others_address,
    };
    limiter.take(&subscriber(request))
}

fn judge(request: &HttpRequest) -> Result<(), Problem> {
    let (api, writes) = (is_api(request.path()), is_unsafe(request.method()));
    if api && writes && !has_authorization(request) {
        origins::check(&state_of(request), request)?;
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
