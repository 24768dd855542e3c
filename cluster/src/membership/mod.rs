//! Membership: what nodes tell each other of themselves, and who is heard.
//!
//! The trait carries cards and says whose are heard; what follows from silence is decided in
//! `roster.rs`, without I/O. `local.rs` is the membership of nodes that share a process,
//! `chitchat.rs` of those on a network.

pub mod chitchat;
pub mod clocks;
pub mod local;
pub mod roster;
pub mod why;

use futures_util::stream::BoxStream;
use rally_schema::Life;
use serde::{Deserialize, Serialize};

use crate::roles::Roles;

pub use self::chitchat::ChitchatMembership;
pub use local::LocalMembership;

/// Whether a node takes users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not yet: it has still to hear of the others, or to open its store.
    Starting,
    /// It takes users.
    Ready,
    /// It is leaving: its users go elsewhere.
    Draining,
}

/// What a node tells all others of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Who it is.
    pub life: Life,
    /// Whether it takes users.
    pub status: Status,
    /// Where clients reach it: an origin such as `https://chat-1.example.org`.
    pub address: String,
    /// What it does; all, when the card is of a version that had no roles.
    #[serde(default)]
    pub roles: Roles,
    /// The version of its program.
    pub version: String,
    /// How many sessions it has.
    pub sessions: u32,
    /// How many it may have; as many as come, when the card is of a version that did not say.
    #[serde(default = "as_many_as_come")]
    pub most: u32,
    /// Its clock when it wrote this, in milliseconds since 1970.
    pub clock_ms: u64,
}

fn as_many_as_come() -> u32 {
    u32::MAX
}

/// The cards of all lives that are heard now, one's own among them: whole, after each change.
pub type Heard = BoxStream<'static, Vec<Card>>;

/// Carries cards between nodes, and tells whose are heard.
///
/// A life that is silent for about a second is heard no more; one that speaks again, whatever
/// the reason of its silence, is heard again. Nothing is promised about order between nodes, nor
/// that two nodes hear the same.
///
/// Whoever can hear nobody any more, by a failure that does not heal, is told the end of what is
/// heard, and must not go on by what it heard last.
pub trait Membership: Send + Sync + 'static {
    /// Replaces one's own card.
    fn announce(&self, card: Card);

    /// Begins to tell who is heard: at once, and after each change.
    fn heard(&self) -> Heard;
}
