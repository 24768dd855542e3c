//! What the store keeps of nodes, and how writes about one of their lives meet.
//!
//! A join, like everything else that is stored: writes may come from the node itself and from
//! whoever judged it, in any order and again and again. Knows nothing of gossip.

use rally_schema::Life;
use serde::{Deserialize, Serialize};

/// What became of one life of a node.
///
/// The order is that of gravity: of two verdicts of one moment the graver stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It runs, and is no home yet.
    Starting,
    /// It is a home.
    Ready,
    /// It leaves, and is no home any more.
    Draining,
    /// It is silent; nobody decided yet.
    Suspect,
    /// It is gone, as far as anybody can tell.
    Offline,
    /// An operator took it off the list: final for this life.
    Deleted,
}

impl NodeStatus {
    /// Every status, the gravest last.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Ready, Self::Draining, Self::Suspect, Self::Offline, Self::Deleted];
}

/// One life of a node.
///
/// **Who wins.** Heartbeat (with the address it came from) and status are two facts. The later
/// heartbeat stays, whoever wrote it; the later verdict stays, of one moment the graver; a
/// heartbeat changes no verdict. [`NodeStatus::Deleted`] beats every verdict, earlier or later:
/// what an operator took off the list comes back as another life, by starting again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Which node, in which of its lives.
    pub life: Life,
    /// Where other nodes and clients reach it.
    pub address: String,
    /// The latest verdict.
    pub status: NodeStatus,
    /// When that was given, in milliseconds.
    pub status_ms: u64,
    /// When it was last known to live, in milliseconds.
    pub heartbeat_ms: u64,
}

impl NodeRow {
    /// Merges another write about the same life in.
    pub fn merge(&mut self, other: Self) {
        if (other.heartbeat_ms, &other.address) > (self.heartbeat_ms, &self.address) {
            (self.heartbeat_ms, self.address) = (other.heartbeat_ms, other.address);
        }
        let weight = |status, ms| (status == NodeStatus::Deleted, ms, status);
        if weight(other.status, other.status_ms) > weight(self.status, self.status_ms) {
            (self.status, self.status_ms) = (other.status, other.status_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_its_name() {
        let names = NodeStatus::ALL.map(|status| serde_json::to_string(&status).unwrap());
        let expected = ["starting", "ready", "draining", "suspect", "offline", "deleted"];
        assert_eq!(names, expected.map(|name| format!("{name:?}")));
        assert!(NodeStatus::ALL.is_sorted());
    }
}
