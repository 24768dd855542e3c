//! The steps of `cargo xtask test`, in the order in which they run. To add one, add a row.

use anyhow::Context as _;

use crate::checkout::Checkout;
use crate::step::{Outcome, Step};
use crate::{
    call, client, cluster, debian, generate, instructions, licences, need, peers, python, services,
    simulate,
};

/// Every step. What a row needs stands above it.
pub const STEPS: &[Step] = &[
    Step { name: "format", about: "Rust code as rustfmt leaves it", needs: &[], run: format },
    Step { name: "lints", about: "clippy, warnings denied", needs: &[], run: lints },
    Step { name: "docs", about: "rustdoc, warnings denied", needs: &[], run: docs },
    Step {
        name: "licences",
        about: "licences, bans and sources of dependencies",
        needs: &[],
        run: licences::check,
    },
    Step {
        name: "advisories",
        about: "published advisories, where there is a network",
        needs: &[],
        run: licences::advisories,
    },
    Step { name: "generated", about: "generated files up to date", needs: &[], run: generated },
    Step {
        name: "client-install",
        about: "packages of the browser client",
        needs: &[],
        run: client_install,
    },
    Step {
        name: "client-check",
        about: "types and lints of the browser client",
        needs: &["client-install"],
        run: |checkout| npm(checkout, &["run", "check"]),
    },
    Step {
        name: "client-tests",
        about: "unit tests of the browser client",
        needs: &["client-install"],
        run: |checkout| npm(checkout, &["test"]),
    },
    Step {
        name: "client-build",
        about: "pages that the server embeds",
        needs: &["client-install"],
        run: client_build,
    },
    Step { name: "rust-tests", about: "tests of the workspace", needs: &[], run: rust_tests },
    Step {
        name: "instructions",
        about: "no piece of the message path takes over 5 % more instructions than is kept",
        needs: &[],
        run: instructions::check,
    },
    Step {
        name: "simulation",
        about: "1,000 simulated clusters under faults keep the promises, and planted faults are found",
        needs: &[],
        run: simulation,
    },
    Step {
        name: "server",
        about: "the release build of rally-server",
        needs: &["client-build"],
        run: server,
    },
    Step {
        name: "hostile",
        about: "others chat on, and do not wait, while clients are hostile",
        needs: &["server"],
        run: hostile,
    },
    Step {
        name: "bench",
        about: "every scenario of the load tester runs, and accounts for every message",
        needs: &["server"],
        run: bench,
    },
    Step {
        name: "http-fuzz",
        about: "the OpenAPI description is true and withstands fuzzing",
        needs: &[],
        run: http_fuzz,
    },
    Step { name: "websocket", about: "WebSocket conformance cases", needs: &[], run: websocket },
    Step {
        name: "services",
        about: "RabbitMQ and Cassandra, installed and started",
        needs: &[],
        run: services_up,
    },
    Step {
        name: "drivers",
        about: "broker and store keep their promises on RabbitMQ and Cassandra, and are measured",
        needs: &["services"],
        run: drivers,
    },
    Step {
        name: "cluster",
        about: "several nodes over them, traced, in roles, and killed under load",
        needs: &["services"],
        run: nodes,
    },
    Step {
        name: "verify",
        about: "the checker from outside, while nodes, brokers and the store die",
        needs: &["server", "services"],
        run: verify,
    },
    Step {
        name: "planted",
        about: "the checker from outside finds a planted fault for each promise",
        needs: &[],
        run: planted,
    },
    Step {
        name: "peers",
        about: "the load tester's clients against other chat servers",
        needs: &[],
        run: peers,
    },
    Step {
        name: "browser",
        about: "people in browsers against the real server, and against nodes that die",
        needs: &["server", "services"],
        run: browser,
    },
    // Needs nothing: what was started is stopped, whatever became of it.
    Step { name: "services-down", about: "they are stopped again", needs: &[], run: services_down },
];

fn format(checkout: &Checkout) -> anyhow::Result<Outcome> {
    need::component("fmt", "rustfmt", checkout.root())?;
    cargo(checkout, &["fmt", "--all", "--check"])
}

