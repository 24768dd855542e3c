//! `rally-bench plan`: how many nodes, how much store, for so many users; from what was measured.

mod check;
mod evidence;
mod model;
mod needs;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use self::check::{Checked, is_other};
use self::evidence::{Evidence, Sound};
use self::model::{Model, Point};
use self::needs::{Load, Needs, Node};
use crate::out::say;
use crate::run::document::Document;

/// Ends a plan that a check shows to be wrong.
const WRONG: u8 = 2;

/// Says what so many users need, from what was measured.
///
/// Takes reports of `run --json` of one server: `pairs` at two rates or more, of which the highest is
/// 1.5 times the lowest at least, and one of `idle`. From them it learns the CPU of messages as a
/// function of their rate, the memory and CPU of a connection, the memory of the server itself, and
/// the bytes that a message takes in the store. The CPU of messages, without that of connections, is
/// taken as k * rate^p, by least squares on logarithms: syncs and writes are shared by more messages
/// at higher rates, so p is at most 1. What a message takes is taken to grow with its deliveries: a
/// user of D devices has his messages delivered to D of the receiver and D - 1 others of his own.
///
/// Reports may be of several nodes that were measured together (`--on cluster`): all of as many. A
/// report in which a promise was broken is refused; what else makes one doubtful is a `note`.
///
/// `--check` compares what the plan says of a report's rate with what that measured, and ends with
/// status 2 when it is wrong by more than 20 %. It takes reports that the plan was not made from, at
/// twice the highest rate of a node there or more. When no number of nodes is enough, the status is 1.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PlanArgs {
    /// Reports that the plan is made from.
    #[arg(long = "from", required = true, value_delimiter = ',', value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// Which server of the reports.
    #[arg(long, default_value = "rally")]
    on: String,
    /// Reports that it is compared with.
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    check: Vec<PathBuf>,
    /// Users who have an account.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Messages that each of them writes a day.
    #[arg(long, default_value_t = 50.0, value_name = "M")]
    msgs_per_user_day: f64,
    /// How many times the day's average the busiest hour has.
    #[arg(long, default_value_t = 4.0)]
    peak: f64,
    /// Share of the users who are connected then, from 0 to 1.
    #[arg(long, default_value_t = 0.5)]
    online: f64,
    /// Devices of each of them.
    #[arg(long, default_value_t = 2.0)]
    devices: f64,
    /// Cores of a node.
    #[arg(long, default_value_t = 2.0)]
    cores: f64,
    /// Memory of a node in GiB.
    #[arg(long, default_value_t = 4.0, value_name = "GIB")]
    memory: f64,
    /// Share of a node that may be used at the peak, from 0 to 1: the rest is for storms and for
    /// the clients of a node that dies.
    #[arg(long, default_value_t = 0.5)]
    used: f64,
    /// Days that messages are kept.
    #[arg(long, default_value_t = 365.0)]
    days: f64,
    /// Copies that the store keeps.
    #[arg(long, default_value_t = 1.0)]
    copies: f64,
    /// Bytes that a message takes in a copy of the store, where no report says that: those of a
    /// cluster do not.
    #[arg(long, value_name = "BYTES")]
    message_bytes: Option<f64>,
}

impl PlanArgs {
    /// Refuses what cannot be meant.
    fn refuse_nonsense(&self) -> Result<()> {
        let is_some = |value: f64| value > 0.0 && value.is_finite();
        let is_one = |value: f64| value >= 1.0 && value.is_finite();
        let is_share = |value: f64| value > 0.0 && value <= 1.0;
        let (share, some) = ("a share, above 0 and up to 1", "more than 0");
        let per_day = self.msgs_per_user_day;
        let bytes = self.message_bytes.unwrap_or(1.0);
        for (flag, value, is_good, wanted) in [
            ("users", self.users as f64, self.users > 0, some),
            ("msgs-per-user-day", per_day, is_some(per_day), some),
            ("peak", self.peak, is_one(self.peak), "the busiest hour has the average at least"),
            ("online", self.online, is_share(self.online), share),
            ("devices", self.devices, is_one(self.devices), "who is connected has one at least"),
            ("cores", self.cores, is_some(self.cores), some),
            ("memory", self.memory, is_some(self.memory), some),
            ("used", self.used, is_share(self.used), share),
            ("days", self.days, is_some(self.days), some),
            ("copies", self.copies, is_one(self.copies), "the store has one at least"),
            ("message-bytes", bytes, is_some(bytes), some),
        ] {
            ensure!(is_good, "--{flag} {value}: {wanted}");
        }
        Ok(())
    }

    /// Gives what is asked of the cluster.
    fn load(&self) -> Load {
        Load {
            users: self.users as f64,
            msgs_per_user_day: self.msgs_per_user_day,
            peak: self.peak,
            online: self.online,
            devices: self.devices,
            days: self.days,
            copies: self.copies,
        }
    }

