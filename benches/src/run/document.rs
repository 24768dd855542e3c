//! The report of `run`: everything that was counted, with what, and on what.
//!
//! Written as JSON that later versions read again. Knows nothing of the figures that follow from it
//! (`figures.rs`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde::{Deserialize, Serialize};

use crate::date::{now_ms, rfc3339};
use crate::proc::Machine;
use crate::run::measured::Measured;
use crate::run::scenario::Scenario;
use crate::version::VERSION;

/// The version of the format: another one is not read.
const FORMAT: u32 = 1;

/// A report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    format: u32,
    /// The version of this program.
    pub version: String,
    /// When it was begun, as RFC 3339 has it. Nothing in reports of before this was kept.
    #[serde(default)]
    pub date: Option<String>,
    /// The name of the scenario or its file.
    pub name: String,
    /// What was done.
    pub scenario: Scenario,
    /// On what machine.
    pub machine: Machine,
    /// What was measured, in the order in which each run took place.
    pub subjects: Vec<Seen>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

/// What was seen of one server, run by run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// How many nodes of it were measured together. Nothing in reports of before this was kept.
    #[serde(default)]
    pub nodes: Option<usize>,
    /// Of a server that ran already (`--attach`): the first of the users whose connections these are,
    /// and how many; of several reports that were added up, those of each.
    #[serde(default)]
    pub attached: Vec<(usize, usize)>,
    /// What it says of its version.
    pub version: String,
    /// What is not as installed.
    pub settings: String,
    /// One after the other.
    pub runs: Vec<Measured>,
}

/// What a run may be, in words, and whether one is that.
type Quality<'a> = (&'a str, fn(&Measured) -> bool);

impl Seen {
    /// Gives how many nodes were measured together: of `cluster` there were always two.
    pub fn nodes(&self) -> usize {
        self.nodes.unwrap_or(if self.name == "cluster" { 2 } else { 1 })
    }

    /// Takes up whose connections another process had, of the same server.
    fn share(&mut self, other: &Self) -> Result<()> {
        ensure!(
            !self.attached.is_empty() && !other.attached.is_empty(),
            "{}: each had a server of its own, or is of a version that did not say: only reports of one \
             that they attached to (--attach) add up",
            self.name
        );
        for (one, two) in [(&self.version, &other.version), (&self.settings, &other.settings)] {
            ensure!(one == two, "{}: one is of {one:?}, one of {two:?}", self.name);
        }
        for (first, users) in &other.attached {
            let overlaps =
                |(had, count): &(usize, usize)| *first < had + count && *had < first + users;
            ensure!(
                !self.attached.iter().any(overlaps),
                "{}: both have connections of the users from {first} on (--first-user)",
                self.name
            );
        }
        self.attached.extend(&other.attached);
        Ok(())
    }

    /// Tells whether it is there to be compared with alone. Such a server keeps nothing for who is away,
    /// and promises nothing.
    pub fn is_yardstick(&self) -> bool {
        ["floor", "commits"].contains(&&*self.name)
    }

    /// Says, run by run, where the generator was what is slow.
    fn bottlenecks(&self) -> Vec<String> {
        let said = self.runs.iter().filter_map(Measured::bottleneck);
        said.map(|said| format!("{}: {said}", self.name)).collect()
    }

    /// Says in how many runs a promise was broken, something was refused or ended, and which were cut
    /// short.
    fn troubles(&self) -> Vec<String> {
        let broke = match self.is_yardstick() {
            true => "did not pass everything on (a yardstick keeps nothing for who is away)",
            false => "broke a promise",
        };
        self.counted(&[
            (broke, |run| !run.is_clean()),
            ("were cut short", |run| run.interrupted || run.shortened),
            ("had messages refused", |run| !run.balance.refused.is_empty()),
            ("had connections that ended unasked", |run| run.ended > 0),
            ("left something out that was due", |run| !run.skipped.is_empty()),
        ])
    }

