//! One's own account: what others see of it.

use actix_web::{HttpResponse, web};
use rally_cluster::store::{UserChange, UserRow};
use rally_schema::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::display_name;
use super::caller::Caller;
use super::object::Object;
use super::openapi::{NameText, UserIdText};
use super::problem::{Kind, Problem};
use super::state::HttpState;

/// One's own account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user's id.
    #[schema(value_type = UserIdText)]
    user: UserId,
    /// The name shown to others.
    name: String,
    /// Whether others are told neither presence nor last seen.
    hide_presence: bool,
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MeChange {
    /// A new name.
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    /// Whether to hide presence and last seen.
    hide_presence: Option<bool>,
}

impl From<UserRow> for Me {
    fn from(row: UserRow) -> Self {
        Self { user: row.user, name: row.name, hide_presence: row.hide_presence }
    }
}

/// Says who is logged in.
#[utoipa::path(get, path = "/api/me", tag = "accounts", security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "One's own account", body = Me)))]
pub async fn get(caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(Me::from(caller.account))
}

/// Changes one's name, or whether presence is hidden.
#[utoipa::path(patch, path = "/api/me", tag = "accounts", request_body = MeChange,
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "The account as it is now", body = Me)))]
pub async fn patch(
    caller: Caller,
    state: web::Data<HttpState>,
    body: web::Json<Object<MeChange>>,
) -> Result<HttpResponse, Problem> {
    let Object(MeChange { name, hide_presence }) = body.into_inner();
    let name = name.as_deref().map(display_name).transpose()?;
    let change = UserChange { name, hide_presence, ..UserChange::default() };
    let row = state.store.change_user(caller.user(), change).await?;
    let row = row.ok_or_else(|| Problem::new(Kind::LogIn, "the account is gone"))?;
    state.node.account_changed(&row);
    Ok(HttpResponse::Ok().json(Me::from(row)))
}
