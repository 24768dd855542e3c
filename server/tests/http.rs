//! The way in over HTTP, against a real server process: what each address gives, and how it
//! refuses. Accounts have a file of their own.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::BTreeMap;

use harness::http::{self, ask, exchange};
use harness::raw::Dice;
use harness::{PATIENCE, Server, eventually};
use rally_schema::frame::{Presence, ServerFrame, Watch};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PASSWORD: &str = "correct horse";

#[tokio::test]
async fn an_address_in_use_is_named_and_that_is_all_that_is_said() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    let Err((code, said)) = Server::try_at(&server.address.to_string(), home.path(), &[]) else {
        panic!("two serve {}", server.address);
    };
    assert_eq!(code, Some(78), "{said:?}");
    let [line] = &*said else { panic!("{said:#?}") };
    let named = format!("rally-server: cannot listen on {}: ", server.address);
    assert!(line.starts_with(&named) && line.ends_with("set another address with --listen"));
}

#[tokio::test]
async fn every_answer_wears_its_headers() {
    let server = Server::start();
    for path in ["/", "/chat/rafa", "/api/config", "/api/nothing", "/nothing.js", "/metrics"] {
        let answer = server.get(path, None).await;
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
        server.get("/", None).await.header("content-type"),
        Some("text/html; charset=utf-8")
    );
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_their_id() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let find = async |query: &str| {
        let answer = server.get(&format!("/api/users?{query}"), Some(&token)).await;
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
        let answer = server.get(&format!("/api/users?{query}"), Some(&token)).await;
        assert_eq!((answer.status, &*answer.problem()), (400, "bad-query"), "{query}");
    }
    let roger = server.get("/api/users/roger", Some(&token)).await.json();
    let chat =
        rally_schema::ConversationId::direct("rafa".parse().unwrap(), "roger".parse().unwrap());
    assert_eq!((&roger["name"], &roger["conversation"]), (&json!("Roger"), &json!(chat)));
    for name in ["nobody", "No%20Id", "%FF", "..%2f..%2fetc"] {
        let answer = server.get(&format!("/api/users/{name}"), Some(&token)).await;
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{name}");
    }
    assert_eq!(server.get("/api/users", None).await.status, 401);
    let server = Server::with(&["--demo=false"]);
    let token = http::register(server.address, "ana").await;
    let all = server.get("/api/users", Some(&token)).await;
    assert_eq!((all.status, &*all.problem()), (400, "bad-query"), "nobody lists everybody");
}

#[tokio::test]
async fn people_are_blocked_and_unblocked() {
    let server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let change = async |method: &str, user: &str| {
        ask(server.address, method, &format!("/api/blocks/{user}"), Some(&token), None).await
    };
    let blocked = async || server.get("/api/blocks", Some(&token)).await.json()["users"].clone();
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
    assert_eq!(server.get("/api/blocks", Some(&roger)).await.json()["users"], json!([]));
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
    let place = server.post("/api/discover", Some(&token), body.clone()).await.json();
    assert_eq!(place["address"], format!("ws://{}/ws", server.address));
    assert!(place["ticket"].as_str().is_some_and(|ticket| ticket.len() > 32));
    assert_eq!(server.post("/api/discover", None, body.clone()).await.status, 401);
    let bad = server.post("/api/discover", Some(&token), json!({"client": "x"})).await;
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
        let answer = server.post("/api/register", None, body.clone()).await;
        assert_eq!(answer.problem(), "bad-value", "{body}");
    }
    let closed = Server::with(&["--registration=false"]);
    let body = json!({"user": "ana", "password": PASSWORD});
    let answer = closed.post("/api/register", None, body).await;
    assert_eq!((answer.status, &*answer.problem()), (403, "closed"));
    assert_eq!(closed.get("/api/config", None).await.json()["registration"], false);
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

/// Gives the metrics that a text names, each with what stands in braces behind it.
fn named(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split("rally_").skip(1).map(|rest| {
        let (name, rest) =
            rest.split_at(rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap());
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        (format!("rally_{name}"), braces.unwrap_or(""))
    })
}

