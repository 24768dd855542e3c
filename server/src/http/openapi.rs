//! The description of the API, and how it stays true.
//!
//! Bodies and paths are described beside their handlers; what every operation of a shape may
//! answer (a body can be malformed, an asker unknown, a rate spent) is added here once. A
//! test compares the whole with the routes, and a fuzzer with the answers.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header::ContentType};
use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use super::admin::ADMIN;
use super::admit::is_api;
use super::caller::COOKIE;
use super::problem::{PROBLEM_JSON, ProblemBody};
use super::{accounts, admin, blocks, config, discover, health, me, messaging, presence, users};

/// How a user's or a node's id looks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Id, pattern = "^[a-z0-9][a-z0-9_.-]{0,31}$", example = "rafa")]
pub struct UserIdText(String);

/// How a display name looks: no control characters, and one at least that is no space.
#[derive(Debug, Serialize, ToSchema)]
#[schema(
    as = Name,
    min_length = 1,
    max_length = 64,
    pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$",
    example = "Rafa"
)]
pub struct NameText(String);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rally",
        description = "Accounts, the way in, and pages of what the store has. Messages are sent and \
            pushed as frames of the WebSocket; PROTOCOL.md describes them. A process that lacks \
            the role of an address answers 404 and names who has it. Requests that change something and are \
            authenticated by the cookie need the header x-rally-csrf: 1; programs send \
            Authorization: Bearer. A page that shows a user names him in x-rally-user, and is \
            answered 409 when somebody else has logged in since.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        config::config,
        accounts::register,
        accounts::login,
        accounts::logout,
        accounts::logout_everywhere,
        me::get,
        me::patch,
        users::find,
        users::get,
        blocks::list,
        blocks::put,
        blocks::delete,
        discover::discover,
        admin::nodes::list,
        admin::nodes::delete,
        admin::place::place,
        admin::connections::connections,
        admin::rates::rates,
        admin::incidents::incidents,
        messaging::inbox,
        messaging::history,
        presence::presence,
        health::healthz,
        health::readyz,
        health::metrics,
        serve,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Shared),
)]
struct Description;

/// Gives the description as JSON; made once.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        Description::openapi().to_pretty_json().expect("a description is plain data")
    });
    &TEXT
}

/// Gives this description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn serve() -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(text())
}

/// Adds what operations share.
struct Shared;

impl Modify for Shared {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut description.paths.paths {
            let operations = [
                (item.get.as_mut(), false),
                (item.post.as_mut(), true),
                (item.put.as_mut(), true),
                (item.patch.as_mut(), true),
                (item.delete.as_mut(), true),
            ];
            for (operation, changes) in operations {
                if let Some(operation) = operation {
                    add_shared(path, changes, operation);
                }
            }
        }
        let components = description.components.get_or_insert_default();
        components.add_security_scheme(
            "cookie",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE))),
        );
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let token = token.description(Some("The token that admin_token names"));
        components.add_security_scheme("admin", SecurityScheme::Http(token.build()));
    }
}

fn add_shared(path: &str, changes: bool, operation: &mut Operation) {
    // Outside of the API nothing is asked for, and nothing is shared.
    if !is_api(path) {
        return;
    }
    let logged_in = operation.security.is_some();
    let mut add = |status: &str, why: &str| {
        let described = operation.responses.responses.entry(status.to_owned());
        described.or_insert_with(|| problem(why));
    };
    add("429", "Too many requests: Retry-After says when to try again");
    add("500", "A fault of the server's");
    add("503", "Too much to do: Retry-After says when to try again");
    if logged_in {
        add("409", "Somebody else is logged in than x-rally-user names");
    }
    if changes {
        add("403", "The origin is not allowed, or x-rally-csrf is missing");
    }
    if operation.request_body.is_some() {
        add("400", "The body is not of the stated shape");
        add("413", "The body is too long");
        add("415", "The body is not application/json");
    }
    if path.starts_with(ADMIN) {
        add("401", "The operator's token is missing, or another");
        add("404", "No admin_token is set, or there is no such thing");
    }
    if operation.security.is_some() {
        add("401", "Nobody is logged in");
    }
    if path.contains('{') {
        add("404", "There is no such user");
    } else if operation.parameters.is_some() {
        add("400", "The query is not of the stated shape");
    }
}

fn problem(why: &str) -> RefOr<utoipa::openapi::Response> {
    let body = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(body)).build();
    RefOr::T(ResponseBuilder::new().description(why).content(PROBLEM_JSON, content).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_openapi_3_1_and_refers_to_nothing_that_is_missing() {
        let value: serde_json::Value = serde_json::from_str(text()).unwrap();
        assert!(value["openapi"].as_str().unwrap().starts_with("3.1"));
        for reference in text().split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(value.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
