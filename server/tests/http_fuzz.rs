//! The OpenAPI description against the real server: what it says is so, whatever is sent.
//!
//! The fuzzer is named by `RALLY_SCHEMATHESIS`; `cargo xtask test` installs it. It sends what
//! the description allows and what it forbids, and judges status, content type and body of
//! each answer by the description.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Server, http};

/// How long one run may take beyond what it is told.
const GRACE: Duration = Duration::from_secs(60);

/// Who may not be blocked no description can say: nobody blocks himself.
const CONFIG: &str = r#"
[[operations]]
include-path = "/api/blocks/{user}"

[operations.checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "404", "409"]
"#;

/// What opens `/admin`.
const OPERATOR: &str = "a-token-of-the-operator";

/// One run of the fuzzer: which paths, for how many seconds, and whether as the operator.
struct Run {
    paths: [&'static str; 2],
    seconds: u64,
    operator: bool,
}

/// Logging out voids the token that all other requests need, and the operator has another: both
/// are fuzzed by themselves.
const RUNS: [Run; 3] = [
    Run { paths: ["--exclude-path-regex", "^/(api/logout|admin)"], seconds: 60, operator: false },
    Run { paths: ["--include-path-regex", "^/api/logout"], seconds: 10, operator: false },
    Run { paths: ["--include-path-regex", "^/admin"], seconds: 20, operator: true },
];

/// Runs the fuzzer to its end, which it must reach in time and without a finding.
async fn fuzz(tool: &Path, server: &Server, token: &str, run: &Run) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("schemathesis.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new(tool);
    command
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(&config)
        .args(["--no-color", "run", &format!("http://{}/api/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // The token goes with every request, so that none is without.
        .args(["--exclude-checks", "ignored_auth"])
        // More than one worker trips over a fault of CPython's parser (3.11).
        .args(["--workers", "1", "--seed", "1", "--max-examples", "40"])
        .args(["--max-time", &run.seconds.to_string()])
        .args(run.paths);
    let mut child = command.spawn().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(run.seconds) + GRACE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if tokio::time::Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the fuzzer did not end by itself");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success(), "the fuzzer found what stands above: {status}");
}

#[tokio::test]
#[ignore = "needs a tool: RALLY_SCHEMATHESIS names it, and `cargo xtask test` installs it"]
async fn the_openapi_description_is_true_and_no_request_breaks_the_server() {
    let tool = std::env::var_os("RALLY_SCHEMATHESIS").expect("RALLY_SCHEMATHESIS names the tool");
    let server = Server::with(&[&format!("--admin-token={OPERATOR}")]);
    // Not one of the examples in the description, so that those are other people.
    http::register(server.address, "fuzzer").await;
    for run in RUNS {
        let token = match run.operator {
            true => OPERATOR.to_owned(),
            false => http::log_in(server.address, "fuzzer").await,
        };
        fuzz(Path::new(&tool), &server, &token, &run).await;
    }
    let made = server.metric("rally_http_requests_total").await;
    assert!(made > 500.0, "only {made} requests were made");
    assert_eq!(http::get(server.address, "/readyz", None).await.0, 200);
    server.assert_no_panic();
}
