//! A parcel as bytes: JSON with the version of its shapes.
//!
//! Nodes of two versions understand each other: a field that a later version adds is ignored, a
//! kind of envelope that it adds is [`Envelope::Unknown`]. Knows nothing of brokers.

use rally_schema::envelope::ENVELOPE_VERSION;
use rally_schema::{Envelope, Life};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Parcel;

/// What the bytes are, for those who look at them on their way.
pub const CONTENT_TYPE: &str = "application/json";

/// Why bytes are no parcel. Says nothing of what is in them but who sent them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Its shapes mean something else than ours.
    #[error("a parcel of version {version}, which is not {ENVELOPE_VERSION}")]
    Version {
        /// Which version it names.
        version: u16,
        /// Who sent it, if it says so.
        from: Option<Life>,
    },
    /// It has not the shape of a parcel.
    #[error("{bytes} bytes that are no parcel, at line {line}, column {column}")]
    Shape {
        /// How many there are.
        bytes: usize,
        /// Where they go wrong.
        line: usize,
        /// Where they go wrong.
        column: usize,
        /// Who sent it, if it says so.
        from: Option<Life>,
    },
}

impl WireError {
    /// Gives who sent it, if it says so.
    pub fn from(&self) -> Option<Life> {
        match self {
            Self::Version { from, .. } | Self::Shape { from, .. } => *from,
        }
    }
}

/// Told first, and of any version.
#[derive(Deserialize)]
struct Head {
    v: u16,
    from: Option<Life>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    v: u16,
    from: Life,
    number: u64,
    envelopes: &'a [Envelope],
}

#[derive(Deserialize)]
struct Incoming {
    v: u16,
    from: Life,
    number: u64,
    envelopes: Vec<Envelope>,
}

/// Writes a parcel.
pub fn encode(parcel: &Parcel) -> Vec<u8> {
    let Parcel { from, number, envelopes } = parcel;
    let outgoing = Outgoing { v: ENVELOPE_VERSION, from: *from, number: *number, envelopes };
    serde_json::to_vec(&outgoing).expect("maps of a parcel have strings for keys")
}

/// Reads a parcel.
pub fn decode(bytes: &[u8]) -> Result<Parcel, WireError> {
    match serde_json::from_slice(bytes) {
        Ok(Incoming { v: ENVELOPE_VERSION, from, number, envelopes }) => {
            Ok(Parcel { from, number, envelopes })
        }
        Ok(Incoming { v: version, from, .. }) => {
            Err(WireError::Version { version, from: Some(from) })
        }
        Err(error) => Err(explain(bytes, &error)),
    }
}

fn explain(bytes: &[u8], error: &serde_json::Error) -> WireError {
    let head = serde_json::from_slice::<Head>(bytes).ok();
    match head {
        Some(Head { v, from }) if v != ENVELOPE_VERSION => WireError::Version { version: v, from },
        head => WireError::Shape {
            bytes: bytes.len(),
            line: error.line(),
            column: error.column(),
            from: head.and_then(|head| head.from),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rally_schema::{Pushed, Stage};

    use super::*;

    fn ana() -> Life {
        Life { node: "ana".parse().unwrap(), generation: 7 }
    }

    fn parcel() -> Parcel {
        let push = Pushed {
            to: "ben".parse().unwrap(),
            stage: Stage::Home,
            except: None,
            passing: false,
            frame: r#"{"type":"typing"}"#.to_owned(),
            traceparent: None,
        };
        let user = push.to;
        let envelopes =
            vec![Envelope::Push(push), Envelope::Attach { user, at: 3 }, Envelope::Ping {}];
        Parcel { from: ana(), number: 12, envelopes }
    }

    const GOLDEN: &str = concat!(
        r#"{"v":1,"from":{"node":"ana","generation":7},"number":12,"envelopes":["#,
        r#"{"kind":"push","to":"ben","stage":"home","frame":"{\"type\":\"typing\"}"},"#,
        r#"{"kind":"attach","user":"ben","at":3},{"kind":"ping"}]}"#,
    );

    #[test]
    fn the_bytes_of_a_parcel_never_change() {
        assert_eq!(String::from_utf8(encode(&parcel())).unwrap(), GOLDEN);
        assert_eq!(decode(GOLDEN.as_bytes()), Ok(parcel()));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored_or_unknown() {
        let later = r#"{"v":1,"from":{"node":"ana","generation":7,"zone":"a"},"number":2,
            "envelopes":[{"kind":"sing","song":"x"},{"kind":"pong","loud":true}],"weight":9}"#;
        let envelopes = vec![Envelope::Unknown, Envelope::Pong {}];
        assert_eq!(decode(later.as_bytes()), Ok(Parcel { from: ana(), number: 2, envelopes }));
    }

    #[test]
    fn another_version_is_refused_by_name_with_its_sender() {
        for later in [
            r#"{"v":2,"from":{"node":"ana","generation":7},"boxes":[]}"#,
            r#"{"v":2,"from":{"node":"ana","generation":7},"number":1,"envelopes":[]}"#,
        ] {
            let error = decode(later.as_bytes()).unwrap_err();
            assert_eq!(error, WireError::Version { version: 2, from: Some(ana()) });
        }
    }

    #[test]
    fn an_error_says_nothing_of_what_was_said() {
        let cut = GOLDEN.replace("\"at\":3", "\"at\":\"secret\"");
        let error = decode(cut.as_bytes()).unwrap_err();
        assert_eq!(error.from(), Some(ana()));
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(decode(b"").unwrap_err().from(), None);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_a_parcel_or_an_error(bytes: Vec<u8>, at in 0..GOLDEN.len(), byte: u8) {
            let _ = decode(&bytes);
            let mut golden = GOLDEN.as_bytes().to_vec();
            golden[at] = byte;
            let _ = decode(&golden);
            prop_assert!(decode(&golden[..at]).is_err());
        }
    }
}