fn lints(checkout: &Checkout) -> anyhow::Result<Outcome> {
    need::component("clippy", "clippy", checkout.root())?;
    let clippy = |what: &[&str]| {
        let mut clippy = call::cargo(checkout.root());
        clippy.arg("clippy").args(what).args(["--all-targets", "--", "-D", "warnings"]);
        call::run(&mut clippy)
    };
    clippy(&["--workspace"])?;
    // Not seen by the former: a build of the whole workspace has no faults to plant.
    passed(clippy(&["--workspace", "--features", "rally-server/planted,rally-simulation/planted"]))
}

fn docs(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let mut doc = call::cargo(checkout.root());
    doc.env("RUSTDOCFLAGS", "-D warnings");
    passed(call::run(doc.args(["doc", "--workspace", "--no-deps"])))
}

fn generated(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(generate::check(checkout).inspect_err(|error| println!("{error}")))
}

fn client_install(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(client::install(checkout).map(client::Done::tell))
}

fn client_build(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(client::build(checkout).map(client::Done::tell))
}

fn rust_tests(checkout: &Checkout) -> anyhow::Result<Outcome> {
    cargo(checkout, &["test", "--workspace", "--no-fail-fast"])
}

fn simulation(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let cargo = |what| {
        let mut cargo = call::cargo(checkout.root());
        cargo.arg(what).args(simulate::BUILD);
        cargo
    };
    call::run(cargo("run").args(["--", "--seeds=1000"]))?;
    passed(call::run(cargo("test").args(["--test", "finds", "--", "--nocapture"])))
}

fn server(checkout: &Checkout) -> anyhow::Result<Outcome> {
    cargo(checkout, &["build", "--release", "--package", "rally-server"])
}

/// The test measures, so nothing else runs beside it.
fn hostile(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let mut test = call::tests(checkout.root(), "matrix");
    test.env("RALLY_SERVER_BIN", checkout.server());
    passed(call::run(test.args(IGNORED)))
}

fn bench(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let mut test = call::tests(checkout.root(), "scenarios");
    test.env("RALLY_SERVER_BIN", checkout.server());
    passed(call::run(test.args(IGNORED).arg("--test-threads=1")))
}

/// The test starts a server and turns this tool on it.
fn http_fuzz(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let tool = python::tool(checkout, "schemathesis==4.32.5", "schemathesis")?;
    let mut test = call::tests(checkout.root(), "http_fuzz");
    passed(call::run(test.env("RALLY_SCHEMATHESIS", tool).args(IGNORED)))
}

/// The test starts an echo over the server's own WebSocket end and turns this tool on it.
fn websocket(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let tool = python::tool(checkout, "kosoku==0.1.0", "kosoku")?;
    let mut test = call::tests(checkout.root(), "websocket");
    passed(call::run(test.env("RALLY_KOSOKU", tool).args(IGNORED)))
}

fn services_up(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(services::start(checkout, &services::Up::for_tests()))
}

fn services_down(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(services::stop(checkout, true))
}

/// One test needs three nodes of Cassandra, and kills one: it is run by hand.
fn drivers(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let test = |name: &str| {
        let mut test = call::tests(checkout.root(), name);
        call::run(test.args(["--", "--ignored", "--skip", "kill::"]))
    };
    ["rabbitmq", "cassandra", "model"].into_iter().try_for_each(test)?;
    let mut storage = call::tests(checkout.root(), "storage");
    storage.env("RALLY_TEST_CASSANDRA_DATA", services::cassandra_data(checkout));
    passed(call::run(storage.args(IGNORED).arg("--test-threads=1")))
}

/// One after the other: each starts several processes, and measures.
fn nodes(checkout: &Checkout) -> anyhow::Result<Outcome> {
    for name in ["roles", "far_traces", "far_admin", "faults"] {
        let mut test = call::tests(checkout.root(), name);
        test.env("RALLY_TEST_XTASK", std::env::current_exe()?);
        test.env("RALLY_TEST_AMQP", services::Up::for_tests().amqp_urls());
        // A crowd that is there soon: the thousands are for `cargo xtask night`.
        test.env("RALLY_TEST_CROWD", "75").env("RALLY_TEST_SPAN", "4");
        call::run(test.args(IGNORED).arg("--test-threads=1"))?;
    }
    Ok(Outcome::Passed)
}

