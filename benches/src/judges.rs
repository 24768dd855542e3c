//! How long the judges take over a history, made up for this and good in every way.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use rally_proof::history::{Device, Entry, Event};
use rally_proof::{History, Shown, Span, Verdict, View, file, verdicts};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, EditId, ErrorCode, MessageId, Ref, UserId};
use uuid::Uuid;

use crate::people::user;
use crate::proc::Machine;
use crate::report::Report;
use crate::stop::{Stop, runs};

/// Measures how long the judges of `verify` take over a history, and how long reading it takes.
///
/// Made up are pairs of users with two devices each, who write in turn, one message a second; every
/// message is acknowledged, shown on all four devices, ticked and read. Each tenth is edited and each
/// twentieth deleted; some are sent again with another text, or in doubt; now and then somebody
/// connects anew, is told what he has not read, watches the other one, or blocks him for a moment.
/// `judge`: all ten promises, and what each was judged by, over what is in memory.
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
        let verdicts = verdicts(&read);
        report.add("judge", "s", begun.elapsed().as_secs_f64());
        for Verdict { promise, breach, count } in verdicts {
            ensure!(breach.is_none(), "a good history is judged broken: {breach:?}");
            ensure!(count.judged > 0, "nothing is there to judge promise {} by", promise.number);
        }
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
    history.calm.push(Span { from_ms: 0, to_ms: history.ended_ms });
    let minutes = 0..history.ended_ms / 60_000;
    let stall = |minute| Span { from_ms: minute * 60_000, to_ms: minute * 60_000 + 300 };
    history.stalls.extend(minutes.map(stall));
    history
}

/// Has two users write in turn, one message a second.
fn talk(history: &mut History, users: [UserId; 2], count: usize) {
    let conversation = ConversationId::direct(users[0], users[1]);
    let devices = users.map(|user| [0, 1].map(|number| Device { user, number }));
    let mut happens = |at_ms, device, event| history.entries.push(Entry { at_ms, device, event });
    let connects = |happens: &mut dyn FnMut(u64, Device, Event), at, device: Device| {
        happens(at, device, Event::Connects { node: "node-1".parse().expect("a name") });
        happens(at + 1, device, Event::Synced);
        let user = users[usize::from(device.user == users[0])];
        happens(at + 2, device, Event::Watches { user });
        happens(at + 3, device, Event::Presence { user, online: true });
    };
    for device in devices.as_flattened() {
        connects(&mut happens, 0, *device);
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
        if nth % 50 == 0 {
            happens(at, device, Event::Unsure { r#ref });
        }
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
        let mut shown = Shown { id, sender, r#ref, text, edit: None, deleted: false };
        let change = Ref::from(Uuid::new_v4());
        match nth % 40 {
            5 | 15 | 25 | 35 => {
                let (text, stamp) = (format!("edit {nth}"), Stamp { at: at + 10, n: 0 });
                let edit = EditId::of(stamp, sender, conversation, id, change, &text);
                happens(at + 10, device, Event::Edits { r#ref: change, id, text: text.clone() });
                happens(at + 11, device, Event::Changed { r#ref: change });
                happens(at + 11, device, Event::Edited { id, edit, text: text.clone() });
                (shown.edit, shown.text) = (Some(edit), text);
            }
            9 | 29 => {
                happens(at + 10, device, Event::Deletes { r#ref: change, id });
                happens(at + 11, device, Event::Changed { r#ref: change });
                happens(at + 11, device, Event::Deleted { id });
                (shown.deleted, shown.text) = (true, String::new());
            }
            17 => {
                happens(at + 10, device, Event::Contradicted { r#ref });
                let code = ErrorCode::RefConflict;
                happens(at + 11, device, Event::Refused { r#ref, code });
            }
            // Never both of one user at once.
            1 | 18 | 21 | 38 => {
                let anew = devices[writer][usize::from(nth % 40 > 20)];
                happens(at + 10, anew, Event::Disconnected);
                connects(&mut happens, at + 400, anew);
                let since: &[Shown] = &messages[messages.len().saturating_sub(20)..];
                let read_up_to = since.first().map(|message| message.id);
                let theirs = since.iter().skip(1).filter(|message| message.sender != sender);
                let unread = theirs.count() as u32;
                let told = Event::Counted { conversation, head: id, read_up_to, unread };
                happens(at + 404, anew, told);
            }
            19 if nth % 400 == 19 => {
                let user = users[reader];
                happens(at + 10, device, Event::Blocks { user, blocked: true });
                happens(at + 500, device, Event::Blocks { user, blocked: false });
            }
            _ => {}
        }
        messages.push(shown);
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
