//! Clients that misbehave, on real sockets: each gets its stated answer, and nobody else waits.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::HashSet;
use std::time::Duration;

use harness::client::{Client, new_ref, open, open_on};
use harness::raw::{self, opcode};
use harness::{PATIENCE, Server, eventually, http};
use rally_schema::frame::{
    Beat, Bye, ByeReason, Edit, ErrorFrame, Hello, HistoryQuery, ServerFrame, Typing, Watch,
};
use rally_schema::limits::{FRAME_BYTES, HELLO_MS, TEXT_BYTES};
use rally_schema::{ClientFrame, ClientId, ErrorCode, MessageId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, sleep, timeout};
use uuid::Uuid;

/// How much slower others may become: generous, for a machine that does other things too.
fn is_near(slow: Duration, usual: Duration) -> bool {
    slow <= usual * 4 + Duration::from_millis(25)
}

/// Writes from one client to another, at an even pace, until `end`; gives the median time from
/// sending to hearing.
async fn pulse(from: &mut Client, to: &mut Client, end: Instant) -> Duration {
    let mut pace = interval(Duration::from_millis(60));
    let mut times = Vec::new();
    while Instant::now() < end {
        pace.tick().await;
        let text = format!("pulse {}", times.len());
        let begun = Instant::now();
        let draft = from.draft(to.user.as_str(), &text);
        from.tell(draft.clone()).await;
        to.hears(&text).await;
        times.push(begun.elapsed());
        from.acked(draft.r#ref).await;
    }
    times.sort();
    times[times.len() / 2]
}

/// Samples the server's memory until `end`; gives the most.
async fn peak(server: &Server, end: Instant) -> u64 {
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(server.rss());
        sleep(Duration::from_millis(50)).await;
    }
    most
}

/// How much each of two people writes to the one who does not read.
const WRITTEN: usize = 190;
const WRITTEN_BYTES: usize = 60_000;
const WRITING: Duration = Duration::from_millis(5_700);

/// What the server and others show while somebody is written 4 MB a second.
struct Flood {
    grown: u64,
    median: Duration,
    sent: HashSet<MessageId>,
}

