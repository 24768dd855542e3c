//! How long the pages take that a client asks for: history, inbox, catch-up.
//!
//! Fills a server with what people would have written, then asks one question at a time. Knows
//! the server by its protocol and its own histograms.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use rally_schema::frame::{ClientFrame, HistoryQuery, InboxQuery, Send, ServerFrame, Sync};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, Ref, UserId};
use uuid::Uuid;

use crate::crowd::{Crowd, ServerTime};
use crate::disk::folder;
use crate::people::{Account, Cost, log_in, user};
use crate::proc::Machine;
use crate::report::{Report, histogram};
use crate::run::Outputs;
use crate::scrape::Scrape;
use crate::server::{Server, ServerArgs};
use crate::stop::Stop;
use crate::wire::stamps::Stamper;

/// How many sends are under way at once while the server is filled.
const WINDOW: usize = 200;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than the overlap that a catch-up reads again: what was filled in is not read once more.
const OVERLAP: Duration = Duration::from_secs(35);

/// Measures how long a page takes: the newest page of a long conversation, an inbox, a catch-up.
///
/// Each question is asked many times, one after the other, over one connection. Times are from
/// sending the question to having read the answer, loopback and both ends' JSON included;
/// `on the server` is the mean of the server's own histogram over the same questions.
/// `history`: the newest 50 messages of the long conversation.
/// `inbox`: the newest 50 entries of an inbox; the server reads all of them to sort them.
/// `catch-up`: from `sync` to `synced`, for so many changes among so many conversations.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PagesArgs {
    /// Messages in the long conversation.
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Conversations in the inbox that is asked for.
    #[arg(long, default_value_t = 1_000)]
    inbox: usize,
    /// Conversations of the user who catches up.
    #[arg(long, default_value_t = 10_000)]
    conversations: usize,
    /// Changes that he catches up on.
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// How often each question is asked.
    #[arg(long, default_value_t = 300)]
    times: usize,
    /// Where temporary data is written.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is written, with a number in front so that no two messages are alike.
const WORDS: &str =
    "is one of those messages of about a hundred bytes that people write when they have time";

/// Who is at which line.
const WRITER: usize = 0;
const COLLECTOR: usize = 1;
const TRAVELLER: usize = 2;
/// The first of those who are written to and have no line.
const OTHERS: usize = 3;

/// Runs the command.
pub fn command(args: &PagesArgs, stop: &Stop) -> Result<bool> {
    Outputs { json: args.json.as_deref(), ..Outputs::default() }.try_out()?;
    let folder = folder(args.dir.as_ref())?;
    let data = folder.path().join("data");
    let people = OTHERS + args.conversations.max(args.inbox).max(1);
    let accounts: Vec<Account> = (0..people).map(|n| Account::of(user(n), Cost::Least)).collect();
    eprintln!("importing {people} accounts");
    Server::import(&args.server, &data, &accounts)?;
    let settings = format!(
        "{} messages, inbox of {}, {} changes among {} conversations, {} times each{}",
        args.messages,
        args.inbox,
        args.changes,
        args.conversations,
        args.times,
        args.server.line()
    );
    let mut report = Report::new("pages", Machine::look(folder.path()), settings);
    let server = Server::start(&args.server, &data)?;
    let lines: Vec<UserId> = (0..OTHERS).map(user).collect();
    let logins = log_in(server.address, &lines, stop)?;
    let mut crowd = Crowd::before(server.address)?;
    crowd.open(&logins, stop)?;
    let mut asker = Asker { time: crowd.time(), crowd, stamper: Stamper::default(), seq: 0 };
    eprintln!("filling");
    let others = |count: usize| (OTHERS..OTHERS + count).map(user);
    asker.fill(WRITER, std::iter::repeat_n(user(OTHERS), args.messages), stop)?;
    asker.fill(COLLECTOR, others(args.inbox), stop)?;
    asker.fill(TRAVELLER, others(args.conversations), stop)?;
    eprintln!("waiting until catch-ups no longer read what was filled in");
    asker.rest(OVERLAP, stop)?;
    let cursor = asker.cursor()?;
    asker.fill(TRAVELLER, others(args.changes.min(args.conversations)), stop)?;

    let ask = Questions { times: args.times, server: &server, report: &mut report, stop };
    ask.all(&mut asker, cursor)?;
    drop(asker);
    server.end()?;
    report.promise("history p50", 2.0);
    report.promise("inbox p50", 10.0);
    report.promise("catch-up p50", 5.0);
    report.publish(args.json.as_deref())?;
    Ok(true)
}

/// What is asked, and where the answers are written down.
struct Questions<'a> {
    times: usize,
    server: &'a Server,
    report: &'a mut Report,
    stop: &'a Stop,
}

