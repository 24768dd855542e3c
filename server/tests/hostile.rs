//! Clients that misbehave, on real sockets: each gets its stated answer, and nobody else waits.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::time::Duration;

use harness::client::{Client, new_ref, open, open_on};
use harness::raw::{self, opcode};
use harness::{PATIENCE, Server, eventually, http};
use rally_schema::frame::{
    Beat, Bye, ByeReason, Edit, ErrorFrame, Hello, HistoryQuery, ServerFrame, Typing, Watch,
};
use rally_schema::limits::{FRAME_BYTES, HELLO_BYTES, HELLO_MS, TEXT_BYTES};
use rally_schema::{ClientFrame, ClientId, ErrorCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// Reads to the end of the connection; gives the frames and the close code.
async fn last_words(stream: &mut TcpStream) -> (Vec<ServerFrame>, Option<u16>) {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("no end came");
    // A reset after the goodbye is an end as well: what was read before it counts.
    let _ = read;
    raw::parse(&all)
}

fn bye(frames: &[ServerFrame]) -> Option<&Bye> {
    frames.iter().find_map(|frame| match frame {
        ServerFrame::Bye(bye) => Some(bye),
        _ => None,
    })
}

fn errors(frames: &[ServerFrame]) -> Vec<ErrorCode> {
    let code = |frame: &ServerFrame| match frame {
        ServerFrame::Error(error) => Some(error.code),
        _ => None,
    };
    frames.iter().filter_map(code).collect()
}

#[tokio::test]
async fn who_is_silent_or_sends_half_a_frame_is_sent_away_and_who_answers_pings_stays() {
    let server = Server::with(&["--ping-interval-ms=200", "--silence-ms=1500"]);
    let mut novak = server.join("novak").await;
    let staying = tokio::spawn(async move {
        let heard = novak.hears("still there?").await;
        (heard, novak)
    });
    let half = raw::text(&ClientFrame::from(Beat {}).encode());
    for kind in ["silent", "half a frame", "a byte now and then"] {
        let mut stream = server.join("roger").await.into_stream();
        match kind {
            "half a frame" => stream.write_all(&half[..half.len() / 2]).await.unwrap(),
            // Nobody else may hold a session open with less than whole frames.
            "a byte now and then" => {
                let mut long = raw::text(&"x".repeat(1_000));
                long.truncate(900);
                let begun = Instant::now();
                for byte in long {
                    if begun.elapsed() > Duration::from_secs(4) {
                        panic!("still there after {:?}", begun.elapsed());
                    }
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                    let mut peeked = [0; 4096];
                    let there = timeout(Duration::from_millis(1), stream.peek(&mut peeked)).await;
                    let there = there.map_or(0, Result::unwrap);
                    if raw::parse(&peeked[..there]).1.is_some() {
                        break;
                    }
                }
            }
            _ => {}
        }
        let (frames, code) = last_words(&mut stream).await;
        let bye = bye(&frames).unwrap_or_else(|| panic!("{kind}: no goodbye: {frames:?}"));
        assert_eq!((bye.reason, code), (ByeReason::Silent, Some(1001)), "{kind}");
    }
    let mut carlos = server.join("carlos").await;
    carlos.say("novak", "still there?").await;
    staying.await.unwrap();
}

#[tokio::test]
async fn what_is_no_frame_is_answered_by_name_and_the_session_goes_on() {
    let server = Server::start();
    let mut rafa = server.join("rafa").await;
    let send = |fields: &str| {
        let (r#ref, chat) = (new_ref(), rafa.chat("roger"));
        format!(r#"{{"type":"send","ref":"{ref}","conversation":"{chat}","to":"roger",{fields}}}"#)
    };
    let deep = format!(r#"{{"type":"beat","x":{}{}}}"#, "[".repeat(40_000), "]".repeat(40_000));
    let long = send(&format!(r#""at":1,"n":0,"text":"{}""#, "x".repeat(TEXT_BYTES + 1)));
    let cases = [
        ("garbage".to_owned(), ErrorCode::BadFrame),
        (String::new(), ErrorCode::BadFrame),
        ("\0\u{7f}\u{feff}".to_owned(), ErrorCode::BadFrame),
        ("null".to_owned(), ErrorCode::BadFrame),
        ("{}".to_owned(), ErrorCode::BadFrame),
        (r#"{"type":7}"#.to_owned(), ErrorCode::BadFrame),
        (r#"["sync"]"#.to_owned(), ErrorCode::BadFrame),
        (r#"{"type":"nonsense"}"#.to_owned(), ErrorCode::UnknownType),
        (r#"{"type":"welcome"}"#.to_owned(), ErrorCode::UnknownType),
        (r#"{"type":"beat""#.to_owned(), ErrorCode::BadFrame),
        (r#"{"type":"beat"}{"type":"beat"}"#.to_owned(), ErrorCode::BadFrame),
        (r#"{"type":"send"}"#.to_owned(), ErrorCode::BadFrame),
        (r#"{"type":"watch","user":"No Such Name!"}"#.to_owned(), ErrorCode::BadFrame),
        (r#"{"type":"read","conversation":"x","id":"y"}"#.to_owned(), ErrorCode::BadFrame),
        (deep.replace("beat", "sync").replace("\"x\"", "\"cursor\""), ErrorCode::BadFrame),
        (send(r#""at":-1,"n":0,"text":"x""#), ErrorCode::BadFrame),
        (send(r#""at":1e300,"n":0,"text":"x""#), ErrorCode::BadFrame),
        (send(r#""at":1,"n":4096,"text":"x""#), ErrorCode::BadFrame),
        (send(r#""at":1,"n":0,"text":"\ud800""#), ErrorCode::BadFrame),
        (send(r#""at":1,"n":0,"text":" \n ""#), ErrorCode::TextEmpty),
        (long, ErrorCode::TextTooLong),
    ];
    for (text, code) in cases {
        rafa.tell_raw(&text).await;
        let error = next_error(&mut rafa).await;
        let shown: String = text.chars().take(80).collect();
        assert_eq!(error.code, code, "{shown:?}: {error:?}");
        assert!(!error.retry && !error.text.is_empty(), "{shown:?}: {error:?}");
        // Whoever named it learns that it is this one that will never be taken.
        let named = error.r#ref.is_some_and(|r#ref| text.contains(&r#ref.to_string()));
        assert_eq!(named, text.contains("\"ref\""), "{shown:?}: {error:?}");
    }
    // Unknown fields are ignored, however deep; nothing recurses into them.
    rafa.tell_raw(&deep).await;
    rafa.wait_for("a beat", |frame| (frame.kind() == "beat").then_some(())).await;
    rafa.tell_bytes(b"binary").await;
    assert_eq!(next_error(&mut rafa).await.code, ErrorCode::BinaryFrame);
    let token = rafa.token.clone();
    let ticket = http::ticket(server.address, &token, &rafa.client.to_string()).await;
    rafa.tell(Hello { ticket, client: rafa.client, cursor: None }).await;
    assert_eq!(next_error(&mut rafa).await.code, ErrorCode::HelloExpected);
    // After all this the session is what it was.
    rafa.say("roger", "hello").await;
    server.assert_no_panic();
}

async fn next_error(client: &mut Client) -> ErrorFrame {
    client
        .wait_for("an error", |frame| match frame {
            ServerFrame::Error(error) => Some(error.clone()),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_stamp_at_the_end_of_time_is_ahead_and_moves_nothing() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let id = rafa.say("roger", "now").await;
    for at in [253_402_300_799_999, 1 << 48, u64::MAX] {
        let mut send = rafa.draft("roger", "then");
        send.at = at;
        rafa.tell(send.clone()).await;
        let error = rafa.refused(send.r#ref).await;
        assert_eq!((error.code, error.retry), (ErrorCode::Ahead, true), "{at}");
        assert!(error.retry_after_ms.is_some_and(|ms| ms > 1_000_000), "{error:?}");
        rafa.tell(rally_schema::frame::Forget {
            r#ref: send.r#ref,
            conversation: send.conversation,
        })
        .await;
        let (r#ref, conversation) = (new_ref(), send.conversation);
        let text = "edited then".to_owned();
        rafa.tell(Edit { r#ref, conversation, id, at, n: 4095, text, retry: false }).await;
        assert_eq!(rafa.refused(r#ref).await.code, ErrorCode::Ahead, "{at}");
    }
    // The order goes on from now.
    let next = roger.say("rafa", "after").await;
    assert!(next > id);
    let texts: Vec<String> = roger
        .whole_history(rafa.chat("roger"))
        .await
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts, ["now", "after"]);
    server.assert_no_panic();
}

#[tokio::test]
async fn what_is_somebody_elses_can_be_neither_read_nor_marked_nor_watched() {
    let server = Server::start();
    let (mut rafa, mut roger) = (server.join("rafa").await, server.join("roger").await);
    let mut andy = server.join("andy").await;
    let chat = rafa.chat("roger");
    let theirs = rafa.say("roger", "between us").await;
    roger.hears("between us").await;
    andy.read(chat, theirs).await;
    assert_eq!(next_error(&mut andy).await.code, ErrorCode::UnknownConversation);
    andy.delivered(chat, theirs).await;
    assert_eq!(next_error(&mut andy).await.code, ErrorCode::UnknownConversation);
    let r#ref = new_ref();
    let before = Some(theirs);
    andy.tell(HistoryQuery { r#ref, conversation: chat, before, limit: Some(u32::MAX) }).await;
    assert_eq!(andy.refused(r#ref).await.code, ErrorCode::UnknownConversation);
    andy.tell(Typing { conversation: chat }).await;
    // Their id in a conversation of his own covers nothing of theirs and creates nothing.
    andy.say("rafa", "hello").await;
    let mine = andy.chat("rafa");
    andy.read(mine, theirs).await;
    andy.tell(Watch { user: roger.user }).await;
    let told = andy.settled().await;
    assert!(
        !told.iter().any(|frame| matches!(frame, ServerFrame::Presence(p) if p.online)),
        "{told:?}"
    );
    let entries = andy.inbox().await.entries;
    assert_eq!(entries.iter().map(|entry| entry.conversation).collect::<Vec<_>>(), [mine]);
    assert_eq!(entries[0].read_up_to, None);
    let entry = roger.inbox().await.entries.remove(0);
    assert_eq!((entry.read_up_to, entry.unread), (None, 1));
    let told = roger.settled().await;
    assert!(!told.iter().any(|frame| frame.kind() == "typing"), "{told:?}");
}

#[tokio::test]
async fn what_rfc_6455_forbids_ends_the_connection_with_its_code() {
    let server = Server::start();
    let ten_megabytes = raw::frame(opcode::TEXT, &vec![b'x'; 10_000_000]);
    let mut fragments = raw::part(opcode::TEXT, &vec![b'x'; FRAME_BYTES]);
    fragments.extend(raw::frame(opcode::CONTINUATION, b"x"));
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("10 MB", ten_megabytes, 1009),
        ("too long in fragments", fragments, 1009),
        ("not UTF-8", raw::frame(opcode::TEXT, &[b'"', 0xff, b'"']), 1007),
        ("not masked", vec![0x81, 1, b'x'], 1002),
        ("a reserved bit", vec![0xc1, 0x80, 1, 2, 3, 4], 1002),
        ("a reserved opcode", vec![0x83, 0x80, 1, 2, 3, 4], 1002),
        ("a continuation of nothing", raw::frame(opcode::CONTINUATION, b"x"), 1002),
    ];
    for (kind, bytes, wanted) in cases {
        for greeted in [true, false] {
            let stream = match greeted {
                true => server.join("rafa").await.into_stream(),
                false => open(server.address).await.into_inner(),
            };
            let (mut reading, mut writing) = stream.into_split();
            let bytes = bytes.clone();
            // The server may have ended the connection before it has taken all of it.
            let writing = tokio::spawn(async move {
                let _ = writing.write_all(&bytes).await;
                writing
            });
            let mut all = Vec::new();
            let read = timeout(PATIENCE, reading.read_to_end(&mut all)).await;
            let _ = read.expect("no end came");
            let (frames, code) = raw::parse(&all);
            assert_eq!(code, Some(wanted), "{kind}, greeted {greeted}: {frames:?}");
            let reason = bye(&frames).map(|bye| bye.reason);
            assert_eq!(reason, Some(ByeReason::Protocol), "{kind}, greeted {greeted}");
            timeout(PATIENCE, writing).await.expect("the server takes no end").unwrap();
        }
    }
    let mut rafa = server.join("rafa").await;
    rafa.say("roger", "hello").await;
    server.assert_no_panic();
}

/// Writes bytes as a stranger, and reads to the end.
async fn as_stranger(server: &Server, bytes: &[u8]) -> (Vec<ServerFrame>, Option<u16>) {
    let mut stream = open(server.address).await.into_inner();
    stream.write_all(bytes).await.unwrap();
    last_words(&mut stream).await
}

#[tokio::test]
async fn what_comes_before_hello_is_refused_by_name() {
    let server = Server::start();
    let beat = ClientFrame::from(Beat {}).encode();
    let cases = [
        (raw::text(&beat), ErrorCode::HelloExpected),
        (raw::text("garbage"), ErrorCode::BadFrame),
        (raw::text(r#"{"type":"nonsense"}"#), ErrorCode::UnknownType),
        (raw::text(r#"{"type":"hello"}"#), ErrorCode::BadFrame),
        (raw::frame(opcode::BINARY, b"x"), ErrorCode::BinaryFrame),
    ];
    for (bytes, wanted) in cases {
        let (frames, code) = as_stranger(&server, &bytes).await;
        assert_eq!((errors(&frames), code), (vec![wanted], Some(1008)), "{frames:?}");
        assert_eq!(bye(&frames).map(|bye| bye.reason), Some(ByeReason::Protocol));
    }
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_before_he_costs_anything() {
    let server = Server::start();
    let begun = Instant::now();
    let mut stream = open(server.address).await.into_inner();
    let (frames, code) = last_words(&mut stream).await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(HELLO_MS), "{waited:?}");
    assert_eq!((errors(&frames), code), (vec![ErrorCode::HelloExpected], Some(1008)));
    assert_eq!(bye(&frames).map(|bye| bye.reason), Some(ByeReason::Silent));
    assert_eq!(server.metric("rally_connections_opening").await, 0.0);
}

#[tokio::test]
async fn a_ticket_opens_one_session_of_its_own_client_in_this_life_of_the_node() {
    let mut server = Server::start();
    let token = http::log_in(server.address, "rafa").await;
    let hello = |ticket: &str, client: ClientId| {
        let ticket = ticket.to_owned();
        raw::text(&ClientFrame::from(Hello { ticket, client, cursor: None }).encode())
    };
    let (mine, other): (ClientId, ClientId) = (Uuid::new_v4().into(), Uuid::new_v4().into());
    let ticket = http::ticket(server.address, &token, &mine.to_string()).await;
    let mut forged = ticket.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let refusals = [
        ("of another client", ticket.clone(), other),
        ("forged", forged, mine),
        ("empty", String::new(), mine),
        ("a log-in's token", token.clone(), mine),
        ("long", "A".repeat(HELLO_BYTES - 200), mine),
    ];
    for (kind, ticket, client) in refusals {
        let (frames, code) = as_stranger(&server, &hello(&ticket, client)).await;
        assert_eq!((errors(&frames), code), (vec![ErrorCode::BadTicket], Some(1008)), "{kind}");
        assert_eq!(bye(&frames).map(|bye| bye.reason), Some(ByeReason::Refused), "{kind}");
    }
    let (frames, code) = as_stranger(&server, &hello(&"A".repeat(HELLO_BYTES), mine)).await;
    assert_eq!((errors(&frames), code), (vec![], Some(1009)), "longer than anything that opens");
    // None of these spent it.
    let mut session = open(server.address).await.into_inner();
    session.write_all(&hello(&ticket, mine)).await.unwrap();
    eventually("the session is open", async || server.metric("rally_connections").await == 1.0)
        .await;
    let (frames, _) = as_stranger(&server, &hello(&ticket, mine)).await;
    assert_eq!(errors(&frames), [ErrorCode::BadTicket], "spent");
    let ticket = http::ticket(server.address, &token, &mine.to_string()).await;
    server.kill();
    server.restart();
    let (frames, _) = as_stranger(&server, &hello(&ticket, mine)).await;
    assert_eq!(errors(&frames), [ErrorCode::BadTicket], "of an earlier life");
}

/// Asks for the socket with a head of one's own; gives the status.
async fn handshake(server: &Server, headers: &str) -> u16 {
    let head = format!("GET /ws HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", server.address);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut line)).await.unwrap().unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_foreign_page_and_what_is_no_handshake_get_no_socket() {
    let server = Server::with(&["--origins=https://chat.example"]);
    const GOOD: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                        sec-websocket-protocol: rally.v1\r\n";
    let own = format!("origin: http://{}\r\n", server.address);
    let allowed = [String::new(), own, "origin: https://chat.example\r\n".to_owned()];
    for origin in allowed {
        assert_eq!(handshake(&server, &format!("{GOOD}{origin}")).await, 101, "{origin}");
    }
    for origin in ["https://evil.example", "null", "", "http://chat.example", "file://"] {
        let headers = format!("{GOOD}origin: {origin}\r\n");
        assert_eq!(handshake(&server, &headers).await, 403, "{origin:?}");
    }
    for missing in ["sec-websocket-protocol: rally.v1\r\n", "upgrade: websocket\r\n"] {
        assert_eq!(handshake(&server, &GOOD.replace(missing, "")).await, 426, "{missing}");
    }
    assert_eq!(handshake(&server, &GOOD.replace("rally.v1", "rally.v9")).await, 426);
    let status = handshake(&server, &GOOD.replace("version: 13", "version: 12")).await;
    assert_eq!(status, 426);
}

#[tokio::test]
async fn random_bytes_behind_a_handshake_never_end_the_server() {
    let server = Server::start();
    let mut dice = raw::Dice::new(7);
    for round in 0..200 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut stream = open_on(server.address, stream).await.into_inner();
        let bytes: Vec<u8> = (0..dice.below(4_096)).map(|_| dice.below(256) as u8).collect();
        let framed = match round % 2 {
            0 => bytes,
            _ => raw::frame(opcode::TEXT, &bytes),
        };
        stream.write_all(&framed).await.unwrap();
        stream.shutdown().await.unwrap();
        last_words(&mut stream).await;
    }
    assert_eq!(http::get(server.address, "/readyz", None).await.0, 200);
    server.assert_no_panic();
}
