//! `cargo xtask night`: the long form of what every test run does to clusters, for as long as there
//! is time, and one page that says what came of it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::checkout::Checkout;
use crate::{call, cluster, services, simulate};

/// Do everything to clusters that is known, for a given time, and write one page of results.
///
/// Half of the time goes to the simulation, a quarter to faults under load, a quarter to the checker
/// from outside. Each part has its log beside the page. Ends with status 1 when something broke.
#[derive(clap::Args)]
pub struct Args {
    /// For how long; what is begun is finished
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
}

/// What came of a part.
struct Result {
    name: String,
    command: String,
    passed: bool,
    took: Duration,
    /// The lines of its output that say how it went.
    words: Vec<String>,
}

/// A page that grows, and where its parts keep their output.
struct Night<'a> {
    checkout: &'a Checkout,
    results: Vec<Result>,
}

/// Runs all parts, and writes the page after each.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let minutes = args.minutes;
    let folder = checkout.root().join("target/night");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut night = Night { checkout, results: Vec::new() };

    let three = services::Up::three();
    services::stop(checkout, true)?;
    services::start(checkout, &three)?;
    let until = Instant::now() + Duration::from_secs(minutes * 15);
    night.faults("faults over three copies", &three, "answer_of_the_store")?;
    while Instant::now() < until {
        night.faults("faults over three copies, again", &three, "answer_of_the_store")?;
    }
    night.verify(&three, minutes * 15)?;
    services::stop(checkout, true)?;

    let one = services::Up::for_tests();
    services::start(checkout, &one)?;
    night.faults("faults over one copy", &one, "a_node_of_the_store_is_killed")?;
    services::stop(checkout, true)?;

    let mut simulation = call::cargo(checkout.root());
    simulation.args(["run", "--quiet"]).args(simulate::BUILD);
    simulation.args(["--", &format!("--minutes={}", minutes.div_ceil(2))]);
    night.part("simulation", simulation, |_| true)?;
    let broken = night.results.iter().any(|result| !result.passed);
    println!("{}", night.page().display());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Night<'_> {
    /// Has nodes, brokers and stores die, stand still and slow down under load.
    fn faults(&mut self, name: &str, up: &services::Up, but: &str) -> anyhow::Result<()> {
        let mut test = call::cargo(self.checkout.root());
        test.env("RALLY_TEST_XTASK", std::env::current_exe()?);
        test.env("RALLY_TEST_AMQP", up.amqp_urls());
        test.env("RALLY_TEST_CASSANDRA", up.cassandras());
        test.env("RALLY_TEST_FAULTS", "3").env("RALLY_TEST_PAUSE", "40");
        test.env("RALLY_TEST_CROWD", "5000");
        test.args(["test", "-p", "rally-server", "--test", "faults", "--", "--ignored"]);
        test.args(["--nocapture", "--test-threads=1", "--skip", but]);
        self.part(name, test, |line| {
            line.starts_with("test ") || line.contains("flowing again") || line.contains("waited")
        })
    }

    /// Checks three nodes from outside while all that there is befalls them.
    fn verify(&mut self, up: &services::Up, seconds: u64) -> anyhow::Result<()> {
        const ROUND: [&str; 7] = [
            "kill-node",
            "kill-store",
            "pause-node",
            "kill-broker",
            "kill-store",
            "kill-node",
            "restart-all",
        ];
        /// About how long a fault lasts, with the calm before it.
        const FAULT_S: u64 = 20;
        let count = (seconds / FAULT_S).max(ROUND.len() as u64) as usize;
        let faults: Vec<&str> = ROUND.into_iter().cycle().take(count).collect();
        let flags =
            ["--rate-registers-per-minute-address=1000", "--rate-logins-per-minute-address=1000"];
        let checkout = self.checkout;
        cluster::with_three(checkout, up.clone(), &flags, |urls| {
            let mut bench = call::cargo(checkout.root());
            bench.args(["run", "--release", "-q", "-p", "rally-bench", "--", "verify"]);
            bench.args(urls).args(["--faults", &faults.join(","), "--brokers=3", "--stores=3"]);
            bench.args([
                "--seconds",
                &seconds.to_string(),
                "--history",
                "target/night/verify.jsonl",
            ]);
            let before = cluster::memory_mib(checkout);
            self.part("the checker from outside", bench, |line| {
                let begun = line.trim_start();
                ["kept", "BROKEN", "unseen", "seed"].iter().any(|word| begun.contains(word))
            })?;
            let after = cluster::memory_mib(checkout);
            let memory = format!("memory of the nodes: {before:?} MiB before, {after:?} after");
            if let Some(last) = self.results.last_mut() {
                last.words.push(memory);
            }
            Ok(())
        })
    }

    /// Runs a part, keeps its output, and writes the page anew.
    fn part(
        &mut self,
        name: &str,
        mut command: Command,
        tells: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let log = self.checkout.root().join(format!("target/night/{}.log", self.results.len() + 1));
        println!("== {name}: {}", log.display());
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let begun = Instant::now();
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let passed = command.status().with_context(|| format!("starting {name}"))?.success();
        let lines = BufReader::new(File::open(&log)?).lines().map_while(std::result::Result::ok);
        self.results.push(Result {
            name: name.to_owned(),
            command: call::line(&command),
            passed,
            took: begun.elapsed(),
            words: lines.filter(|line| tells(line)).collect(),
        });
        let page = self.page();
        fs::write(&page, self.text()).with_context(|| format!("writing {}", page.display()))
    }

    fn page(&self) -> std::path::PathBuf {
        self.checkout.root().join("target/night/results.md")
    }

    fn text(&self) -> String {
        let mut text = "# What a night found\n".to_owned();
        for Result { name, command, passed, took, words } in &self.results {
            let verdict = if *passed { "passed" } else { "FAILED" };
            let minutes = took.as_secs_f64() / 60.0;
            let _ = write!(text, "\n## {name}: {verdict}, {minutes:.1} min\n\n    $ {command}\n");
            for line in words {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}