#[tokio::test]
async fn what_alerts_look_at_is_there_before_anything_went_wrong() {
    let operations = include_str!("../../docs/operations.md");
    let alerts = operations.split("\n## ").find(|part| part.starts_with("Alerts")).unwrap();
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    roger.hears("hello").await;
    let page = async || server.get("/metrics", None).await.body;
    // The last to be there: the node's first look at the others, and at who is online.
    for first in ["rally_nodes{of=\"suspect\"}", "rally_presence_total{"] {
        eventually(first, async || page().await.contains(first)).await;
    }
    let page = page().await;
    // Of the other store.
    let here = |name: &str| !name.starts_with("rally_store_request");
    for (name, _) in named(operations).filter(|(name, _)| here(name)) {
        let family = name.strip_suffix("_bucket").unwrap_or(&name);
        assert!(page.contains(&format!("# TYPE {family} ")), "no metric {name}");
    }
    let mut labels = 0;
    for (name, braces) in named(alerts).filter(|(name, _)| here(name)) {
        let Some((label, values)) = braces.split_once('=') else { continue };
        if name == "rally_http_requests_total" {
            continue;
        }
        for value in values.trim_matches(['~', '"']).split("\\|").flat_map(|v| v.split('|')) {
            let sample = format!("{name}{{{label}=\"{value}\"}} ");
            assert!(page.contains(&sample), "no sample {sample}");
            labels += 1;
        }
    }
    assert!(labels > 15, "the table of alerts was not read: {labels}");
}

#[tokio::test]
async fn a_supervisor_learns_how_it_goes() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    rafa.say("roger", "hello").await;
    roger.hears("hello").await;
    for (path, word) in [("/healthz", "alive"), ("/readyz", "ready")] {
        assert_eq!(server.get(path, None).await.json()["status"], word);
    }
    let answer = server.get("/metrics", None).await;
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version="));
    let page = samples(&answer.body);
    assert_eq!(page["rally_connections"], 2.0);
    let config = server.get("/api/config", None).await.json();
    let version = config["version"].as_str().unwrap();
    assert_eq!(page[&format!("rally_build_info{{version=\"{version}\"}}")], 1.0);
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
    assert_eq!(page["rally_nodes{of=\"live\"}"], 1.0);
    for standing in ["suspect", "offline"] {
        assert_eq!(page[&format!("rally_nodes{{of=\"{standing}\"}}")], 0.0);
    }
    assert_eq!(page["rally_messages_total"], 1.0);
    assert_eq!(page["rally_clock_offset_seconds"], 0.0);
    for family in ["rally_maps_changed_total", "rally_presence_total"] {
        eventually(family, async || server.metric(family).await >= 1.0).await;
    }
    for family in ["rally_suspicions_total", "rally_homes_moved_total"] {
        assert_eq!(page[family], 0.0, "{family}");
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
        server.get(&format!("/api/users/user{i}"), None).await;
        server.get(&format!("/x{i}"), None).await;
    }
    let after = server.get("/metrics", None).await.body;
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
    assert_eq!(server.get("/readyz", None).await.status, 200);
    server.assert_no_panic();
    // Nor does a stranger write to the operator's log.
    assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{:?}", server.log());
}

#[tokio::test]
async fn what_can_be_got_has_a_head() {
    let server = Server::start();
    for path in ["/healthz", "/readyz", "/metrics", "/api/config", "/", "/api/me"] {
        let got = server.get(path, None).await;
        let head = exchange(server.address, "HEAD", path, &[], None).await;
        assert_eq!((got.status, ""), (head.status, &*head.body), "{path}");
        assert_eq!(got.header("content-type"), head.header("content-type"), "{path}");
    }
}

/// Programs and pages are told apart by the path that leads to a route, however it is written.
#[tokio::test]
async fn a_path_in_other_letters_is_the_same_path() {
    let server = Server::start();
    let answer = server.get("/%61pi/config", None).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let headers = [("origin", "https://evil.example"), ("content-type", "application/json")];
    let foreign = exchange(server.address, "POST", "/%61pi/login", &headers, Some("{}")).await;
    assert_eq!((foreign.status, &*foreign.problem()), (403, "origin"));
}

/// What follows is not read while a request is answered, but for its own body.
#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_turn_whatever_their_bodies() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let long = format!("{{\"user\":\"nobody\",\"password\":\"{}\"}}", "x".repeat(12_000));
    let at_once = format!(
        "POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{long}",
        long.len()
    );
    let chunks: String = long.chars().map(|one| format!("1\r\n{one}\r\n")).collect();
    let chunked = format!(
        "POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let all = format!("{at_once}{chunked}{at_once}{chunked}{last}");
    let (mut reading, mut writing) = stream.split();
    let mut answers = Vec::new();
    let talk = async {
        tokio::join!(writing.write_all(all.as_bytes()), reading.read_to_end(&mut answers))
    };
    let (written, read) = timeout(PATIENCE, talk).await.expect("the last request is not answered");
    written.and(read.map(drop)).unwrap();
    let answers = String::from_utf8_lossy(&answers);
    let statuses: Vec<&str> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["401", "401", "401", "401", "200"], "{answers}");
}
