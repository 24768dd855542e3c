//! A cluster of two whose clients are placed in turn, and what its operator asks.

use serde_json::Value;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::{Server, eventually};

/// Users that are on every demo node.
const DEMO: [&str; 5] = ["rafa", "roger", "carlos", "novak", "andy"];

/// What opens `/admin` on these nodes.
pub const TOKEN: &str = "a-token-of-the-operator";

/// A cluster of two.
pub struct Two {
    /// One, which is called node-0.
    pub a: Server,
    /// The other, which is called node-1.
    pub b: Server,
    /// Where they keep what is theirs.
    pub home: TempDir,
}

impl Two {
    /// Starts two nodes with further flags, and waits until each sends users to both. Clients are
    /// placed in turn, so that a test has them where it wants.
    pub async fn start(flags: &[&str]) -> Self {
        let token = format!("--admin-token={TOKEN}");
        let own = [&*token, "--demo", "--placement=round-robin"];
        let all: Vec<&str> = own.into_iter().chain(flags.iter().copied()).collect();
        let (mut servers, home) = Cluster::with_flags(&["all", "all"], &all).into_servers();
        let (b, a) = (servers.pop().unwrap(), servers.pop().unwrap());
        let two = Self { a, b, home };
        for asked in [&two.a, &two.b] {
            eventually("each node sends users to both", async || {
                let place = admin(asked, "/admin/place/rafa").await;
                let candidates = place["candidates"].as_array().unwrap();
                let fit = candidates.iter().filter(|one| one["passed"].is_null());
                fit.count() == 2
            })
            .await;
        }
        two
    }

    /// Gives the users that are at home on a node.
    pub async fn at_home(&self, node: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        for user in DEMO {
            let place = admin(&self.a, &format!("/admin/place/{user}")).await;
            if place["home"].as_str().unwrap().starts_with(&format!("{node}@")) {
                found.push(user);
            }
        }
        found
    }
}

/// Asks a node as its operator.
pub async fn admin(node: &Server, path: &str) -> Value {
    let answer = node.get(path, Some(TOKEN)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}
