//! Accounts over HTTP, against a real server process: registering, logging in and out, what
//! proves a request, and how often one may ask.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::net::SocketAddr;

use futures_util::future::join_all;
use harness::Server;
use harness::client::Client;
use harness::http::{self, Answer, ask, exchange};
use rally_schema::frame::ByeReason;
use serde_json::json;

const PASSWORD: &str = "correct horse";

/// Asks as a browser does: with the cookie, and with whatever else is named.
async fn as_browser(
    server: &Server,
    method: &str,
    path: &str,
    cookie: &str,
    more: &[(&str, &str)],
) -> Answer {
    let cookie = format!("rally_session={cookie}");
    let mut headers = vec![("cookie", &*cookie), ("content-type", "application/json")];
    headers.extend(more);
    exchange(server.address, method, path, &headers, None).await
}

#[tokio::test]
async fn an_account_is_made_logged_in_and_logged_out() {
    let server = Server::with(&["--demo=false"]);
    let made = server.post("/api/register", None, json!({"user": "ana", "password": PASSWORD}));
    let made = made.await;
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("ana")));
    let again = json!({"user": "ana", "password": "another one", "name": "Ana B."});
    assert_eq!(server.post("/api/register", None, again).await.problem(), "taken");

    let log_in = async |bearer| post_login(server.address, "ana", PASSWORD, bearer).await;
    let browser = log_in(false).await;
    assert_eq!((browser.status, browser.json().get("token")), (200, None));
    let program = log_in(true).await;
    assert!(program.cookie().is_none());
    let token = program.json()["token"].as_str().unwrap().to_owned();
    let cookies = [made.cookie().unwrap(), browser.cookie().unwrap()];
    for cookie in cookies {
        let me = as_browser(&server, "GET", "/api/me", cookie, &[]).await;
        assert_eq!(me.json()["user"], "ana");
    }
    assert_eq!(server.get("/api/me", Some(&token)).await.json()["hide_presence"], false);

    // Logging out ends this log-in and its open sessions, and no other.
    let other = log_in(true).await.json()["token"].as_str().unwrap().to_owned();
    let join = async |token: &String| {
        let client = uuid::Uuid::new_v4().into();
        Client::join_as(server.address, "ana", token.clone(), client, None).await
    };
    let (open, mut ends) = (join(&token).await, join(&other).await);
    assert_eq!(server.post("/api/logout", Some(&other), json!({})).await.status, 204);
    assert_eq!(ends.goodbye().await.reason, ByeReason::LoggedOut);
    let proof = [("x-rally-csrf", "1")];
    let out = as_browser(&server, "POST", "/api/logout", cookies[1], &proof).await;
    assert_eq!((out.status, out.cookie()), (204, Some("")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    let gone = as_browser(&server, "GET", "/api/me", cookies[1], &[]).await;
    assert_eq!((gone.status, &*gone.problem()), (401, "log-in"));
    assert_eq!(as_browser(&server, "GET", "/api/me", cookies[0], &[]).await.status, 200);

    // Logging out everywhere ends them all, open sessions and tickets too.
    let late = uuid::Uuid::new_v4();
    let ticket = http::ticket(server.address, &token, &late.to_string()).await;
    let out = server.post("/api/logout-everywhere", Some(&token), json!({})).await;
    assert_eq!(out.status, 204);
    let late = Client::try_hello(server.address, "ana", &token, late.into(), &None, ticket).await;
    for mut client in [open, late.unwrap()] {
        let bye = client.goodbye().await;
        assert_eq!((bye.reason, bye.reconnect_after_ms), (ByeReason::LoggedOut, None));
    }
    assert_eq!(server.get("/api/me", Some(&token)).await.status, 401);
    assert_eq!(as_browser(&server, "GET", "/api/me", cookies[0], &[]).await.status, 401);
    assert_eq!(log_in(true).await.status, 200);
}

async fn post_login(address: SocketAddr, user: &str, password: &str, bearer: bool) -> Answer {
    let body = json!({"user": user, "password": password, "bearer": bearer});
    ask(address, "POST", "/api/login", None, Some(body)).await
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_answered_alike() {
    let server = Server::start();
    let wrong = post_login(server.address, "rafa", "not the password", true).await;
    let unknown = post_login(server.address, "nobody-here", "not the password", true).await;
    assert_eq!((wrong.status, &*wrong.problem()), (401, "bad-login"));
    assert_eq!(wrong.body, unknown.body);
    for token in ["", "garbage", "eyJpZCI6MX0"] {
        assert_eq!(server.get("/api/me", Some(token)).await.status, 401, "{token:?}");
    }
    // A log-in that was altered anywhere is none.
    let token = http::log_in(server.address, "rafa").await;
    for at in (0..token.len()).step_by(17) {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        let other = String::from_utf8(other).unwrap();
        assert_eq!(server.get("/api/me", Some(&other)).await.status, 401, "at {at}");
    }
}

#[tokio::test]
async fn a_cookie_is_for_this_site_and_no_script_and_secure_behind_https() {
    let server = Server::start();
    let answer = post_login(server.address, "rafa", "rally-demo", false).await;
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    let server = Server::with(&["--public-url=https://chat.example"]);
    let answer = post_login(server.address, "rafa", "rally-demo", false).await;
    assert!(answer.header("set-cookie").unwrap().contains("Secure"));
    assert!(answer.header("strict-transport-security").is_some());
}

#[tokio::test]
async fn a_request_that_changes_something_proves_that_a_page_of_ours_made_it() {
    let server = Server::start();
    let cookie = post_login(server.address, "rafa", "rally-demo", false).await;
    let cookie = cookie.cookie().unwrap();
    let own = format!("http://{}", server.address);
    let put = async |more: &[(&str, &str)]| {
        as_browser(&server, "PUT", "/api/blocks/roger", cookie, more).await
    };
    assert_eq!(put(&[]).await.problem(), "csrf");
    assert_eq!(put(&[("x-rally-csrf", "0")]).await.problem(), "csrf");
    assert_eq!(put(&[("x-rally-csrf", "1")]).await.status, 204);
    assert_eq!(put(&[("x-rally-csrf", "1"), ("origin", &own)]).await.status, 204);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let answer = put(&[("x-rally-csrf", "1"), ("origin", origin)]).await;
        assert_eq!((answer.status, &*answer.problem()), (403, "origin"), "{origin}");
        // Nor may a foreign page log its visitor in.
        let body = json!({"user": "rafa", "password": "rally-demo"}).to_string();
        let headers = [("origin", origin), ("content-type", "application/json")];
        let answer = exchange(server.address, "POST", "/api/login", &headers, Some(&body)).await;
        assert_eq!(answer.problem(), "origin", "{origin}");
    }
    // Nor does a page that shows somebody else, of before this log-in.
    let of_roger = put(&[("x-rally-csrf", "1"), ("x-rally-user", "roger")]).await;
    assert_eq!((of_roger.status, &*of_roger.problem()), (409, "other-user"));
    assert_eq!(put(&[("x-rally-csrf", "1"), ("x-rally-user", "rafa")]).await.status, 204);
    // Reading needs no proof: a foreign page cannot see the answer.
    assert_eq!(as_browser(&server, "GET", "/api/blocks", cookie, &[]).await.status, 200);
    let token = http::log_in(server.address, "rafa").await;
    let blocks = ask(server.address, "DELETE", "/api/blocks/roger", Some(&token), None).await;
    assert_eq!(blocks.status, 204, "a token is proof of its own");
}

/// Asks `count` times and gives the statuses.
async fn statuses(count: usize, mut asking: impl AsyncFnMut() -> Answer) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer = asking().await;
        if answer.status == 429 {
            assert_eq!(answer.problem(), "rate");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test]
async fn rates_are_by_user_and_by_address_and_settings() {
    let server = Server::with(&["--rate-logins-per-minute-user=3"]);
    let login = async |user: &str| post_login(server.address, user, "rally-demo", true).await;
    assert_eq!(statuses(4, async || login("rafa").await).await, [200, 200, 200, 429]);
    assert_eq!(login("roger").await.status, 200, "each user for himself");

    let server = Server::with(&["--rate-logins-per-minute-address=2"]);
    let login = async |user: &str| post_login(server.address, user, "rally-demo", true).await;
    assert_eq!(login("rafa").await.status, 200);
    assert_eq!(login("roger").await.status, 200);
    assert_eq!(login("carlos").await.status, 429, "whoever asks from there");

    let server = Server::with(&["--rate-registers-per-minute-address=1"]);
    let register = async |user: &str| {
        server.post("/api/register", None, json!({"user": user, "password": PASSWORD})).await
    };
    assert_eq!(register("ana").await.status, 201);
    assert_eq!(register("ben").await.status, 429);

    let server =
        Server::with(&["--rate-requests-per-second-user=1", "--rate-requests-burst-user=2"]);
    let token = http::log_in(server.address, "rafa").await;
    let me = async || server.get("/api/me", Some(&token)).await;
    assert_eq!(statuses(3, me).await, [200, 200, 429]);
    assert_eq!(server.get("/api/config", None).await.status, 200);

    let server = Server::with(&[
        "--rate-requests-per-second-address=1",
        "--rate-requests-burst-address=2",
        "--trusted-hops=1",
    ]);
    let from = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        exchange(server.address, "GET", "/api/config", &headers, None).await
    };
    let forged = async || from("6.6.6.6, 10.0.0.1").await;
    assert_eq!(statuses(2, &forged).await, [200, 200]);
    // At the same time: by the next second there would be room for one again.
    let (same, other) = tokio::join!(forged(), from("1.1.1.1, 10.0.0.1"));
    assert_eq!((same.status, other.status), (429, 429), "the proxy's own word counts");
    assert_eq!(from("10.0.0.2").await.status, 200);
    assert_eq!(server.get("/readyz", None).await.status, 200, "probes have no rate");
}

