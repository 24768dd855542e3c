//! The golden fixtures: what both sides of the wire must read and write alike.

use rally_schema::{ClientFrame, ServerFrame};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads each fixture, writes it again, and wants the same JSON; then wants one for every type.
macro_rules! golden {
    ($test:ident, $frame:ty, $file:literal) => {
        #[test]
        fn $test() {
            let text = include_str!(concat!("../fixtures/", $file));
            let fixtures: Vec<Value> = serde_json::from_str(text).unwrap();
            let mut seen = BTreeSet::new();
            for fixture in &fixtures {
                let frame = <$frame>::decode(&fixture.to_string()).unwrap();
                let written: Value = serde_json::from_str(&frame.encode()).unwrap();
                assert_eq!(&written, fixture);
                seen.insert(frame.kind());
            }
            assert_eq!(seen, <$frame>::TYPES.iter().copied().collect());
        }
    };
}

golden!(client_frames_are_read_and_written_as_agreed, ClientFrame, "client_frames.json");
golden!(server_frames_are_read_and_written_as_agreed, ServerFrame, "server_frames.json");

#[test]
fn what_is_no_frame_gets_its_stated_code() {
    let text = include_str!("../fixtures/bad_client_frames.json");
    let fixtures: Vec<Value> = serde_json::from_str(text).unwrap();
    for fixture in fixtures {
        let frame = fixture["frame"].as_str().unwrap();
        let error = ClientFrame::decode(frame).unwrap_err();
        assert_eq!(error.code().name(), fixture["code"].as_str().unwrap(), "{frame}: {error}");
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let frame = ClientFrame::decode(r#"{"type":"beat","added_later":{"a":[1]}}"#).unwrap();
    assert_eq!(frame.kind(), "beat");
}

#[test]
fn a_frame_is_the_same_wherever_its_type_stands_and_however_it_is_spaced() {
    for beat in [
        r#"{"type":"beat"}"#,
        r#"{"type":"beat","later":1}"#,
        r#"{"later":1,"type":"beat"}"#,
        r#" { "type" : "beat" } "#,
        r#"{"type":"be\u0061t"}"#,
    ] {
        assert_eq!(ClientFrame::decode(beat).map(|frame| frame.kind()), Ok("beat"), "{beat}");
    }
}

#[test]
fn what_begins_like_a_frame_and_is_none_is_told_as_such() {
    for (text, code) in [
        (r#"{"type":"beat""#, "bad_frame"),
        (r#"{"type":"beat"x}"#, "bad_frame"),
        (r#"{"type":"beat"}}"#, "bad_frame"),
        (r#"{"type":"nothing""#, "bad_frame"),
        (r#"{"type":"nothing"}"#, "unknown_type"),
        (r#"{"type":"beat\\"}"#, "unknown_type"),
    ] {
        let error = ClientFrame::decode(text).unwrap_err();
        assert_eq!(error.code().name(), code, "{text}: {error}");
    }
}
