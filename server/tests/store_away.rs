//! What a node says over HTTP while its store is away.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::web;
use prometheus_client::registry::Registry;
use rally_actors::admission::{Admission, Line};
use rally_actors::incidents::Incident;
use rally_actors::router::LogOut;
use rally_cluster::clock::Clock;
use rally_cluster::membership::roster::Member;
use rally_cluster::membership::{Card, Status};
use rally_cluster::placement::Policy;
use rally_cluster::presence::Seen;
use rally_cluster::roles::{Role, Roles};
use rally_cluster::store::{
    Change, Commit, InboxRow, Later, MessageRow, NodeRow, PresenceRow, Store, StoreError,
    UserChange, UserRow,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, Life, MessageId, StoreId, UserId};
use rally_server::config::{Config, Flags};
use rally_server::http::{self, HttpMetrics, HttpState, NodeControl, Placed};
use rally_server::tickets::Tickets;
use serde_json::{Value, json};
use uuid::Uuid;

const TOKEN: &str = "a-token-of-the-operator";

/// Where pages of another node are.
const ELSEWHERE: &str = "http://10.0.0.2:8080";

/// A store that is not reached. If it knows an account it answers of that, and changes it, but does not
/// say so.
#[derive(Default)]
struct Away(Mutex<Option<UserRow>>, Mutex<Vec<Uuid>>);

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Read("no connection".to_owned()))
}

/// Methods that fail, by their arguments.
macro_rules! fail {
    ($($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(fn $method(&self, $(_: $argument),*) -> Later<$answer> {
            Box::pin(async { away() })
        })*
    };
}

impl Store for Away {
    fn id(&self) -> StoreId {
        Uuid::nil().into()
    }

    fn high_water_ms(&self) -> u64 {
        0
    }

    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }

    fn user(&self, _: UserId) -> Later<Option<UserRow>> {
        let account = self.0.lock().unwrap().clone();
        Box::pin(async { account.map_or_else(away, |account| Ok(Some(account))) })
    }

    fn change_user(&self, _: UserId, change: UserChange) -> Later<Option<UserRow>> {
        let Some(account) = &mut *self.0.lock().unwrap() else { return Box::pin(async { away() }) };
        account.epoch += u64::from(change.raise_epoch);
        Box::pin(async { Err(StoreError::Unknown("it timed out".to_owned())) })
    }

    fn revoke(&self, token: Uuid, _: u64) -> Later<()> {
        self.1.lock().unwrap().push(token);
        Box::pin(async { Err(StoreError::Unknown("it timed out".to_owned())) })
    }

    fn is_revoked(&self, token: Uuid) -> Later<bool> {
        let knows = self.0.lock().unwrap().is_some();
        let is_revoked = self.1.lock().unwrap().contains(&token);
        Box::pin(async move { if knows { Ok(is_revoked) } else { away() } })
    }

    fail! {
        commit(Vec<Commit>) -> ();
        messages(ConversationId, Vec<MessageId>) -> Vec<MessageRow>;
        stamped(ConversationId, Stamp) -> Vec<MessageRow>;
        history(ConversationId, Option<MessageId>, usize) -> Vec<MessageRow>;
        newest_for(ConversationId, UserId, bool, MessageId) -> Option<MessageId>;
        unread(ConversationId, UserId, Option<MessageId>, MessageId, u32) -> u32;
        inbox(UserId, Option<MessageId>, usize) -> (Vec<InboxRow>, bool);
        inbox_rows(UserId, Vec<ConversationId>) -> Vec<InboxRow>;
        changes(UserId, ChangeId, usize) -> Vec<Change>;
        expire(u64) -> u64;
        create_user(UserRow) -> bool;
        import_users(Vec<UserRow>) -> u64;
        find_users(String, usize) -> Vec<UserRow>;
        set_block(UserId, UserId, bool) -> ();
        blocks(UserId) -> Vec<UserId>;
        is_blocked(UserId, UserId) -> bool;
        set_presence(PresenceRow, Vec<Life>) -> ();
        presence(UserId) -> Vec<PresenceRow>;
        set_node(NodeRow) -> ();
        nodes() -> Vec<NodeRow>;
        check() -> ();
    }
}

fn life(node: &str) -> Life {
    Life { node: node.parse().unwrap(), generation: 1 }
}

/// A node that hears these lives, and does nothing but to note what its store failed at, and who is out. One
/// who comes back has his log-in looked up at a time.
struct Hears(Vec<Member>, Mutex<Vec<String>>, Admission);

