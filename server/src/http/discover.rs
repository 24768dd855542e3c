//! Discovery: where a client opens its WebSocket, and the ticket for it.
//!
//! Any node places a client on any; which one is decided in `rally_cluster::placement`.

use actix_web::{HttpRequest, HttpResponse, web};
use rally_cluster::membership::Card;
use rally_schema::{ClientId, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Returning;
use super::object::Object;
use super::openapi::UserIdText;
use super::origins::own_origin;
use super::problem::{Kind, Problem};
use super::state::HttpState;

/// Where the socket is.
pub const SOCKET_PATH: &str = "/ws";

/// Who wants to connect.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Discover {
    /// The client's own id.
    #[schema(value_type = Uuid)]
    client: ClientId,
}

/// Where to connect, and the right to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Place {
    /// The WebSocket's address.
    #[schema(example = "ws://127.0.0.1:8080/ws")]
    address: String,
    /// The node behind it.
    #[schema(value_type = UserIdText)]
    node: NodeId,
    /// For `hello`, once, within 30 seconds.
    ticket: String,
}

/// Places a client on a node and gives it a ticket.
#[utoipa::path(post, path = "/api/discover", tag = "connection", request_body = Discover,
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "Where to connect", body = Place),
        (status = 503, description = "No node takes users now",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 421, description = "The host is none of ours",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn discover(
    request: HttpRequest,
    Returning(admitted): Returning,
    state: web::Data<HttpState>,
    body: web::Json<Object<Discover>>,
) -> Result<HttpResponse, Problem> {
    let Object(Discover { client }) = body.into_inner();
    let card = state.node.place(admitted.user).ok_or_else(|| {
        let why =
            state.node.ready().err().unwrap_or_else(|| {
                "no node takes users, or has room for one more session".to_owned()
            });
        Problem::new(Kind::NotReady, why).retry_after(2)
    })?;
    let origin = match card.life == state.life {
        true => own_origin(&state.settings.network, &request)?,
        false => card.address.parse().map_err(|_| {
            let Card { life, address, .. } = &card;
            Problem::new(Kind::NotReady, format!("{life} gives no address but {address:?}"))
        })?,
    };
    let address = origin.websocket(SOCKET_PATH);
    let ticket = state.tickets.issue(admitted, client, card.life);
    state.metrics.tickets.inc();
    Ok(HttpResponse::Ok().json(Place { address, node: card.life.node, ticket }))
}
