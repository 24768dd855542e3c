//! Where a user's clients are sent now, and why not elsewhere.

use actix_web::{HttpResponse, web};
use rally_cluster::membership::roster::Member;
use rally_cluster::placement::{Passed, Policy};
use rally_schema::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::openapi::UserIdText;
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::users::existing;

/// How a user is placed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Placing {
    /// Whom this is about.
    #[schema(value_type = UserIdText)]
    user: UserId,
    /// The life where his pushes arrive.
    home: String,
    /// How nodes are chosen: home, or round_robin.
    policy: &'static str,
    /// The life that his next client is sent to; none when no node takes users.
    chosen: Option<String>,
    /// All lives, in the order in which they are considered for him.
    candidates: Vec<Considered>,
}

/// A life that is considered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Considered {
    /// Which.
    life: String,
    /// How many sessions it has.
    sessions: u32,
    /// Why it is passed over, if it is: not_ready, not_heard, full.
    passed: Option<&'static str>,
    /// The same in words.
    why: String,
}

/// Says where a user's clients are sent.
#[utoipa::path(get, path = "/admin/place/{user}", tag = "admin", security(("admin" = [])),
    params(("user" = UserIdText, Path, description = "Whose clients")),
    responses((status = 200, description = "Home, order and reasons", body = Placing)))]
pub async fn place(
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let user = existing(&state, &path).await?.user;
    let placed = state.node.consider(user);
    let candidates: Vec<Considered> =
        placed.candidates.iter().map(|(member, passed)| considered(member, *passed)).collect();
    let policy = match placed.policy {
        Policy::Home => "home",
        Policy::RoundRobin => "round_robin",
    };
    let chosen = placed.chosen.map(|life| life.to_string());
    let home = placed.home.to_string();
    Ok(HttpResponse::Ok().json(Placing { user, home, policy, chosen, candidates }))
}

fn considered(member: &Member, passed: Option<Passed>) -> Considered {
    let card = &member.card;
    let (name, why) = match passed {
        None => (None, "it takes users and has room".to_owned()),
        Some(Passed::NotReady) => {
            (Some("not_ready"), format!("it says that it is {:?}", card.status).to_lowercase())
        }
        Some(Passed::NotHeard) => {
            let standing = member.standing.name();
            (Some("not_heard"), format!("it is {standing} here: clients may not reach it either"))
        }
        Some(Passed::Full { allowed }) => {
            let sessions = card.sessions;
            let what =
                if sessions < card.most { "are its share now" } else { "are all it may hold" };
            (Some("full"), format!("it holds {sessions} sessions, and {allowed} {what}"))
        }
    };
    Considered { life: card.life.to_string(), sessions: card.sessions, passed: name, why }
}
