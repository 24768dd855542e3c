//! What an operator sees when a node dies, over the real services.
//!
//!     cargo xtask services up
//!     cargo test -p rally-server --test far_admin -- --ignored

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::BTreeSet;

use harness::nodes::{TOKEN, Two, admin};
use harness::{Server, eventually, http};
use serde_json::{Value, json};

/// Gives a node's view of a node, the newest life of it.
async fn view(asked: &Server, node: &str) -> Option<Value> {
    let nodes = admin(asked, "/admin/nodes").await["nodes"].take();
    let of = |view: &&Value| view["life"].as_str().unwrap().starts_with(&format!("{node}@"));
    nodes.as_array().unwrap().iter().rfind(of).cloned()
}

async fn delete(asked: &Server, life: &str) -> u16 {
    let path = format!("/admin/nodes/{life}");
    http::ask(asked.address, "DELETE", &path, Some(TOKEN), None).await.status
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: cargo xtask services up"]
async fn a_death_is_told_with_its_reasons_and_the_dead_is_taken_off_the_list() {
    let Two { a, mut b, home: _home } = Two::start(&[]).await;
    let b_seen = view(&a, "node-1").await.unwrap();
    let life = b_seen["life"].as_str().unwrap().to_owned();
    assert_eq!((&b_seen["standing"], &b_seen["status"]), (&json!("live"), &json!("ready")));
    assert!(b_seen["why"].as_str().unwrap().starts_with("heard by gossip"), "{b_seen}");
    assert!(b_seen["clock_ahead_ms"].as_i64().unwrap().abs() < 3_000, "one machine: {b_seen}");
    assert_eq!(b_seen["address"], format!("http://{}", b.address));
    assert_eq!(delete(&a, &life).await, 409, "it is alive");
    assert_eq!(a.metric("rally_suspicions_total").await, 0.0);
    // Somebody is at home there and connected here: his home moves.
    let mut homes = BTreeSet::new();
    for user in ["rafa", "roger", "carlos", "novak", "andy"] {
        let place = admin(&a, &format!("/admin/place/{user}")).await;
        if place["home"] == life {
            homes.insert(user);
        }
    }
    let user = homes.first().expect("one of five");
    let _client = a.join(user).await;
    let moved_before = a.metric("rally_homes_moved_total").await;

    b.kill();
    let mut reasons = Vec::new();
    eventually("it is offline", async || {
        let b_seen = view(&a, "node-1").await.unwrap();
        reasons.push((b_seen["standing"].clone(), b_seen["why"].as_str().unwrap().to_owned()));
        b_seen["standing"] == "offline"
    })
    .await;
    let mut suspect = reasons.iter().filter(|(standing, _)| standing == "suspect");
    let suspect = suspect.next_back().expect("it was suspect before it was offline");
    assert!(suspect.1.contains("pinged through the broker"), "{suspect:?}");
    assert!(suspect.1.contains("nobody vouches"), "{suspect:?}");
    let (_, offline) = reasons.last().unwrap();
    assert!(offline.starts_with("offline for "), "{offline}");
    assert!(offline.contains("nobody vouched"), "{offline}");

    eventually("the user's home is here", async || {
        let place = admin(&a, &format!("/admin/place/{user}")).await;
        let passed = |one: &Value| one["life"] == life && one["passed"] == "not_heard";
        let candidates = place["candidates"].as_array().unwrap();
        // In turn only those that take users are considered.
        place["home"] != life && !candidates.iter().any(|one| one["life"] == life && !passed(one))
    })
    .await;
    assert_eq!(a.metric("rally_suspicions_total").await, 1.0);
    assert_eq!(a.metric("rally_verdicts_total").await, 1.0);
    assert!(a.metric("rally_homes_moved_total").await > moved_before);
    let incidents = admin(&a, "/admin/incidents").await["incidents"].take();
    let told = |kind: &str, words: &str| {
        let mut all = incidents.as_array().unwrap().iter();
        all.any(|one| one["kind"] == kind && one["words"].as_str().unwrap().contains(words))
    };
    assert!(told("suspected", &life) && told("offline", &life), "{incidents:#}");
    assert!(told("map_changed", "users are at home on node-0@"), "{incidents:#}");

    assert_eq!(delete(&a, &life).await, 204);
    assert_eq!(view(&a, "node-1").await.filter(|view| view["life"] == life), None);
    // Started again it is another life, and heard.
    b.restart();
    eventually("the node is back", async || {
        let back = view(&a, "node-1").await;
        back.is_some_and(|view| view["standing"] == "live" && view["life"] != life)
    })
    .await;
}
