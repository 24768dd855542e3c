//! `rally-bench storage`: what four ways to keep messages cost, on one database.
//!
//! The prototype that Rally grew from compared three data models on paper, by rows, writes and
//! partitions read. Here the same messages are written by each of them, and by Rally's own, and the
//! same questions asked. `world.rs` has the messages and the right answers, `measure.rs` the asking,
//! a file each the models.

mod approach1;
mod approach2;
mod approach3;
mod database;
mod embedded;
mod files;
mod flags;
mod measure;
mod model;
mod page;
mod rally;
mod shared;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use self::approach1::Approach1;
use self::approach2::Approach2;
use self::approach3::Approach3;
use self::database::{Database, Keyspace};
use self::embedded::Embedded;
use self::flags::{Address, Numbers};
use self::measure::{Line, Measuring, measure};
use self::model::Model;
use self::page::{Document, Size};
use self::shared::Shared;
use self::world::World;
use crate::disk::folder;
use crate::proc::Machine;
use crate::run::Outputs;
use crate::stop::{Stop, Stopped};
use crate::version::VERSION;

/// Measures what data models for a chat cost: the three that the prototype before Rally compared on
/// paper, and Rally's own, all on one Cassandra; Rally's also on the store that a single node embeds.
///
/// One user has so many conversations, each of so many messages, half of each side. The same
/// messages are written by every model, brought from memory into files, and then the same questions
/// are asked many times, one after the other. An answer that is not exactly what was written is an
/// error, not a figure.
///
/// The models:
///   approach 1      PRIMARY KEY ((from_user, to_user), created_at), an index on either user.
///                   Inbox: both indices, everything of the user, newest of each. Older page: two
///                   partitions, merged. Catch-up: both indices, filtered by the database.
///   approach 2      PRIMARY KEY (user, created_at), a row for each of both users. Inbox and older
///                   page as described: the user's whole partition, filtered. Catch-up: a slice.
///   .., backwards   The same table, read from its newest row until there is enough. An inbox takes
///                   longer than here where few conversations have all the newest messages.
///   approach 3      PRIMARY KEY (conversation_id, message_id), and for both users a row in
///                   latest_messages, PRIMARY KEY (username, target_user). As described, the inbox
///                   is LIMIT 10 of a table in the order of names: the first of the alphabet, not
///                   the latest. Measured is what is right: the whole partition, sorted; a note
///                   says how many of the ten the limit finds. Catch-up: the same partition, then
///                   the conversations that are newer than the moment.
///   rally           messages by conversation and ten days, an inbox row and a log entry for either
///                   user. What is read is what a server reads: the inbox with its unread counts
///                   (nothing is marked as read here, so each of the ten is counted), an older page
///                   after a look whether the asker is a member, a catch-up with the account, the
///                   log, the messages, and the inbox entries with their counts.
///   .., bare        The same tables, read for what the other models give: no counts, no look at
///                   membership or account.
///   rally, embedded The same, in the folder of a single node.
///
/// In approaches 1 and 2 two messages of one millisecond have one key, and the later write replaces
/// the earlier: a lost message. Here no two messages have the same millisecond, so none is lost.
///
/// The figures:
///   rows        Counted in the tables after everything was written; entries of indices not.
///   bytes       Of the tables' files, indices included and commit logs aside, when nothing waits in
///               memory or is being compacted. Embedded: of the folder after a clean stop. On
///               Cassandra only with --data.
///   writes      Statements a message. Rally's five go out as one request a partition, three; a
///               sixth tells that a conversation has something in these ten days, until that is
///               known: here more than once, as many first messages are written at once.
///   inbox       The ten latest conversations with the newest message of each.
///   older page  The 50 messages before the 50 newest of the long conversation.
///   catch-up    What is new since a moment.
/// Times are from asking to having read the rows, without HTTP, sockets or frames of a server.
///
/// A question that takes long is asked less often, three times at least; the JSON says how often. One
/// that the database gave up on is asked again and called unanswered; beyond ten such there is no figure.
/// What is written on Cassandra is in keyspaces named rally_storage_*, which are dropped when they
/// were measured, also after an error or Ctrl-C; their names are told, for when this is killed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct StorageArgs {
    #[command(flatten)]
    numbers: Numbers,
    /// How often each question is asked.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// For how long one question is asked again.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
    /// A Cassandra to measure on; without, only the embedded store is.
    #[arg(long, value_name = "HOST:PORT")]
    cassandra: Option<Address>,
    /// Where that has its data, on this machine: data_file_directories of its cassandra.yaml.
    #[arg(long, value_name = "DIR", requires = "cassandra")]
    data: Option<PathBuf>,
    /// Where the embedded store's folder is made.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the tables as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Also write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
