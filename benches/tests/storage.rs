//! `rally-bench storage`: every model keeps the rows that it states and answers rightly, and nothing
//! of a run stays in the database, however the run ends.
//!
//! Those on Cassandra are left out by a plain `cargo test`: `cargo xtask test --only drivers`.
//! `RALLY_TEST_CASSANDRA` says where it answers, `RALLY_TEST_CASSANDRA_DATA` where its files are.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]
#![allow(clippy::disallowed_methods, reason = "it waits by the machine's own clock")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scylla::client::session_builder::SessionBuilder;
use serde_json::Value;

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn bench(flags: &[&str]) -> Command {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_rally-bench"));
    bench.arg("storage").args(flags).stdin(Stdio::null());
    bench
}

fn words(output: &Output) -> String {
    let words = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&words).into_owned()
}

/// Measures with 10 and 100 conversations; gives the report, and what was said.
fn measure(flags: &[&str], folder: &Path) -> (Value, String) {
    let json = folder.join("report.json");
    let mut bench = bench(&["--conversations=10,100", "--repeats=3"]);
    let ended = bench.args(flags).arg("--json").arg(&json).output().unwrap();
    assert!(ended.status.success(), "{}", words(&ended));
    (serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap(), words(&ended))
}

/// Gives the line of a model, and checks what all models have in common.
fn line<'a>(size: &'a Value, model: &str) -> &'a Value {
    let lines = size["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["model"] == model);
    let line = line.unwrap_or_else(|| panic!("no line of {model}: {size}"));
    for question in ["inbox", "older", "catch_up"] {
        let times = &line[question];
        let ms = |quantile: &str| times[quantile].as_f64().unwrap();
        assert_eq!(times["repeats"], 3, "{model}: {times}");
        assert!(0.0 < ms("p50_ms") && ms("p50_ms") <= ms("p95_ms"), "{model}: {times}");
    }
    line
}

/// How many messages are written: ten a conversation, but 200 in the long one, and 20 new ones.
fn written(conversations: u64) -> u64 {
    10 * (conversations - 1) + 200 + 20
}

#[test]
fn the_embedded_store_has_the_rows_and_writes_that_the_model_states() {
    let folder = tempfile::tempdir().unwrap();
    let (report, said) = measure(&["--dir", folder.path().to_str().unwrap()], folder.path());
    assert!(said.contains("only the embedded store was measured"), "{said}");
    let sizes = report["sizes"].as_array().unwrap();
    for (size, conversations) in sizes.iter().zip([10, 100]) {
        let messages = written(conversations);
        assert_eq!(size["messages"], messages);
        let line = line(size, "rally, embedded");
        let rows = serde_json::json!({"messages": messages, "inbox": 2 * conversations, "changes": 2 * messages});
        assert_eq!((&line["rows"], &line["writes"]), (&rows, &5.0.into()));
        // Texts are a hundred bytes that hardly compress.
        assert!(line["bytes"].as_u64() > Some(50 * messages), "{line}");
    }
    assert_eq!(sizes.len(), 2);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "only the report is left");
}

#[test]
fn what_cannot_be_meant_is_refused_by_name_and_nothing_is_measured() {
    let cases: [(&[&str], &str); 6] = [
        (&["--conversations=0"], "'0' for '--conversations"),
        (&["--data=/"], "--cassandra"),
        (&["--json=/nowhere/report.json"], "writing /nowhere/report.json"),
        (&["--cassandra=nowhere"], "\"nowhere\" is no HOST:PORT"),
        (&["--cassandra=127.0.0.1:9", "--data=/nowhere"], "/nowhere holds no folder `system`"),
        (&["--cassandra=127.0.0.1:9"], "no database at 127.0.0.1:9"),
    ];
    for (flags, named) in cases {
        let ended = bench(flags).output().unwrap();
        let said = words(&ended);
        assert!(!ended.status.success() && said.contains(named), "{flags:?}: {said}");
        assert!(!said.contains("median"), "{flags:?}: {said}");
    }
}

/// Where a Cassandra answers.
fn cassandra() -> String {
    let points = std::env::var("RALLY_TEST_CASSANDRA").unwrap_or("127.0.0.1:9042".to_owned());
    points.split(',').next().unwrap().to_owned()
}

