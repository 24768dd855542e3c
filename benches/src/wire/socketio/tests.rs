//! What clients of the peer say and hear, from bytes alone.

use super::*;

const ALONE: Crowd = Crowd { first: 0, users: 2, devices: 2, delivered: true, read: true };

/// Ana's first device, her second, and Ben's first.
const ANA: Line = 0;
const ANA_TOO: Line = 1;
const BEN: Line = 2;

fn clients() -> SocketIo {
    SocketIo::new("127.0.0.1:9".parse().unwrap(), ALONE)
}

/// Feeds bytes in pieces; gives what was heard, the packets answered, and where it ended.
fn feed(
    clients: &mut SocketIo,
    line: Line,
    bytes: &[u8],
    piece: usize,
) -> (Vec<String>, Vec<String>, Next) {
    let (mut heard, mut out, mut next) = (Vec::new(), Vec::new(), Next::Stay);
    for bytes in bytes.chunks(piece) {
        assert_eq!(next, Next::Stay, "nothing comes after the end");
        next =
            clients.feed(line, bytes, &mut out, &mut |it| heard.push(format!("{it:?}"))).unwrap();
    }
    (heard, said(&out), next)
}

/// Unmasks what a client wrote: short frames of text.
fn said(mut out: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    while let [_, length, rest @ ..] = out {
        let (length, rest) = match (length & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (short, rest) => (usize::from(short), rest),
        };
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(length);
        let text = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        said.push(String::from_utf8(text).unwrap());
        out = rest;
    }
    said
}

