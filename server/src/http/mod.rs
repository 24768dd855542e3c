//! HTTP: accounts and the way in, and pages of what the store has for programs; the web client
//! reads those by frames.
//!
//! One file a resource. What the process has no role for is answered with the role that serves it.
//! [`app`] puts routes and layers together; whoever serves it adds the socket's route. From the
//! outside in: `pace`, `measure`, `dress`, `admit`, what pages of other nodes may read, `refuse`, then
//! the route.

mod accounts;
pub mod admin;
mod admit;
mod blocks;
mod caller;
mod client;
mod config;
mod discover;
mod dress;
mod health;
mod me;
mod measure;
mod messaging;
pub mod metrics;
mod object;
pub mod openapi;
pub mod origins;
mod pace;
mod presence;
pub mod problem;
mod shapes;
mod state;
mod users;

use actix_cors::Cors;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::{App, Error, HttpRequest, Resource, Route, guard, web};
use rally_cluster::roles::{Role, Roles};

pub use discover::SOCKET_PATH;
pub use metrics::HttpMetrics;
pub use problem::{Kind, Problem};
pub use state::{HttpState, NodeControl, Placed};

/// Bytes of a body: the longest is a registration.
const BODY_BYTES: usize = 16 * 1024;

/// The methods of what is only read.
const READ: &str = "GET, HEAD";

/// Makes the application: every route but the socket's, dressed and measured.
pub fn app(
    state: web::Data<HttpState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let roles = state.settings.node.roles;
    App::new()
        .app_data(state.clone())
        .app_data(web::JsonConfig::default().limit(BODY_BYTES).error_handler(bad_json))
        .app_data(web::QueryConfig::default().error_handler(bad_query))
        .app_data(web::PathConfig::default().error_handler(bad_path))
        .configure(routes)
        .configure(move |cfg| routes_of(roles, cfg))
        .default_service(web::to(client::serve))
        .wrap(from_fn(admit::refuse))
        .wrap(pages_of_other_nodes(state))
        .wrap(from_fn(admit::admit))
        .wrap(from_fn(dress::dress))
        .wrap(from_fn(measure::measure))
        .wrap(from_fn(pace::pace))
}

/// Lets pages that another node served use this one, when theirs has died.
fn pages_of_other_nodes(state: web::Data<HttpState>) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, _| {
            let pages = state.node.page_origins();
            let allowed = |origin: &str| pages.iter().any(|known| known == origin);
            origin.to_str().is_ok_and(allowed)
        })
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([
            header::ACCEPT.as_str(),
            header::CONTENT_TYPE.as_str(),
            caller::CSRF_HEADER,
            caller::USER_HEADER,
        ])
        .expose_headers([header::RETRY_AFTER])
        .supports_credentials()
        .max_age(600)
}

fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(at("/api/config", READ).route(read().to(config::config)))
        .service(at("/api/register", "POST").route(web::post().to(accounts::register)))
        .service(at("/api/login", "POST").route(web::post().to(accounts::login)))
        .service(at("/api/logout", "POST").route(web::post().to(accounts::logout)))
        .service(
            at("/api/logout-everywhere", "POST").route(web::post().to(accounts::logout_everywhere)),
        )
        .service(
            at("/api/me", "GET, HEAD, PATCH")
                .route(read().to(me::get))
                .route(web::patch().to(me::patch)),
        )
        .service(at("/api/users", READ).route(read().to(users::find)))
        .service(at("/api/users/{user}", READ).route(read().to(users::get)))
        .service(at("/api/blocks", READ).route(read().to(blocks::list)))
        .service(
            at("/api/blocks/{user}", "DELETE, PUT")
                .route(web::put().to(blocks::put))
                .route(web::delete().to(blocks::delete)),
        )
        .service(at("/api/openapi.json", READ).route(read().to(openapi::serve)))
        .configure(admin::routes)
        .service(at("/healthz", READ).route(read().to(health::healthz)))
        .service(at("/readyz", READ).route(read().to(health::readyz)))
        .service(at("/metrics", READ).route(read().to(health::metrics)));
}

/// Registers what only processes with a role serve.
fn routes_of(roles: Roles, cfg: &mut web::ServiceConfig) {
    let mut serve = |role: Role, path: &str, methods: &'static str, route: Route| {
        cfg.service(match roles.has(role) {
            true => at(path, methods).route(route),
            false => elsewhere(path, role),
        });
    };
    serve(Role::Discovery, "/api/discover", "POST", web::post().to(discover::discover));
    serve(Role::Messaging, "/api/inbox", READ, read().to(messaging::inbox));
    let history = "/api/conversations/{id}/messages";
    serve(Role::Messaging, history, READ, read().to(messaging::history));
    serve(Role::Presence, "/api/users/{user}/presence", READ, read().to(presence::presence));
}

/// A resource that another process serves.
pub fn elsewhere(path: &str, role: Role) -> Resource {
    web::resource(path).to(move |state: web::Data<HttpState>| async move {
        Err::<&'static str, _>(Problem::elsewhere(role, &state.node.addresses_of(role)))
    })
}

/// A route for `GET`, and for `HEAD`, whose answer is the same without its body.
fn read() -> Route {
    Route::new().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A resource that answers every other method with a problem that names the right ones.
fn at(path: &str, methods: &'static str) -> Resource {
    let refuse = move || async move { Err::<&'static str, _>(Problem::method(methods)) };
    web::resource(path).default_service(web::to(refuse))
}

fn bad_json(error: JsonPayloadError, _: &HttpRequest) -> Error {
    let kind = match &error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            let detail = format!("the body is too long: at most {BODY_BYTES} bytes are allowed");
            return Problem::new(Kind::TooLarge, detail).into();
        }
        JsonPayloadError::ContentType => Kind::MediaType,
        _ => Kind::BadJson,
    };
    let detail = match error {
        JsonPayloadError::Deserialize(error) => error.to_string(),
        JsonPayloadError::ContentType => "send content-type: application/json".to_owned(),
        other => other.to_string(),
    };
    Problem::new(kind, detail).into()
}

fn bad_query(error: QueryPayloadError, _: &HttpRequest) -> Error {
    Problem::new(Kind::BadQuery, error.to_string()).into()
}

fn bad_path(error: PathError, _: &HttpRequest) -> Error {
    Problem::new(Kind::NotFound, error.to_string()).into()
}
