//! A history as a file, so that it can be judged again: JSON, one value a line, the first of which
//! names the version, and the last of which says how many there are.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _, Write};
use std::num::NonZero;
use std::thread;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::history::{Entry, HISTORY_VERSION, History, Queue, Span, View};

/// About how many bytes a core decodes at a time.
const BLOCK: u64 = 4 * 1024 * 1024;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Head { version: u16, ended_ms: u64, restless: Option<Cow<'a, str>> },
    Entry(Cow<'a, Entry>),
    View(Cow<'a, View>),
    Stored(Cow<'a, View>),
    Calm(Span),
    Stall(Span),
    Queue(Cow<'a, Queue>),
    End { lines: usize },
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
    /// It goes on after its end.
    #[error("line {line} comes after the end of the history")]
    Beyond {
        /// Which, counted from 1.
        line: usize,
    },
    /// Something is missing.
    #[error("a part is missing: the file ends, or says that it ends, after {lines} lines")]
    Torn {
        /// How many there are.
        lines: usize,
    },
    /// Another version wrote it.
    #[error("a history of version {0}: this program reads 1 to {HISTORY_VERSION}")]
    Version(u16),
}

/// Writes a history.
pub fn write(history: &History, mut out: impl Write) -> io::Result<()> {
    let History { version, entries, views, stored, calm, stalls, queues, restless, ended_ms } =
        history;
    let restless = restless.as_deref().map(Cow::Borrowed);
    let head = Line::Head { version: *version, ended_ms: *ended_ms, restless };
    let lines = [head]
        .into_iter()
        .chain(calm.iter().copied().map(Line::Calm))
        .chain(stalls.iter().copied().map(Line::Stall))
        .chain(queues.iter().map(Cow::Borrowed).map(Line::Queue))
        .chain(entries.iter().map(Cow::Borrowed).map(Line::Entry))
        .chain(views.iter().map(Cow::Borrowed).map(Line::View))
        .chain(stored.iter().map(Cow::Borrowed).map(Line::Stored));
    let mut count = 0;
    for line in lines {
        put(&line, &mut out)?;
        count += 1;
    }
    put(&Line::End { lines: count }, &mut out)?;
    out.flush()
}

fn put(line: &Line<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Reads a history, and decodes its lines on all cores, some megabytes on each at a time.
///
/// # Errors
///
/// It cannot be read, or is no whole history.
pub fn read(from: impl BufRead) -> Result<History, FileError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    read_by(from, cores, BLOCK)
}

fn read_by(mut from: impl BufRead, cores: usize, bytes: u64) -> Result<History, FileError> {
    let mut reading = Reading::default();
    loop {
        let blocks = (0..cores).map(|_| block(&mut from, bytes)).collect::<io::Result<Vec<_>>>()?;
        if blocks[0].is_empty() {
            return reading.end();
        }
        let decoded = thread::scope(|scope| {
            let workers: Vec<_> =
                blocks.iter().map(|block| scope.spawn(|| decode(block))).collect();
            let done = workers.into_iter().map(|worker| worker.join().expect("decoding ends"));
            done.collect::<Vec<_>>()
        });
        for line in decoded.into_iter().flatten() {
            reading.take(line)?;
        }
    }
}

/// Reads whole lines, about so many bytes of them; none at the end.
fn block(from: &mut impl BufRead, bytes: u64) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    from.by_ref().take(bytes).read_to_end(&mut lines)?;
    if lines.last().is_some_and(|last| *last != b'\n') {
        from.read_until(b'\n', &mut lines)?;
    }
    Ok(lines)
}

fn decode(block: &[u8]) -> Vec<serde_json::Result<Line<'static>>> {
    let lines = block.split_inclusive(|byte| *byte == b'\n');
    // Errors count the end of a line as another one.
    lines.map(|line| serde_json::from_slice(line.strip_suffix(b"\n").unwrap_or(line))).collect()
}

/// What has been read of a history.
#[derive(Default)]
struct Reading {
    history: Option<History>,
    lines: usize,
    /// How many lines its last one says that there are, and how many there were.
    ended: Option<(usize, usize)>,
}

impl Reading {
    fn take(&mut self, decoded: serde_json::Result<Line<'_>>) -> Result<(), FileError> {
        let before = self.lines;
        self.lines += 1;
        let line = self.lines;
        if self.ended.is_some() {
            return Err(FileError::Beyond { line });
        }
        let decoded = decoded.map_err(|error| FileError::Line { line, error })?;
        match (decoded, &mut self.history) {
            (Line::Head { version, .. }, None) if !(1..=HISTORY_VERSION).contains(&version) => {
                return Err(FileError::Version(version));
            }
            (Line::Head { version, ended_ms, restless }, None) => {
                let restless = restless.map(Cow::into_owned);
                self.history = Some(History { version, ended_ms, restless, ..History::default() });
            }
            (_, None) => return Err(FileError::Headless),
            (Line::Head { .. }, Some(_)) => return Err(FileError::SecondHead { line }),
            (Line::Entry(entry), Some(history)) => history.entries.push(entry.into_owned()),
            (Line::View(view), Some(history)) => history.views.push(view.into_owned()),
            (Line::Stored(view), Some(history)) => history.stored.push(view.into_owned()),
            (Line::Calm(span), Some(history)) => history.calm.push(span),
            (Line::Stall(span), Some(history)) => history.stalls.push(span),
            (Line::Queue(queue), Some(history)) => history.queues.push(queue.into_owned()),
            (Line::End { lines }, Some(_)) => self.ended = Some((lines, before)),
        }
        Ok(())
    }

    fn end(self) -> Result<History, FileError> {
        let history = self.history.ok_or(FileError::Headless)?;
        match self.ended {
            Some((said, before)) if said == before => Ok(history),
            _ => Err(FileError::Torn { lines: self.lines }),
        }
    }
}

#[cfg(test)]
mod tests {
    use rally_schema::ids::Stamp;
    use rally_schema::{EditId, ErrorCode, MessageId};

    use super::*;
    use crate::history::{Device, Event};

    fn history() -> History {
        let device = Device { user: "ana".parse().unwrap(), number: 1 };
        let conversation =
            rally_schema::ConversationId::direct(device.user, "ben".parse().unwrap());
        let view = View {
            user: device.user,
            number: Some(device.number),
            conversation,
            messages: Vec::new(),
            unread: 2,
            read_up_to: None,
            peer_delivered_up_to: None,
            peer_read_up_to: None,
        };
        let stored = vec![View { number: None, ..view.clone() }];
        let (user, r#ref) = (device.user, uuid::Uuid::nil().into());
        let id = MessageId::of(Stamp { at: 5, n: 1 }, user, conversation, r#ref, "a");
        let edit = EditId::of(Stamp { at: 6, n: 0 }, user, conversation, id, r#ref, "c");
        let events = [
            Event::Wrote { r#ref, conversation, to: user, text: "a".to_owned() },
            Event::Acked { r#ref, id },
            Event::Refused { r#ref, code: ErrorCode::Unreachable },
            Event::Unsure { r#ref },
            Event::Contradicted { r#ref },
            Event::Edits { r#ref, id, text: "c".to_owned() },
            Event::Deletes { r#ref, id },
            Event::Changed { r#ref },
            Event::Edited { id, edit, text: "c".to_owned() },
            Event::Deleted { id },
            Event::Appeared { id },
            Event::Read { conversation, id },
            Event::Ticked {
                conversation,
                caught_up: true,
                delivered_up_to: Some(id),
                read_up_to: None,
            },
            Event::Reset,
            Event::Connects { node: "n1".parse().unwrap() },
            Event::Synced,
            Event::Disconnected,
            Event::Blocks { user, blocked: true },
            Event::Watches { user },
            Event::Presence { user, online: true },
            Event::StopsReading,
            Event::Reads,
        ];
        let entry = |(at_ms, event)| Entry { at_ms, device, event };
        let span = Span { from_ms: 1, to_ms: 2 };
        History {
            entries: (3..).zip(events).map(entry).collect(),
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
    fn however_few_bytes_are_decoded_at_a_time_all_lines_are_read_in_their_order() {
        let mut file = Vec::new();
        write(&history(), &mut file).unwrap();
        for (cores, bytes) in [(1, 1), (2, 7), (2, 100), (3, 333), (7, 1_000), (2, 1 << 20)] {
            assert_eq!(read_by(&*file, cores, bytes).unwrap(), history(), "{cores} of {bytes}");
            let mut broken = file.clone();
            let brace = broken.iter().rposition(|byte| *byte == b'{').unwrap();
            broken[brace] = b'\n';
            let lines = file.iter().filter(|byte| **byte == b'\n').count();
            let error = read_by(&*broken, cores, bytes).unwrap_err().to_string();
            let (line, place) = (format!("line {lines} is none"), "line 1 column");
            assert!(error.starts_with(&line) && error.contains(place), "{error}");
        }
    }

    #[test]
    fn a_file_that_lost_its_end_is_no_history() {
        let mut file = Vec::new();
        write(&history(), &mut file).unwrap();
        let text = String::from_utf8(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for keep in 1..lines.len() {
            let torn = lines[..keep].join("\n");
            assert!(read(torn.as_bytes()).unwrap_err().to_string().contains("missing"), "{keep}");
        }
        let holed = [&lines[..3], &lines[4..]].concat().join("\n");
        assert!(read(holed.as_bytes()).unwrap_err().to_string().contains("missing"));
        let more = format!("{text}{}", lines[1]);
        assert!(read(more.as_bytes()).unwrap_err().to_string().contains("after the end"));
    }

    #[test]
    fn what_is_no_history_of_this_version_is_named() {
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("").contains("no version"));
        assert!(refused("{\"calm\":{\"from_ms\":1,\"to_ms\":2}}").contains("no version"));
        assert!(refused("{\"head\":{\"version\":7,\"ended_ms\":1}}").contains("version 7"));
        assert!(refused("{\"head\":{\"version\":0,\"ended_ms\":1}}").contains("version 0"));
        let text = "{\"head\":{\"version\":1,\"ended_ms\":1}}\n{\"entry\":{}}";
        assert!(refused(text).starts_with("line 2"));
        let head = "{\"head\":{\"version\":1,\"ended_ms\":1}}";
        assert!(refused(&format!("{head}\n{head}")).starts_with("line 2 begins another"));
    }
}
