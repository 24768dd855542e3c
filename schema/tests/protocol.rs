//! `PROTOCOL.md` says what the code says: every frame, every field of it, every error.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::collections::BTreeSet;

use rally_schema::ErrorCode;
use rally_schema::frame::{ClientFrame, ServerFrame};
use serde_json::Value;

const PAGE: &str = include_str!("../PROTOCOL.md");

/// The rows of the table under a heading, as cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, after) = PAGE.split_once(&format!("{heading}\n")).expect("the page has this heading");
    let rows = after.lines().skip_while(|line| !line.starts_with("|---"));
    rows.skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The names in backticks of a cell.
fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(|name| name.trim_end_matches('?').to_owned()).collect()
}

/// Every field that some fixture of a type has.
fn fields_in(fixtures: &str, kind: &str) -> BTreeSet<String> {
    let all: Vec<Value> = serde_json::from_str(fixtures).unwrap();
    let frames = all.iter().map(|entry| entry.get("frame").unwrap_or(entry));
    let of_kind = frames.filter(|frame| frame["type"] == kind);
    let mut fields: BTreeSet<String> =
        of_kind.flat_map(|frame| frame.as_object().unwrap().keys().cloned()).collect();
    fields.remove("type");
    fields
}

fn check(heading: &str, types: &[&str], fixtures: &str) {
    let rows = table(heading);
    let listed: Vec<String> = rows.iter().flat_map(|row| names(row[0])).collect();
    assert_eq!(listed, types, "the types under {heading:?}, in the order of the code");
    for row in rows {
        let kind = row[0].trim_matches('`');
        let (told, seen) = (names(row[1]), fields_in(fixtures, kind));
        assert!(seen.is_subset(&told), "{kind}: the page lacks {:?}", seen.difference(&told));
    }
}

#[test]
fn every_frame_and_each_of_its_fields_is_told() {
    let client = include_str!("../fixtures/client_frames.json");
    let server = include_str!("../fixtures/server_frames.json");
    check("### From the client", ClientFrame::TYPES, client);
    check("### From the server", ServerFrame::TYPES, server);
}

#[test]
fn every_error_is_told_once_and_says_what_to_do() {
    let rows = table("## 11. Errors");
    let listed: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(listed, codes);
    assert!(rows.iter().all(|row| row[1].len() > 10));
}

#[test]
fn the_example_session_is_made_of_frames() {
    let mut frames = 0;
    for line in PAGE.lines() {
        if let Some(text) = line.strip_prefix("→ ") {
            ClientFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        } else if let Some(text) = line.strip_prefix("← ") {
            ServerFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        } else {
            continue;
        }
        frames += 1;
    }
    assert!(frames >= 10, "an example session was found");
}
