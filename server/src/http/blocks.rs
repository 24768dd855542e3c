//! Whom one does not want to hear from.
//!
//! The blocked are not told. Sessions learn of a change from the node, or from the store once
//! what they remember has aged.

use actix_web::{HttpResponse, web};
use rally_schema::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::openapi::UserIdText;
use super::problem::{Kind, Problem};
use super::state::HttpState;
use super::users::existing;

/// Users that one may block: the list is read as a whole.
const LIMIT: usize = 1_000;

/// Everybody whom the asker blocks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Blocks {
    #[schema(value_type = Vec<UserIdText>)]
    users: Vec<UserId>,
}

/// Lists whom one blocks.
#[utoipa::path(get, path = "/api/blocks", tag = "users", security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "The blocked, in the order of their ids", body = Blocks)))]
pub async fn list(caller: Caller, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let users = state.store.blocks(caller.user()).await?;
    Ok(HttpResponse::Ok().json(Blocks { users }))
}

/// Blocks a user; may be repeated.
#[utoipa::path(put, path = "/api/blocks/{user}", tag = "users",
    params(("user" = UserIdText, Path, description = "Whom to block")),
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 204, description = "Blocked"),
        (status = 400, description = "Nobody blocks himself",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The list is full",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn put(
    caller: Caller,
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (user, blocked) = (caller.user(), existing(&state, &path).await?.user);
    if user == blocked {
        return Err(Problem::new(Kind::BadValue, format!("{user} cannot block himself")));
    }
    if state.store.blocks(user).await?.len() >= LIMIT
        && !state.store.is_blocked(user, blocked).await?
    {
        let detail = format!("{user} blocks {LIMIT} users: unblock one first");
        return Err(Problem::new(Kind::Full, detail));
    }
    set(&state, user, blocked, true).await
}

/// Unblocks a user; may be repeated.
#[utoipa::path(delete, path = "/api/blocks/{user}", tag = "users",
    params(("user" = UserIdText, Path, description = "Whom to unblock")),
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 204, description = "Not blocked, or no longer")))]
pub async fn delete(
    caller: Caller,
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let blocked = existing(&state, &path).await?.user;
    set(&state, caller.user(), blocked, false).await
}

async fn set(
    state: &HttpState,
    user: UserId,
    blocked: UserId,
    on: bool,
) -> Result<HttpResponse, Problem> {
    state.store.set_block(user, blocked, on).await?;
    state.node.block_changed(user, blocked, on);
    Ok(HttpResponse::NoContent().finish())
}
