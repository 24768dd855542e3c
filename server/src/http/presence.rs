//! The role `presence`: whether somebody is online, from the rows of nodes and from gossip.
//!
//! By the same rules as a watch: who may not know sees what he would see of somebody who was
//! never there, and so does who asks for a user that does not exist.

use actix_web::{HttpResponse, web};
use rally_cluster::acquaintance;
use rally_cluster::presence::Seen;
use rally_schema::UserId;
use rally_schema::frame::Presence;

use super::caller::Caller;
use super::openapi::UserIdText;
use super::problem::Problem;
use super::shapes;
use super::state::HttpState;

/// Says whether a user is online, or when he was last seen.
#[utoipa::path(get, path = "/api/users/{user}/presence", tag = "presence",
    params(("user" = UserIdText, Path, description = "The user's id")),
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "What the asker may know", body = shapes::Presence)))]
pub async fn presence(
    caller: Caller,
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let user: UserId = path.parse().map_err(|_| Problem::unknown_user(&path))?;
    let (store, asker) = (&*state.store, caller.user());
    // Read in any order: nothing of it is shown unless all of it allows.
    let rows = store.presence(user).await?;
    let acquainted = acquaintance::acquainted(store, asker, user).await?;
    let let_know = !acquaintance::let_know(store, user, [asker].into()).await?.is_empty();
    let Seen { online, last_seen } = match acquainted && let_know {
        true => state.node.seen(user, &rows),
        false => Seen::default(),
    };
    Ok(HttpResponse::Ok().json(Presence { user, online, last_seen }))
}
