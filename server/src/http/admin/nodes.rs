//! The nodes of the cluster as this one sees them, and as the store has them.
//!
//! Taking a dead life off the list is a verdict in the store, final for that life: every node
//! leaves it out from then on, unless it hears it. It cannot be taken back, and need not be: a
//! node that starts again is another life.

use actix_web::{HttpResponse, web};
use rally_cluster::membership::Status;
use rally_cluster::membership::roster::{Member, Standing};
use rally_cluster::membership::why::{span, why};
use rally_cluster::store::{NodeRow, NodeStatus, StoreError};
use rally_schema::Life;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::{Kind, Problem};
use super::super::state::HttpState;

/// A heartbeat in the store that is younger than this is a node that lives.
const FRESH_MS: u64 = 60_000;

/// The lives that are known.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nodes {
    /// The life that answers.
    #[schema(example = "node-1@1760000000000")]
    asked: String,
    /// Its clock, in milliseconds since 1970.
    now_ms: u64,
    /// All, in the order of their names.
    nodes: Vec<NodeView>,
    /// Why `stored` is left out, when the store did not answer; then the lives are those that are
    /// known here, and some may have been taken off the list.
    unread: Option<String>,
}

/// One life of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// Which: the node, and the number of its run.
    #[schema(example = "node-1@1760000000000")]
    life: String,
    /// How it stands: live, suspect, offline; unknown when only the store knows of it.
    standing: &'static str,
    /// Why, in words.
    why: String,
    /// What it says of itself: starting, ready, draining.
    #[schema(value_type = Option<String>)]
    status: Option<Status>,
    /// Where clients reach it.
    address: String,
    /// The version of its program.
    version: Option<String>,
    /// How many sessions it has.
    sessions: Option<u32>,
    /// How far its clock is ahead of the clock of the life that answers.
    clock_ahead_ms: Option<i64>,
    /// What the store has of it.
    stored: Option<Stored>,
}

/// What the store has of a life.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stored {
    /// The latest verdict.
    #[schema(value_type = String)]
    status: NodeStatus,
    /// When it was given, in milliseconds since 1970.
    status_ms: u64,
    /// When the life was last known to live.
    heartbeat_ms: u64,
}

/// Lists the nodes.
#[utoipa::path(get, path = "/admin/nodes", tag = "admin", security(("admin" = [])),
    responses((status = 200, description = "All lives that are known", body = Nodes)))]
pub async fn list(state: web::Data<HttpState>) -> HttpResponse {
    let (rows, unread) = read(state.store.nodes().await);
    let members = state.node.members();
    let stored = |life| rows.iter().find(|row| row.life == life);
    let taken_off = |life| stored(life).is_some_and(|row| row.status == NodeStatus::Deleted);
    let over = |member: &Member| matches!(member.standing, Standing::Offline { .. });
    let shown = members.iter().filter(|m| !(over(m) && taken_off(m.card.life)));
    let mut nodes: Vec<(Life, NodeView)> =
        shown.map(|m| (m.card.life, known(&state, m, &members, stored(m.card.life)))).collect();
    let unknown = |row: &&NodeRow| {
        row.status != NodeStatus::Deleted && members.iter().all(|m| m.card.life != row.life)
    };
    let now_ms = state.clock.now_ms();
    nodes.extend(rows.iter().filter(unknown).map(|row| (row.life, from_store(row, now_ms))));
    nodes.sort_by_key(|(life, _)| *life);
    let nodes = nodes.into_iter().map(|(_, node)| node).collect();
    let asked = state.life.to_string();
    HttpResponse::Ok().json(Nodes { asked, now_ms, nodes, unread })
}

