//! The gate before every route: a rate by address, and no writes from foreign pages.
//!
//! Comes before routing and before a body is read, so that a flood costs little. Who is beyond a
//! rate is answered a second late: a connection has one request answered at a time, so none can
//! flood faster than that, and an address has only so many (`door.rs`). Knows no users.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};

use super::admin::ADMIN;
use super::caller::{has_authorization, is_unsafe, state_of};
use super::origins;
use super::problem::{Kind, Problem};
use crate::limits::{Subscriber, Wait};

/// Under which path the API is.
pub const API: &str = "/api/";

/// Gives the path by which a request is routed: `/%61pi/me` is `/api/me`.
pub fn routed_path(request: &HttpRequest) -> &str {
    request.match_info().as_str()
}

/// Tells whether a path is for programs, the operator's among them, and not a page.
pub fn is_api(path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    path.starts_with(API) || path.strip_prefix(ADMIN).is_some_and(below)
}

/// What a request is refused for; left to [`refuse`].
struct Refused(Problem);

/// What supervisors ask. They may come from the address of a flood, by way of a proxy: they wait
/// with it, but are answered.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How late an answer is beyond the rate.
const SLOWED: Duration = Duration::from_secs(1);

/// How late a probe's is: who asks does not wait long.
const PROBE_SLOWED: Duration = Duration::from_millis(250);

/// How long a request may take, its body included: nobody keeps a connection by half of one.
const ANSWER: Duration = Duration::from_secs(20);

/// Decides whether a request may reach its route.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // The next one of a connection takes its own turn (`turns.rs`), however many came at once.
    tokio::task::yield_now().await;
    let within = within_rate(request.request());
    let is_probe = PROBES.contains(&routed_path(request.request()));
    let verdict = match within {
        Ok(()) => judge(request.request()),
        Err(_) if is_probe => {
            tokio::time::sleep(PROBE_SLOWED).await;
            Ok(())
        }
        Err(wait) => Err(wait.into()),
    };
    if let Err(problem) = verdict {
        request.extensions_mut().insert(Refused(problem));
    }
    let answer = next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    // Whichever rate it was: of an address, of a user, of log-ins.
    let is_refused =
        matches!(&answer, Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS);
    // What asks whether a page may ask is answered without its route, and waits all the same.
    if is_refused || (within.is_err() && !is_probe) {
        tokio::time::sleep(SLOWED).await;
    }
    answer
}

/// Lets a request through to its route, or answers it: inside of what has pages of other nodes read
/// the answer, or they would take a refusal for a node that is not there.
pub async fn refuse(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refused = request.extensions_mut().remove::<Refused>();
    if let Some(Refused(problem)) = refused {
        return Ok(request.into_response(HttpResponse::from_error(problem)));
    }
    let state = state_of(request.request());
    // actix keeps the request of an answer that is broken off to itself: the problem leaves
    // without the layers outside, which would need it.
    match tokio::time::timeout(ANSWER, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => {
            state.metrics.broken_off("slow");
            Err(late().into())
        }
    }
}

fn late() -> Problem {
    let seconds = ANSWER.as_secs();
    Problem::new(Kind::Slow, format!("the request was not there, or answered, within {seconds} s"))
}

fn within_rate(request: &HttpRequest) -> Result<(), Wait> {
    let limits = &state_of(request).limits;
    let limiter = match is_api(routed_path(request)) {
        true => &limits.requests_address,
        false => &limits.others_address,
    };
    limiter.take(&subscriber(request))
}

fn judge(request: &HttpRequest) -> Result<(), Problem> {
    let (api, writes) = (is_api(routed_path(request)), is_unsafe(request.method()));
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
    let entry = entries.nth(back)?.trim();
    let with_port = || entry.parse::<SocketAddr>().map(|address| address.ip());
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    bare.parse().or_else(|_| with_port()).ok()
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

    #[test]
    fn some_proxies_write_ports_and_brackets() {
        for entry in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:4711"] {
            let request =
                TestRequest::default().append_header(("x-forwarded-for", entry)).to_http_request();
            assert_eq!(forwarded(&request, 1), Some("2001:db8::7".parse().unwrap()), "{entry}");
        }
        let request = TestRequest::default().append_header(("x-forwarded-for", "1.2.3.4:5678"));
        let seen = forwarded(&request.to_http_request(), 1);
        assert_eq!(seen, Some(IpAddr::from([1, 2, 3, 4])));
    }
}
