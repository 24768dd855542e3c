//! The pieces of the message path that are measured, each as it is shipped, ready to be run again
//! and again.

use std::hint::black_box;

use bytestring::ByteString;
use rally_actors::push::Push;
use rally_actors::wire::{self, Decoder, Incoming};
use rally_schema::ServerFrame;
use rally_schema::frame::{ClientFrame, Sync};
use rally_schema::limits::FRAME_BYTES;

use super::{Device, OneThread, wire};

/// What is measured, and how it is prepared.
pub struct Piece {
    /// Its name, by which its figure is kept.
    pub name: &'static str,
    /// How many times it is run for one count.
    pub times: u32,
    /// Prepares it; each call of what it gives is one run.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// Every piece.
pub const PIECES: &[Piece] = &[
    Piece { name: "decode_send", times: 1_000, prepare: decode_send },
    Piece { name: "encode_ack", times: 1_000, prepare: || encode("ack") },
    Piece { name: "encode_message", times: 1_000, prepare: || encode("message") },
    Piece { name: "fan_out_1", times: 1_000, prepare: || fan_out(1) },
    Piece { name: "fan_out_3", times: 1_000, prepare: || fan_out(3) },
    Piece { name: "fan_out_10", times: 1_000, prepare: || fan_out(10) },
    Piece { name: "commit_1", times: 1_000, prepare: || commit(1) },
    Piece { name: "commit_16", times: 100, prepare: || commit(16) },
    Piece { name: "catch_up_50_of_1000", times: 20, prepare: catch_up },
    Piece { name: "message", times: 1_000, prepare: message },
];

/// Out of the bytes of a socket: a `send`.
fn decode_send() -> Box<dyn FnMut()> {
    let (here, ana, ben) = talk();
    let bytes = wire(here.message(ana.user, ben.user));
    let mut decoder = Decoder::new(FRAME_BYTES);
    Box::new(move || {
        decoder.feed(black_box(&bytes));
        let heard = decoder.decode().expect("a device writes what may be sent");
        let text = heard.and_then(text_of).expect("these are the bytes of one whole text");
        black_box(ClientFrame::decode(&text).expect("a frame"));
    })
}

fn text_of(heard: Incoming) -> Option<ByteString> {
    match heard {
        Incoming::Text(text) => Some(text),
        Incoming::Binary(_) | Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => None,
    }
}

/// Into the bytes of a socket: what one message makes the node write.
fn encode(kind: &str) -> Box<dyn FnMut()> {
    let (here, ana, ben) = talk();
    say(&here, &ana, &ben);
    let of_kind = |frame: &ServerFrame| frame.kind() == kind;
    let mut frames = ana.pipe.take().into_iter().chain(ben.pipe.take());
    let frame = frames.find(of_kind).expect("a message makes one");
    Box::new(move || drop(black_box(wire::text(black_box(&frame).encode()))))
}

/// From the node, through a router, to the sockets of so many sessions.
fn fan_out(sessions: usize) -> Box<dyn FnMut()> {
    let (here, ana, ben) = talk();
    say(&here, &ana, &ben);
    let push = Push::stored(&ben.pipe.take()[0]);
    let mut devices = vec![ben];
    devices.resize_with(sessions, || here.join("ben"));
    Box::new(move || {
        here.node().deliver(devices[0].user, push.clone());
        here.until(|| devices.iter().all(|device| device.pipe.has_news()));
        devices.iter().for_each(|device| device.pipe.clear());
    })
}

/// From what was meant to the engine's memory and the system's: so many messages in one group.
fn commit(many: usize) -> Box<dyn FnMut()> {
    let here = OneThread::start();
    let mut nth = 0;
    Box::new(move || {
        let commits = (0..many).map(|_| {
            nth += 1;
            vec![here.sent(user("ana"), user(&format!("user{}", nth % 200)))]
        });
        here.commit(commits.collect());
    })
}

/// From `sync` to `synced`: 50 changes, each in a conversation of its own, among 1,000.
fn catch_up() -> Box<dyn FnMut()> {
    const HOUR_MS: u64 = 3_600_000;
    let here = OneThread::start();
    let write = |many: u64| {
        let to = |nth| vec![here.sent(user(&format!("user{nth}")), user("ana"))];
        here.commit((0..many).map(to).collect());
    };
    write(1_000);
    here.pass_ms(HOUR_MS);
    let cursor = here.node().cursor(here.node().clock.now_ms() - HOUR_MS / 2);
    write(50);
    let ana = here.join("ana");
    let sync = wire(Sync { cursor: Some(cursor.to_string()) });
    let catch_up = move || {
        ana.pipe.send(&sync);
        here.until(|| ana.pipe.has("synced"));
        ana.pipe.clone()
    };
    let told = catch_up().take();
    let messages = told.iter().filter(|frame| frame.kind() == "message");
    assert_eq!(messages.count(), 50, "what changed, and no more");
    Box::new(move || catch_up().clear())
}

/// All of it: from the bytes of a `send` to those of its ack and of the peer's push.
fn message() -> Box<dyn FnMut()> {
    let (here, ana, ben) = talk();
    say(&here, &ana, &ben);
    let kinds = [&ana, &ben].map(|device| {
        let frames = device.pipe.take();
        frames.iter().map(ServerFrame::kind).collect::<Vec<_>>()
    });
    assert_eq!(kinds, [["ack"], ["message"]], "what one message makes the node write");
    Box::new(move || {
        say(&here, &ana, &ben);
        ana.pipe.clear();
        ben.pipe.clear();
    })
}

/// Two users who have written to each other before.
fn talk() -> (OneThread, Device, Device) {
    let here = OneThread::start();
    let (ana, ben) = (here.join("ana"), here.join("ben"));
    for _ in 0..100 {
        say(&here, &ana, &ben);
        ana.pipe.clear();
        ben.pipe.clear();
    }
    (here, ana, ben)
}

fn say(here: &OneThread, from: &Device, to: &Device) {
    from.pipe.send(&wire(here.message(from.user, to.user)));
    here.until(|| from.pipe.has_news() && to.pipe.has_news());
}

fn user(name: &str) -> rally_schema::UserId {
    name.parse().expect("a user id")
}
