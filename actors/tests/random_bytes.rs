//! Whatever bytes a client sends, in whatever pieces: messages or one error, never a panic.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use proptest::prelude::*;
use rally_actors::wire::{Decoder, Incoming};
use rally_schema::frame::ClientFrame;

const MAX: usize = 1_000;

/// One WebSocket frame as a client writes it: any first byte, masked or not, of any length.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\PC{0,40}".prop_map(String::into_bytes),
        Just(vec![b'x'; MAX + 1]),
    ];
    (any::<u8>(), any::<bool>(), payload, any::<[u8; 4]>()).prop_map(
        |(first, usual, payload, mask)| {
            // Half of them with a first byte that a client may send.
            let first = if usual {
                [0x01, 0x81, 0x80, 0x89, 0x8a, 0x88][first as usize % 6]
            } else {
                first
            };
            let mut bytes = vec![first];
            match payload.len() {
                short @ 0..126 => bytes.push(0x80 | short as u8),
                long => {
                    bytes.push(0x80 | 126);
                    bytes.extend((long as u16).to_be_bytes());
                }
            }
            bytes.extend(mask);
            bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
            bytes
        },
    )
}

/// Feeds a stream in pieces; gives what came out, up to the first error.
fn decoded(stream: &[u8], piece: usize) -> (Vec<Incoming>, bool) {
    let mut decoder = Decoder::new(MAX);
    let mut heard = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        decoder.feed(bytes);
        loop {
            match decoder.decode() {
                Ok(Some(incoming)) => heard.push(incoming),
                Ok(None) => break,
                Err(error) => {
                    assert!([1002, 1007, 1009].contains(&error.close_code()));
                    return (heard, true);
                }
            }
        }
    }
    (heard, false)
}

proptest! {
    #[test]
    fn bytes_that_mean_nothing_are_an_error_or_nothing(
        stream in prop::collection::vec(any::<u8>(), 0..400),
        piece in 1..50_usize,
    ) {
        decoded(&stream, piece);
    }

    #[test]
    fn how_a_stream_was_cut_makes_no_difference(
        frames in prop::collection::vec(frame(), 0..6),
        pieces in prop::collection::vec(1..300_usize, 3),
    ) {
        let stream = frames.concat();
        let whole = decoded(&stream, stream.len());
        for piece in pieces {
            prop_assert_eq!(&decoded(&stream, piece), &whole);
        }
        for incoming in whole.0 {
            if let Incoming::Text(text) = incoming {
                prop_assert!(text.len() <= MAX);
            }
        }
    }

    #[test]
    fn any_text_is_a_frame_or_a_named_error(text in "\\PC{0,200}") {
        if let Err(error) = ClientFrame::decode(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_object_of_a_known_type_is_a_frame_or_a_named_error(
        kind in prop::sample::select(ClientFrame::TYPES.to_vec()),
        fields in prop::collection::btree_map(
            prop::sample::select(vec!["ref", "conversation", "to", "at", "n", "text", "id", "user",
                "retry", "after", "before", "limit", "cursor", "ticket", "client"]),
            prop_oneof![
                Just("null".to_owned()),
                any::<i64>().prop_map(|n| n.to_string()),
                any::<f64>().prop_filter("JSON has no NaN", |n| n.is_finite()).prop_map(|n| n.to_string()),
                "[a-z0-9-]{0,40}".prop_map(|text| format!("{text:?}")),
                Just("\"01a0c4a8-3c7b-7001-8a11-00ff00ff00ff\"".to_owned()),
                Just("[{}]".to_owned()),
            ],
            0..8,
        ),
    ) {
        let fields: String =
            fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        let text = format!("{{\"type\":\"{kind}\"{fields}}}");
        match ClientFrame::decode(&text) {
            Ok(frame) => prop_assert_eq!(frame.kind(), kind),
            Err(error) => prop_assert!(error.to_string().starts_with(kind), "{}", error),
        }
    }
}