/// Writes long messages at an even pace.
async fn write_much(mut from: Client, to: &str) -> Vec<MessageId> {
    let mut pace = interval(WRITING / WRITTEN as u32);
    let mut refs = Vec::new();
    for i in 0..WRITTEN {
        pace.tick().await;
        let draft = from.draft(to, &format!("{i:0>WRITTEN_BYTES$}"));
        refs.push(draft.r#ref);
        from.tell(draft).await;
    }
    let mut ids = Vec::new();
    for r#ref in refs {
        ids.push(from.acked(r#ref).await.id);
    }
    ids
}

/// Has two people write to roger, with two others beside them.
async fn flood(server: &Server) -> Flood {
    let (rafa, andy) = (server.join("rafa").await, server.join("andy").await);
    let (mut carlos, mut novak) = (server.join("carlos").await, server.join("novak").await);
    let before = server.rss();
    let begun = Instant::now();
    let end = begun + WRITING;
    let (one, two, median, most) = tokio::join!(
        write_much(rafa, "roger"),
        write_much(andy, "roger"),
        pulse(&mut carlos, &mut novak, end),
        peak(server, end),
    );
    let rate = (2 * WRITTEN * WRITTEN_BYTES) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!(
        "{rate:.1} MB/s written, memory grew by {} KiB, median {median:?}",
        (most - before) / 1024
    );
    assert!(rate >= 2.0, "only {rate} MB/s were written");
    let sent = one.into_iter().chain(two).collect();
    Flood { grown: most - before, median, sent }
}

#[tokio::test]
async fn a_client_that_never_reads_costs_its_budget_slows_nobody_and_catches_up_later() {
    const BUDGET: u64 = 256 * 1024;
    // What the allocator and the store may differ by between two runs; half of what is written.
    const NOISE: u64 = 12 * 1024 * 1024;
    let flags = [
        "--rate-sends-per-second=10000",
        "--rate-frames-per-second=10000",
        "--out-budget-bytes=262144",
    ];
    let usual = {
        let server = Server::with(&flags);
        let mut roger = server.join("roger").await;
        tokio::select! {
            flood = flood(&server) => flood,
            () = async { while roger.next().await.is_some() {} } => panic!("roger was sent away"),
        }
    };
    let server = Server::with(&flags);
    let socket = TcpSocket::new_v4().unwrap();
    // Little, so that what is not read waits in the server and not in this kernel.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let token = http::log_in(server.address, "roger").await;
    let mut roger = Client::hello_on(stream, "roger", token, Uuid::new_v4().into(), None).await;
    roger.caught_up().await;
    let seen = flood(&server).await;
    assert_eq!(server.metric("rally_lagging").await, 1.0);
    assert!(
        seen.grown <= usual.grown + BUDGET + NOISE,
        "memory grew by {} with him, by {} without",
        seen.grown,
        usual.grown
    );
    assert!(is_near(seen.median, usual.median), "{:?} after {:?}", seen.median, usual.median);
    let mut missing = seen.sent;
    while !missing.is_empty() {
        match roger.next().await {
            Some(ServerFrame::Message(message)) => _ = missing.remove(&message.id),
            Some(_) => {}
            None => panic!("the connection ended before {} messages", missing.len()),
        }
    }
    roger.caught_up().await;
    assert_eq!(server.metric("rally_lagging").await, 0.0);
    let mut rafa = server.join("rafa").await;
    rafa.say("roger", "live again").await;
    roger.hears("live again").await;
    server.assert_no_panic();
}

/// Reads on and off what the server writes, until `end`.
async fn drain(stream: &mut tokio::net::tcp::OwnedReadHalf, end: Instant) -> String {
    let mut all = Vec::new();
    let mut bytes = [0; 16_384];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout_at(end, stream.read(&mut bytes)).await {
        all.extend_from_slice(&bytes[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Writes 1,000 frames every 10 ms until `end`, or as many as are taken.
async fn offer(stream: &mut tokio::net::tcp::OwnedWriteHalf, frames: &[u8], end: Instant) {
    let mut pace = interval(Duration::from_millis(10));
    while Instant::now() < end {
        pace.tick().await;
        let _ = tokio::time::timeout_at(end, stream.write_all(frames)).await;
    }
}

#[tokio::test]
async fn a_client_that_sends_100_000_frames_a_second_is_held_to_its_rate_and_slows_nobody() {
    const SECONDS: u64 = 3;
    // Defaults: 1,000 frames at once and 200 a second, 100 sends at once and 20 a second.
    const FRAMES: f64 = 1_000.0 + 200.0 * (SECONDS + 2) as f64;
    let server = Server::start();
    let (mut carlos, mut novak) = (server.join("carlos").await, server.join("novak").await);
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let usual = pulse(&mut carlos, &mut novak, end).await;
    let before = server.rss();
    for kind in ["sends", "pings", "binaries"] {
        let mut flooder = server.join("andy").await;
        let frames: Vec<u8> = (0..1_000)
            .flat_map(|i| match kind {
                "sends" => {
                    let draft = flooder.draft("roger", &format!("flood {i}"));
                    raw::text(&ClientFrame::from(draft).encode())
                }
                "pings" => raw::frame(opcode::PING, b"?"),
                _ => raw::frame(opcode::BINARY, b"?"),
            })
            .collect();
        let (mut reading, mut writing) = flooder.into_stream().into_split();
        let received = server.metric("rally_frames_received_total").await;
        let end = Instant::now() + Duration::from_secs(SECONDS);
        let (told, (), median, most) = tokio::join!(
            drain(&mut reading, end),
            offer(&mut writing, &frames, end),
            pulse(&mut novak, &mut carlos, end),
            peak(&server, end),
        );
        println!("{kind}: median {median:?} after {usual:?}, memory grew by {}", most - before);
        assert!(is_near(median, usual), "{kind}: {median:?} after {usual:?}");
        assert!(most - before < 24 * 1024 * 1024, "{kind}: memory grew by {}", most - before);
        let received = server.metric("rally_frames_received_total").await - received;
        assert!(received < FRAMES, "{kind}: {received} frames were taken");
        match kind {
            "sends" => {
                assert!(told.contains(r#""code":"rate""#), "no word of the rate");
                assert!(told.contains(r#""code":"held""#), "what follows is held");
            }
            "pings" => assert!((told.matches("\u{1}?").count() as f64) < FRAMES),
            _ => assert!((told.matches(r#""code":"binary_frame""#).count() as f64) < FRAMES),
        }
        drop((reading, writing));
        eventually("the flooder is gone", async || server.metric("rally_connections").await == 2.0)
            .await;
    }
    assert!(server.metric("rally_reading_paused_total").await >= 3.0);
    server.assert_no_panic();
}

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
        (deep, ErrorCode::BadFrame),
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
    }
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
        ("long", "A".repeat(80_000), mine),
    ];
    for (kind, ticket, client) in refusals {
        let (frames, code) = as_stranger(&server, &hello(&ticket, client)).await;
        assert_eq!((errors(&frames), code), (vec![ErrorCode::BadTicket], Some(1008)), "{kind}");
        assert_eq!(bye(&frames).map(|bye| bye.reason), Some(ByeReason::Refused), "{kind}");
    }
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