    /// Says in how many runs the generator's own time is much of what was measured.
    fn blurs(&self) -> Vec<String> {
        self.counted(&[
            ("had a generator whose lag is over a third of delivery's p99", Measured::is_blurred),
            ("had a generator that wanted a core most of the time", Measured::is_pressed),
        ])
    }

    /// Says how many runs are so, where some are.
    fn counted(&self, what: &[Quality<'_>]) -> Vec<String> {
        let (name, runs) = (&self.name, self.runs.len());
        let count = |is: fn(&Measured) -> bool| self.runs.iter().filter(|run| is(run)).count();
        let counted = what.iter().map(|(what, is)| (what, count(*is)));
        let some = counted.filter(|(_, count)| *count > 0);
        some.map(|(what, count)| format!("{name}: {count} of {runs} runs {what}")).collect()
    }
}

impl Document {
    /// Begins an empty report, now.
    pub fn new(name: &str, scenario: &Scenario, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            version: VERSION.clone(),
            date: Some(rfc3339(now_ms())),
            name: name.to_owned(),
            scenario: scenario.clone(),
            machine,
            subjects: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads one that was written before.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let reading = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(reading)?;
        let Head { format } = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of `run`", path.display()))?;
        ensure!(
            format == FORMAT,
            "{} has format {format}: this program reads {FORMAT}",
            path.display()
        );
        serde_json::from_str(&text).with_context(reading)
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Enters what a run of a server showed.
    pub fn enter(&mut self, seen: Seen) {
        match self.subjects.iter_mut().find(|known| known.name == seen.name) {
            Some(known) => known.runs.extend(seen.runs),
            None => self.subjects.push(seen),
        }
    }

    /// Gives what it has of one server alone, if it has that.
    pub fn only(&self, name: &str) -> Option<Self> {
        let mut only = self.clone();
        only.subjects.retain(|seen| seen.name == name);
        (!only.subjects.is_empty()).then_some(only)
    }

    /// Writes its histograms as HdrHistogram's tools read them: a file for each server and what was
    /// timed, an interval for each run, in nanoseconds.
    pub fn write_histograms(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for seen in &self.subjects {
            let mut names: Vec<&String> =
                seen.runs.iter().flat_map(|run| run.spans.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let file = name.replace('\'', "").replace(' ', "-");
                let path = folder.join(format!("{}-{file}.hlog", seen.name));
                let writing = || format!("writing {}", path.display());
                let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
                let mut begin = Duration::ZERO;
                let mut builder = IntervalLogWriterBuilder::new();
                builder.add_comment(&format!("{} {name}, nanoseconds", self.name));
                let mut writer = builder.begin_log_with(&mut log, &mut serializer)?;
                for run in &seen.runs {
                    let long = Duration::from_nanos(run.window_ns);
                    if let Some(spans) = run.spans.get(name) {
                        let written = writer.write_histogram(&spans.0, begin, long, None);
                        written.map_err(|error| anyhow!("{}: {error:?}", writing()))?;
                    }
                    begin += long;
                }
                std::fs::write(&path, log).with_context(writing)?;
            }
        }
        Ok(())
    }

    /// Adds what another process saw, run by run.
    ///
    /// # Errors
    ///
    /// The other is of another scenario, other servers, or another number of runs; or of servers that
    /// it had for itself, or of the same users.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        ensure!(self.scenario == other.scenario, "they are of different scenarios");
        ensure!(self.subjects.len() == other.subjects.len(), "they are of different servers");
        for (seen, more) in self.subjects.iter_mut().zip(&other.subjects) {
            ensure!(seen.name == more.name, "one is of {}, one of {}", seen.name, more.name);
            ensure!(seen.runs.len() == more.runs.len(), "they have different numbers of runs");
            seen.share(more)?;
            seen.runs.iter_mut().zip(&more.runs).try_for_each(|(sum, more)| sum.add(more))?;
            // Who named no process knows of one node.
            seen.nodes = Some(seen.nodes().max(more.nodes()));
        }
        self.notes.extend(other.notes.iter().cloned());
        Ok(())
    }

