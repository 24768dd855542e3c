//! `cargo xtask night`: the long form of what every test run does to clusters, for as long as there
//! is time, and one page that says what came of it.

mod memory;
mod plan;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::ValueEnum as _;

use crate::checkout::Checkout;
use crate::{call, cluster, services, simulate};
use memory::Look;

/// Do everything to clusters that is known, for a given time, and write one page of results.
///
/// Half of the time goes to the checker from outside, a quarter to faults under load, an eighth each to
/// a store whose power is cut and to the simulation. Each part has its log beside the page. Ends with status 1 when something broke.
#[derive(clap::Args)]
pub struct Args {
    /// For how long; what is begun is finished
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,

    /// Do only these, which then have all of the time
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,

    /// Draws the order of the checker's faults, and what its users want. [default: drawn, and
    /// printed]
    #[arg(long)]
    seed: Option<u64>,
}

/// What is done to clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The checker from outside, while nodes, brokers and stores die
    Verify,
    /// Faults under load, each with its figures
    Faults,
    /// The embedded store, whose power is cut and whose disk fills
    Power,
    /// Simulated clusters
    Simulation,
}

impl Args {
    /// Gives how long a part has; none when it is not to be done.
    fn time(&self, part: Part) -> Option<Duration> {
        let share = |part: Part| match part {
            Part::Verify => 4,
            Part::Faults => 2,
            Part::Power | Part::Simulation => 1,
        };
        let parts: &[Part] = match &*self.only {
            [] => Part::value_variants(),
            only => only,
        };
        let all: u32 = parts.iter().copied().map(share).sum();
        let time = Duration::from_secs(self.minutes * 60);
        parts.contains(&part).then(|| time * share(part) / all)
    }
}

/// What cargo is told for the checker, for the faults under load, and for cuts of the power.
const CHECKER: [&str; 4] = ["--release", "--quiet", "--package", "rally-bench"];
const FAULTS: [&str; 5] = ["--release", "--package", "rally-server", "--test", "faults"];
const POWER: [&str; 5] = ["--release", "--package", "rally-server", "--test", "power"];

/// How often the power is cut in one run of its tests, under load and while a store is made each.
const CUTS: &str = "60";

/// Builds what the parts run, so that no compiler works beside a cluster that is judged.
fn build(checkout: &Checkout, args: &Args) -> anyhow::Result<()> {
    let is_asked = |part| args.time(part).is_some();
    let cargo = |what: &[&str]| call::run(call::cargo(checkout.root()).args(what));
    if is_asked(Part::Verify) {
        cargo(&[&["build"], &CHECKER[..]].concat())?;
    }
    if is_asked(Part::Faults) {
        cargo(&[&["test", "--no-run"], &FAULTS[..]].concat())?;
    }
    if is_asked(Part::Power) {
        cargo(&[&["test", "--no-run"], &POWER[..]].concat())?;
    }
    if is_asked(Part::Simulation) {
        cargo(&[&["build"], &simulate::BUILD[..]].concat())?;
    }
    Ok(())
}

/// How often the memory of nodes is looked at while they are checked.
const LOOKS: u32 = 24;

/// Notes the memory of all nodes now and then, and when it is over.
fn watch_memory(checkout: &Checkout, pause: Duration, ended: &mpsc::Receiver<()>) -> Vec<Look> {
    let begun = Instant::now();
    let mut looks = Vec::new();
    loop {
        let goes_on = ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout);
        looks.push(Look { after: begun.elapsed(), nodes: cluster::memory(checkout) });
        if !goes_on {
            return looks;
        }
    }
}

/// What came of a part.
struct Result {
    name: String,
    command: String,
    /// None when it is not judged.
    passed: Option<bool>,
    took: Duration,
    /// The lines of its output that say how it went.
    words: Vec<String>,
}

/// A page that grows, and where its parts keep their output.
struct Night<'a> {
    checkout: &'a Checkout,
    /// Its own, from the top: each night keeps its page.
    folder: String,
    /// Of which commit.
    of: String,
    results: Vec<Result>,
}

