//! What an operator sees of a node over HTTP, and who is let in.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use harness::http::{self, Answer, ask, exchange};
use harness::{Server, eventually};
use serde_json::{Value, json};

const TOKEN: &str = "a-token-of-the-operator";

/// Every address, and the method that it takes.
const ALL: [(&str, &str); 6] = [
    ("GET", "/admin/nodes"),
    ("DELETE", "/admin/nodes/rally@1"),
    ("GET", "/admin/place/rafa"),
    ("GET", "/admin/connections"),
    ("GET", "/admin/rates"),
    ("GET", "/admin/incidents"),
];

fn open() -> Server {
    Server::with(&[&format!("--admin-token={TOKEN}")])
}

async fn delete(server: &Server, life: &str) -> Answer {
    ask(server.address, "DELETE", &format!("/admin/nodes/{life}"), Some(TOKEN), None).await
}

/// Gives what an address says, which it must.
async fn get(server: &Server, path: &str) -> Value {
    let answer = server.get(path, Some(TOKEN)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    answer.json()
}

/// Tells whether an answer has these members and no others.
fn has_members(value: &Value, names: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn without_a_token_of_the_node_s_there_is_nothing() {
    let server = Server::start();
    let user = http::log_in(server.address, "rafa").await;
    let any =
        [("GET", "/admin"), ("GET", "/admin/"), ("GET", "/admin/x"), ("POST", "/admin/nodes")];
    for (method, path) in ALL.into_iter().chain(any) {
        for token in [None, Some(TOKEN), Some(&*user)] {
            let answer = ask(server.address, method, path, token, None).await;
            assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn only_who_shows_the_token_comes_in() {
    let server = open();
    let user = http::log_in(server.address, "rafa").await;
    let longer = format!("{TOKEN}x");
    let wrong = [None, Some(""), Some(&*user), Some(&TOKEN[1..]), Some(&*longer)];
    for (method, path) in ALL {
        for token in wrong {
            let answer = ask(server.address, method, path, token, None).await;
            assert_eq!(
                (answer.status, &*answer.problem()),
                (401, "admin-token"),
                "{method} {path}"
            );
        }
    }
    let cookie = format!("rally_session={TOKEN}");
    for (name, value) in
        [("authorization", TOKEN), ("authorization", "Basic eDp5"), ("cookie", &*cookie)]
    {
        let answer = exchange(server.address, "GET", "/admin/nodes", &[(name, value)], None).await;
        assert_eq!((answer.status, &*answer.problem()), (401, "admin-token"), "{name}: {value}");
    }
    assert_eq!(server.get("/admin/nodes", Some(TOKEN)).await.status, 200);
    // What is not there says so to the operator alone.
    assert_eq!(server.get("/admin/nothing", Some(TOKEN)).await.problem(), "not-found");
    assert_eq!(server.get("/admin/nothing", None).await.problem(), "admin-token");
    let answer = ask(server.address, "POST", "/admin/rates", Some(TOKEN), None).await;
    assert_eq!((&*answer.problem(), answer.header("allow")), ("method", Some("GET, HEAD")));
    // The token is no user's.
    assert_eq!(server.get("/api/me", Some(TOKEN)).await.status, 401);
}

#[tokio::test]
async fn a_node_says_how_it_stands_and_why() {
    let server = open();
    eventually("the node has written that it lives", async || {
        get(&server, "/admin/nodes").await["nodes"][0]["stored"]["status"] == "ready"
    })
    .await;
    let nodes = get(&server, "/admin/nodes").await;
    has_members(&nodes, &["asked", "now_ms", "nodes", "unread"]);
    let node = &nodes["nodes"][0];
    has_members(
        node,
        &[
            "life",
            "standing",
            "why",
            "status",
            "address",
            "version",
            "sessions",
            "clock_ahead_ms",
            "stored",
        ],
    );
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(node["life"], nodes["asked"]);
    assert_eq!((&node["standing"], &node["status"]), (&json!("live"), &json!("ready")));
    assert_eq!((&node["sessions"], &node["clock_ahead_ms"]), (&json!(0), &json!(0)));
    let why = node["why"].as_str().unwrap();
    assert!(why.starts_with("this node itself, up for "), "{why}");
    has_members(&node["stored"], &["status", "status_ms", "heartbeat_ms"]);
    assert!(node["stored"]["heartbeat_ms"].as_u64().unwrap() <= nodes["now_ms"].as_u64().unwrap());
}

#[tokio::test]
async fn who_is_alive_stays_on_the_list_and_who_is_not_is_taken_off() {
    let mut server = open();
    let written = async |server: &Server| {
        eventually("the node has written that it lives", async || {
            let nodes = get(server, "/admin/nodes").await;
            let stored = |node: &Value| node["stored"]["status"] == "ready";
            nodes["nodes"].as_array().unwrap().iter().any(stored)
        })
        .await;
        get(server, "/admin/nodes").await["asked"].as_str().unwrap().to_owned()
    };
    let first = written(&server).await;
    let answer = delete(&server, &first).await;
    assert_eq!((answer.status, &*answer.problem()), (409, "heard"), "{answer:?}");
    for unknown in ["nobody@1", "rally@1", "x", "%00"] {
        let answer = delete(&server, unknown).await;
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{unknown}");
    }

    // It dies, and the store has it as ready still, with a heartbeat of a moment ago.
    server.kill();
    server.restart();
    let second = written(&server).await;
    assert_ne!(first, second);
    let nodes = get(&server, "/admin/nodes").await["nodes"].clone();
    let find = |life: &str| nodes.as_array().unwrap().iter().find(|node| node["life"] == life);
    let dead = find(&first).expect("the store knows the life before this one");
    assert_eq!((&dead["standing"], &dead["status"]), (&json!("unknown"), &Value::Null));
    let why = dead["why"].as_str().unwrap();
    assert!(why.starts_with("not heard since this node started; its last heartbeat"), "{why}");
    // A node has one life: the one before this is over, whatever the store says.
    for _ in 0..2 {
        assert_eq!(delete(&server, &first).await.status, 204);
    }
    let nodes = get(&server, "/admin/nodes").await["nodes"].clone();
    let lives: Vec<&Value> = nodes.as_array().unwrap().iter().map(|node| &node["life"]).collect();
    assert_eq!(lives, [&json!(second)]);
}

#[tokio::test]
async fn a_user_s_place_comes_with_the_order_and_the_reasons() {
    let server = open();
    let placing = get(&server, "/admin/place/rafa").await;
    has_members(&placing, &["user", "home", "policy", "chosen", "candidates"]);
    assert_eq!((&placing["user"], &placing["policy"]), (&json!("rafa"), &json!("home")));
    assert_eq!(placing["home"], placing["chosen"]);
    let candidate = &placing["candidates"][0];
    has_members(candidate, &["life", "sessions", "passed", "why"]);
    assert_eq!((&candidate["life"], &candidate["passed"]), (&placing["home"], &Value::Null));
    assert_eq!(server.get("/admin/place/nobody", Some(TOKEN)).await.problem(), "not-found");
    assert_eq!(server.get("/admin/place/No%20Id", Some(TOKEN)).await.problem(), "not-found");
}

#[tokio::test]
async fn what_is_connected_and_how_much_it_says_is_told() {
    let server = open();
    let connections = async || get(&server, "/admin/connections").await;
    has_members(&connections().await, &["sessions", "opening", "routers", "lagging", "most"]);
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let now = connections().await;
    assert_eq!((&now["sessions"], &now["routers"]), (&json!(2), &json!(2)));
    assert_eq!((&now["opening"], &now["lagging"]), (&json!(0), &json!(0)));
    for n in 0..20 {
        rafa.say("roger", &format!("m{n}")).await;
        roger.hears(&format!("m{n}")).await;
    }
    let rates = get(&server, "/admin/rates").await;
    let names = ["over_s", "messages_per_second", "frames_per_second", "pushes_per_second"];
    has_members(&rates, &[&names[..], &["commit", "delivery"]].concat());
    let number = |name: &str| rates[name].as_f64().unwrap();
    let messages = number("messages_per_second") * number("over_s");
    assert!((messages - 20.0).abs() < 0.01, "{messages} messages: {rates}");
    assert!(number("frames_per_second") * number("over_s") > 19.9, "{rates}");
    assert!(number("pushes_per_second") * number("over_s") > 19.9, "{rates}");
    for lag in ["commit", "delivery"] {
        has_members(&rates[lag], &["count", "mean_s", "p99_s"]);
        assert!(rates[lag]["count"].as_u64().unwrap() >= 20, "{rates}");
        let (mean, p99) = (rates[lag]["mean_s"].as_f64(), rates[lag]["p99_s"].as_f64());
        assert!(mean > Some(0.0) && p99 > Some(0.0), "{rates}");
    }
}

#[tokio::test]
async fn what_went_wrong_is_told_in_words() {
    let server = open();
    // That it is home to everybody now is the first thing that happens to a node.
    let told = async || get(&server, "/admin/incidents").await["incidents"].clone();
    eventually("the map is drawn", async || told().await[0]["kind"] == "map_changed").await;
    let incident = told().await[0].clone();
    has_members(&incident, &["kind", "words", "at_ms", "last_ms", "times"]);
    let words = incident["words"].as_str().unwrap();
    assert!(words.starts_with("users are at home on rally@"), "{words}");
    assert_eq!(incident["times"], 1);
}

#[tokio::test]
async fn the_description_names_every_address_of_the_operator_s() {
    let server = Server::start();
    let described = server.get("/api/openapi.json", None).await.json();
    for (method, path) in ALL {
        let path = path.replace("rally@1", "{life}").replace("rafa", "{user}");
        let operation = &described["paths"][&path][method.to_ascii_lowercase()];
        assert_eq!(operation["security"], json!([{"admin": []}]), "{path}");
        for status in ["401", "404", "429"] {
            assert!(operation["responses"][status].is_object(), "{path}: {status}");
        }
    }
}