    /// Tells whether every message was accounted for in every run of a server that promises that.
    pub fn is_clean(&self) -> bool {
        let servers = self.subjects.iter().filter(|seen| !seen.is_yardstick());
        servers.flat_map(|seen| &seen.runs).all(Measured::is_clean)
    }

    /// Tells whether a yardstick did not what it is there for: it ended, or spoke nonsense.
    pub fn has_failed(&self) -> bool {
        let yardsticks = self.subjects.iter().filter(|seen| seen.is_yardstick());
        yardsticks.flat_map(|seen| &seen.runs).any(|run| !run.errors.is_empty())
    }

    /// Says where the generator was what is slow.
    pub fn bottlenecks(&self) -> Vec<String> {
        self.subjects.iter().flat_map(Seen::bottlenecks).collect()
    }

    /// Says where the generator's own time is much of what was measured.
    pub fn blurs(&self) -> Vec<String> {
        self.subjects.iter().flat_map(Seen::blurs).collect()
    }

    /// Says why its figures may not be what they seem: something broken, refused, cut short, or the
    /// generator's.
    pub fn doubts(&self) -> Vec<String> {
        let troubles = self.subjects.iter().flat_map(Seen::troubles);
        let bottlenecks = self.bottlenecks().into_iter();
        troubles
            .chain(bottlenecks.map(|said| format!("the generator was what is slow: {said}")))
            .chain(self.blurs())
            .collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn measured(cpu_us: u64, messages: u64) -> Measured {
        let mut run =
            Measured { messages, window_ns: 1_000_000_000, connections: 2, ..Measured::default() };
        run.server.cpu_ns = cpu_us * 1_000 * messages;
        run
    }

    pub fn seen(name: &str, run: Measured) -> Seen {
        Seen { name: name.to_owned(), runs: vec![run], ..Seen::default() }
    }

    #[test]
    fn histograms_are_written_as_others_read_them() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let folder = tempfile::tempdir().unwrap();
        let mut document = document();
        for run in &mut document.subjects[0].runs {
            run.spans.entry("ack".to_owned()).or_default().0.record(5_000).unwrap();
        }
        document.write_histograms(folder.path()).unwrap();
        let log = std::fs::read(folder.path().join("rally-ack.hlog")).unwrap();
        let entries = IntervalLogIterator::new(&log).map(Result::unwrap);
        let runs = entries.filter(|entry| matches!(entry, LogEntry::Interval(_))).count();
        assert_eq!(runs, 3);
    }

    pub fn document() -> Document {
        let machine = Machine::look(Path::new("/"));
        let mut document = Document::new("pairs", &Scenario::default(), machine);
        for (rally, floor) in [(60, 30), (80, 20), (50, 50)] {
            document.enter(seen("rally", measured(rally, 100)));
            document.enter(seen("floor", measured(floor, 100)));
        }
        document
    }

    #[test]
    fn what_a_server_owed_is_in_the_report_and_makes_it_unclean() {
        let mut document = document();
        assert!(document.is_clean());
        document.subjects[0].runs[1].balance.unanswered = 7;
        assert!(!document.is_clean());
        assert!(document.table().table().contains("BROKEN: 7 messages"));
    }

    #[test]
    fn a_yardstick_that_keeps_nothing_for_who_is_away_decides_nothing() {
        let mut document = document();
        let floor = &mut document.subjects[1];
        assert!(floor.name == "floor" && floor.is_yardstick());
        (floor.runs[1].balance.lost, floor.runs[1].absent) = (9, 2);
        assert!(document.is_clean() && !document.has_failed());
        let said = document.table().table();
        assert!(said.contains("floor: 2 connections") && !said.contains("BROKEN"), "{said}");
        assert!(document.doubts()[0].starts_with("floor: 1 of 3 runs did not pass everything on"));
        document.subjects[1].runs[1].errors.push("it ended".to_owned());
        assert!(document.is_clean() && document.has_failed());
    }

