//! Discovery: where a client opens its WebSocket, and the ticket for it.
//!
//! A single node places everybody on itself.

use actix_web::{HttpRequest, HttpResponse, web};
use rally_schema::{ClientId, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
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
        (status = 421, description = "The host is none of ours",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn discover(
    request: HttpRequest,
    caller: Caller,
    state: web::Data<HttpState>,
    body: web::Json<Object<Discover>>,
) -> Result<HttpResponse, Problem> {
    let Object(Discover { client }) = body.into_inner();
    state.node.ready().map_err(|why| Problem::new(Kind::NotReady, why).retry_after(2))?;
    let address = own_origin(&state.settings.network, &request)?.websocket(SOCKET_PATH);
    let ticket = state.tickets.issue(caller.user(), client, state.life);
    state.metrics.tickets.inc();
    Ok(HttpResponse::Ok().json(Place { address, node: state.life.node, ticket }))
}
