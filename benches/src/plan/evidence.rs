//! Which reports a plan is made from and held against: of one server, measured, nothing broken.
//!
//! Knows nothing of what is learnt from them.

use anyhow::{Context as _, Result, bail, ensure};

use crate::report::median;
use crate::run::differences::{of_circumstances, of_scenarios};
use crate::run::document::{Document, Seen};
use crate::run::measured::Measured;

/// A report of one server in which something was measured and nothing was broken.
#[derive(Debug)]
pub struct Sound(Document);

/// The reports that a plan is made from.
#[derive(Debug)]
pub struct Evidence {
    /// Connections that say nothing.
    pub idle: Sound,
    /// Messages, at one rate each.
    pub messages: Vec<Sound>,
}

impl Sound {
    /// Takes what a report has of one server, without runs that ended in their warm-up.
    ///
    /// # Errors
    ///
    /// It has nothing else, or a promise was broken: that work is not the one to plan with.
    pub fn of(report: &Document, on: &str) -> Result<Self> {
        let name = &report.name;
        let mut report = report
            .only(on)
            .with_context(|| format!("a report of {name} has nothing about {on}"))?;
        let runs = &mut report.subjects[0].runs;
        runs.retain(|run| run.window_ns > 0);
        ensure!(
            !runs.is_empty(),
            "the report of {name} has no second of {on} that was measured: it was cut short before"
        );
        ensure!(report.is_clean(), "the report of {name}: {}", report.doubts().join("; "));
        Ok(Self(report))
    }

    /// Names it.
    pub fn label(&self) -> String {
        let Document { name, scenario, .. } = &self.0;
        match scenario.send.rate {
            rate if rate > 0.0 => format!("{name} at {rate} a second"),
            _ => name.clone(),
        }
    }

    fn doubts(&self) -> Vec<String> {
        self.labelled(self.0.doubts())
    }

    fn labelled(&self, said: impl IntoIterator<Item = String>) -> Vec<String> {
        said.into_iter().map(|said| format!("{}: {said}", self.label())).collect()
    }

    fn seen(&self) -> &Seen {
        &self.0.subjects[0]
    }

    /// Gives how many nodes were measured together.
    pub fn nodes(&self) -> usize {
        self.seen().nodes()
    }

    /// Gives its runs: one at least.
    pub fn runs(&self) -> &[Measured] {
        &self.seen().runs
    }

    /// Gives the median of something in its runs.
    pub fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        let values: Vec<f64> = self.runs().iter().map(of).collect();
        median(&values).expect("there is one run at least")
    }
}

impl Evidence {
    /// Takes what reports have of one server.
    ///
    /// # Errors
    ///
    /// One of them is not sound, one is missing, two are of connections that say nothing, or they are
    /// of different numbers of nodes.
    pub fn of(reports: &[Document], on: &str) -> Result<Self> {
        let (mut idle, mut messages) = (None::<Sound>, Vec::new());
        for report in reports {
            let sound = Sound::of(report, on)?;
            if !report.scenario.says_nothing() {
                messages.push(sound);
                continue;
            }
            if let Some(first) = idle.replace(sound) {
                let (one, two) = (first.label(), &report.name);
                bail!("reports of {one} and {two} both say what a connection takes: give one");
            }
        }
        let idle = idle.context("no report of `run idle`: what a connection takes is not known")?;
        for sound in &messages {
            let (nodes, others) = (sound.nodes(), idle.nodes());
            let (one, two) = (sound.label(), idle.label());
            ensure!(nodes == others, "{one} is of {nodes} nodes, {two} of {others}");
        }
        Ok(Self { idle, messages })
    }

    /// Says what a reader of the plan must know of them.
    pub fn doubts(&self) -> Vec<String> {
        let of_messages = self.messages.iter().flat_map(|sound| self.doubts_of(sound));
        of_messages.chain(self.idle.doubts()).chain(self.differences_of_idle()).collect()
    }

    /// Says what a reader must know of a report of messages: of these, or one that the plan is held
    /// against.
    pub fn doubts_of(&self, sound: &Sound) -> Vec<String> {
        sound.doubts().into_iter().chain(self.differences(sound)).collect()
    }

    /// Says how a report of messages was made otherwise than the first one, but for its rate.
    fn differences(&self, other: &Sound) -> Vec<String> {
        let Some(first) = self.messages.first() else { return Vec::new() };
        let scenarios = of_scenarios(&first.0, &other.0);
        let differences = scenarios.into_iter().filter(|difference| difference.key != "send.rate");
        let differences = differences.chain(of_circumstances(&first.0, &other.0));
        other.labelled(differences.map(|difference| difference.said))
    }

    /// Says the same of the report of connections that say nothing, whose scenario is another one.
    fn differences_of_idle(&self) -> Vec<String> {
        let Some(first) = self.messages.first() else { return Vec::new() };
        let differences = of_circumstances(&first.0, &self.idle.0);
        self.idle.labelled(differences.into_iter().map(|difference| difference.said))
    }
}

