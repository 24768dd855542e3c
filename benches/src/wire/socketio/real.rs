//! The clients against the peer itself, which `cargo xtask peers up socketio` starts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients over real sockets, driven one at a time.
struct People {
    clients: SocketIo,
    sockets: Vec<Option<TcpStream>>,
    /// What each heard and nobody has asked for.
    heard: Vec<Vec<String>>,
}

impl People {
    fn new(door: SocketAddr, crowd: Crowd) -> Self {
        crowd.register(door).unwrap();
        let lines = crowd.users * crowd.devices;
        Self {
            clients: SocketIo::new(door, crowd),
            sockets: (0..lines).map(|_| None).collect(),
            heard: vec![Vec::new(); lines],
        }
    }

    fn dial(&mut self, line: Line, address: SocketAddr) {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut out = Vec::new();
        self.clients.connected(line, &mut out).unwrap();
        socket.write_all(&out).unwrap();
        self.sockets[line] = Some(socket);
    }

    fn open(&mut self, line: Line, from: From) {
        let address = self.clients.begin(line, from);
        self.dial(line, address);
        self.hears(line, "Open");
    }

    fn drops(&mut self, line: Line) {
        self.sockets[line] = None;
    }

    fn does(&mut self, line: Line, act: Act<'_>) {
        let mut out = Vec::new();
        assert!(self.clients.act(line, act, &mut out));
        self.sockets[line].as_mut().expect("it is open").write_all(&out).unwrap();
    }

    /// Reads until something is heard that begins so; gives it.
    fn hears(&mut self, line: Line, begin: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.heard[line].iter().position(|it| it.starts_with(begin)) {
                return self.heard[line].remove(at);
            }
            assert!(begun.elapsed() < PATIENCE, "{begin:?} was not heard: {:?}", self.heard[line]);
            self.read(line);
        }
    }

    fn read(&mut self, line: Line) {
        let socket = self.sockets[line].as_mut().expect("it is open");
        let mut bytes = vec![0; 64 * 1024];
        let count = socket.read(&mut bytes).unwrap();
        assert!(count > 0, "the peer hung up");
        let (mut out, heard) = (Vec::new(), &mut self.heard[line]);
        let mut tell = |it: Heard<'_>| heard.push(format!("{it:?}"));
        let next = self.clients.feed(line, &bytes[..count], &mut out, &mut tell).unwrap();
        socket.write_all(&out).unwrap();
        match next {
            Next::Stay => {}
            Next::Go(address) => self.dial(line, address),
            Next::Ended | Next::Later => panic!("the peer ended the session"),
        }
    }
}

#[test]
#[ignore = "needs RALLY_PEER_SOCKETIO: where `cargo xtask peers up socketio` listens"]
fn two_people_write_are_answered_come_back_and_have_missed_nothing() {
    let door = std::env::var("RALLY_PEER_SOCKETIO").unwrap().parse().unwrap();
    // Names that no other run has.
    let first = (Uuid::new_v4().as_u128() >> 80) as usize;
    let crowd = Crowd { first, users: 2, devices: 2, delivered: true, read: true };
    let mut people = People::new(door, crowd);
    let [ana, ana_too, ben, ben_too] = [0, 1, 2, 3];
    for line in [ana, ana_too, ben] {
        people.open(line, From::LogIn);
    }

    people.does(ana, Act::Watch { user: 1 });
    people.does(ana, Act::Send { seq: 1, to: 1, text: "hello \"Ben\", ❤" });
    let acked = people.hears(ana, "Acked { seq: 1, ");
    let id = acked.rsplit("id: ").next().unwrap().trim_end_matches(" }");
    for line in [ben, ana_too] {
        let message = people.hears(line, "Message");
        let pushed = format!(r#"Message {{ text: "hello \"Ben\", ❤", id: {id}, stored: false }}"#);
        assert_eq!(message, pushed);
    }
    people.hears(ana, r#"Noticed("receipts")"#);
    people.does(ana, Act::Type { to: 1 });
    people.hears(ben, r#"Noticed("typing")"#);

    // While Ben is away, more than a page of what was missed.
    people.drops(ben);
    people.hears(ana, r#"Noticed("presence")"#);
    let texts: Vec<String> = (2..122).map(|seq| format!("message {seq}")).collect();
    for (seq, text) in (2..).zip(&texts) {
        people.does(ana, Act::Send { seq, to: 1, text });
        people.hears(ana, &format!("Acked {{ seq: {seq}, "));
    }
    people.open(ben, From::Return);
    people.hears(ana, r#"Noticed("presence")"#);
    let missed: Vec<String> = std::mem::take(&mut people.heard[ben]);
    let missed = missed.iter().map(|it| it.split('"').nth(1).unwrap());
    assert!(missed.eq(texts.iter().map(String::as_str)), "all of them once, oldest first");

    people.does(ben, Act::Read { with: 0, question: 9 });
    people.hears(ben, "Answered { question: 9 }");
    people.does(ben, Act::Unwatch { user: 0 });

    // What is sent without waiting for answers arrives in its order.
    let texts: Vec<String> = (130..180).map(|seq| format!("message {seq}")).collect();
    (130..).zip(&texts).for_each(|(seq, text)| people.does(ana, Act::Send { seq, to: 1, text }));
    for text in &texts {
        assert!(people.hears(ben, "Message").contains(text));
    }

    // A device that is new begins where its user is.
    people.open(ben_too, From::LogIn);
    people.does(ana, Act::Send { seq: 200, to: 1, text: "to both" });
    for line in [ben, ben_too] {
        assert!(people.hears(line, "Message").contains("to both"));
    }
}

#[test]
#[ignore = "needs RALLY_PEER_SOCKETIO: where `cargo xtask peers up socketio` listens"]
fn a_message_that_nobody_answered_is_sent_again_and_is_there_once() {
    let door = std::env::var("RALLY_PEER_SOCKETIO").unwrap().parse().unwrap();
    let first = (Uuid::new_v4().as_u128() >> 80) as usize;
    let crowd = Crowd { first, users: 2, devices: 1, delivered: false, read: false };
    let mut people = People::new(door, crowd);
    let [ana, ben] = [0, 1];
    people.open(ana, From::LogIn);
    people.open(ben, From::LogIn);
    // She is gone before she reads the answer.
    people.does(ana, Act::Send { seq: 1, to: 1, text: "once" });
    people.hears(ben, r#"Message { text: "once""#);
    people.drops(ana);
    people.open(ana, From::Return);
    people.hears(ana, "Acked { seq: 1, ");
    people.does(ana, Act::Send { seq: 2, to: 1, text: "after" });
    assert!(people.hears(ben, "Message").contains("after"));
}
