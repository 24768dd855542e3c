//! Accounts: register, log in, log out, log out everywhere.
//!
//! The only handlers that see a password. Knows nothing of sessions beyond telling the node
//! to end them.

use actix_web::{HttpRequest, HttpResponse, web};
use rally_actors::router::LogOut;
use rally_cluster::store::UserRow;
use rally_schema::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admit::subscriber;
use super::caller::{Caller, no_cookie, session_cookie};
use super::object::Object;
use super::openapi::{NameText, UserIdText};
use super::problem::{Kind, Problem};
use super::state::HttpState;
use crate::passwords;
use crate::secret::Secret;

/// What registering needs.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Register {
    /// The name to be known by.
    #[schema(value_type = UserIdText)]
    user: UserId,
    /// The name shown to others; the user's id when absent.
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    /// At least 8 characters, at most 1024 bytes.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: Secret<String>,
}

/// What logging in needs.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Login {
    /// Who.
    #[schema(value_type = UserIdText)]
    user: UserId,
    /// The password.
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: Secret<String>,
    /// Whether to answer with a token for `Authorization: Bearer` instead of a cookie.
    #[serde(default)]
    bearer: bool,
}

/// Who is now logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    /// The user's id.
    #[schema(value_type = UserIdText)]
    pub user: UserId,
    /// The name shown to others.
    pub name: String,
    /// The token, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Makes an account and logs in.
#[utoipa::path(post, path = "/api/register", tag = "accounts", request_body = Register, responses(
    (status = 201, description = "Made; the cookie is set", body = Account,
        headers(("set-cookie" = String, description = "rally_session"))),
    (status = 403, description = "Registration is closed, or the origin is not allowed",
        body = super::problem::ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The name is taken",
        body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn register(
    request: HttpRequest,
    state: web::Data<HttpState>,
    body: web::Json<Object<Register>>,
) -> Result<HttpResponse, Problem> {
    let Object(Register { user, name, password }) = body.into_inner();
    if !state.settings.accounts.registration {
        return Err(Problem::new(Kind::Closed, "ask the operator for an account"));
    }
    passwords::check(&password).map_err(|error| Problem::new(Kind::BadValue, error.to_string()))?;
    let name = display_name(name.as_deref().unwrap_or(user.as_str()))?;
    state.limits.registers_address.take(&subscriber(&request))?;
    let taken = || Problem::new(Kind::Taken, format!("the name {user} is taken: choose another"));
    // Asked before the hash is made, so that a taken name costs nothing; decided by `create_user`.
    if state.store.user(user).await?.is_some() {
        return Err(taken());
    }
    let hash = state.passwords.hash(password).await?;
    let row = UserRow { user, name, password: Some(hash), epoch: 0, hide_presence: false };
    if !state.store.create_user(row.clone()).await? {
        return Err(taken());
    }
    let cookie = session_cookie(&state, &state.tokens.issue(&row));
    let account = Account { user, name: row.name, token: None };
    Ok(HttpResponse::Created().cookie(cookie).json(account))
}

/// Logs in.
#[utoipa::path(post, path = "/api/login", tag = "accounts", request_body = Login, responses(
    (status = 200, description = "Logged in: the cookie is set, or the token given", body = Account),
    (status = 401, description = "Unknown user or wrong password",
        body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn login(
    request: HttpRequest,
    state: web::Data<HttpState>,
    body: web::Json<Object<Login>>,
) -> Result<HttpResponse, Problem> {
    let Object(Login { user, password, bearer }) = body.into_inner();
    let address = subscriber(&request);
    state.limits.logins_address.take(&address)?;
    state.limits.logins_user.take(&(user, address))?;
    state.limits.logins_user_anywhere.take(&user)?;
    if password.expose().len() > passwords::LONGEST {
        return Err(bad_login(&state));
    }
    let row = state.store.user(user).await?;
    let hash = row.as_ref().and_then(|row| row.password.clone());
    let fits = state.passwords.verify(password, hash).await;
    let fits = fits.inspect_err(|_| state.metrics.login("busy"))?;
    let Some(row) = row.filter(|_| fits) else {
        return Err(bad_login(&state));
    };
    state.metrics.login("good");
    let token = state.tokens.issue(&row);
    let mut account = Account { user, name: row.name, token: None };
    if bearer {
        account.token = Some(token.expose().clone());
        return Ok(HttpResponse::Ok().json(account));
    }
    Ok(HttpResponse::Ok().cookie(session_cookie(&state, &token)).json(account))
}

fn bad_login(state: &HttpState) -> Problem {
    state.metrics.login("bad");
    Problem::new(Kind::BadLogin, "the user is unknown or the password is wrong")
}

/// Ends this log-in, and the open sessions by it.
#[utoipa::path(post, path = "/api/logout", tag = "accounts", security(("cookie" = []), ("bearer" = [])),
    responses((status = 204, description = "Logged out; the cookie is removed")))]
pub async fn logout(caller: Caller, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    state.tokens.log_out(&caller.login).await?;
    state.node.log_out_everywhere(caller.user(), LogOut::of(caller.login.by().id));
    Ok(HttpResponse::NoContent().cookie(no_cookie(&state)).finish())
}

/// Ends every log-in and every open session of the user.
#[utoipa::path(post, path = "/api/logout-everywhere", tag = "accounts",
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 204, description = "Logged out everywhere; the cookie is removed")))]
pub async fn logout_everywhere(
    caller: Caller,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let user = caller.user();
    if let Some(epoch) = state.tokens.log_out_everywhere(&caller.login.account).await? {
        state.node.log_out_everywhere(user, LogOut::before(epoch));
    }
    Ok(HttpResponse::NoContent().cookie(no_cookie(&state)).finish())
}

/// Trims a display name, and refuses one that would not show itself as it is.
pub fn display_name(name: &str) -> Result<String, Problem> {
    crate::display_name::check(name)
        .map_err(|error| Problem::new(Kind::BadValue, error.to_string()))
}