#[cfg(test)]
pub mod tests {
    use std::path::Path;

    use super::*;
    use crate::proc::Machine;
    use crate::run::scenario::Scenario;

    /// A report of a run of one second in which each message was delivered once, with 100 connections
    /// of 10 KiB on a server of 50 MiB.
    pub fn report(rate: u64, cores: f64) -> Document {
        let mut scenario = Scenario::default();
        scenario.send.rate = rate as f64;
        let name = if rate == 0 { "idle" } else { "pairs" };
        let mut document = Document::new(name, &scenario, Machine::look(Path::new("/")));
        let mut run = Measured {
            messages: rate,
            deliveries: rate,
            connections: 100,
            window_ns: 1_000_000_000,
            ..Measured::default()
        };
        run.balance.acked = rate;
        run.server.cpu_ns = (cores * 1e9) as u64;
        run.server.rss_before = 50 << 20;
        run.server.rss_end = (50 << 20) + 100 * (10 << 10);
        run.server.data_bytes = Some(rate * 400);
        document.enter(Seen { name: "rally".to_owned(), runs: vec![run], ..Seen::default() });
        document
    }

    /// Reports of messages at 500 and 2,000 a second, and of connections that say nothing.
    pub fn reports() -> [Document; 3] {
        [report(0, 0.0), report(500, 0.1), report(2_000, 0.2)]
    }

    fn refused(reports: &[Document]) -> String {
        Evidence::of(reports, "rally").unwrap_err().to_string()
    }

    #[test]
    fn good_reports_leave_nothing_to_doubt() {
        let evidence = Evidence::of(&reports(), "rally").unwrap();
        assert_eq!((evidence.messages.len(), evidence.doubts()), (2, Vec::new()));
    }

    #[test]
    fn what_was_broken_is_no_evidence() {
        let mut reports = reports();
        reports[1].subjects[0].runs[0].balance.lost = 1;
        assert!(refused(&reports).contains("pairs: rally: 1 of 1 runs broke a promise"));
        assert!(Evidence::of(&reports, "floor").unwrap_err().to_string().contains("floor"));
    }

    #[test]
    fn a_run_that_was_cut_short_in_its_warm_up_does_not_count() {
        let mut reports = reports();
        let runs = &mut reports[0].subjects[0].runs;
        runs.push(Measured { window_ns: 0, interrupted: true, ..Measured::default() });
        assert_eq!(Evidence::of(&reports, "rally").unwrap().idle.runs().len(), 1);
        reports[0].subjects[0].runs.remove(0);
        assert!(refused(&reports).contains("idle has no second of rally"));
    }

    #[test]
    fn connections_that_say_nothing_are_in_one_report() {
        let [idle, low, high] = reports();
        assert!(refused(&[low.clone(), high.clone()]).contains("`run idle`"));
        let two = [idle.clone(), low.clone(), high.clone(), idle.clone()];
        assert!(refused(&two).contains("idle and idle"));
        // Who only logs in says something.
        let mut logins = idle;
        logins.scenario.logins = 20.0;
        assert!(refused(&[logins, low, high]).contains("`run idle`"));
    }

    #[test]
    fn reports_of_one_node_and_of_two_are_not_mixed() {
        let mut reports = reports();
        reports[2].subjects[0].nodes = Some(2);
        assert_eq!(refused(&reports), "pairs at 2000 a second is of 2 nodes, idle of 1");
    }

    #[test]
    fn what_was_made_otherwise_or_cut_short_or_bounded_by_the_generator_is_said() {
        let mut reports = reports();
        reports[0].machine.cores += 1;
        reports[0].scenario.users = 10_000;
        reports[1].subjects[0].runs[0].interrupted = true;
        reports[2].scenario.send.text_bytes = 333;
        reports[2].subjects[0].runs[0].own_cpu_ns = 990_000_000;
        let doubts = Evidence::of(&reports, "rally").unwrap().doubts();
        let [cut, generator, text, cores] = &doubts[..] else { panic!("{doubts:?}") };
        assert_eq!(cut, "pairs at 500 a second: rally: 1 of 1 runs were cut short");
        assert!(generator.starts_with("pairs at 2000 a second: the generator"), "{generator}");
        assert!(text.contains("send.text_bytes differs: 100 and 333"), "{text}");
        assert!(cores.starts_with("idle: the number of cores differs"), "{cores}");
    }

    #[test]
    fn a_report_that_a_plan_is_held_against_is_judged_alike() {
        let evidence = Evidence::of(&reports(), "rally").unwrap();
        let mut other = report(8_000, 0.4);
        assert!(evidence.doubts_of(&Sound::of(&other, "rally").unwrap()).is_empty());
        other.scenario.devices = 3;
        let doubts = evidence.doubts_of(&Sound::of(&other, "rally").unwrap());
        assert_eq!(doubts, ["pairs at 8000 a second: devices differs: 1 and 3"]);
    }
}