/// Runs all parts, and writes the page after each.
pub fn run(checkout: &Checkout, args: &Args) -> anyhow::Result<ExitCode> {
    let mut night = Night::begin(checkout)?;
    build(checkout, args)?;
    services::stop(checkout, true)?;

    let three = services::Up::three();
    if let Some(time) = args.time(Part::Verify) {
        services::start(checkout, &three)?;
        night.verify(&three, time, args.seed.unwrap_or_else(plan::seed))?;
        services::stop(checkout, true)?;
    }
    if let Some(time) = args.time(Part::Faults) {
        let until = Instant::now() + time;
        let one = services::Up::one();
        services::start(checkout, &one)?;
        let crowd = [("RALLY_TEST_CROWD", "5000")];
        night.faults("faults over one copy", &one, &crowd, &[])?;
        services::stop(checkout, true)?;
        services::start(checkout, &three)?;
        // What stands before one node of the store, the others go past.
        let but = ["--skip", "answer_of_the_store"];
        // The thousands are promised over one copy. To get so many here takes three Cassandra on the
        // same cores longer than all the rest.
        night.faults("faults over three copies", &three, &[], &but)?;
        while Instant::now() < until {
            night.faults("faults over three copies, again", &three, &[], &but)?;
        }
        services::stop(checkout, true)?;
    }
    if let Some(time) = args.time(Part::Power) {
        let until = Instant::now() + time;
        night.power("power cuts and a full disk")?;
        while Instant::now() < until {
            night.power("power cuts and a full disk, again")?;
        }
    }
    if let Some(time) = args.time(Part::Simulation) {
        let mut simulation = call::cargo(checkout.root());
        simulation.args(["run", "--quiet"]).args(simulate::BUILD);
        simulation.args(["--", &format!("--minutes={}", time.as_secs().div_ceil(60))]);
        night.part("simulation", simulation, |_| true)?;
    }
    let broken = night.results.iter().any(|result| result.passed == Some(false));
    println!("{}", night.file("results.md").display());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl<'a> Night<'a> {
    fn begin(checkout: &'a Checkout) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let folder = format!("target/night/{}", now.as_secs());
        let at = checkout.root().join(&folder);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        let mut git = call::program("git", checkout.root());
        git.args(["describe", "--always", "--dirty"]);
        // A checkout without its history has nights, too.
        let of = call::ask(&mut git).unwrap_or_else(|| "an unknown commit".to_owned());
        Ok(Self { checkout, folder, of: of.trim().to_owned(), results: Vec::new() })
    }

    /// Has nodes, brokers and stores die, stand still and slow down under load.
    fn faults(
        &mut self,
        name: &str,
        up: &services::Up,
        more: &[(&str, &str)],
        but: &[&str],
    ) -> anyhow::Result<()> {
        let mut test = call::cargo(self.checkout.root());
        test.env("RALLY_TEST_XTASK", std::env::current_exe()?);
        test.env("RALLY_TEST_AMQP", up.amqp_urls());
        test.env("RALLY_TEST_CASSANDRA", up.cassandras());
        test.env("RALLY_TEST_FAULTS", "3").env("RALLY_TEST_PAUSE", "40");
        test.envs(more.iter().copied());
        // Not for the servers' sake: the thousands of clients should not be what is slow.
        test.arg("test").args(FAULTS).args(["--", "--ignored"]);
        test.args(["--nocapture", "--test-threads=1"]).args(but);
        self.part(name, test, |line| {
            let begins = ["test ", "refused, each"].iter().any(|word| line.starts_with(word));
            begins || line.contains("flowing again") || line.contains("waited")
        })
    }

    /// Has the power of the embedded store cut, and its disk fill, under load.
    fn power(&mut self, name: &str) -> anyhow::Result<()> {
        let mut test = call::cargo(self.checkout.root());
        test.env("RALLY_TEST_CUTS", CUTS);
        test.arg("test").args(POWER).args(["--", "--nocapture", "--test-threads=1"]);
        self.part(name, test, |line| {
            let words = ["RALLY_TEST_SEED", "cuts under load", " full after ", "test result"];
            words.iter().any(|word| line.contains(word))
        })
    }

    /// Checks three nodes from outside while all that there is befalls them, in an order that a
    /// seed draws, and looks at their memory.
    fn verify(&mut self, up: &services::Up, time: Duration, seed: u64) -> anyhow::Result<()> {
        println!("seed {seed} (again: --seed {seed})");
        let faults = plan::draw(seed, time).join(",");
        let flags =
            ["--rate-registers-per-minute-address=1000", "--rate-logins-per-minute-address=1000"];
        let checkout = self.checkout;
        cluster::with_three(checkout, up.clone(), &flags, |urls| {
            let mut bench = call::cargo(checkout.root());
            bench.arg("run").args(CHECKER).args(["--", "verify"]);
            bench.args(urls).args(["--faults", &faults, "--brokers=3", "--stores=3"]);
            bench.args([&format!("--seconds={}", time.as_secs()), &format!("--seed={seed}")]);
            bench.args(["--all", "--history", &format!("{}/verify.jsonl", self.folder)]);
            let (over, ended) = mpsc::channel::<()>();
            let begun = Instant::now();
            let looks = thread::scope(|scope| {
                let watch = scope.spawn(move || watch_memory(checkout, time / LOOKS, &ended));
                let checked = self.part("the checker from outside", bench, |line| {
                    let begun = line.trim_start();
                    ["kept", "BROKEN", "unseen", "seed"].iter().any(|word| begun.contains(word))
                });
                drop(over);
                checked.map(|()| watch.join().unwrap_or_default())
            })?;
            let (passed, words) = memory::judge(&looks);
            self.note(Result {
                name: "the memory of nodes meanwhile".to_owned(),
                command: "grep VmRSS /proc/PID/status".to_owned(),
                passed,
                took: begun.elapsed(),
                words,
            })
        })
    }

    /// Runs a part, keeps its output, and writes the page anew.
    fn part(
        &mut self,
        name: &str,
        mut command: Command,
        tells: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let log = self.file(&format!("{}.log", self.results.len() + 1));
        println!("== {name}: {}", log.display());
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let begun = Instant::now();
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let passed = command.status().with_context(|| format!("starting {name}"))?.success();
        let lines = BufReader::new(File::open(&log)?).lines().map_while(std::result::Result::ok);
        self.note(Result {
            name: name.to_owned(),
            command: call::line(&command),
            passed: Some(passed),
            took: begun.elapsed(),
            words: lines.filter(|line| tells(line)).collect(),
        })
    }

    /// Adds a result, and writes the page anew.
    fn note(&mut self, result: Result) -> anyhow::Result<()> {
        self.results.push(result);
        let page = self.file("results.md");
        fs::write(&page, self.text()).with_context(|| format!("writing {}", page.display()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.checkout.root().join(&self.folder).join(name)
    }

    fn text(&self) -> String {
        let mut text = format!("# What a night found, of {}\n", self.of);
        for Result { name, command, passed, took, words } in &self.results {
            let verdict = match passed {
                Some(true) => "passed",
                Some(false) => "FAILED",
                None => "not judged",
            };
            let minutes = took.as_secs_f64() / 60.0;
            let _ = write!(text, "\n## {name}: {verdict}, {minutes:.1} min\n\n    $ {command}\n");
            for line in words {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}
