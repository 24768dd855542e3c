//! Which pages may use the node, and under which address a client reaches it.
//!
//! With `public_url` that is the node's one name. Without, the node believes a `Host` header
//! that is an address or `localhost` (no foreign name server can have pointed one here), or
//! the host of an allowed origin. Knows nothing of sessions.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, ORIGIN};

use super::problem::{Kind, Problem};
use super::state::HttpState;
use crate::config::Network;
use crate::origin::{Authority, Origin};

/// Gives the origin under which this request reached the node.
pub fn own_origin(network: &Network, request: &HttpRequest) -> Result<Origin, Problem> {
    if let Some(url) = &network.public_url {
        return Ok(url.clone());
    }
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority: Option<Authority> = named.and_then(|host| host.parse().ok());
    let known = |authority: &Authority| {
        network.origins.iter().any(|origin| origin.authority.host == authority.host)
    };
    match authority {
        Some(authority) if authority.is_literal() || known(&authority) => {
            Ok(Origin::plain(authority))
        }
        _ => Err(Problem::new(
            Kind::Host,
            format!(
                "the host {:?} is neither an address nor localhost: the operator names it with public_url",
                named.unwrap_or_default().chars().take(64).collect::<String>()
            ),
        )),
    }
}

/// Tells whether a page of this origin may use the node: one of its own, of another node of
/// the cluster, or one that the operator allows.
pub fn is_allowed(state: &HttpState, request: &HttpRequest, origin: &str) -> bool {
    let network = &state.settings.network;
    origin.parse::<Origin>().is_ok_and(|origin| {
        network.origins.contains(&origin)
            || own_origin(network, request).is_ok_and(|own| own == origin)
            || state.node.page_origins().iter().any(|address| address.parse() == Ok(origin.clone()))
    })
}

/// Refuses a request whose `Origin` is not allowed; one without comes from no page.
pub fn check(state: &HttpState, request: &HttpRequest) -> Result<(), Problem> {
    let Some(header) = request.headers().get(ORIGIN) else {
        return Ok(());
    };
    let text = header.to_str().unwrap_or_default();
    if is_allowed(state, request, text) {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    Err(Problem::new(
        Kind::Origin,
        format!(
            "the origin {shown:?} is not allowed: the operator names it with public_url or origins"
        ),
    ))
}
