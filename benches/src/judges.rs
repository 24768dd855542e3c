//! How long the judges take over a history, made up for this and good in every way.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use rally_proof::history::{Device, Entry, Event};
use rally_proof::{History, Shown, View, file, judge};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, MessageId, Ref, UserId};
use uuid::Uuid;

use crate::people::user;
use crate::proc::Machine;
use crate::report::Report;
use crate::stop::{Stop, runs};

/// Measures how long the judges of `verify` take over a history, and how long reading it takes.
///
/// Made up are pairs of users with two devices each; every message is acknowledged, shown on all
/// four devices, ticked and read.
/// `judge`: all ten promises, over what is in memory.
/// `write`, `read`: the file of `verify --history`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct JudgesArgs {
    /// Messages
    #[arg(long, default_value_t = 1_000_000)]
    operations: usize,
    /// Pairs of users
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// How often it is judged
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Within how many seconds a million messages are to be judged.
const AT_MOST_S: f64 = 10.0;

/// Runs the command.
pub fn command(args: &JudgesArgs, stop: &Stop) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history");
    let settings = format!("{} messages of {} pairs", args.operations, args.pairs);
    let mut report = Report::new("judges", Machine::look(folder.path()), settings);
    let history = made_up(args.operations, args.pairs as usize);
    let clean = runs(&mut report, args.runs, stop, |report, _| {
        let begun = Instant::now();
        file::write(&history, BufWriter::new(File::create(&path)?))?;
        report.add("write", "s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let read = file::read(BufReader::new(File::open(&path)?))?;
        report.add("read", "s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let breaches = judge(&read);
        report.add("judge", "s", begun.elapsed().as_secs_f64());
        ensure!(breaches.is_empty(), "a good history is judged broken: {}", breaches[0]);
        Ok(true)
    })?;
    report.note(format!("{} events", history.entries.len()));
    report.promise("judge", AT_MOST_S * args.operations as f64 / 1e6);
    report.publish(None)?;
    Ok(clean)
}

fn made_up(operations: usize, pairs: usize) -> History {
    let mut history = History::default();
    let each = operations.div_ceil(pairs);
    for pair in 0..pairs {
        let count = each.min(operations - (pair * each).min(operations));
        talk(&mut history, [user(2 * pair), user(2 * pair + 1)], count);
    }
    history.entries.sort_by_key(|entry| entry.at_ms);
    history.ended_ms = history.entries.last().map_or(0, |entry| entry.at_ms);
    history
}

/// Has two users write in turn, one message a second.
fn talk(history: &mut History, users: [UserId; 2], count: usize) {
    let conversation = ConversationId::direct(users[0], users[1]);
    let devices = users.map(|user| [0, 1].map(|number| Device { user, number }));
    let mut happens = |at_ms, device, event| history.entries.push(Entry { at_ms, device, event });
    for device in devices.as_flattened() {
        happens(0, *device, Event::Connects { node: "node-1".parse().expect("a name") });
        happens(1, *device, Event::Synced);
    }
    let mut messages = Vec::new();
    let mut last = [None; 2];
    for nth in 0..count {
        let (at, [writer, reader]) = (1_000 * (nth as u64 + 1), [nth % 2, (nth + 1) % 2]);
        let (r#ref, text) = (Ref::from(Uuid::new_v4()), format!("text {nth}"));
        let sender = users[writer];
        let id = MessageId::of(Stamp { at, n: 0 }, sender, conversation, r#ref, &text);
        let (device, to) = (devices[writer][0], users[reader]);
        happens(at, device, Event::Wrote { r#ref, conversation, to, text: text.clone() });
        happens(at + 1, device, Event::Acked { r#ref, id });
        for device in devices.as_flattened() {
            happens(at + 2, *device, Event::Appeared { id });
        }
        happens(at + 3, devices[reader][0], Event::Read { conversation, id });
        let up_to = Some(id);
        for device in devices[writer] {
            let (delivered_up_to, read_up_to, caught_up) = (up_to, up_to, false);
            let told = Event::Ticked { conversation, caught_up, delivered_up_to, read_up_to };
            happens(at + 4, device, told);
        }
        last[writer] = up_to;
        messages.push(Shown { id, sender, r#ref, text, edit: None, deleted: false });
    }
    for (who, user) in users.into_iter().enumerate() {
        for number in [Some(0), Some(1), None] {
            let view = View {
                user,
                number,
                conversation,
                messages: messages.clone(),
                unread: 0,
                read_up_to: last[1 - who],
                peer_delivered_up_to: last[who],
                peer_read_up_to: last[who],
            };
            if number.is_some() { &mut history.views } else { &mut history.stored }.push(view);
        }
    }
}
