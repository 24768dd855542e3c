//! Other users: found by the beginning of their id, or by the whole of it.

use actix_web::{HttpResponse, web};
use rally_cluster::store::UserRow;
use rally_schema::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::openapi::UserIdText;
use super::problem::{Kind, Problem};
use super::state::HttpState;

/// Users that one answer lists at most.
const LIMIT: usize = 50;

/// Whom to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// How the id begins; may be empty on a demo node only.
    #[serde(default)]
    #[param(max_length = 32, pattern = "^[a-zA-Z0-9_.-]*$")]
    prefix: String,
    /// How many to list.
    #[serde(default = "twenty")]
    #[param(minimum = 1, maximum = 50, default = 20)]
    limit: usize,
}

fn twenty() -> usize {
    20
}

/// Another user, as seen by the asker.
#[derive(Debug, Serialize, ToSchema)]
pub struct Other {
    /// The user's id.
    #[schema(value_type = UserIdText)]
    user: UserId,
    /// The name shown to others.
    name: String,
    /// The conversation of the two, whether or not it has messages.
    #[schema(value_type = Uuid)]
    conversation: ConversationId,
}

/// Users that were found, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    users: Vec<Other>,
}

impl Other {
    fn seen_by(asker: UserId, row: UserRow) -> Self {
        let conversation = ConversationId::direct(asker, row.user);
        Self { user: row.user, name: row.name, conversation }
    }
}

/// Finds users by the beginning of their id.
#[utoipa::path(get, path = "/api/users", tag = "users", params(Search),
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "Whoever was found, without the asker", body = Found)))]
pub async fn find(
    caller: Caller,
    state: web::Data<HttpState>,
    query: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let Search { prefix, limit } = query.into_inner();
    let prefix = prefix.to_ascii_lowercase();
    let letters = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    if prefix.len() > 32 || !prefix.bytes().all(letters) {
        return Err(Problem::new(Kind::BadQuery, "prefix: at most 32 of a-z 0-9 _ . -"));
    }
    if prefix.is_empty() && !state.settings.node.demo {
        return Err(Problem::new(
            Kind::BadQuery,
            "prefix: give at least the first letter of an id",
        ));
    }
    if limit == 0 || limit > LIMIT {
        return Err(Problem::new(
            Kind::BadQuery,
            format!("limit {limit}: 1 to {LIMIT} are allowed"),
        ));
    }
    let asker = caller.user();
    // One more than asked for: the asker may be among them.
    let rows = state.store.find_users(prefix, limit + 1).await?;
    let others = rows.into_iter().filter(|row| row.user != asker).take(limit);
    let users = others.map(|row| Other::seen_by(asker, row)).collect();
    Ok(HttpResponse::Ok().json(Found { users }))
}

/// Looks one user up.
#[utoipa::path(get, path = "/api/users/{user}", tag = "users",
    params(("user" = UserIdText, Path, description = "The user's id")),
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "The user", body = Other)))]
pub async fn get(
    caller: Caller,
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let row = existing(&state, &path).await?;
    Ok(HttpResponse::Ok().json(Other::seen_by(caller.user(), row)))
}

/// Finds the account that a path names; what is no id is simply nobody's.
pub async fn existing(state: &HttpState, name: &str) -> Result<UserRow, Problem> {
    let user: UserId = name.parse().map_err(|_| Problem::unknown_user(name))?;
    state.store.user(user).await?.ok_or_else(|| Problem::unknown_user(name))
}
