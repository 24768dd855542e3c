//! What two reports were not made alike with: machine, versions, settings and scenario.
//!
//! Knows nothing of their figures.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::run::document::Document;

/// Something that is not the same in two reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What: a key of the scenario by its dotted name, or words.
    pub key: String,
    /// Both values, in words.
    pub said: String,
}

/// Gives how the circumstances of two reports differ: machine, versions, and what servers were set to.
pub fn of_circumstances(a: &Document, b: &Document) -> Vec<Difference> {
    between(&circumstances(a), &circumstances(b))
}

/// Gives how their scenarios differ.
pub fn of_scenarios(a: &Document, b: &Document) -> Vec<Difference> {
    between(&scenario(a), &scenario(b))
}

type Settings = BTreeMap<String, String>;

fn between(one: &Settings, other: &Settings) -> Vec<Difference> {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differs = |key: &String| {
        let [one, other] = [one, other].map(|of| of.get(key).map_or("nothing", String::as_str));
        let said = format!("{key} differs: {one} and {other}");
        (one != other).then(|| Difference { key: key.clone(), said })
    };
    keys.into_iter().filter_map(differs).collect()
}

fn circumstances(document: &Document) -> Settings {
    let machine = &document.machine;
    let mut all = Settings::new();
    for (what, value) in [
        ("the processor", machine.cpu.clone()),
        ("the kernel", machine.kernel.clone()),
        ("the file system", machine.filesystem.clone()),
        ("the number of cores", machine.cores.to_string()),
        ("the version of rally-bench", document.version.clone()),
    ] {
        all.insert(what.to_owned(), value);
    }
    for seen in &document.subjects {
        all.insert(format!("the version of {}", seen.name), seen.version.clone());
        all.insert(format!("the number of nodes of {}", seen.name), seen.nodes().to_string());
        let settings = seen.settings.trim_start_matches(", ");
        if !settings.is_empty() {
            all.insert(format!("what is set of {}", seen.name), settings.to_owned());
        }
    }
    all
}

fn scenario(document: &Document) -> Settings {
    let mut all = Settings::new();
    let scenario = serde_json::to_value(&document.scenario).expect("a scenario is plain data");
    flatten("", &scenario, &mut all);
    // A sentence about it is no setting.
    all.remove("about");
    all
}

/// Enters values by their dotted names, as `--set` has them.
fn flatten(name: &str, value: &Value, into: &mut Settings) {
    let Value::Object(keys) = value else {
        into.insert(name.to_owned(), value.to_string());
        return;
    };
    for (key, value) in keys {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        flatten(&name, value, into);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::proc::Machine;
    use crate::run::document::Seen;
    use crate::run::scenario::Scenario;

    fn document(rate: f64, settings: &str) -> Document {
        let mut scenario = Scenario { about: settings.to_owned(), ..Scenario::default() };
        scenario.send.rate = rate;
        let mut document = Document::new("pairs", &scenario, Machine::look(Path::new("/")));
        let (name, settings) = ("rally".to_owned(), settings.to_owned());
        document.enter(Seen { name, settings, ..Seen::default() });
        document
    }

    fn said(differences: Vec<Difference>) -> Vec<String> {
        differences.into_iter().map(|difference| difference.said).collect()
    }

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let (one, other) = (document(500.0, ""), document(2_000.0, ", without fsync"));
        assert_eq!(said(of_scenarios(&one, &other)), ["send.rate differs: 500.0 and 2000.0"]);
        let expected = "what is set of rally differs: nothing and without fsync";
        assert_eq!(said(of_circumstances(&one, &other)), [expected]);
    }

    #[test]
    fn reports_that_were_made_alike_do_not_differ_whenever_they_were_made() {
        let (one, mut other) = (document(500.0, ""), document(500.0, ""));
        other.date = Some("1999-12-31T23:59:59Z".to_owned());
        assert!(of_scenarios(&one, &other).is_empty());
        assert!(of_circumstances(&one, &other).is_empty());
    }
}
