//! The role `messaging`: pages of the inbox and of conversations, from the store.
//!
//! For programs, and for processes without sessions of their own; answers have the shapes of the
//! frames `inbox` and `history`. Whoever asks sees only conversations that he is a member of;
//! one that does not exist and one of others are answered alike.

use actix_web::{HttpResponse, web};
use rally_cluster::pages;
use rally_schema::limits::{HISTORY_PAGE, INBOX_PAGE};
use rally_schema::{ConversationId, MessageId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::problem::{Kind, Problem};
use super::shapes;
use super::state::HttpState;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Only what is older than this message; left out, the page is the newest.
    #[param(value_type = Option<Uuid>, nullable = false)]
    before: Option<MessageId>,
    /// How many to list.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

impl Page {
    fn limit(&self, most: u32) -> Result<usize, Problem> {
        match (1..=most).contains(&self.limit) {
            true => Ok(self.limit as usize),
            false => {
                let detail = format!("limit {}: 1 to {most} are allowed", self.limit);
                Err(Problem::new(Kind::BadQuery, detail))
            }
        }
    }
}

/// Lists the asker's conversations, the newest first.
#[utoipa::path(get, path = "/api/inbox", tag = "messaging", params(Page),
    security(("cookie" = []), ("bearer" = [])),
    responses((status = 200, description = "A page of the inbox", body = shapes::Inbox)))]
pub async fn inbox(
    caller: Caller,
    state: web::Data<HttpState>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = page.limit(INBOX_PAGE)?;
    let page = pages::inbox(&*state.store, caller.user(), page.before, limit).await?;
    Ok(HttpResponse::Ok().json(page))
}

/// Lists the messages of a conversation of the asker's, the newest first.
#[utoipa::path(get, path = "/api/conversations/{id}/messages", tag = "messaging",
    params(("id" = Uuid, Path, description = "Which conversation"), Page),
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "A page of the conversation", body = shapes::History),
        (status = 400, description = "The query is not of the stated shape",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The asker has no such conversation",
            body = super::problem::ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn history(
    caller: Caller,
    state: web::Data<HttpState>,
    path: web::Path<String>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = page.limit(HISTORY_PAGE)?;
    let unknown = || Problem::unknown_conversation(&path);
    let conversation: ConversationId = path.parse().map_err(|_| unknown())?;
    let store = &*state.store;
    pages::find_peer(store, caller.user(), conversation).await?.ok_or_else(unknown)?;
    // Smaller twins are left out, and left in the store: that is for who may write.
    let (page, _) = pages::history(store, conversation, page.before, limit).await?;
    Ok(HttpResponse::Ok().json(page))
}
