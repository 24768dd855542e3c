//! Packets of Socket.IO 5 in those of Engine.IO 4, one in each text frame.
//!
//! `42["message",{...}]`: a digit of the outer protocol, one of the inner, an id where an answer is
//! wanted or given, then JSON. As much of it as one namespace without binary data takes. What its
//! events say is the peer's (`benches/peers/socketio/chat.js`).

use std::borrow::Cow;
use std::io::Write as _;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The answer to [`Packet::Ping`].
pub const PONG: &str = "3";

/// What a server says.
#[derive(Debug)]
pub enum Packet<'a> {
    /// The transport is open; the client names itself next.
    Opened,
    /// It wants to know whether the client lives.
    Ping,
    /// The client is known.
    Connected,
    /// The client is not let in, and why.
    Refused(&'a str),
    /// Something happened.
    Event(Event<'a>),
    /// The answer to the event of that id.
    Answer(u64, Answer<'a>),
    /// The server ends the connection.
    Ended,
    /// Nothing that a client must know.
    Idle,
}

/// What happens.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event<'a> {
    /// A message came.
    #[serde(borrow)]
    Message(Message<'a>),
    /// Messages that a device has missed.
    Missed(Vec<Message<'a>>),
    /// All that was missed has been said.
    Ready {
        /// The newest id that there is for this user.
        cursor: u64,
    },
    /// Somebody moved his marks.
    Receipt(IgnoredAny),
    /// Somebody types.
    Typing(IgnoredAny),
    /// Somebody came or went.
    Presence(IgnoredAny),
}

/// A message.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    /// Later ones have larger ones.
    pub id: u64,
    /// Who wrote it.
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// What it says.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
}

/// What an event is answered with.
#[derive(Debug, Default, Deserialize)]
pub struct Answer<'a> {
    /// The id of the message that was sent.
    pub id: Option<u64>,
    /// Why it was not done.
    #[serde(borrow)]
    pub error: Option<Cow<'a, str>>,
}

/// What a server must not send.
#[derive(Debug, Error)]
pub enum PacketError {
    /// No packet that is known here.
    #[error("unexpected packet: it begins with {0:?}")]
    Unknown(String),
    /// A packet that says what it should not.
    #[error("a packet that begins with {0:?} holds other JSON: {1}")]
    Json(String, serde_json::Error),
}

impl<'a> Packet<'a> {
    /// Reads the packet of a frame.
    ///
    /// # Errors
    ///
    /// It is none that this protocol has.
    pub fn read(text: &'a str) -> Result<Self, PacketError> {
        let begins = || text.chars().take(2).collect::<String>();
        let json = |error| PacketError::Json(begins(), error);
        let Some((digits, rest)) = text.split_at_checked(2) else {
            return match text {
                "2" => Ok(Self::Ping),
                "6" => Ok(Self::Idle),
                "1" => Ok(Self::Ended),
                _ => Err(PacketError::Unknown(begins())),
            };
        };
        match digits {
            "0{" => Ok(Self::Opened),
            "40" => Ok(Self::Connected),
            "41" => Ok(Self::Ended),
            "42" => serde_json::from_str(rest).map(Self::Event).map_err(json),
            "43" => {
                let end = rest.find('[').unwrap_or(rest.len());
                let id = rest[..end].parse().map_err(|_| PacketError::Unknown(begins()))?;
                let (answer,) = serde_json::from_str(&rest[end..]).map_err(json)?;
                Ok(Self::Answer(id, answer))
            }
            "44" => Ok(Self::Refused(rest)),
            _ => Err(PacketError::Unknown(begins())),
        }
    }
}

/// What a client names itself by.
#[derive(Debug, Serialize)]
pub struct Auth<'a> {
    /// What its log-in was answered with.
    pub token: &'a str,
    /// The newest id it knows, if it was here before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
}

/// Writes the packet by which a client names itself.
pub fn connect(auth: &Auth<'_>) -> Vec<u8> {
    let mut packet = b"40".to_vec();
    serde_json::to_writer(&mut packet, auth).expect("strings and numbers are JSON");
    packet
}

/// Writes an event, which is answered if it has an id.
pub fn event(id: Option<u64>, name: &str, data: &impl Serialize) -> Vec<u8> {
    let mut packet = b"42".to_vec();
    if let Some(id) = id {
        write!(packet, "{id}").expect("a vector takes what is written to it");
    }
    serde_json::to_writer(&mut packet, &(name, data)).expect("strings and numbers are JSON");
    packet
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_packet_is_read_as_what_it_says() {
        let read = |text: &str| format!("{:?}", Packet::read(text).unwrap());
        assert_eq!(read(r#"0{"sid":"x","pingInterval":25000}"#), "Opened");
        assert_eq!(read("2"), "Ping");
        assert_eq!(read(r#"40{"sid":"y"}"#), "Connected");
        assert_eq!(
            read(r#"44{"message":"log in first"}"#),
            r#"Refused("{\"message\":\"log in first\"}")"#
        );
        assert_eq!(read("41"), "Ended");
        let message = r#"{"id":7,"from":"ana","to":"ben","text":"say \"hi\"","at":"now"}"#;
        let told = r#"Message { id: 7, from: "ana", text: "say \"hi\"" }"#;
        assert_eq!(read(&format!(r#"42["message",{message}]"#)), format!("Event(Message({told}))"));
        assert_eq!(
            read(&format!(r#"42["missed",[{message}]]"#)),
            format!("Event(Missed([{told}]))")
        );
        assert_eq!(read(r#"42["ready",{"cursor":7}]"#), "Event(Ready { cursor: 7 })");
        assert_eq!(read(r#"42["typing",{"from":"ana"}]"#), "Event(Typing(IgnoredAny))");
        assert_eq!(read(r#"4312[{"id":7}]"#), "Answer(12, Answer { id: Some(7), error: None })");
        assert_eq!(
            read(r#"430[{"error":"invalid"}]"#),
            r#"Answer(0, Answer { id: None, error: Some("invalid") })"#
        );
    }

    #[test]
    fn what_is_no_packet_is_refused_by_how_it_begins() {
        let refused = |text| Packet::read(text).unwrap_err().to_string();
        for (bad, begins) in
            [("", ""), ("9", "9"), ("45-[]", "45"), ("43x[{}]", "43"), ("äöü", "äö")]
        {
            let unknown = format!("unexpected packet: it begins with {begins:?}");
            assert_eq!(refused(bad), unknown);
        }
        for bad in [r#"42["unheard",{}]"#, r#"42["message",{"text":"x"}]"#, "431", "42["] {
            let other = format!("a packet that begins with {:?} holds other JSON: ", &bad[..2]);
            assert!(refused(bad).starts_with(&other), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_as_the_protocol_has_it() {
        let text = |packet| String::from_utf8(packet).unwrap();
        assert_eq!(text(connect(&Auth { token: "t", cursor: None })), r#"40{"token":"t"}"#);
        let again = connect(&Auth { token: "t", cursor: Some(0) });
        assert_eq!(text(again), r#"40{"token":"t","cursor":0}"#);
        let said = event(Some(4), "send", &json!({ "text": "\"" }));
        assert_eq!(text(said), r#"424["send",{"text":"\""}]"#);
        assert_eq!(text(event(None, "typing", &json!({}))), r#"42["typing",{}]"#);
    }
}
