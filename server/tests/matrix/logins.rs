//! Who guesses passwords.

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use serde_json::json;
use tokio::time::Instant;

use crate::scene::{Scene, Seen, Visitor};

/// From how many addresses, with how many guesses under way from each.
const ADDRESSES: usize = 40;
const AT_ONCE: usize = 4;

/// Guesses the passwords of people whom there are, and of some whom there are not.
pub fn storm(scene: &Scene) -> LocalBoxFuture<'_, Seen> {
    async move {
        let end = Instant::now() + scene.lasts;
        let visitors = scene.visitors(ADDRESSES);
        let guessing = (0..ADDRESSES * AT_ONCE).map(|i| guess(&visitors[i / AT_ONCE], i, end));
        let mut seen = Seen::default();
        for one in join_all(guessing).await {
            seen.join(one);
        }
        // Who knows his password gets in when it is over.
        scene.visitor().register().await;
        seen
    }
    .boxed_local()
}

async fn guess(visitor: &Visitor, first: usize, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut number = first;
    while Instant::now() < end {
        number += 7;
        let user = match number % 2 {
            0 => format!("visitor-{}", number % 20),
            _ => format!("nobody-{number}"),
        };
        let body = json!({"user": user, "password": format!("guess-{number}")});
        let answer = visitor.ask("POST", "/api/login", None, Some(body)).await;
        if answer.status != 401 {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        seen.attempt([answer.status.to_string()]);
    }
    seen
}