/// Gives what the store has, or why that is missing: whoever asks while the store is away has all
/// the more need of the rest.
fn read(rows: Result<Vec<NodeRow>, StoreError>) -> (Vec<NodeRow>, Option<String>) {
    match rows {
        Ok(rows) => (rows, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn known(
    state: &HttpState,
    member: &Member,
    members: &[Member],
    stored: Option<&NodeRow>,
) -> NodeView {
    let card = &member.card;
    let clock_ahead_ms = match card.life == state.life {
        true => Some(0),
        false => state.node.clocks().get(&card.life).copied(),
    };
    NodeView {
        life: card.life.to_string(),
        standing: member.standing.name(),
        why: why(state.life, member, members, state.clock.monotonic_ms()),
        status: Some(card.status),
        address: card.address.clone(),
        version: Some(card.version.clone()),
        sessions: Some(card.sessions),
        clock_ahead_ms,
        stored: stored.map(Stored::of),
    }
}

/// Shows a life that this node never heard.
fn from_store(row: &NodeRow, now_ms: u64) -> NodeView {
    let silent = span(now_ms.saturating_sub(row.heartbeat_ms));
    NodeView {
        life: row.life.to_string(),
        standing: "unknown",
        why: format!(
            "not heard since this node started; its last heartbeat in the store is {silent} old"
        ),
        status: None,
        address: row.address.clone(),
        version: None,
        sessions: None,
        clock_ahead_ms: None,
        stored: Some(Stored::of(row)),
    }
}

impl Stored {
    fn of(row: &NodeRow) -> Self {
        let NodeRow { status, status_ms, heartbeat_ms, .. } = *row;
        Self { status, status_ms, heartbeat_ms }
    }
}

/// Takes a dead life off the list, for good; may be repeated.
#[utoipa::path(delete, path = "/admin/nodes/{life}", tag = "admin", security(("admin" = [])),
    params(("life" = String, Path, description = "Which, as the list names it")),
    responses(
        (status = 204, description = "It is off the list"),
        (status = 409, description = "It is heard, or may be alive",
            body = super::super::problem::ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn delete(
    state: web::Data<HttpState>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = state.store.nodes().await?;
    let members = state.node.members();
    let member = members.iter().find(|member| member.card.life.to_string() == **path);
    let row = rows.iter().find(|row| row.life.to_string() == **path);
    let now_ms = state.clock.now_ms();
    let (life, address, heartbeat_ms) = match (member, row) {
        (Some(Member { card, .. }), _) => (card.life, card.address.clone(), card.clock_ms),
        (None, Some(row)) => (row.life, row.address.clone(), row.heartbeat_ms),
        (None, None) => {
            let shown: String = path.chars().take(64).collect();
            return Err(Problem::new(Kind::NotFound, format!("unknown life {shown:?}")));
        }
    };
    if let Some(why) = lives(&state, member, row, &members, now_ms) {
        return Err(Problem::new(Kind::Heard, format!("{life} may be alive: {why}")));
    }
    let status = NodeStatus::Deleted;
    state
        .store
        .set_node(NodeRow { life, address, status, status_ms: now_ms, heartbeat_ms })
        .await?;
    tracing::info!(%life, "an operator took a life off the list");
    Ok(HttpResponse::NoContent().finish())
}

/// Says why a life may be alive, if it may.
fn lives(
    state: &HttpState,
    member: Option<&Member>,
    row: Option<&NodeRow>,
    members: &[Member],
    now_ms: u64,
) -> Option<String> {
    match (member, row) {
        (Some(member), _) => match member.standing {
            Standing::Offline { .. } => None,
            Standing::Live | Standing::Suspect { .. } => {
                Some(why(state.life, member, members, state.clock.monotonic_ms()))
            }
        },
        // A node has one life.
        (None, Some(row)) if members.iter().any(|member| follows(member, row)) => None,
        // This node never heard it: somebody else may.
        (None, Some(row)) => {
            let silent_ms = now_ms.saturating_sub(row.heartbeat_ms);
            let over = matches!(row.status, NodeStatus::Offline | NodeStatus::Deleted);
            let beats = !over && silent_ms < FRESH_MS;
            beats.then(|| format!("its heartbeat in the store is {} old", span(silent_ms)))
        }
        (None, None) => None,
    }
}

/// Tells whether a member is a later life of the node that a row is about.
fn follows(member: &Member, row: &NodeRow) -> bool {
    let (later, life) = (member.card.life, row.life);
    later.node == life.node && later.generation > life.generation
}
