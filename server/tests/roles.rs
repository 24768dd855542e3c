//! Roles as processes of their own, over real services: each does its part, and when one is
//! killed the others go on.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::collections::BTreeMap;

use harness::cluster::{Cluster, Person};
use harness::writer::Writer;
use harness::{Client, Server, eventually, http};
use rally_schema::frame::{ServerFrame, Watch};
use rally_schema::{MessageId, Ref};
use serde_json::json;
use tokio::time::Instant;

/// What a process with one role does not serve, each with the role that does.
const PATHS: [(&str, &str, &str); 5] = [
    ("POST", "/api/discover", "discovery"),
    ("GET", "/api/inbox", "messaging"),
    ("GET", "/api/conversations/f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6/messages", "messaging"),
    ("GET", "/api/users/nobody/presence", "presence"),
    ("GET", "/ws", "chat"),
];

/// Tells whether a process says that somebody is online.
async fn is_online(at: &Server, asker: &Person, user: &Person) -> bool {
    let path = format!("/api/users/{}/presence", user.name);
    let answer = at.get(&path, Some(&asker.token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["online"].as_bool().unwrap()
}

/// Watches somebody and waits for his presence.
async fn sees(client: &mut Client, user: &Person, online: bool) {
    client.tell(Watch { user: user.name.parse().unwrap() }).await;
    hears(client, online).await;
}

/// Waits until it is told that somebody whom it watches is there, or is not.
async fn hears(client: &mut Client, online: bool) {
    client
        .wait_for(if online { "online" } else { "offline" }, |frame| match frame {
            ServerFrame::Presence(seen) if seen.online == online => Some(()),
            _ => None,
        })
        .await;
}

/// Writes to and fro until both have heard the other; says after how long that was.
async fn talk(ana: &mut Client, ben: &mut Client, text: &str) -> f64 {
    let begun = Instant::now();
    tell(ana, ben, text).await;
    tell(ben, ana, text).await;
    begun.elapsed().as_secs_f64()
}

async fn tell(one: &mut Client, other: &mut Client, text: &str) {
    one.say(other.user.as_str(), text).await;
    other.hears(text).await;
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn each_process_does_its_part_and_names_who_does_the_rest() {
    let cluster = Cluster::start(&["discovery", "chat", "messaging", "presence"]);
    let [discovery, chat] = ["discovery", "chat"].map(|role| cluster.with(role));
    let ana = cluster.person("ana", discovery).await;
    let ben = cluster.person("ben", discovery).await;
    let cid = cluster.person("cid", discovery).await;
    let mut anas = cluster.join(&ana, discovery).await;
    let mut bens = cluster.join(&ben, discovery).await;
    assert_eq!([anas.node(), bens.node()], [chat.address; 2], "only one can be a home");
    assert_eq!(anas.addresses, [format!("http://{}", discovery.address)]);
    let id = anas.say(&ben.name, "hello").await;
    bens.hears("hello").await;

    let messaging = cluster.with("messaging");
    let inbox = messaging.get("/api/inbox", Some(&ben.token)).await.json();
    let [entry] = &inbox["entries"].as_array().unwrap()[..] else { panic!("{inbox}") };
    assert_eq!(entry["head"]["id"], id.to_string());
    assert_eq!((entry["peer"].as_str(), entry["unread"].as_u64()), (Some(&*ana.name), Some(1)));
    let path = format!("/api/conversations/{}/messages?limit=10", anas.chat(&ben.name));
    let page = messaging.get(&path, Some(&ben.token)).await.json();
    let mut by_frame =
        serde_json::to_value(bens.history(bens.chat(&ana.name), None, 10).await).unwrap();
    by_frame.as_object_mut().unwrap().remove("ref");
    assert_eq!(page, by_frame, "both are made of the same rows");
    // Not for others, who cannot tell it from one that does not exist.
    let foreign = messaging.get(&path, Some(&cid.token)).await;
    let unknown = PATHS[2].1.replace("f99960b4", "00000000");
    let unknown = messaging.get(&unknown, Some(&cid.token)).await;
    assert_eq!([foreign.status, unknown.status], [404; 2]);
    assert_eq!(foreign.problem(), unknown.problem());

    let presence = cluster.with("presence");
    eventually("ben is online", async || is_online(presence, &ana, &ben).await).await;
    assert!(!is_online(presence, &cid, &ben).await, "they are not acquainted");
    let seen = presence.get(&format!("/api/users/{}/presence", ana.name), Some(&cid.token)).await;
    assert!(seen.json().get("last_seen").is_none(), "{seen:?}");

    for (role, server) in cluster.all() {
        assert_eq!(server.get("/readyz", None).await.status, 200);
        assert_eq!(server.get("/api/me", Some(&ana.token)).await.status, 200, "log-ins are shared");
        for (method, path, serves) in PATHS.iter().filter(|(_, _, serves)| *serves != role) {
            let answer = http::ask(server.address, method, path, Some(&ana.token), None).await;
            assert_eq!((answer.status, &*answer.problem()), (404, "role"), "{role} {path}");
            let text = answer.json()["detail"].as_str().unwrap().to_owned();
            let who = format!("http://{}", cluster.with(serves).address);
            assert!(text.contains(serves) && text.ends_with(&who), "{text}");
        }
        server.assert_no_panic();
    }
    assert_eq!(cluster.leave(), [Some(0); 4]);
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn presence_is_shown_to_whom_it_may_be_and_ends_with_the_chat_that_held_it() {
    let mut cluster = Cluster::start(&["discovery,presence", "chat"]);
    let front = cluster.with("discovery,presence");
    let (ana, ben) = (cluster.person("ana", front).await, cluster.person("ben", front).await);
    let mut anas = cluster.join(&ana, front).await;
    let _bens = cluster.join(&ben, front).await;
    assert!(!is_online(front, &ana, &ben).await, "they have no conversation yet");
    anas.say(&ben.name, "hello").await;
    eventually("ben is online", async || is_online(front, &ana, &ben).await).await;
    sees(&mut anas, &ben, true).await;

    let settings = async |hide: bool| {
        let body = Some(json!({"hide_presence": hide}));
        http::ask(front.address, "PATCH", "/api/me", Some(&ben.token), body).await
    };
    assert_eq!(settings(true).await.status, 200);
    assert!(!is_online(front, &ana, &ben).await, "he hides it");
    // Changed at a process without chat, felt where he is watched.
    hears(&mut anas, false).await;
    assert_eq!(settings(false).await.status, 200);
    hears(&mut anas, true).await;
    assert!(is_online(front, &ana, &ben).await);
    let path = format!("/api/blocks/{}", ana.name);
    http::ask(front.address, "PUT", &path, Some(&ben.token), None).await;
    assert!(!is_online(front, &ana, &ben).await, "he has blocked her");
    http::ask(front.address, "DELETE", &path, Some(&ben.token), None).await;

    cluster.kill("chat");
    let (front, begun) = (cluster.with("discovery,presence"), Instant::now());
    eventually("ben is offline", async || !is_online(front, &ana, &ben).await).await;
    println!("offline {:.1} s after his chat was killed", begun.elapsed().as_secs_f64());
    let path = format!("/api/users/{}/presence", ben.name);
    let seen = front.get(&path, Some(&ana.token)).await.json()["last_seen"].as_u64().unwrap();
    let ago_ms = harness::client::wall_ms().saturating_sub(seen);
    assert!(ago_ms < 30_000, "he was last seen {ago_ms} ms ago: when his chat was heard last");
    let body = Some(json!({"client": uuid::Uuid::new_v4()}));
    let answer = http::ask(front.address, "POST", "/api/discover", Some(&ana.token), body).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "not-ready"), "nobody has chat");
}

/// Kills the one process with a role and talks on.
async fn chat_goes_on_without(role: &str) {
    let mut cluster = Cluster::start(&["chat,discovery", role]);
    let people = cluster.with("chat,discovery");
    let (ana, ben) = (cluster.person("ana", people).await, cluster.person("ben", people).await);
    let mut anas = cluster.join(&ana, people).await;
    let mut bens = cluster.join(&ben, people).await;
    talk(&mut anas, &mut bens, "before").await;
    cluster.kill(role);
    let took = talk(&mut anas, &mut bens, "after").await;
    println!("without {role} two messages and their pushes took {:.0} ms", took * 1e3);
    // What the process did for programs, sessions do for clients.
    let history = bens.whole_history(bens.chat(&ana.name)).await;
    assert_eq!(history.len(), 4);
    assert_eq!(bens.inbox().await.entries.len(), 1);
    sees(&mut anas, &ben, true).await;
    // Who comes now is let in as before.
    let begun = Instant::now();
    let mut again = cluster.join(&ana, cluster.with("chat,discovery")).await;
    println!("without {role} a client connects in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    talk(&mut again, &mut bens, "again").await;
    cluster.with("chat,discovery").assert_no_panic();
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn chat_goes_on_without_messaging() {
    chat_goes_on_without("messaging").await;
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn chat_goes_on_without_presence() {
    chat_goes_on_without("presence").await;
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn another_discovery_takes_over() {
    let mut cluster = Cluster::start(&["discovery", "messaging,discovery", "chat"]);
    let first = cluster.with("discovery");
    let (ana, ben) = (cluster.person("ana", first).await, cluster.person("ben", first).await);
    eventually("both are named", async || {
        cluster.join(&ana, cluster.with("discovery")).await.addresses.len() == 2
    })
    .await;
    let mut anas = cluster.join(&ana, cluster.with("discovery")).await;
    let mut bens = cluster.join(&ben, cluster.with("discovery")).await;
    cluster.kill("discovery");
    talk(&mut anas, &mut bens, "sessions do not need it").await;
    let begun = Instant::now();
    let mut anas = anas.come_back_through_others().await;
    println!(
        "without the first discovery a client is back after {:.0} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
    talk(&mut anas, &mut bens, "there is another one").await;
}

#[tokio::test]
#[ignore = "needs services: cargo xtask services up"]
async fn a_second_chat_takes_over_and_nothing_acknowledged_is_lost_or_doubled() {
    let mut cluster = Cluster::start(&["discovery,messaging,presence", "chat", "chat"]);
    let rest = "discovery,messaging,presence";
    let bases = [cluster.with(rest).address];
    let (ana, ben) = (
        cluster.person("ana", cluster.with(rest)).await,
        cluster.person("ben", cluster.with(rest)).await,
    );
    let anas = cluster.join(&ana, cluster.with(rest)).await;
    let mut ana_writes = Writer::new(anas, &ben);
    let mut ben_writes = Writer::new(cluster.join(&ben, cluster.with(rest)).await, &ana);
    let (one, other) = tokio::join!(ana_writes.write(40), ben_writes.write(40));
    assert_eq!([one, other], [Ok(()); 2]);

    // In the middle of sending: each has open ones.
    let dies = ana_writes.client.node();
    cluster.kill_at(dies);
    let begun = Instant::now();
    let mut died = 0;
    for writer in [&mut ana_writes, &mut ben_writes] {
        if writer.client.node() == dies {
            assert!(!writer.open.is_empty());
            // What the dead one had written is still to be read.
            while writer.take().await.is_ok() {}
            died += 1;
        }
    }
    assert!(died > 0);
    ana_writes = ana_writes.come_back(&bases).await;
    ana_writes.write(1).await.unwrap();
    println!(
        "{died} of 2 clients lost their node; Ana's next ack came after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    if ben_writes.client.node() == dies {
        ben_writes = ben_writes.come_back(&bases).await;
    }
    let (one, other) = tokio::join!(ana_writes.write(40), ben_writes.write(40));
    assert_eq!([one, other], [Ok(()); 2]);
    ben_writes.shows(&ana_writes.acked).await;
    ana_writes.shows(&ben_writes.acked).await;
    println!("both had heard everything after {:.1} s", begun.elapsed().as_secs_f64());

    // What the store has, read by the process that has no part in chat.
    let messaging = cluster.with(rest);
    let path =
        format!("/api/conversations/{}/messages?limit=100", ana_writes.client.chat(&ben.name));
    let mut stored: Vec<(MessageId, Ref)> = Vec::new();
    loop {
        let before = stored.last().map_or(String::new(), |(id, _)| format!("&before={id}"));
        let page = messaging.get(&format!("{path}{before}"), Some(&ana.token)).await;
        let page: rally_schema::frame::History = serde_json::from_str(&page.body).unwrap();
        stored.extend(page.messages.iter().map(|message| (message.id, message.r#ref)));
        if !page.more {
            break;
        }
    }
    assert!(stored.windows(2).all(|pair| pair[0].0 > pair[1].0), "newest first");
    let by_ref: BTreeMap<Ref, MessageId> = stored.iter().map(|(id, r#ref)| (*r#ref, *id)).collect();
    assert_eq!(by_ref.len(), stored.len(), "none is there twice");
    for (r#ref, id) in ana_writes.acked.iter().chain(&ben_writes.acked) {
        assert_eq!(by_ref.get(r#ref), Some(id), "{ref} was acknowledged");
    }
    // A page of the dead one may still be open, and goes on here; a foreign one may not.
    for (origin, allowed) in [(format!("http://{dies}"), true), ("http://127.0.0.1".into(), false)]
    {
        let headers = [("origin", &*origin)];
        let answer = http::exchange(messaging.address, "GET", "/api/config", &headers, None).await;
        let said = answer.header("access-control-allow-origin");
        assert_eq!(said == Some(&origin), allowed, "{origin}: {answer:?}");
    }
    eventually("ben is online where he is now", async || is_online(messaging, &ana, &ben).await)
        .await;
    println!("online again after {:.1} s", begun.elapsed().as_secs_f64());
    cluster.all().for_each(|(_, server)| server.assert_no_panic());
}