/// Names the keyspaces of a run that are in the database.
fn keyspaces(said: &str) -> Vec<String> {
    let prefix = said.split("keyspaces of this run begin with ").nth(1).unwrap();
    let prefix = prefix.lines().next().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = SessionBuilder::new().known_node(cassandra()).build().await.unwrap();
        let text = "SELECT keyspace_name FROM system_schema.keyspaces";
        let rows = session.query_unpaged(text, ()).await.unwrap().into_rows_result().unwrap();
        let names = rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0);
        names.filter(|name| name.starts_with(&prefix)).collect()
    })
}

#[test]
#[ignore = "needs Cassandra: cargo xtask services up"]
fn each_model_on_cassandra_has_the_rows_and_writes_that_it_states() {
    let folder = tempfile::tempdir().unwrap();
    let data = std::env::var("RALLY_TEST_CASSANDRA_DATA").ok();
    let (at, data) = (cassandra(), data.map(|data| format!("--data={data}")));
    let flags: Vec<&str> = ["--cassandra", &at].into_iter().chain(data.as_deref()).collect();
    let (report, said) = measure(&flags, folder.path());
    assert_eq!(keyspaces(&said), [""; 0]);
    for (size, conversations) in report["sizes"].as_array().unwrap().iter().zip([10, 100]) {
        let messages = written(conversations);
        // What is written once a conversation: its bucket.
        let of_rally = 5.0 + conversations as f64 / messages as f64;
        for (model, rows, writes) in [
            ("approach 1", messages, 1.0..=1.0),
            ("approach 2", 2 * messages, 2.0..=2.0),
            ("approach 2, backwards", 2 * messages, 2.0..=2.0),
            ("approach 3", messages + 2 * conversations, 3.0..=3.0),
            // Of two first messages at once, either may write it.
            ("rally", 3 * messages + 3 * conversations, of_rally - 0.001..=of_rally + 0.5),
            ("rally, bare", 3 * messages + 3 * conversations, of_rally - 0.001..=of_rally + 0.5),
            ("rally, embedded", 3 * messages + 2 * conversations, 5.0..=5.0),
            ("rally, embedded, bare", 3 * messages + 2 * conversations, 5.0..=5.0),
        ] {
            let line = line(size, model);
            let found = line["rows"].as_object().unwrap().values().map(|n| n.as_u64().unwrap());
            assert_eq!(found.sum::<u64>(), rows, "{model}: {line}");
            assert!(writes.contains(&line["writes"].as_f64().unwrap()), "{model}: {line}");
            let is_measured = data.is_some() || model.contains("embedded");
            assert_eq!(line["bytes"].is_u64(), is_measured, "{model}: {line}");
            assert!(!is_measured || line["bytes"].as_u64() > Some(50 * messages), "{line}");
        }
        assert_eq!(size["lines"].as_array().unwrap().len(), 8);
    }
    // Ten of ten are found by any limit of ten; of a hundred the alphabet finds hardly any.
    assert!(said.contains("of 10 conversations, the prototype's LIMIT 10"), "{said}");
    assert!(said.contains("finds 10 of the 10 latest"), "{said}");
}

/// Reads what a run says until it says `words`; gives what it said.
fn hear(stderr: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut said = String::new();
    while !said.contains(words) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended before {words:?}: {said}");
    }
    said
}

/// Waits until a run ends.
fn end(child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs Cassandra: cargo xtask services up"]
fn whoever_stops_it_finds_no_keyspace_left() {
    let at = cassandra();
    let mut bench = bench(&["--conversations=20000", "--cassandra", &at]);
    let mut child = bench.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let said = hear(&mut stderr, "approach1");
    let begun = Instant::now();
    while keyspaces(&said).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "it made no keyspace");
        std::thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(end(&mut child));
    assert_eq!(keyspaces(&said), [""; 0]);
}

#[test]
#[ignore = "needs Cassandra: cargo xtask services up"]
fn an_error_half_way_leaves_no_keyspace_either() {
    let (at, other) = (cassandra(), tempfile::tempdir().unwrap());
    std::fs::create_dir(other.path().join("system")).unwrap();
    let mut bench = bench(&["--conversations=10", "--cassandra", &at, "--data"]);
    let ended = bench.arg(other.path()).output().unwrap();
    let said = words(&ended);
    assert!(!ended.status.success() && said.contains("it is another Cassandra's"), "{said}");
    assert_eq!(keyspaces(&said), [""; 0]);
}