pub fn command(args: &StorageArgs, stop: &Stop) -> Result<bool> {
    let shapes = args.numbers.shapes()?;
    Outputs { json: args.json.as_deref(), ..Outputs::default() }.try_out()?;
    let folder = folder(args.dir.as_ref())?;
    let patience = Duration::from_secs(args.patience);
    let measuring = Measuring { repeats: args.repeats, patience, stop };
    let mut document = Document {
        command: "storage",
        version: VERSION.as_str(),
        machine: Machine::look(folder.path()),
        settings: format!("{}, {} repeats", args.numbers, args.repeats),
        sizes: Vec::new(),
        notes: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured: Result<()> = runtime.block_on(async {
        let place = Place::open(args, folder.path(), &mut document.notes).await?;
        for shape in shapes {
            place.measure_all(&World::of(shape), &measuring, &mut document).await?;
        }
        Ok(())
    });
    document.sizes.retain(|size| !size.lines.is_empty());
    if let Err(error) = &measured {
        document.notes.push(format!("{error:#}: what is missing was not measured"));
    }
    match document.sizes.is_empty() {
        true => eprintln!("nothing was measured"),
        // What was measured before an error took its time.
        false => document.publish(args.markdown, args.json.as_deref())?,
    }
    match measured {
        Err(error) if !error.is::<Stopped>() => Err(error),
        Ok(()) | Err(_) => Ok(true),
    }
}

/// Where it is measured.
struct Place<'a> {
    /// A database, and where it answers.
    cassandra: Option<(&'a str, Database)>,
    folder: &'a Path,
}

/// What is made in a keyspace.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Approach1,
    Approach2,
    Approach3,
    Rally,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Approach1, Self::Approach2, Self::Approach3, Self::Rally];

    /// Names its keyspace, and it on the way.
    fn name(self) -> &'static str {
        match self {
            Self::Approach1 => "approach1",
            Self::Approach2 => "approach2",
            Self::Approach3 => "approach3",
            Self::Rally => "rally",
        }
    }
}

/// What a model showed, and a remark.
type Shown = (Vec<Line>, Option<String>);

impl<'a> Place<'a> {
    async fn open(
        args: &'a StorageArgs,
        folder: &'a Path,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let mut note = |text: &str| notes.push(text.to_owned());
        let Some(at) = &args.cassandra else {
            note("only the embedded store was measured: no --cassandra was named");
            return Ok(Self { cassandra: None, folder });
        };
        let database = Database::open(at.as_str(), args.data.as_deref()).await?;
        eprintln!("keyspaces of this run begin with {}", database.prefix());
        if args.data.is_none() {
            note("bytes on Cassandra were not measured: no --data was named");
        }
        Ok(Self { cassandra: Some((at.as_str(), database)), folder })
    }

    /// Measures every model with the same messages.
    async fn measure_all(
        &self,
        world: &World,
        measuring: &Measuring<'_>,
        document: &mut Document,
    ) -> Result<()> {
        document.sizes.push(Size::of(world.shape(), world.all().len()));
        let mut keep = |(lines, remark): Shown| {
            document.sizes.last_mut().into_iter().for_each(|size| size.lines.extend(lines.clone()));
            document.notes.extend(remark);
        };
        if let Some((at, database)) = &self.cassandra {
            for kind in Kind::ALL {
                say(kind.name(), world);
                keep(on_cassandra(kind, at, database, world, measuring).await?);
            }
        }
        say("rally, embedded", world);
        keep(self.embedded(world, measuring).await?);
        Ok(())
    }

    async fn embedded(&self, world: &World, measuring: &Measuring<'_>) -> Result<Shown> {
        let folder = self.folder.join(format!("embedded-{}", world.shape().conversations));
        let mut embedded = Embedded::make(&folder, world).await?;
        let measured = measure(&mut embedded, world, measuring).await;
        embedded.close()?;
        std::fs::remove_dir_all(&folder)?;
        measured
    }
}

/// Says what is done now.
fn say(name: &str, world: &World) {
    let (conversations, messages) = (world.shape().conversations, world.all().len());
    eprintln!("{name}: {messages} messages in {conversations} conversations");
}

/// Measures in a keyspace that is gone afterwards, whatever became of it.
async fn on_cassandra(
    kind: Kind,
    at: &str,
    database: &Database,
    world: &World,
    measuring: &Measuring<'_>,
) -> Result<Shown> {
    let keyspace = database.keyspace(&format!("{}_{}", kind.name(), world.shape().conversations));
    let measured = in_keyspace(kind, at, &keyspace, world, measuring).await;
    let name = keyspace.name().to_owned();
    let dropped = keyspace.drop().await.with_context(|| format!("drop keyspace {name} by hand"));
    match (measured, dropped) {
        (Ok(shown), dropped) => dropped.map(|()| shown),
        (Err(error), dropped) => {
            // Why it failed is what is asked for; what it left behind is told besides.
            dropped.unwrap_or_else(|left| eprintln!("{left:#}"));
            Err(error)
        }
    }
}

async fn in_keyspace(
    kind: Kind,
    at: &str,
    keyspace: &Keyspace<'_>,
    world: &World,
    measuring: &Measuring<'_>,
) -> Result<Shown> {
    let mut model: Box<dyn Model + '_> = match kind {
        Kind::Approach1 => Box::new(Approach1::make(keyspace).await?),
        Kind::Approach2 => Box::new(Approach2::make(keyspace).await?),
        Kind::Approach3 => Box::new(Approach3::make(keyspace).await?),
        Kind::Rally => Box::new(Shared::make(keyspace, at, world).await?),
    };
    measure(&mut *model, world, measuring).await
}
