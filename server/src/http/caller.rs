//! Who asks: the account behind a cookie or a bearer token.
//!
//! A handler that takes a [`Caller`], or one who is [`Returning`], is only reached by somebody who is
//! logged in, within his rate, and, when the browser sent the cookie by itself, with proof that a
//! page of ours asked, for this very user if it says for whom. Knows nothing of what is asked.

use std::future::Future;
use std::pin::Pin;

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use rally_actors::admission::Line;
use rally_actors::node::Admitted;
use rally_cluster::store::UserRow;
use rally_schema::UserId;

use super::problem::{Kind, Problem};
use super::state::HttpState;
use crate::secret::Secret;
use crate::tokens::LoggedIn;

/// The cookie that holds a browser's token.
pub const COOKIE: &str = "rally_session";

/// The header that a page of ours sets and a foreign one cannot.
pub const CSRF_HEADER: &str = "x-rally-csrf";

/// The header in which a page says for whom it asks: all tabs of a browser share one cookie, and
/// somebody else may have logged in by another one since.
pub const USER_HEADER: &str = "x-rally-user";

/// Somebody who is logged in.
pub struct Caller {
    /// The account.
    pub account: UserRow,
    /// The log-in itself, which can be ended.
    pub login: LoggedIn,
}

impl Caller {
    /// Gives the user.
    pub fn user(&self) -> UserId {
        self.account.user
    }
}

/// Somebody who comes back to open a session, by a token that is genuine. While the store reads for as
/// many who come back as it may, it is not asked whether his log-in is over: the session's own first
/// catch-up reads that before its client gets anything.
pub struct Returning(pub Admitted);

/// What a request shows of who it is from.
enum Shown {
    Bearer(Secret<String>),
    Cookie(Secret<String>),
    Nothing,
}

/// Tells whether the request carries its own proof and needs none of a page's.
pub fn has_authorization(request: &HttpRequest) -> bool {
    request.headers().contains_key(AUTHORIZATION)
}

/// Tells whether a method may change something.
pub fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn shown(request: &HttpRequest) -> Result<Shown, Problem> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let token = header.to_str().ok().and_then(|text| text.split_once(' '));
        return match token {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Shown::Bearer(Secret::new(token.trim().to_owned())))
            }
            _ => Err(Problem::new(
                Kind::LogIn,
                "the authorization header is not of the form: Bearer TOKEN",
            )),
        };
    }
    Ok(request
        .cookie(COOKIE)
        .map_or(Shown::Nothing, |cookie| Shown::Cookie(Secret::new(cookie.value().to_owned()))))
}

/// Gives the token that a request shows, if it may be used for it.
fn token(request: &HttpRequest) -> Result<Secret<String>, Problem> {
    match shown(request)? {
        Shown::Bearer(token) => Ok(token),
        Shown::Cookie(token) => {
            let proven = request.headers().get(CSRF_HEADER).is_some_and(|value| value == "1");
            if is_unsafe(request.method()) && !proven {
                return Err(Problem::new(
                    Kind::Csrf,
                    format!("send the header {CSRF_HEADER}: 1 with requests that change something"),
                ));
            }
            Ok(token)
        }
        Shown::Nothing => Err(Problem::new(Kind::LogIn, "nobody is logged in")),
    }
}

/// Looks whether a request is meant for its user, and within his rate.
fn is_his(request: &HttpRequest, state: &HttpState, user: UserId) -> Result<(), Problem> {
    if let Some(meant) = request.headers().get(USER_HEADER)
        && meant != user.as_str()
    {
        let text = format!(
            "{user} is logged in now, and {USER_HEADER} names another user: load the page again"
        );
        return Err(Problem::new(Kind::OtherUser, text));
    }
    Ok(state.limits.requests_user.take(&user)?)
}

async fn caller(request: HttpRequest) -> Result<Caller, Problem> {
    let (state, token) = (state_of(&request), token(&request)?);
    let login = state.tokens.check(token.expose()).await?;
    is_his(&request, &state, login.account.user)?;
    Ok(Caller { account: login.account.clone(), login })
}

async fn returning(request: HttpRequest) -> Result<Returning, Problem> {
    let (state, token) = (state_of(&request), token(&request)?);
    let claims = state.tokens.open(token.expose())?;
    let admitted = claims.admitted();
    if let Some(_place) = state.node.admission().try_enter(Line::Reconnect) {
        state.tokens.confirm(claims).await?;
    }
    is_his(&request, &state, admitted.user)?;
    Ok(Returning(admitted))
}

/// Gives the shared state; `app` puts it there.
pub fn state_of(request: &HttpRequest) -> web::Data<HttpState> {
    let state = request.app_data::<web::Data<HttpState>>();
    state.expect("http::app registers the state before any route").clone()
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(caller(request.clone()))
    }
}

impl FromRequest for Returning {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(returning(request.clone()))
    }
}

/// Makes the cookie of a log-in.
pub fn session_cookie(state: &HttpState, token: &Secret<String>) -> Cookie<'static> {
    let seconds = i64::try_from(state.tokens.lifetime_seconds()).unwrap_or(i64::MAX);
    cookie(state, token.expose().clone(), Duration::seconds(seconds))
}

/// Makes the cookie that removes a log-in from the browser.
pub fn no_cookie(state: &HttpState) -> Cookie<'static> {
    cookie(state, String::new(), Duration::ZERO)
}

fn cookie(state: &HttpState, value: String, max_age: Duration) -> Cookie<'static> {
    let https = state.settings.network.public_url.as_ref().is_some_and(|url| url.secure);
    let mut cookie = Cookie::build(COOKIE, value);
    if let Some(domain) = &state.settings.network.cookie_domain {
        cookie = cookie.domain(domain.0.clone());
    }
    cookie
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/")
        .secure(https)
        .max_age(max_age)
        .finish()
}
