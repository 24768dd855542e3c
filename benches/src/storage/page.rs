//! What a run of `storage` ends in: a table for people, the same for a page of Markdown, and JSON.
//!
//! Knows nothing of how a figure was taken.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::measure::{Line, Times};
use super::world::Shape;
use crate::out::say;
use crate::proc::Machine;
use crate::report::shown;

/// What was measured with one number of conversations.
#[derive(Debug, Clone, Serialize)]
pub struct Size {
    /// Conversations of the user.
    pub conversations: usize,
    /// Messages that were written, those after the moment included.
    pub messages: usize,
    /// A line for each way to keep and read them.
    pub lines: Vec<Line>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// Which command.
    pub command: &'static str,
    /// Of which version of this program.
    pub version: &'static str,
    /// On what machine.
    pub machine: Machine,
    /// With which settings, as one line.
    pub settings: String,
    /// By the number of conversations.
    pub sizes: Vec<Size>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

const HEADS: [&str; 7] =
    ["", "rows", "bytes", "writes a message", "inbox ms", "older page ms", "catch-up ms"];

impl Size {
    /// Begins one without lines.
    pub fn of(shape: Shape, messages: usize) -> Self {
        Self { conversations: shape.conversations, messages, lines: Vec::new() }
    }

    fn title(&self) -> String {
        format!(
            "{} conversations, {} messages",
            grouped(self.conversations),
            grouped(self.messages)
        )
    }

    fn cells(&self) -> Vec<[String; 7]> {
        let cells = |line: &Line| {
            [
                line.model.to_owned(),
                grouped(line.rows.values().sum::<u64>() as usize),
                line.bytes.map_or_else(|| "not measured".to_owned(), in_bytes),
                shown(line.writes),
                times(line.inbox),
                times(line.older),
                times(line.catch_up),
            ]
        };
        self.lines.iter().map(cells).collect()
    }
}

/// Shows the median and, behind a bar, what 95 of 100 took at most; and what was not answered.
fn times(times: Times) -> String {
    let shown = format!("{} / {}", shown(times.p50_ms), shown(times.p95_ms));
    match times.unanswered {
        0 => shown,
        count => format!("{shown}, {count} unanswered"),
    }
}

fn in_bytes(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1024.0 => format!("{} KiB", shown(kib)),
        kib => format!("{} MiB", shown(kib / 1024.0)),
    }
}

/// Shows a number in groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Document {
    /// Writes the table that people read.
    pub fn table(&self) -> String {
        let mut out = self.head();
        for size in &self.sizes {
            out.push_str(&format!("\n{}\n", size.title()));
            let mut lines = vec![HEADS.map(str::to_owned)];
            lines.extend(size.cells());
            let wide = |column: usize| lines.iter().map(|line| line[column].len()).max();
            let wide: Vec<usize> = (0..HEADS.len()).filter_map(wide).collect();
            for line in &lines {
                let mut text = format!("  {:wide$}", line[0], wide = wide[0]);
                for (cell, wide) in line.iter().zip(&wide).skip(1) {
                    text.push_str(&format!("  {cell:>wide$}"));
                }
                out.push_str(text.trim_end());
                out.push('\n');
            }
        }
        for note in &self.notes {
            out.push_str(&format!("\nnote: {note}"));
        }
        out
    }

    /// Writes the same as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = self.head();
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        for size in &self.sizes {
            out.push_str(&format!("\n{}:\n\n{}", size.title(), row(&HEADS.map(str::to_owned))));
            out.push_str("|---|--:|--:|--:|--:|--:|--:|\n");
            size.cells().iter().for_each(|cells| out.push_str(&row(cells)));
        }
        self.notes.iter().for_each(|note| out.push_str(&format!("\n- {note}")));
        out
    }

    fn head(&self) -> String {
        let m = &self.machine;
        format!(
            "rally-bench {}: {}\n{} cores of {}, {} MiB, kernel {}, data on {}, load before {:.2}; \
             times are median / p95\n",
            self.command,
            self.settings,
            m.cores,
            m.cpu,
            m.memory_mib,
            m.kernel,
            m.filesystem,
            m.load_before
        )
    }

    /// Prints it, and writes the same as JSON if a file was named.
    pub fn publish(&self, markdown: bool, json: Option<&Path>) -> Result<()> {
        say(if markdown { self.markdown() } else { self.table() })?;
        let Some(path) = json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: Option<u64>) -> Document {
        let times = Times { p50_ms: 1.25, p95_ms: 20.0, repeats: 30, unanswered: 0 };
        let line = Line {
            model: "approach 1",
            rows: [("messages", 10_190)].into(),
            bytes,
            writes: 1.0,
            inbox: times,
            older: times,
            catch_up: Times { unanswered: 2, ..times },
        };
        Document {
            command: "storage",
            version: "0.1.0",
            machine: Machine::look(Path::new("/")),
            settings: "as told".to_owned(),
            sizes: vec![Size { conversations: 1_000, messages: 10_190, lines: vec![line] }],
            notes: vec!["mind this".to_owned()],
        }
    }

    #[test]
    fn a_line_shows_all_its_figures_and_what_was_not_measured() {
        let table = document(None).table();
        assert!(table.contains("1,000 conversations, 10,190 messages"), "{table}");
        let line = table.lines().find(|line| line.contains("approach 1")).unwrap();
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        let times = "1.25 / 20.0";
        let news = "1.25 / 20.0, 2 unanswered";
        assert_eq!(cells, ["approach 1", "10,190", "not measured", "1.00", times, times, news]);
        assert!(document(Some(3 << 20)).markdown().contains("| 10,190 | 3.00 MiB | 1.00 | 1.25"));
    }
}
