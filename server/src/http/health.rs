//! What a supervisor asks: alive, ready, and how it goes.

use std::time::Duration;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use prometheus_client::encoding::{prometheus_text, text};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::state::HttpState;

/// For how long an answer of the store's check stands.
const FRESH_MS: u64 = 1_000;

/// For how long the store may take to answer.
const CHECK: Duration = Duration::from_secs(2);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A good answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Good {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Says whether the process does its work: to be started again when not.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses(
    (status = 200, description = "Alive", body = Good),
    (status = 503, description = "A part of the process has stopped",
        body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn healthz(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    state.node.alive().map_err(|why| Problem::new(Kind::NotReady, why))?;
    Ok(HttpResponse::Ok().json(Good { status: "alive" }))
}

/// Says whether the node takes users: the store can be written and read, and it is not leaving.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "Ready", body = Good),
    (status = 503, description = "Not ready, and why",
        body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn readyz(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let not_ready = |why| Problem::new(Kind::NotReady, why).retry_after(2);
    state.node.alive().map_err(not_ready)?;
    state.node.ready().map_err(not_ready)?;
    check_store(&state).await.map_err(not_ready)?;
    Ok(HttpResponse::Ok().json(Good { status: "ready" }))
}

async fn check_store(state: &HttpState) -> Result<(), String> {
    let check = async || match tokio::time::timeout(CHECK, state.store.check()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the store did not answer within {} s", CHECK.as_secs())),
    };
    state.checked.answer(|| state.clock.monotonic_ms(), check).await
}

/// What the store's last check said, and when. Who asks while one is under way waits for it: anybody
/// may ask as often as he likes, and a check is a write.
#[derive(Default)]
pub struct LastCheck(Mutex<Option<(u64, Result<(), String>)>>);

impl LastCheck {
    /// Gives the last answer while it stands, or has it checked.
    async fn answer(
        &self,
        now_ms: impl Fn() -> u64,
        check: impl AsyncFnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| now_ms() - at < FRESH_MS) {
            return answer.clone();
        }
        let answer = check().await;
        *last = Some((now_ms(), answer.clone()));
        answer
    }
}

/// Gives every metric, in Prometheus' text format or, when asked for, in OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "The metrics",
        content((String = "text/plain"), (String = "application/openmetrics-text"))),
))]
pub async fn metrics(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let mut page = String::new();
    let (content_type, written) = if open {
        (OPEN_METRICS, text::encode(&mut page, &state.registry))
    } else {
        (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut page, &state.registry))
    };
    written.map_err(|_| Problem::new(Kind::Internal, "a metric cannot be written"))?;
    Ok(HttpResponse::Ok().content_type(content_type).body(page))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    #[actix_web::test]
    async fn however_many_ask_the_store_is_checked_once_a_second() {
        let (last, now_ms, checks) = (LastCheck::default(), Cell::new(5_000), Cell::new(0));
        let ask = async || {
            let check = async || {
                checks.set(checks.get() + 1);
                tokio::task::yield_now().await;
                // A check that takes longer than its answer stands.
                now_ms.set(now_ms.get() + 2_000);
                Err("away".to_owned())
            };
            last.answer(|| now_ms.get(), check).await
        };
        let all = join_all((0..10).map(|_| ask())).await;
        assert!(all.iter().all(|answer| *answer == Err("away".to_owned())));
        assert_eq!(checks.get(), 1);
        now_ms.set(now_ms.get() + FRESH_MS);
        let _ = ask().await;
        assert_eq!(checks.get(), 2);
    }
}
