//! Every built-in scenario against a real server: it does what it says, every message is accounted
//! for, and what it reports is what it did.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The generator shares the machine with whatever else is tested: that it was slow is no failure.
const CLEAN: [i32; 2] = [0, 3];

/// Runs a scenario once, smaller than it is; gives the report.
fn run(scenario: &str, on: &str, set: &[&str], folder: &Path) -> Value {
    let json = folder.join(format!("{scenario}.json"));
    let html = folder.join(format!("{scenario}.html"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_rally-bench"));
    bench.args(["run", scenario, "--runs=1", "--on", on, "--set=warmup_s=1"]);
    bench.args(set.iter().map(|set| format!("--set={set}")));
    bench.arg("--json").arg(&json).arg("--html").arg(&html).arg("--hdr").arg(folder);
    bench.arg("--server").arg(std::env::var_os("RALLY_SERVER_BIN").expect("RALLY_SERVER_BIN"));
    let ended = bench.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    let table = String::from_utf8_lossy(&ended.stdout);
    let status = ended.status.code().unwrap();
    assert!(CLEAN.contains(&status), "{scenario} ended with {status}:\n{said}\n{table}");
    assert!(std::fs::read_to_string(html).unwrap().contains("</html>"));
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

fn count(run: &Value, what: &str) -> u64 {
    run["balance"][what].as_u64().unwrap()
}

#[test]
#[ignore = "needs a built server: cargo xtask test --only bench"]
fn every_scenario_runs_and_accounts_for_every_message() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["seconds=3", "users=40"];
    let cases: [(&str, &[&str]); 8] = [
        ("pairs", &["send.rate=200"]),
        ("devices", &["send.rate=100"]),
        ("inbox-storm", &["send.rate=100"]),
        ("reconnect-storm", &["send.rate=50", "drop_all_at_s=1", "seconds=6"]),
        ("idle", &[]),
        ("mixed", &["send.rate=60", "reconnects=10", "seconds=6"]),
        ("slow-readers", &["send.rate=100"]),
        ("login-storm", &["send.rate=50", "logins=5"]),
    ];
    for (scenario, set) in cases {
        let set: Vec<&str> = short.iter().chain(set).copied().collect();
        let report = run(scenario, "rally", &set, folder.path());
        let seen = &report["subjects"][0]["runs"][0];
        let [sent, acked, due, delivered] =
            ["sent", "acked", "due", "delivered"].map(|what| count(seen, what));
        assert_eq!((acked, delivered), (sent, due), "{scenario}: {}", seen["balance"]);
        assert_eq!(sent > 0, scenario != "idle", "{scenario}");
        assert!(
            seen["server"]["cpu_ns"].as_u64() > Some(0) && seen["connections"].as_u64() >= Some(40)
        );
        match scenario {
            "reconnect-storm" => assert!(seen["all_back_ns"].as_u64() > Some(0)),
            "mixed" => {
                for what in ["receipts", "typing"] {
                    assert!(
                        seen["noticed"][what].as_u64() > Some(0),
                        "{what}: {}",
                        seen["noticed"]
                    );
                }
                assert!(
                    seen["spans"]["history"].is_string() && seen["spans"]["reconnect"].is_string()
                );
            }
            // Nobody but those who were to log in came back.
            "login-storm" => {
                assert!(seen["spans"]["log-in"].is_string() && seen["spans"]["reconnect"].is_null())
            }
            "slow-readers" => {
                for what in ["delivered", "slow readers' delivered"] {
                    assert!(seen["spans"][what].is_string(), "{what}");
                }
            }
            "devices" => {
                assert_eq!(due, 5 * sent, "two other devices of his own, three of the peer")
            }
            _ => {}
        }
    }
    assert!(folder.path().join("rally-delivered.hlog").is_file());
}

#[test]
#[ignore = "needs a built server: cargo xtask test --only bench"]
fn a_report_has_what_the_server_itself_measured() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["seconds=2", "users=20", "send.rate=200"];
    let report = run("pairs", "rally", &set, folder.path());
    let metrics = &report["subjects"][0]["runs"][0]["server"]["metrics"];
    for what in ["commit", "delivery", "fsync"] {
        let mean = &metrics[format!("server: {what}, mean")];
        assert!(mean.as_f64() > Some(0.0), "{what}: {metrics}");
    }
}

#[test]
#[ignore = "needs a built server: cargo xtask test --only bench"]
fn the_floor_passes_as_many_messages_to_as_many_devices() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["seconds=2", "users=20", "send.rate=200"];
    let report = run("devices", "floor", &set, folder.path());
    let seen = &report["subjects"][0]["runs"][0];
    assert_eq!(count(seen, "delivered"), 5 * count(seen, "sent"));
    assert!(count(seen, "sent") > 0);
}

/// It keeps nothing for who is away, and that is no fault of the server beside it.
#[test]
#[ignore = "needs a built server: cargo xtask test --only bench"]
fn what_the_floor_loses_in_a_storm_does_not_decide_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["seconds=3", "users=40", "send.rate=2000", "drop_all_at_s=1"];
    let report = run("reconnect-storm", "rally,floor", &set, folder.path());
    for (nth, name) in ["rally", "floor"].into_iter().enumerate() {
        let seen = &report["subjects"][nth];
        assert_eq!(seen["name"], name);
        assert!(count(&seen["runs"][0], "sent") > 0);
    }
    assert_eq!(count(&report["subjects"][0]["runs"][0], "lost"), 0);
}

#[test]
#[ignore = "needs a built server: cargo xtask test --only bench"]
fn a_search_finds_a_rate_that_holds() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_rally-bench"));
    // What no machine keeps, so that the search ends soon.
    bench.args(["saturate", "pairs", "--seconds=2", "--p99-ms=0.001", "--set=send.rate=16"]);
    bench.args(["--set=users=4", "--set=warmup_s=0", "--on=floor"]);
    let ended = bench.output().unwrap();
    let table = String::from_utf8_lossy(&ended.stdout);
    let is_clean = ended.status.code().is_some_and(|status| CLEAN.contains(&status));
    assert!(is_clean && table.contains("no rate holds"), "{table}");
}
