//! A history as a file, so that it can be judged again: JSON, one value a line, the first of which
//! names the version.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::history::{Entry, HISTORY_VERSION, History, Queue, Span, View};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Head { version: u16, ended_ms: u64, restless: Option<String> },
    Entry(Entry),
    View(View),
    Stored(View),
    Calm(Span),
    Stall(Span),
    Queue(Queue),
}

/// Why a file holds no history.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is none of a history.
    #[error("line {line} is none of a history: {error}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It does not begin with its version.
    #[error("the first line names no version: this is no history of rally-bench verify")]
    Headless,
    /// It begins a second time.
    #[error("line {line} begins another history: keep each in a file of its own")]
    SecondHead {
        /// Which, counted from 1.
        line: usize,
    },
    /// Another version wrote it.
    #[error("a history of version {0}: this program reads {HISTORY_VERSION}")]
    Version(u16),
}

/// Writes a history.
pub fn write(history: &History, mut out: impl Write) -> io::Result<()> {
    let History { version, entries, views, stored, calm, stalls, queues, restless, ended_ms } =
        history.clone();
    let head = Line::Head { version, ended_ms, restless };
    let lines = [head]
        .into_iter()
        .chain(calm.into_iter().map(Line::Calm))
        .chain(stalls.into_iter().map(Line::Stall))
        .chain(queues.into_iter().map(Line::Queue))
        .chain(entries.into_iter().map(Line::Entry))
        .chain(views.into_iter().map(Line::View))
        .chain(stored.into_iter().map(Line::Stored));
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads a history.
pub fn read(from: impl BufRead) -> Result<History, FileError> {
    let mut history = None::<History>;
    for (nth, text) in from.lines().enumerate() {
        let line = nth + 1;
        let read = serde_json::from_str(&text?).map_err(|error| FileError::Line { line, error })?;
        match (read, &mut history) {
            (Line::Head { version, .. }, None) if version != HISTORY_VERSION => {
                return Err(FileError::Version(version));
            }
            (Line::Head { version, ended_ms, restless }, None) => {
                history = Some(History { version, ended_ms, restless, ..History::default() });
            }
            (_, None) => return Err(FileError::Headless),
            (Line::Head { .. }, Some(_)) => return Err(FileError::SecondHead { line }),
            (Line::Entry(entry), Some(history)) => history.entries.push(entry),
            (Line::View(view), Some(history)) => history.views.push(view),
            (Line::Stored(view), Some(history)) => history.stored.push(view),
            (Line::Calm(span), Some(history)) => history.calm.push(span),
            (Line::Stall(span), Some(history)) => history.stalls.push(span),
            (Line::Queue(queue), Some(history)) => history.queues.push(queue),
        }
    }
    history.ok_or(FileError::Headless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Device, Event};

    fn history() -> History {
        let device = Device { user: "ana".parse().unwrap(), number: 1 };
        let conversation =
            rally_schema::ConversationId::direct(device.user, "ben".parse().unwrap());
        let view = View {
            device: Some(device),
            conversation,
            messages: Vec::new(),
            unread: 2,
            read_up_to: None,
            peer_delivered_up_to: None,
            peer_read_up_to: None,
        };
        let stored = vec![View { device: None, ..view.clone() }];
        let entry = |at_ms, event| Entry { at_ms, device, event };
        let span = Span { from_ms: 1, to_ms: 2 };
        History {
            entries: vec![entry(3, Event::Reset), entry(4, Event::Synced)],
            views: vec![view],
            stored,
            calm: vec![span],
            stalls: vec![span, span],
            queues: vec![Queue { name: "a queue".to_owned(), bound: 3, most: 1 }],
            restless: Some("ana/1 is away".to_owned()),
            ended_ms: 9,
            ..History::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut file = Vec::new();
        write(&history(), &mut file).unwrap();
        assert_eq!(read(&*file).unwrap(), history());
    }

    #[test]
    fn what_is_no_history_of_this_version_is_named() {
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("").contains("no version"));
        assert!(refused("{\"calm\":{\"from_ms\":1,\"to_ms\":2}}").contains("no version"));
        assert!(refused("{\"head\":{\"version\":7,\"ended_ms\":1}}").contains("version 7"));
        let text = "{\"head\":{\"version\":1,\"ended_ms\":1}}\n{\"entry\":{}}";
        assert!(refused(text).starts_with("line 2"));
        let head = "{\"head\":{\"version\":1,\"ended_ms\":1}}";
        assert!(refused(&format!("{head}\n{head}")).starts_with("line 2 begins another"));
    }
}