impl Questions<'_> {
    fn all(mut self, asker: &mut Asker, cursor: String) -> Result<()> {
        let long = ConversationId::direct(user(WRITER), user(OTHERS));
        self.ask(asker, "history", "rally_history_seconds", WRITER, |seq| {
            let query = HistoryQuery { r#ref: seq, conversation: long, before: None, limit: None };
            ClientFrame::from(query)
        })?;
        self.ask(asker, "inbox", "rally_inbox_seconds", COLLECTOR, |seq| {
            ClientFrame::from(InboxQuery { r#ref: seq, before: None, limit: None })
        })?;
        self.ask(asker, "catch-up", "rally_catch_up_seconds", TRAVELLER, |_| {
            ClientFrame::from(Sync { cursor: Some(cursor.clone()) })
        })
    }

    /// Asks one question many times.
    fn ask(
        &mut self,
        asker: &mut Asker,
        name: &str,
        metric: &str,
        line: usize,
        question: impl Fn(rally_schema::Ref) -> ClientFrame,
    ) -> Result<()> {
        let before = Scrape::of(self.server.address)?;
        let mut took: Histogram<u64> = histogram();
        for _ in 0..self.times {
            self.stop.check()?;
            asker.seq += 1;
            let (answer, ns) =
                asker.ask(line, &question(Ref::from(Uuid::from_u64_pair(0, asker.seq as u64))))?;
            ensure!(answer.kind() != "reset", "{name} was answered with `reset`");
            took.saturating_record(ns);
        }
        self.report.add_latency(name, &took);
        let on_server = Scrape::of(self.server.address)?.took_since(&before, metric);
        self.report.add(format!("{name}, mean on the server"), "ms", on_server.mean_ms);
        if let Some(ms) = on_server.p99_ms {
            self.report.add(format!("{name}, p99 on the server below"), "ms", ms);
        }
        Ok(())
    }
}

/// Few clients, one of whom does something at a time.
struct Asker {
    crowd: Crowd,
    time: ServerTime,
    stamper: Stamper,
    seq: usize,
}

impl Asker {
    /// Has one line write to somebody after the other, and waits until all of it is acknowledged.
    fn fill(&mut self, line: usize, to: impl Iterator<Item = UserId>, stop: &Stop) -> Result<()> {
        let (mut sent, mut acked) = (0, 0);
        for peer in to {
            stop.check()?;
            while sent - acked >= WINDOW {
                acked += self.acked()?;
            }
            let (at, n) = self.stamper.next(self.time.now_ms());
            self.seq += 1;
            let r#ref = Ref::from(Uuid::from_u64_pair(0, self.seq as u64));
            let text = format!("{:09} {WORDS}", self.seq);
            let send = Send::first(r#ref, [user(line), peer], Stamp { at, n }, text);
            self.crowd.say(line, &ClientFrame::from(send))?;
            sent += 1;
        }
        while acked < sent {
            stop.check()?;
            acked += self.acked()?;
        }
        Ok(())
    }

    fn acked(&mut self) -> Result<usize> {
        let (mut acked, mut refused) = (0, None);
        self.crowd.turn(Duration::from_millis(20), |_, frame| match frame {
            ServerFrame::Ack(_) => acked += 1,
            ServerFrame::Error(error) => refused = Some(error),
            _ => {}
        })?;
        match refused {
            None => Ok(acked),
            Some(error) => bail!("a message was refused: {}: {}", error.code, error.text),
        }
    }

    fn rest(&mut self, time: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            stop.check()?;
            self.crowd.turn(Duration::from_millis(200), |_, _| {})?;
        }
        Ok(())
    }

    /// Gives the cursor at which the traveller is now.
    fn cursor(&mut self) -> Result<String> {
        match self.ask(TRAVELLER, &ClientFrame::from(Sync { cursor: None }))?.0 {
            ServerFrame::Synced(synced) => Ok(synced.cursor),
            ServerFrame::Reset(reset) => Ok(reset.cursor),
            other => bail!("`sync` was answered with `{}`", other.kind()),
        }
    }

    /// Asks, and gives the frame that ends the answer and how long it took, in nanoseconds.
    fn ask(&mut self, line: usize, question: &ClientFrame) -> Result<(ServerFrame, u64)> {
        let begun = Instant::now();
        self.crowd.say(line, question)?;
        let mut last = None;
        while last.is_none() {
            let left = PATIENCE.checked_sub(begun.elapsed());
            let left = left.with_context(|| format!("`{}` was not answered", question.kind()))?;
            self.crowd.turn(left, |_, frame| match frame {
                // Pushes and pages of a catch-up stand before the frame that ends it.
                ServerFrame::History(ref page) if page.r#ref.is_some() => last = Some(frame),
                ServerFrame::Inbox(ref page) if page.r#ref.is_some() => last = Some(frame),
                ServerFrame::Synced(_) | ServerFrame::Reset(_) | ServerFrame::Error(_) => {
                    last = Some(frame);
                }
                _ => {}
            })?;
        }
        let took = begun.elapsed().as_nanos() as u64;
        match last {
            Some(ServerFrame::Error(error)) => bail!("{}: {}", error.code, error.text),
            Some(frame) => Ok((frame, took)),
            None => bail!("the loop above ended without an answer"),
        }
    }
}
