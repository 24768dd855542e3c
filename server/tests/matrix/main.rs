//! Hostile clients, one kind after the other, at a real node while others chat.
//!
//! Each attack has its stated answer and a metric that shows it, and the others do not wait: the
//! p99 of their messages, from when they were to be sent, stays within twice what it was before,
//! plus 50 ms: before the first attack, or just before this one if that is less. They lose nothing,
//! hear nothing twice, and stay connected. In the end the server holds as many sockets, and about as
//! much memory, as in the beginning.
//! `RALLY_TEST_ATTACK_SECONDS` has the attacks go on for longer; `RALLY_TEST_ATTACK` names one.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod floods;
mod forged;
#[path = "../harness/mod.rs"]
mod harness;
mod logins;
mod malformed;
mod mute;
mod neighbours;
mod scene;
mod slow;
mod strangers;
mod texts;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use harness::eventually;
use neighbours::Neighbours;
use scene::{Scene, Seen};
use tokio::time::{Instant, sleep};

/// For how long the others are watched before an attack.
const CALM: Duration = Duration::from_secs(1);

/// For how many seconds an attack goes on at least, unless told otherwise.
const LASTS: u64 = 2;

/// How much more memory the server may hold in the end: what its store and its allocator keep.
const MEMORY: u64 = 96 * 1024 * 1024;

/// One kind of hostile client.
struct Attack {
    name: &'static str,
    run: fn(&Scene) -> LocalBoxFuture<'_, Seen>,
    /// What it may be answered; each must be seen.
    answers: &'static [&'static str],
    /// The metrics that show it, each of which must have grown.
    shown_by: &'static [&'static str],
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "never reads",
        run: slow::never,
        answers: &["ended"],
        shown_by: &["rally_lagged_total", "rally_sessions_ended_total{of=\"silent\"}"],
    },
    Attack {
        name: "reads one byte a second",
        run: slow::one_byte_a_second,
        answers: &["ended"],
        shown_by: &["rally_lagged_total", "rally_sessions_ended_total{of=\"silent\"}"],
    },
    Attack {
        name: "floods: sends",
        run: floods::sends,
        answers: &["ack", "rate", "held"],
        shown_by: &["rally_errors_total{of=\"rate\"}", "rally_reading_paused_total{of=\"rate\"}"],
    },
    Attack {
        name: "floods: pings",
        run: floods::pings,
        answers: &["pong"],
        shown_by: &["rally_reading_paused_total{of=\"rate\"}"],
    },
    Attack {
        name: "floods: binary messages",
        run: floods::binaries,
        answers: &["binary_frame"],
        shown_by: &["rally_errors_total{of=\"binary_frame\"}"],
    },
    Attack {
        name: "floods: requests",
        run: floods::requests,
        answers: &["200", "429"],
        shown_by: &["rally_http_requests_total{status=\"429\"}"],
    },
    Attack {
        name: "floods: pages",
        run: floods::pages,
        answers: &["200", "429"],
        shown_by: &["rally_http_requests_total{status=\"429\"}"],
    },
    Attack {
        name: "floods: handshakes",
        run: floods::handshakes,
        answers: &["101", "429"],
        shown_by: &["rally_http_requests_total{route=\"/ws\",status=\"429\"}"],
    },
    Attack {
        name: "opens sockets without hello",
        run: mute::no_hello,
        answers: &["hello_expected", "bye silent", "1008", "408"],
        shown_by: &["rally_errors_total{of=\"hello_expected\"}"],
    },
    Attack {
        name: "opens more than one address may",
        run: mute::one_address,
        answers: &["open", "closed"],
        shown_by: &["rally_http_connections_refused_total{of=\"address\"}"],
    },
    Attack {
        name: "replays tickets",
        run: forged::replayed_tickets,
        answers: &["bad_ticket", "bye refused", "1008"],
        shown_by: &["rally_errors_total{of=\"bad_ticket\"}"],
    },
    Attack {
        name: "forges tokens and tickets",
        run: forged::forged_tokens,
        answers: &["401", "bad_ticket", "bye refused", "1008"],
        shown_by: &[
            "rally_http_requests_total{status=\"401\"}",
            "rally_errors_total{of=\"bad_ticket\"}",
        ],
    },
    Attack {
        name: "forges ids",
        run: forged::foreign_ids,
        answers: &["unknown_conversation", "unknown_message"],
        shown_by: &["rally_errors_total{of=\"unknown_conversation\"}"],
    },
    Attack {
        name: "forges marks",
        run: forged::forged_marks,
        answers: &["unknown_conversation"],
        shown_by: &[
            "rally_errors_total{of=\"unknown_conversation\"}",
            "rally_marks_total{of=\"short\"}",
        ],
    },
    Attack {
        name: "forges cursors",
        run: forged::forged_cursors,
        answers: &["reset"],
        shown_by: &[
            "rally_resets_total{of=\"malformed\"}",
            "rally_resets_total{of=\"other_store\"}",
            "rally_resets_total{of=\"ahead\"}",
        ],
    },
    Attack {
        name: "watches strangers",
        run: strangers::watched,
        answers: &["not online", "too_many_watches"],
        shown_by: &[
            "rally_watches_total{of=\"stranger\"}",
            "rally_errors_total{of=\"too_many_watches\"}",
        ],
    },
    Attack {
        name: "writes texts of 64 KiB, and more",
        run: texts::long,
        answers: &["ack", "text_too_long", "bye protocol", "1009"],
        shown_by: &[
            "rally_errors_total{of=\"text_too_long\"}",
            "rally_sessions_ended_total{of=\"refused\"}",
        ],
    },
    Attack {
        name: "reads pages of such texts",
        run: texts::pages,
        answers: &["history"],
        shown_by: &["rally_reading_paused_total{of=\"questions\"}"],
    },
    Attack {
        name: "guesses passwords",
        run: logins::storm,
        answers: &["401", "429", "503"],
        shown_by: &[
            "rally_logins_total{outcome=\"bad\"}",
            "rally_logins_total{outcome=\"busy\"}",
            "rally_http_requests_total{route=\"/api/login\",status=\"429\"}",
        ],
    },
    Attack {
        name: "speaks no HTTP",
        run: malformed::http,
        answers: &["ended", "400", "431"],
        shown_by: &["rally_http_broken_off_total{of=\"malformed\"}"],
    },
    Attack {
        name: "asks for a WebSocket by half",
        run: malformed::handshake,
        answers: &["ended", "101", "200", "400", "405", "426"],
        shown_by: &[
            "rally_http_broken_off_total{of=\"malformed\"}",
            "rally_http_requests_total{route=\"/ws\",status=\"426\"}",
        ],
    },
    Attack {
        name: "speaks no WebSocket",
        run: malformed::websocket,
        answers: &[
            "ended",
            "bad_frame",
            "binary_frame",
            "bye protocol",
            "1002",
            "1007",
            "1008",
            "1009",
        ],
        shown_by: &[
            "rally_sessions_ended_total{of=\"refused\"}",
            "rally_sessions_ended_total{of=\"protocol\"}",
        ],
    },
];

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::test]
#[ignore = "measures, so it runs alone: cargo xtask test --only hostile"]
async fn hostile_clients_get_their_answers_and_nobody_else_waits() {
    let seconds = setting("RALLY_TEST_ATTACK_SECONDS").map_or(LASTS, |text| text.parse().unwrap());
    let scene = Scene::set(Duration::from_secs(seconds));
    let neighbours = Neighbours::move_in(|| scene.visitor()).await;
    let calm = Instant::now();
    sleep(CALM).await;
    let (_, untouched) = neighbours.p99_since(calm).await;
    let (memory, sockets) = (scene.server.rss(), scene.server.sockets());
    let only = setting("RALLY_TEST_ATTACK");
    let mut wrong = Vec::new();
    for attack in
        ATTACKS.iter().filter(|one| only.as_deref().is_none_or(|only| one.name.contains(only)))
    {
        wrong.extend(attack.judge(&scene, &neighbours, untouched).await);
    }
    eventually("the server holds as many sockets as before", async || {
        scene.server.sockets() <= sockets + 1
    })
    .await;
    let grown = scene.server.rss().saturating_sub(memory);
    println!("memory: {} MiB before, {} MiB more after", memory >> 20, grown >> 20);
    neighbours.move_out().await;
    scene.server.assert_no_panic();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(grown <= MEMORY, "the server holds {grown} bytes more than before");
}