#[tokio::test]
async fn a_stranger_who_tries_passwords_does_not_lock_the_user_out() {
    let server = Server::with(&["--rate-logins-per-minute-user=2", "--trusted-hops=1"]);
    let from = async |address: &str, password: &str| {
        let headers = [("x-forwarded-for", address), ("content-type", "application/json")];
        let body = json!({"user": "rafa", "password": password}).to_string();
        exchange(server.address, "POST", "/api/login", &headers, Some(&body)).await
    };
    let guess = async || from("6.6.6.6", "a guess").await;
    assert_eq!(statuses(3, guess).await, [401, 401, 429]);
    assert_eq!(from("10.0.0.1", "rally-demo").await.status, 200, "he asks from elsewhere");
    // Many who guess together are held back as well.
    let crowd = async |n: usize| from(&format!("7.7.7.{}", n / 2), "a guess").await.status;
    let guesses = futures_util::future::join_all((0..60).map(crowd)).await;
    assert!(guesses.iter().filter(|status| **status == 401).count() <= 40, "{guesses:?}");
}

#[tokio::test]
async fn log_ins_cost_the_memory_of_those_that_run_at_once() {
    const HASH: u64 = 19 * 1024 * 1024;
    let server = Server::with(&["--password-hash-concurrency=2"]);
    let before = server.rss();
    for _ in 0..8 {
        let few = (0..5).map(|_| post_login(server.address, "rafa", "rally-demo", true));
        assert!(join_all(few).await.iter().all(|answer| answer.status == 200));
    }
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 2 * HASH + HASH / 2, "40 log-ins took {grown} bytes");
}
