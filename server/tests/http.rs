//! Accounts and the way in over HTTP, against a real server process: what each address gives,
//! and how it refuses.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use harness::client::Client;
use harness::http::{self, Answer, ask, exchange};
use harness::measure::pulse;
use harness::raw::Dice;
use harness::{PATIENCE, Server};
use rally_schema::frame::{ByeReason, Presence, ServerFrame, Watch};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PASSWORD: &str = "correct horse";

async fn post(server: &Server, path: &str, token: Option<&str>, body: Value) -> Answer {
    ask(server.address, "POST", path, token, Some(body)).await
}

async fn get(server: &Server, path: &str, token: Option<&str>) -> Answer {
    ask(server.address, "GET", path, token, None).await
}

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
    let made = post(&server, "/api/register", None, json!({"user": "ana", "password": PASSWORD}));
    let made = made.await;
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("ana")));
    let again = json!({"user": "ana", "password": "another one", "name": "Ana B."});
    assert_eq!(post(&server, "/api/register", None, again).await.problem(), "taken");

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
    assert_eq!(get(&server, "/api/me", Some(&token)).await.json()["hide_presence"], false);

    // Logging out ends this log-in and no other.
    let proof = [("x-rally-csrf", "1")];
    let out = as_browser(&server, "POST", "/api/logout", cookies[1], &proof).await;
    assert_eq!((out.status, out.cookie()), (204, Some("")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    let gone = as_browser(&server, "GET", "/api/me", cookies[1], &[]).await;
    assert_eq!((gone.status, &*gone.problem()), (401, "log-in"));
    assert_eq!(as_browser(&server, "GET", "/api/me", cookies[0], &[]).await.status, 200);

    // Logging out everywhere ends them all, open sessions and tickets too.
    let client = uuid::Uuid::new_v4();
    let mut open = Client::join_as(server.address, "ana", token.clone(), client.into(), None).await;
    let out = post(&server, "/api/logout-everywhere", Some(&token), json!({})).await;
    assert_eq!(out.status, 204);
    let bye = open.goodbye().await;
    assert_eq!((bye.reason, bye.reconnect_after_ms), (ByeReason::LoggedOut, None));
    assert_eq!(get(&server, "/api/me", Some(&token)).await.status, 401);
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
        assert_eq!(get(&server, "/api/me", Some(token)).await.status, 401, "{token:?}");
    }
    // A log-in that was altered anywhere is none.
    let token = http::log_in(server.address, "rafa").await;
    for at in (0..token.len()).step_by(17) {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        let other = String::from_utf8(other).unwrap();
        assert_eq!(get(&server, "/api/me", Some(&other)).await.status, 401, "at {at}");
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
    // Reading needs no proof: a foreign page cannot see the answer.
    assert_eq!(as_browser(&server, "GET", "/api/blocks", cookie, &[]).await.status, 200);
    let token = http::log_in(server.address, "rafa").await;
    let blocks = ask(server.address, "DELETE", "/api/blocks/roger", Some(&token), None).await;
    assert_eq!(blocks.status, 204, "a token is proof of its own");
}

#[tokio::test]
async fn every_answer_wears_its_headers() {
    let server = Server::start();
    for path in ["/", "/chat/rafa", "/api/config", "/api/nothing", "/nothing.js", "/metrics"] {
        let answer = get(&server, path, None).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(policy.contains(&format!("ws://{}", server.address)), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let cache = answer.header("cache-control");
        assert!(!path.starts_with("/api/") || cache == Some("no-store"), "{path}: {cache:?}");
    }
    assert_eq!(
        get(&server, "/", None).await.header("content-type"),
        Some("text/html; charset=utf-8")
    );
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
        post(&server, "/api/register", None, json!({"user": user, "password": PASSWORD})).await
    };
    assert_eq!(register("ana").await.status, 201);
    assert_eq!(register("ben").await.status, 429);

    let server =
        Server::with(&["--rate-requests-per-second-user=1", "--rate-requests-burst-user=2"]);
    let token = http::log_in(server.address, "rafa").await;
    let me = async || get(&server, "/api/me", Some(&token)).await;
    assert_eq!(statuses(3, me).await, [200, 200, 429]);
    assert_eq!(get(&server, "/api/config", None).await.status, 200);

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
    assert_eq!(statuses(3, forged).await, [200, 200, 429]);
    assert_eq!(from("1.1.1.1, 10.0.0.1").await.status, 429, "the proxy's own word counts");
    assert_eq!(from("10.0.0.2").await.status, 200);
    assert_eq!(get(&server, "/readyz", None).await.status, 200, "probes have no rate");
}

#[tokio::test]
async fn a_storm_of_log_ins_is_told_to_come_back_and_starves_nobody() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let for_a_while = || Instant::now() + Duration::from_millis(1_500);
    let usual = pulse(&mut rafa, &mut roger, for_a_while()).await;
    let storm =
        join_all((0..200).map(|_| post_login(server.address, "carlos", "rally-demo", true)));
    let (answers, stormy) = tokio::join!(storm, pulse(&mut rafa, &mut roger, for_a_while()));
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    let (good, busy) = (count(200), count(503));
    println!("{good} logged in, {busy} told to come back; median {stormy:?} after {usual:?}");
    assert_eq!(good + busy, 200);
    assert!(good > 0 && busy > 0, "{good} and {busy}");
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        assert_eq!(answer.problem(), "busy");
        assert!(answer.header("retry-after").is_some());
    }
    assert!(stormy <= usual * 4 + Duration::from_millis(100), "{stormy:?} after {usual:?}");
    assert_eq!(post_login(server.address, "carlos", "rally-demo", true).await.status, 200);
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_their_id() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let find = async |query: &str| {
        let answer = get(&server, &format!("/api/users?{query}"), Some(&token)).await;
        let found = answer.json();
        let users = found["users"].as_array().unwrap_or_else(|| panic!("{query}: {answer:?}"));
        users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(find("").await, ["andy", "carlos", "novak", "roger"], "all but oneself, on a demo");
    assert_eq!(find("prefix=r").await, ["roger"]);
    assert_eq!(find("prefix=RO").await, ["roger"]);
    assert_eq!(find("prefix=x").await, Vec::<String>::new());
    assert_eq!(find("limit=2").await, ["andy", "carlos"]);
    let refused = ["limit=0", "limit=51", "limit=x", "prefix=%20", "prefix=%00", "prefix=%FF"];
    for query in refused {
        let answer = get(&server, &format!("/api/users?{query}"), Some(&token)).await;
        assert_eq!((answer.status, &*answer.problem()), (400, "bad-query"), "{query}");
    }
    let roger = get(&server, "/api/users/roger", Some(&token)).await.json();
    let chat =
        rally_schema::ConversationId::direct("rafa".parse().unwrap(), "roger".parse().unwrap());
    assert_eq!((&roger["name"], &roger["conversation"]), (&json!("Roger"), &json!(chat)));
    for name in ["nobody", "No%20Id", "%FF", "..%2f..%2fetc"] {
        let answer = get(&server, &format!("/api/users/{name}"), Some(&token)).await;
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{name}");
    }
    assert_eq!(get(&server, "/api/users", None).await.status, 401);
    let server = Server::with(&["--demo=false"]);
    let token = http::register(server.address, "ana").await;
    let all = get(&server, "/api/users", Some(&token)).await;
    assert_eq!((all.status, &*all.problem()), (400, "bad-query"), "nobody lists everybody");
}