    /// Gives what its nodes are.
    fn node(&self) -> Node {
        Node { cores: self.cores, memory_gib: self.memory, used: self.used }
    }
}

/// Runs the command.
pub fn command(args: &PlanArgs) -> Result<ExitCode> {
    plan(args, &mut |line| say(line))
}

/// Says what is needed, line by line, also when it ends in an error; gives the status.
fn plan(args: &PlanArgs, say: &mut dyn FnMut(String) -> Result<()>) -> Result<ExitCode> {
    args.refuse_nonsense()?;
    args.check.iter().try_for_each(|check| is_other(check, &args.reports))?;
    let read = |path: &PathBuf| Document::read(path);
    let evidence =
        Evidence::of(&args.reports.iter().map(read).collect::<Result<Vec<_>>>()?, &args.on)?;
    let mut model = Model::learn(&evidence, args.message_bytes)?;
    say(model.to_string())?;
    evidence.doubts().iter().try_for_each(|doubt| say(format!("note: {doubt}")))?;
    let mut all = Vec::new();
    for path in &args.check {
        let report = Sound::of(&read(path)?, &args.on)?;
        let checked = Checked::of(&model, Point::of(&report)?)?;
        say(checked.to_string())?;
        evidence.doubts_of(&report).iter().try_for_each(|doubt| say(format!("note: {doubt}")))?;
        all.push(checked);
    }
    let (right, wrong): (Vec<Checked>, Vec<Checked>) = all.into_iter().partition(Checked::is_right);
    right.iter().for_each(|checked| model.was_right_at(checked.rate_of_a_node()));
    say(Needs::of(&args.load(), &args.node(), &model)?.to_string())?;
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

#[cfg(test)]
mod tests {
    use super::evidence::tests::{report, reports};
    use super::*;

    fn args(more: &[&str]) -> PlanArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: PlanArgs,
        }
        let is_from = more.iter().any(|arg| arg.starts_with("--from"));
        let line = ["plan"].into_iter().chain((!is_from).then_some("--from=a.json"));
        let line = line.chain(more.iter().copied());
        clap::Parser::try_parse_from(line).map(|line: Line| line.args).unwrap()
    }

    #[test]
    fn nonsense_is_refused_by_its_flag_and_value() {
        args(&[]).refuse_nonsense().unwrap();
        for bad in [
            "--used=0",
            "--used=1.5",
            "--cores=0",
            "--online=2",
            "--users=0",
            "--memory=nan",
            "--devices=0.5",
            "--peak=0",
            "--copies=0",
            "--days=0",
            "--msgs-per-user-day=0",
            "--message-bytes=0",
        ] {
            let error = args(&[bad]).refuse_nonsense().unwrap_err().to_string();
            assert!(error.to_lowercase().starts_with(&bad.replace('=', " ")), "{bad}: {error}");
        }
    }

    /// Plans from three reports, held against others; gives the status and what was said.
    fn planned(checks: &[Document], more: &[&str]) -> (Result<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let write = |flag: &str, reports: &[Document]| -> Vec<String> {
            let file = |nth: usize| folder.path().join(format!("{}-{nth}", &flag[2..]));
            let named = reports.iter().enumerate().map(|(nth, report)| {
                report.write(&file(nth)).unwrap();
                format!("{flag}={}", file(nth).display())
            });
            named.collect()
        };
        let flags = [write("--from", &reports()), write("--check", checks)].concat();
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut said = Vec::new();
        let status = plan(&args(&flags), &mut |line| {
            said.push(line);
            Ok(())
        });
        (status.map(|status| format!("{status:?}")), said.join("\n"))
    }

    #[test]
    fn a_plan_ends_with_what_its_checks_say_and_fails_when_nothing_is_enough() {
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        let (right, wrong) = (report(8_000, 0.4), report(8_000, 0.8));
        let (status, said) = planned(&[], &[]);
        assert!(status.unwrap() == code(0) && said.contains("nodes: 1 and one more"), "{said}");
        assert_eq!(planned(std::slice::from_ref(&right), &[]).0.unwrap(), code(0));
        let (status, said) = planned(&[right, wrong], &[]);
        assert!(status.unwrap() == code(WRONG) && said.matches("WRONG").count() == 1, "{said}");
        let (status, said) = planned(&[], &["--cores=1e-9"]);
        let error = status.unwrap_err().to_string();
        assert!(error.contains("no number of nodes is enough") && said.contains("measured"));
    }

    #[test]
    fn a_plan_that_a_check_was_right_for_goes_as_far_without_a_warning() {
        // 5,000 messages a second on one large node.
        let large = ["--users=1000000", "--msgs-per-user-day=108", "--cores=100", "--memory=100"];
        let warned = |checks: &[Document]| planned(checks, &large).1.contains("above 2 times");
        assert!(warned(&[]) && warned(&[report(8_000, 0.8)]), "that check was wrong");
        assert!(!warned(&[report(8_000, 0.4)]));
    }
}