impl Attack {
    /// Has it take place, prints what became of it, and gives what was not as stated; `untouched`
    /// is the p99 of others before any attack.
    async fn judge(
        &self,
        scene: &Scene,
        neighbours: &Neighbours,
        untouched: Duration,
    ) -> Vec<String> {
        let calm = Instant::now();
        sleep(CALM).await;
        let (_, now) = neighbours.p99_since(calm).await;
        // What the attack before left behind must not excuse this one.
        let before = now.min(untouched);
        let mut counts = Vec::new();
        for series in self.shown_by {
            counts.push(scene.server.metric(series).await);
        }
        let begun = Instant::now();
        let mut seen = (self.run)(scene).await;
        // What is over sooner takes place again.
        while begun.elapsed() < scene.lasts {
            seen.join((self.run)(scene).await);
        }
        let (messages, during) = neighbours.p99_since(begun).await;
        let mut shown = Vec::new();
        for (series, count) in self.shown_by.iter().zip(counts) {
            let grown = scene.server.metric(series).await - count;
            shown.push(format!("{series} +{grown}"));
        }
        let bound = 2 * before + Duration::from_millis(50);
        println!(
            "{:<34} {:>6} in {:>4.1} s | {:?} | {} | p99 of {messages} messages \
             {untouched:.1?} in the beginning, {now:.1?} before, {during:.1?} during",
            self.name,
            seen.attempts,
            begun.elapsed().as_secs_f64(),
            seen.answers,
            shown.join(", "),
        );
        let unstated =
            seen.answers.keys().filter(|answer| !self.answers.contains(&answer.as_str()));
        let missing = self.answers.iter().filter(|answer| !seen.answers.contains_key(**answer));
        let mut wrong: Vec<String> =
            unstated.map(|answer| format!("{answer} is not its answer")).collect();
        wrong.extend(missing.map(|answer| format!("no {answer} came")));
        wrong.extend(shown.into_iter().filter(|one| one.ends_with("+0")));
        wrong.extend(
            (during > bound).then(|| format!("others waited {during:?}, beyond {bound:?}")),
        );
        wrong.iter_mut().for_each(|what| *what = format!("{}: {what}", self.name));
        wrong
    }
}