fn frame(text: &str, out: &mut Vec<u8>) {
    out.push(0x81);
    match text.len() {
        short @ 0..126 => out.push(short as u8),
        longer => {
            out.push(126);
            out.extend((longer as u16).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

/// What a server says on a WebSocket: the handshake, then these packets.
fn session(packets: &[&str]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .to_vec();
    packets.iter().for_each(|packet| frame(packet, &mut bytes));
    bytes
}

const LOGGED_IN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"t\"}";

/// Logs a client in and has it connect anew.
fn log_in(clients: &mut SocketIo, line: Line) {
    clients.begin(line, From::LogIn);
    let (_, _, next) = feed(clients, line, LOGGED_IN, LOGGED_IN.len());
    assert_eq!(next, Next::Go("127.0.0.1:9".parse().unwrap()));
}

const OPENED: &str = r#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#;
const CONNECTED: &str = r#"40{"sid":"y"}"#;

#[test]
fn bytes_may_be_cut_anywhere() {
    let packets = [
        OPENED,
        CONNECTED,
        r#"42["message",{"id":8,"from":"user000001","to":"user000000","text":"early","at":"x"}]"#,
        r#"42["ready",{"cursor":7}]"#,
        "2",
        r#"42["message",{"id":9,"from":"user000000","to":"user000001","text":"mine \"too\"","at":"x"}]"#,
        r#"42["receipt",{"reader":"user000001","peer":"user000000","delivered":9,"read":0}]"#,
        r#"43246[{"id":10}]"#,
        r#"43248[{"error":"unknown_user"}]"#,
        r#"439[{"messages":[{"id":8,"text":"early"}]}]"#,
        "41",
    ];
    let bytes = session(&packets);
    for piece in [1, 2, 3, 7, 64, 100_000] {
        let mut clients = clients();
        log_in(&mut clients, ANA);
        let (heard, said, next) = feed(&mut clients, ANA, &bytes, piece);
        let expected = [
            r#"Message { text: "early", id: 8, stored: false }"#,
            "Open",
            r#"Message { text: "mine \"too\"", id: 9, stored: false }"#,
            r#"Noticed("receipts")"#,
            "Acked { seq: 123, id: 10 }",
            r#"Refused { seq: 124, code: "unknown_user" }"#,
            "Answered { question: 4 }",
        ];
        assert_eq!(heard, expected, "in pieces of {piece}");
        let mark = r#"42["mark",{"delivered":8,"peer":"user000001","read":8}]"#;
        let mut said = said;
        // A mark follows the bytes that it is about, so pings may be answered before it.
        said.sort_unstable();
        assert_eq!(said, ["3", r#"40{"token":"t"}"#, mark], "in pieces of {piece}");
        assert_eq!(next, Next::Ended);
    }
}

#[test]
fn a_device_that_returns_names_the_newest_id_it_knows_and_sends_again_what_is_open() {
    let mut clients = clients();
    log_in(&mut clients, ANA);
    let all = session(&[OPENED, CONNECTED, r#"42["ready",{"cursor":7}]"#]);
    assert_eq!(feed(&mut clients, ANA, &all, 10).0, ["Open"]);
    let mut out = Vec::new();
    assert!(clients.act(ANA, Act::Send { seq: 3, to: 1, text: "lost" }, &mut out));
    let lost = said(&out).remove(0);
    out.clear();
    assert!(clients.act(ANA, Act::Send { seq: 4, to: 1, text: "taken" }, &mut out));
    let mut answer = Vec::new();
    frame(r#"438[{"id":11}]"#, &mut answer);
    assert_eq!(feed(&mut clients, ANA, &answer, 1).0, ["Acked { seq: 4, id: 11 }"]);

    clients.begin(ANA, From::Return);
    out.clear();
    assert!(!clients.connected(ANA, &mut out).unwrap());
    let request = String::from_utf8(out).unwrap();
    assert!(request.starts_with("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"));
    assert!(!request.contains("Sec-WebSocket-Protocol"), "{request}");
    let missed = r#"42["missed",[{"id":12,"from":"user000001","text":"a"},{"id":13,"from":"user000001","text":"b"}]]"#;
    let all = session(&[OPENED, CONNECTED, missed, r#"42["ready",{"cursor":13}]"#]);
    let (heard, said, _) = feed(&mut clients, ANA, &all, all.len());
    assert_eq!(
        heard,
        [
            r#"Message { text: "a", id: 12, stored: true }"#,
            r#"Message { text: "b", id: 13, stored: true }"#,
            "Open"
        ]
    );
    let mark = r#"42["mark",{"delivered":13,"peer":"user000001","read":13}]"#;
    assert_eq!(said, [r#"40{"token":"t","cursor":7}"#, &lost, mark]);

    // One that logs in anew knows nothing.
    log_in(&mut clients, ANA);
    let (_, said, _) = feed(&mut clients, ANA, &session(&[OPENED]), 1);
    assert_eq!(said, [r#"40{"token":"t"}"#]);
}

#[test]
fn only_the_first_device_of_a_person_says_that_a_message_was_read() {
    let mut clients = clients();
    log_in(&mut clients, ANA_TOO);
    let message = r#"42["message",{"id":8,"from":"user000001","text":"hi"}]"#;
    let (_, said, _) = feed(&mut clients, ANA_TOO, &session(&[message]), 1);
    assert_eq!(said, [r#"42["mark",{"delivered":8,"peer":"user000001","read":0}]"#]);
}

#[test]
fn each_act_is_the_event_that_the_peer_knows() {
    let mut clients = clients();
    let mut act = |act| {
        let mut out = Vec::new();
        assert!(clients.act(BEN, act, &mut out));
        said(&out).remove(0)
    };
    let sent = act(Act::Send { seq: 5, to: 0, text: "a \"b\"" });
    assert!(
        sent.starts_with(r#"4210["send",{"to":"user000000","text":"a \"b\"","ref":""#),
        "{sent}"
    );
    assert_eq!(act(Act::Type { to: 0 }), r#"42["typing",{"to":"user000000"}]"#);
    assert_eq!(act(Act::Watch { user: 0 }), r#"42["watch",{"user":"user000000"}]"#);
    assert_eq!(act(Act::Unwatch { user: 0 }), r#"42["unwatch",{"user":"user000000"}]"#);
    let read = act(Act::Read { with: 0, question: 5 });
    assert_eq!(read, r#"4211["history",{"peer":"user000000"}]"#);
}

#[test]
fn a_log_in_or_a_session_that_is_refused_says_why() {
    let mut clients = clients();
    clients.begin(ANA, From::LogIn);
    let refused = |clients: &mut SocketIo, bytes: &[u8]| {
        clients.feed(ANA, bytes, &mut Vec::new(), &mut |_| ()).unwrap_err().to_string()
    };
    let error = refused(&mut clients, b"HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nwho");
    assert_eq!(error, "logging in was answered with 401: who");
    log_in(&mut clients, ANA);
    let error = refused(&mut clients, &session(&[OPENED, r#"44{"message":"log in first"}"#]));
    assert_eq!(error, r#"the session was refused: {"message":"log in first"}"#);
}