impl Hears {
    fn all(nodes: &[&str]) -> Self {
        let member = |node: &&str| {
            let (address, version) = (format!("http://{node}"), "1".to_owned());
            let (status, roles) = (Status::Ready, Roles::all());
            let (life, sessions, most, clock_ms) = (life(node), 3, 9, 0);
            let card = Card { life, status, roles, address, version, sessions, most, clock_ms };
            Member::new(card, 0)
        };
        Self(nodes.iter().map(member).collect(), Mutex::default(), Admission::new(1))
    }
}

impl NodeControl for Hears {
    fn admission(&self) -> Admission {
        self.2.clone()
    }

    fn log_out_everywhere(&self, user: UserId, over: LogOut) {
        let LogOut { epoch, log_in } = over;
        let which = log_in.map_or(format!("before epoch {epoch}"), |_| "by one log-in".to_owned());
        self.1.lock().unwrap().push(format!("{user} is out {which}"));
    }

    fn account_changed(&self, _: &UserRow) {}

    fn block_changed(&self, _: UserId, _: UserId, _: bool) {}

    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn place(&self, _: UserId) -> Option<Card> {
        self.0.last().map(|member| member.card.clone())
    }

    fn members(&self) -> Vec<Member> {
        self.0.clone()
    }

    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }

    fn clocks(&self) -> BTreeMap<Life, i64> {
        BTreeMap::from([(life("other"), 12)])
    }

    fn consider(&self, _: UserId) -> Placed {
        let (home, policy) = (life("here"), Policy::Home);
        Placed { home, policy, chosen: None, candidates: Vec::new() }
    }

    fn incidents(&self) -> Vec<Incident> {
        Vec::new()
    }

    fn store_failed(&self, what: &str, why: &str) {
        self.1.lock().unwrap().push(format!("{what}: {why}"));
    }

    fn page_origins(&self) -> Vec<String> {
        vec![ELSEWHERE.to_owned()]
    }

    fn addresses_of(&self, _: Role) -> Vec<String> {
        Vec::new()
    }

    fn seen(&self, _: UserId, _: &[PresenceRow]) -> Seen {
        Seen::default()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Makes a node that hears itself and another one.
fn node(store: Away, settings: &[(&'static str, &str)]) -> (web::Data<HttpState>, Arc<Hears>) {
    let mut values = BTreeMap::from([("admin_token", TOKEN.to_owned())]);
    values.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let config = Config::load(Flags { values, file: None }, []).unwrap();
    let (store, clock) = (Arc::new(store), Clock::machine(0, 7, 1_000));
    let tickets = Arc::new(Tickets::new(&store.secret(), clock.clone(), life("here")));
    let mut registry = Registry::default();
    let metrics = (HttpMetrics::new(&mut registry), Arc::new(registry));
    let (settings, node) = (Arc::new(config.settings), Arc::new(Hears::all(&["here", "other"])));
    let state = HttpState::new(settings, store, clock, tickets, node.clone(), metrics);
    (web::Data::new(state), node)
}

/// Asks; gives the status, what is said, and what the node noted of its store.
async fn ask(path: &str) -> (u16, Value, Vec<String>) {
    let (state, node) = node(Away::default(), &[]);
    let app = init_service(http::app(state)).await;
    let request = TestRequest::get()
        .uri(path)
        .peer_addr("127.0.0.1:1".parse().unwrap())
        .insert_header(("authorization", format!("Bearer {TOKEN}")))
        .to_request();
    let answer = call_service(&app, request).await;
    let (status, said) = (answer.status().as_u16(), read_body_json(answer).await);
    let noted = node.1.lock().unwrap().clone();
    (status, said, noted)
}

#[actix::test]
async fn the_nodes_that_are_heard_are_listed_and_what_the_store_has_of_them_is_not() {
    let (status, said, _) = ask("/admin/nodes").await;
    assert_eq!((status, &said["asked"]), (200, &json!("here@1")), "{said}");
    let unread = said["unread"].as_str().unwrap();
    assert!(unread.contains("no connection"), "{unread}");
    let nodes = said["nodes"].as_array().unwrap();
    let lives: Vec<&Value> = nodes.iter().map(|node| &node["life"]).collect();
    assert_eq!(lives, [&json!("here@1"), &json!("other@1")]);
    for node in nodes {
        assert_eq!((&node["standing"], &node["status"]), (&json!("live"), &json!("ready")));
        assert_eq!((&node["sessions"], &node["stored"]), (&json!(3), &Value::Null));
    }
    assert_eq!(nodes[1]["clock_ahead_ms"], 12);
}

#[actix::test]
async fn where_a_user_is_placed_is_not_known_and_that_is_said() {
    let (status, said, noted) = ask("/admin/place/ana").await;
    assert_eq!((status, &said["type"]), (503, &json!("urn:rally:problem:store")), "{said}");
    assert!(!said.to_string().contains("no connection"), "{said}");
    let [noted] = &noted[..] else { panic!("{noted:?}") };
    assert!(noted.contains("a request could not be answered"), "{noted}");
    assert!(noted.contains("no connection"), "{noted}");
}

/// Else it would take the node for one that is not there, and ask the next.
#[actix::test]
async fn a_page_of_another_node_may_read_that_it_asks_too_often() {
    let once = [("rate_requests_per_second_address", "1"), ("rate_requests_burst_address", "1")];
    let app = init_service(http::app(node(Away::default(), &once).0)).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = TestRequest::get()
            .uri("/api/config")
            .peer_addr("127.0.0.1:1".parse().unwrap())
            .insert_header(("origin", ELSEWHERE));
        let answer = call_service(&app, request.to_request()).await;
        let header =
            |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (readable, wait) = (header("access-control-allow-origin"), header("retry-after"));
        answers.push((answer.status().as_u16(), readable.unwrap_or_default(), wait.is_some()));
    }
    let read = |status, wait| (status, ELSEWHERE.to_owned(), wait);
    assert_eq!(answers, [read(200, false), read(429, true)]);
}

/// The session's first catch-up reads the same, for all devices of a user together.
#[actix::test]
async fn whose_log_in_is_over_is_told_where_he_asks_or_when_too_many_come_back_by_his_session() {
    let (user, name) = ("ana".parse().unwrap(), "Ana".to_owned());
    let account = UserRow { user, name, password: None, epoch: 4, hide_presence: false };
    let (state, node) = node(Away(Mutex::new(Some(account.clone())), Mutex::default()), &[]);
    let now = state.tokens.issue(&account).expose().clone();
    let over = state.tokens.issue(&UserRow { epoch: 3, ..account }).expose().clone();
    let there = Tickets::new(&state.store.secret(), state.clock.clone(), life("other"));
    let app = init_service(http::app(state)).await;
    let client = Uuid::from_u128(9);
    let ask = async |token: &str| {
        let request = TestRequest::post()
            .uri("/api/discover")
            .peer_addr("127.0.0.1:1".parse().unwrap())
            .insert_header(("authorization", format!("Bearer {token}")))
            .set_json(json!({"client": client}));
        let answer = call_service(&app, request.to_request()).await;
        let status = answer.status().as_u16();
        let said: Value = read_body_json(answer).await;
        (status, said["ticket"].as_str().map(str::to_owned))
    };
    let asked = async || (ask(&now).await.0, ask(&over).await.0, ask("forged").await.0);
    assert_eq!(asked().await, (200, 401, 401));
    let place = node.2.try_enter(Line::Begun).expect("nobody reads");
    assert_eq!(asked().await, (200, 200, 401));
    let ticket = ask(&over).await.1.unwrap();
    let admitted = there.redeem(&ticket, client.into()).unwrap();
    assert_eq!((admitted.user, admitted.epoch), (user, Some(3)), "by which the session ends");
    assert!(admitted.log_in.is_some());
    drop(place);
    assert_eq!(asked().await, (200, 401, 401));
}

/// Has ana log out by a path, at a node whose store confirms nothing; gives whom that is told of.
async fn logs_out(path: &str) -> Vec<String> {
    let (user, name) = ("ana".parse().unwrap(), "Ana".to_owned());
    let account = UserRow { user, name, password: None, epoch: 4, hide_presence: false };
    let store = Away(Mutex::new(Some(account.clone())), Mutex::default());
    let (state, node) = node(store, &[]);
    let token = state.tokens.issue(&account);
    let app = init_service(http::app(state)).await;
    let request = TestRequest::post()
        .uri(path)
        .peer_addr("127.0.0.1:1".parse().unwrap())
        .insert_header(("authorization", format!("Bearer {}", token.expose())));
    assert_eq!(call_service(&app, request.to_request()).await.status().as_u16(), 204);
    node.1.lock().unwrap().clone()
}

/// He could not ask again, or would only be told that his log-in is over.
#[actix::test]
async fn who_logs_out_is_out_of_open_sessions_though_the_store_did_not_say_so() {
    assert_eq!(logs_out("/api/logout").await, ["ana is out by one log-in"]);
    assert_eq!(logs_out("/api/logout-everywhere").await, ["ana is out before epoch 5"]);
}