/// Three nodes, which die, stand still and are restarted, as are brokers and the store; then a verdict
/// for each promise, and the same one again from the history that was kept.
fn verify(checkout: &Checkout) -> anyhow::Result<Outcome> {
    // So that its users are there at once: they all come from one address.
    let flags =
        ["--rate-registers-per-minute-address=1000", "--rate-logins-per-minute-address=1000"];
    call::run(call::tests(checkout.root(), "scenarios").arg("--no-run"))?;
    let bench = || call::program(checkout.tested("rally-bench"), checkout.root());
    let history = checkout.kept("verify.jsonl");
    std::fs::create_dir_all(history.parent().context("what is kept is in a folder")?)?;
    cluster::with_three(checkout, services::Up::for_tests(), &flags, |urls| {
        let faults = "kill-node,kill-broker,kill-store,pause-node,restart-all";
        let mut verify = bench();
        verify.arg("verify").args(urls).args(["--faults", faults, "--all"]);
        verify.args(["--brokers=3", "--stores=1"]);
        call::run(verify.arg("--history").arg(&history))
    })?;
    passed(call::run(bench().arg("judge").arg(&history).arg("--all")))
}

/// Each fault needs a server of its own, and most of a run is waiting: four at once.
fn planted(checkout: &Checkout) -> anyhow::Result<Outcome> {
    // As the server of some test, so that nothing beneath it is compiled again.
    let mut build = call::tests(checkout.root(), "http");
    call::run(build.args(["--no-run", "--features", "rally-server/planted"]))?;
    let server = checkout.planted_server().context("keeping the planted server")?;
    let mut test = call::tests(checkout.root(), "planted");
    test.env("RALLY_PLANTED_SERVER", server);
    passed(call::run(test.args(IGNORED).arg("--test-threads=4")))
}

/// What is written at home, over a PostgreSQL of its own.
fn peers(checkout: &Checkout) -> anyhow::Result<Outcome> {
    passed(peers::with(checkout, |address| {
        let mut test = call::cargo(checkout.root());
        test.env("RALLY_PEER_SOCKETIO", address.to_string());
        test.args(["test", "--workspace", "--bin", "rally-bench", "socketio::real"]);
        call::run(test.args(IGNORED))
    }))
}

/// Tests that need a tool from here are ignored by a plain `cargo test`.
const IGNORED: [&str; 3] = ["--", "--ignored", "--nocapture"];

fn browser(checkout: &Checkout) -> anyhow::Result<Outcome> {
    let chromium = chromium()?;
    let mut npm = client::npm(checkout);
    npm.env("RALLY_SERVER_BIN", checkout.server()).env("RALLY_CHROMIUM", chromium);
    npm.env("RALLY_TEST_SERVICES", "1");
    passed(call::run(npm.args(["run", "e2e"])))
}

/// Finds Chromium, or installs it.
fn chromium() -> anyhow::Result<std::path::PathBuf> {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    if let Some(named) = std::env::var_os("RALLY_CHROMIUM") {
        return Ok(named.into());
    }
    if let Some(found) = debian::which(&NAMES) {
        return Ok(found);
    }
    debian::install(&["chromium", "fonts-dejavu-core"]).context("no Chromium found")?;
    debian::which(&NAMES).context("Chromium was installed but is not on the search path")
}

fn cargo(checkout: &Checkout, arguments: &[&str]) -> anyhow::Result<Outcome> {
    passed(call::run(call::cargo(checkout.root()).args(arguments)))
}

fn npm(checkout: &Checkout, arguments: &[&str]) -> anyhow::Result<Outcome> {
    passed(call::run(client::npm(checkout).args(arguments)))
}

fn passed(result: anyhow::Result<()>) -> anyhow::Result<Outcome> {
    result.map(|()| Outcome::Passed)
}
