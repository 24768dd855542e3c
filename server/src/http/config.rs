//! What a page needs before anybody is logged in.

use actix_web::{HttpResponse, web};
use rally_cluster::roles::Role;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::UserIdText;
use super::state::HttpState;
use crate::demo;
use crate::version::VERSION;

/// The node's public settings.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicConfig {
    /// Users to try with, when the node runs a demo.
    demo: Option<Demo>,
    /// Whether anybody may register.
    registration: bool,
    /// The server's version.
    version: &'static str,
    /// Origins of the processes that may be asked where to connect.
    discovery: Vec<String>,
}

/// The demo's users and their common password.
#[derive(Debug, Serialize, ToSchema)]
pub struct Demo {
    users: Vec<DemoUser>,
    password: &'static str,
}

/// A user of the demo.
#[derive(Debug, Serialize, ToSchema)]
pub struct DemoUser {
    #[schema(value_type = UserIdText)]
    user: &'static str,
    name: &'static str,
}

/// Tells a page what it may offer.
#[utoipa::path(get, path = "/api/config", tag = "accounts",
    responses((status = 200, description = "The public settings", body = PublicConfig)))]
pub async fn config(state: web::Data<HttpState>) -> HttpResponse {
    let demo = state.settings.node.demo.then(|| Demo {
        users: demo::USERS.iter().map(|&(user, name)| DemoUser { user, name }).collect(),
        password: demo::PASSWORD,
    });
    HttpResponse::Ok().json(PublicConfig {
        demo,
        registration: state.settings.accounts.registration,
        version: VERSION.as_str(),
        discovery: state.node.addresses_of(Role::Discovery),
    })
}