    #[test]
    fn what_was_refused_or_ended_unasked_is_doubted_and_breaks_nothing() {
        let mut document = document();
        let runs = &mut document.subjects[0].runs;
        runs[0].balance.refused.insert("rate".to_owned(), 4);
        (runs[1].ended, runs[2].ended) = (3, 1);
        assert!(document.is_clean());
        assert_eq!(
            document.doubts(),
            [
                "rally: 1 of 3 runs had messages refused",
                "rally: 2 of 3 runs had connections that ended unasked"
            ]
        );
        let said = document.table().table();
        assert!(said.contains("refused as rate 4") && said.contains("3 connections ended unasked"));
    }

    #[test]
    fn what_a_reader_must_doubt_is_said_with_the_number_of_runs() {
        let mut document = document();
        assert!(document.doubts().is_empty());
        let runs = &mut document.subjects[0].runs;
        runs[0].balance.lost = 1;
        runs[2].interrupted = true;
        runs[2].own_cpu_ns = 990_000_000;
        let doubts = document.doubts();
        assert_eq!(
            doubts[..2],
            ["rally: 1 of 3 runs broke a promise", "rally: 1 of 3 runs were cut short"]
        );
        assert!(doubts[2].contains("generator") && doubts.len() == 3, "{doubts:?}");
        assert!(document.table().table().contains("rally: the run was cut short"));
    }

    #[test]
    fn a_report_of_a_version_before_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        // That of `storage` is of another kind.
        let reports = files.filter(|path| {
            let of_runs = path.file_stem().is_some_and(|name| name != "storage");
            of_runs && path.extension().is_some_and(|end| end == "json")
        });
        let read: Vec<Document> = reports.map(|path| Document::read(&path).unwrap()).collect();
        assert!(!read.is_empty());
        assert!(read.iter().all(|report| !report.table().figures.is_empty() && report.is_clean()));
    }

    #[test]
    fn a_report_says_when_it_was_made_and_of_how_many_nodes() {
        let mut json = serde_json::to_value(document()).unwrap();
        let written: Document = serde_json::from_value(json.clone()).unwrap();
        assert!(written.date.is_some_and(|date| date.ends_with('Z')));
        json.as_object_mut().unwrap().remove("date").unwrap();
        for (name, nodes) in [("rally", 1), ("cluster", 2)] {
            let seen = json["subjects"][0].as_object_mut().unwrap();
            seen.insert("name".to_owned(), name.into());
            seen.remove("nodes");
            let old: Document = serde_json::from_value(json.clone()).unwrap();
            assert_eq!((old.date, old.subjects[0].nodes()), (None, nodes));
        }
        let three = Seen { nodes: Some(3), ..Seen::default() };
        assert_eq!(three.nodes(), 3);
    }

    #[test]
    fn a_report_is_read_again_and_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        document().write(&path).unwrap();
        let read = Document::read(&path).unwrap();
        assert_eq!(read.table().median("rally times the floor"), Some(2.0));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"format\": 1", "\"format\": 9", 1)).unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("format 9"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Document::read(&path).unwrap_err().to_string().contains("no report"));
    }

    #[test]
    fn only_reports_of_one_scenario_add_up() {
        let attached = |first| {
            let mut document = document();
            document.subjects.truncate(1);
            document.subjects[0].attached = vec![(first, 10)];
            document
        };
        let mut sum = attached(0);
        sum.add(&attached(10)).unwrap();
        sum.add(&attached(20)).unwrap();
        assert_eq!(sum.subjects[0].runs[0].messages, 300);
        let mut refused = |change: fn(&mut Document), why: &str| {
            let mut other = attached(30);
            change(&mut other);
            let error = sum.add(&other).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused(|other| other.scenario.users = 4, "different scenarios");
        refused(|other| other.subjects[0].attached = vec![(15, 1)], "users from 15 on");
        refused(|other| other.subjects[0].attached = vec![(19, 20)], "users from 19 on");
        refused(|other| other.subjects[0].attached.clear(), "a server of its own");
        refused(|other| other.subjects[0].settings = ", without fsync".to_owned(), "without fsync");
        assert_eq!(sum.subjects[0].runs[0].messages, 300, "nothing of them");
    }
}
