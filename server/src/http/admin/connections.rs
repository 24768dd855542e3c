//! How many are connected to this node, and how they do.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::reading::Reading;

/// What is connected.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connections {
    /// Open sessions.
    sessions: u64,
    /// Sockets that have not said hello yet.
    opening: u64,
    /// Users with a session here, or at home here for sessions elsewhere.
    routers: u64,
    /// Sessions whose socket does not drain.
    lagging: u64,
    /// Connections that the node holds at most.
    most: u32,
}

/// Counts the connections of this node.
#[utoipa::path(get, path = "/admin/connections", tag = "admin", security(("admin" = [])),
    responses((status = 200, description = "What is connected", body = Connections)))]
pub async fn connections(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let reading = Reading::of(&state.registry)?;
    let here = state.node.members().into_iter().find(|member| member.card.life == state.life);
    let count = |name| reading.sum(name) as u64;
    Ok(HttpResponse::Ok().json(Connections {
        sessions: count("rally_connections"),
        opening: count("rally_connections_opening"),
        routers: count("rally_routers"),
        lagging: count("rally_lagging"),
        most: here.map_or(0, |member| member.card.most),
    }))
}
