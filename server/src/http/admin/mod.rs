//! What an operator asks of a node, and the one thing that he may tell it.
//!
//! Closed, as if it were not there, unless `admin_token` is set; then whoever shows that token
//! may come in. One file a resource. Knows the node only by
//! [`NodeControl`](super::NodeControl), and the store.

pub mod connections;
pub mod incidents;
pub mod nodes;
pub mod place;
pub mod rates;
mod reading;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, web};

use super::caller::state_of;
use super::problem::{Kind, Problem};
use super::{READ, at, read};
pub(super) use rates::Looks;

/// Under which path all of it is.
pub const ADMIN: &str = "/admin";

/// Adds the routes.
pub fn routes(cfg: &mut web::ServiceConfig) {
    let scope = web::scope(ADMIN)
        .wrap(from_fn(guard))
        .service(at("/nodes", READ).route(read().to(nodes::list)))
        .service(at("/nodes/{life}", "DELETE").route(web::delete().to(nodes::delete)))
        .service(at("/place/{user}", READ).route(read().to(place::place)))
        .service(at("/connections", READ).route(read().to(connections::connections)))
        .service(at("/rates", READ).route(read().to(rates::rates)))
        .service(at("/incidents", READ).route(read().to(incidents::incidents)))
        .default_service(web::to(async || Err::<&'static str, _>(nothing())));
    cfg.service(scope);
}

/// Lets the operator through. Before routing, so that a stranger learns nothing of what there is.
async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let verdict = judge(request.request());
    match verdict {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(problem) => Ok(request.into_response(HttpResponse::from_error(problem))),
    }
}

fn judge(request: &HttpRequest) -> Result<(), Problem> {
    let state = state_of(request);
    let token = state.settings.cluster.admin_token.as_ref().ok_or_else(nothing)?;
    let shown = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let shown = shown.and_then(|text| text.split_once(' '));
    match shown {
        Some((scheme, shown))
            if scheme.eq_ignore_ascii_case("bearer") && token.is(shown.trim()) =>
        {
            Ok(())
        }
        _ => Err(Problem::new(
            Kind::AdminToken,
            "send the header authorization: Bearer TOKEN, with the token that the node was given",
        )),
    }
}

fn nothing() -> Problem {
    Problem::new(Kind::NotFound, "there is nothing here")
}
