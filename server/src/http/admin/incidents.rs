//! What went wrong on this node lately.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::state::HttpState;

/// The last hundred incidents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incidents {
    /// The newest first.
    incidents: Vec<Incident>,
}

/// One thing that happened, once or several times in a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incident {
    /// What: suspected, offline, back, map_changed, gap_heard, queue_reopened, clock_off,
    /// clock_near, clock_stepped, store_error.
    kind: &'static str,
    /// The same in words.
    words: String,
    /// When it happened first, in milliseconds since 1970.
    at_ms: u64,
    /// When it happened last.
    last_ms: u64,
    /// How often.
    times: u64,
}

/// Lists the last incidents of this node, since it started.
#[utoipa::path(get, path = "/admin/incidents", tag = "admin", security(("admin" = [])),
    responses((status = 200, description = "The last hundred", body = Incidents)))]
pub async fn incidents(state: web::Data<HttpState>) -> HttpResponse {
    let told = state.node.incidents().into_iter().map(|incident| Incident {
        kind: incident.kind.name(),
        words: incident.words,
        at_ms: incident.at_ms,
        last_ms: incident.last_ms,
        times: incident.times,
    });
    HttpResponse::Ok().json(Incidents { incidents: told.collect() })
}