#[tokio::test]
async fn people_are_blocked_and_unblocked() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let change = async |method: &str, user: &str| {
        ask(server.address, method, &format!("/api/blocks/{user}"), Some(&token), None).await
    };
    let blocked = async || get(&server, "/api/blocks", Some(&token)).await.json()["users"].clone();
    assert_eq!(blocked().await, json!([]));
    for user in ["roger", "andy", "roger"] {
        assert_eq!(change("PUT", user).await.status, 204);
    }
    assert_eq!(blocked().await, json!(["andy", "roger"]));
    assert_eq!(change("PUT", "rafa").await.problem(), "bad-value");
    assert_eq!(change("PUT", "nobody").await.problem(), "not-found");
    for _ in 0..2 {
        assert_eq!(change("DELETE", "andy").await.status, 204);
    }
    assert_eq!(blocked().await, json!(["roger"]));
    let roger = http::log_in(server.address, "roger").await;
    assert_eq!(get(&server, "/api/blocks", Some(&roger)).await.json()["users"], json!([]));
}

#[tokio::test]
async fn who_hides_presence_looks_the_same_online_and_not() {
    let server = Server::with(&["--presence-grace-ms=0"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    roger.hears("hello").await;
    let presence = |online: bool| {
        move |frame: &ServerFrame| match frame {
            ServerFrame::Presence(presence) if presence.online == online => Some(presence.clone()),
            _ => None,
        }
    };
    rafa.tell(Watch { user: roger.user }).await;
    rafa.wait_for("online", presence(true)).await;
    let change = async |body: Value| {
        ask(server.address, "PATCH", "/api/me", Some(&roger.token), Some(body)).await.json()
    };
    assert_eq!(change(json!({"hide_presence": true})).await["hide_presence"], true);
    let hidden = rafa.wait_for("offline", presence(false)).await;
    assert_eq!(hidden, Presence { user: roger.user, online: false, last_seen: None });
    let me = change(json!({"name": "  Roger F. ", "hide_presence": false})).await;
    assert_eq!((&me["name"], &me["hide_presence"]), (&json!("Roger F."), &json!(false)));
    rafa.wait_for("online again", presence(true)).await;
}

#[tokio::test]
async fn discovery_says_where_and_gives_a_ticket() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let body = json!({"client": uuid::Uuid::new_v4()});
    let place = post(&server, "/api/discover", Some(&token), body.clone()).await.json();
    assert_eq!(place["address"], format!("ws://{}/ws", server.address));
    assert!(place["ticket"].as_str().is_some_and(|ticket| ticket.len() > 32));
    assert_eq!(post(&server, "/api/discover", None, body.clone()).await.status, 401);
    let bad = post(&server, "/api/discover", Some(&token), json!({"client": "x"})).await;
    assert_eq!(bad.problem(), "bad-json");
    // A name that is not ours could have been pointed here by anybody.
    let (bearer, body) = (format!("Bearer {token}"), body.to_string());
    let headers = [
        ("host", "evil.example"),
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let foreign = exchange(server.address, "POST", "/api/discover", &headers, Some(&body)).await;
    assert_eq!((foreign.status, &*foreign.problem()), (421, "host"));
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_with_a_name() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let token = Some(&*token);
    for (method, path, wanted) in [
        ("GET", "/api", "not-found"),
        ("GET", "/api/nothing", "not-found"),
        ("GET", "/assets/nothing.js", "not-found"),
        ("GET", "/..%2f..%2fetc/passwd.txt", "not-found"),
        ("GET", "/api/login", "method"),
        ("DELETE", "/api/me", "method"),
        ("POST", "/", "method"),
        ("POST", "/metrics", "method"),
    ] {
        let answer = ask(server.address, method, path, token, None).await;
        assert_eq!(answer.problem(), wanted, "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), wanted == "method", "{method} {path}");
    }
    let long = format!(r#"{{"user":"rafa","password":"{}"}}"#, "x".repeat(20_000));
    let json = [("content-type", "application/json")];
    for (headers, body, status, wanted) in [
        (&json[..], "", 400, "bad-json"),
        (&json, "{", 400, "bad-json"),
        (&json, "[]", 400, "bad-json"),
        (&json, r#"["rafa","rally-demo"]"#, 400, "bad-json"),
        (&json, r#"{"user":"rafa"}"#, 400, "bad-json"),
        (&json, r#"{"user":"No Id","password":"x"}"#, 400, "bad-json"),
        (&json, r#"{"user":"rafa","password":"\ud800"}"#, 400, "bad-json"),
        (&json, &long, 413, "too-large"),
        (&[("content-type", "text/plain")], "{}", 415, "media-type"),
        (&[], "{}", 415, "media-type"),
    ] {
        let answer = exchange(server.address, "POST", "/api/login", headers, Some(body)).await;
        assert_eq!((answer.status, &*answer.problem()), (status, wanted), "{body:.60}");
        assert!(!answer.body.contains("rally-demo"), "a password comes back: {answer:?}");
    }
    let refused = [
        json!({"user": "ana", "password": "short"}),
        json!({"user": "ana", "password": "x".repeat(1_025)}),
        json!({"user": "ana", "password": PASSWORD, "name": ""}),
        json!({"user": "ana", "password": PASSWORD, "name": "two\nlines"}),
        json!({"user": "ana", "password": PASSWORD, "name": "x".repeat(65)}),
    ];
    for body in refused {
        let answer = post(&server, "/api/register", None, body.clone()).await;
        assert_eq!(answer.problem(), "bad-value", "{body}");
    }
    let closed = Server::with(&["--registration=false"]);
    let body = json!({"user": "ana", "password": PASSWORD});
    let answer = post(&closed, "/api/register", None, body).await;
    assert_eq!((answer.status, &*answer.problem()), (403, "closed"));
    assert_eq!(get(&closed, "/api/config", None).await.json()["registration"], false);
}

/// Reads a page of metrics as Prometheus does: samples by name, each family with its type.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let known = ["", "_total", "_bucket", "_sum", "_count"].iter().any(|ending| {
                family.strip_suffix(ending).is_some_and(|family| types.contains_key(family))
            });
            assert!(known, "{family} has no type");
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(family.starts_with("rally_") && family.chars().all(legal), "{family}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

#[tokio::test]
async fn a_supervisor_learns_how_it_goes() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    roger.hears("hello").await;
    for (path, word) in [("/healthz", "alive"), ("/readyz", "ready")] {
        assert_eq!(get(&server, path, None).await.json()["status"], word);
    }
    let answer = get(&server, "/metrics", None).await;
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version="));
    let page = samples(&answer.body);
    assert_eq!(page["rally_connections"], 2.0);
    let of = |family: &str| {
        page.iter().filter(|(name, _)| name.starts_with(family)).map(|(_, n)| n).sum::<f64>()
    };
    for family in [
        "rally_frames_received_total",
        "rally_commits_total",
        "rally_catch_ups_total",
        "rally_fan_out_count",
        "rally_delivery_seconds_count",
        "rally_commit_seconds_count",
        "rally_http_requests_total",
        "rally_tickets_total",
    ] {
        assert!(of(family) >= 1.0, "{family} is not counted");
    }
    for family in ["rally_store_", "rally_lagging", "rally_commits_in_flight"] {
        assert!(page.keys().any(|name| name.starts_with(family)), "no {family}");
    }
    let buckets: Vec<f64> = page
        .iter()
        .filter(|(name, _)| name.starts_with("rally_delivery_seconds_bucket"))
        .map(|(_, count)| *count)
        .collect();
    assert!(buckets.len() > 10);
    let all = page["rally_delivery_seconds_bucket{le=\"+Inf\"}"];
    assert_eq!(all, page["rally_delivery_seconds_count"]);
    assert!(buckets.iter().all(|count| *count <= all));
    let headers = [("accept", "application/openmetrics-text")];
    let open = exchange(server.address, "GET", "/metrics", &headers, None).await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
    // Nobody can invent a label by asking for paths of his own.
    for i in 0..20 {
        get(&server, &format!("/api/users/user{i}"), None).await;
        get(&server, &format!("/x{i}"), None).await;
    }
    let after = get(&server, "/metrics", None).await.body;
    assert!(!after.contains("user7") && !after.contains("x7"), "{after}");
}

/// Writes bytes to the port and reads to the end, however that comes.
async fn throw(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let thrown = async {
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(PATIENCE, thrown).await.expect("the connection has no end");
}

#[tokio::test]
async fn random_bytes_never_end_the_server() {
    let server = Server::start();
    let mut dice = Dice::new(11);
    let body = r#"{"user":"rafa","password":"rally-demo"}"#;
    let request = format!(
        "POST /api/login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         cookie: rally_session=abc\r\ncontent-length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    for round in 0..400 {
        let bytes: Vec<u8> = match round % 4 {
            0 => (0..dice.below(2_000)).map(|_| dice.below(256) as u8).collect(),
            _ => {
                let mut bytes = request.clone().into_bytes();
                for _ in 0..=dice.below(6) {
                    let at = dice.below(bytes.len() as u64) as usize;
                    match dice.below(3) {
                        0 => bytes[at] = dice.below(256) as u8,
                        1 => bytes.truncate(at.max(1)),
                        _ => bytes.insert(at, b" \r\n\t:;%\"{"[dice.below(9) as usize]),
                    }
                }
                bytes
            }
        };
        throw(&server, &bytes).await;
    }
    for head in [
        format!("GET / HTTP/1.1\r\n{}\r\n\r\n", "x: y\r\n".repeat(10_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1_000_000)),
        "POST /api/login HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n".to_owned(),
        "POST /api/login HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
            .to_owned(),
    ] {
        throw(&server, head.as_bytes()).await;
    }
    assert_eq!(get(&server, "/readyz", None).await.status, 200);
    server.assert_no_panic();
    // Nor does a stranger write to the operator's log.
    assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{:?}", server.log());
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /api/config HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    ended.expect("a connection that says nothing stays for ever").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
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
