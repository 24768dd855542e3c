//! Rally's own model: what a server writes for a message, and what it reads for its clients.
//!
//! Commits are those of [`Intent::Send`](rally_cluster::intent::Intent), pages those of
//! `rally_cluster::pages`, which sessions and HTTP answer with. A catch-up is what a session reads
//! between `sync` and `synced`, in its steps; only frames are left out, here and everywhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join;
use rally_cluster::store::{ChangeKind, Commit, InboxRow, Store};
use rally_cluster::{pages, twins};
use rally_schema::frame::InboxEntry;
use rally_schema::ids::Stamp;
use rally_schema::limits::Overlap;
use rally_schema::{ChangeId, ConversationId, MessageId, UserId};

use super::model::{Later, Reads, told};
use super::world::{INBOX, MOMENT_MS, Newest, PAGE, Said, World, me};

/// Entries of the log, messages and inbox entries that a session reads at once.
const CHANGES_PAGE: usize = 500;
const MESSAGES_PAGE: usize = 16;
const ENTRIES_PAGE: usize = 50;

/// Gives what a node hands to its store for one message.
pub fn commit_of(said: &Said) -> Commit {
    let (_, intent) = said.intent();
    let mut n = 0;
    intent.commit(said.pair(), || {
        n += 1;
        ChangeId::of(Stamp { at: said.at, n }, 0)
    })
}

/// Counts what a commit sets: a message's row, and for each member a row of his inbox and an entry
/// of his log.
pub fn statements_of(commit: &Commit) -> u64 {
    let of_members = commit.members.iter().map(|member| 1 + u64::from(member.change.is_some()));
    u64::from(commit.message.is_some()) + of_members.sum::<u64>()
}

/// Reads as a server does.
pub struct Served<'a> {
    name: &'static str,
    store: &'a dyn Store,
    unread: HashMap<UserId, u32>,
}

/// Reads for no more than what the other models give: counts nothing and looks after nobody.
pub struct Bare<'a> {
    name: &'static str,
    store: &'a dyn Store,
}

/// Gives both ways to read a store that holds the messages of `world`, under their names.
pub fn ways<'a>(
    store: &'a dyn Store,
    world: &World,
    [served, bare]: [&'static str; 2],
) -> Vec<Box<dyn Reads + 'a>> {
    vec![
        Box::new(Served { name: served, store, unread: world.unread() }),
        Box::new(Bare { name: bare, store }),
    ]
}

/// What a log names, by conversation.
type Named = BTreeMap<ConversationId, BTreeSet<MessageId>>;

/// Reads the user's log from an overlap before the moment.
async fn read_log(store: &dyn Store) -> Result<Named> {
    let mut named = Named::new();
    let mut after = ChangeId::first_of(MOMENT_MS - Overlap::default().ms);
    loop {
        let page = store.changes(me(), after, CHANGES_PAGE).await?;
        for change in &page {
            let ids = named.entry(change.conversation).or_default();
            if change.kind == ChangeKind::Message {
                ids.insert(change.id);
            }
        }
        match page.last() {
            Some(last) if page.len() == CHANGES_PAGE => after = last.change,
            _ => return Ok(named),
        }
    }
}

/// Reads the messages that a log names.
async fn read_messages(store: &dyn Store, named: &Named) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for (conversation, ids) in named {
        let ids: Vec<MessageId> = ids.iter().copied().collect();
        for page in ids.chunks(MESSAGES_PAGE) {
            let mut rows = store.messages(*conversation, page.to_vec()).await?;
            twins::fold(&mut rows);
            for row in rows {
                numbers.push(told(row.text())?);
            }
        }
    }
    Ok(numbers)
}

async fn read_older(store: &dyn Store, before: Said) -> Result<Vec<u32>> {
    let (conversation, (id, _)) = (before.pair().conversation, before.intent());
    let (page, _) = pages::history(store, conversation, Some(id), PAGE).await?;
    page.messages.iter().map(|message| told(&message.text)).collect()
}

impl Served<'_> {
    /// Judges the badges of entries, and gives what else they show.
    fn entries(&self, entries: Vec<InboxEntry>) -> Result<Vec<Newest>> {
        let newest = |InboxEntry { peer, unread, head, .. }: InboxEntry| {
            let right = self.unread.get(&peer).copied().unwrap_or(0);
            ensure!(unread == right, "{unread} unread of {peer}, and {right} were written");
            Ok(Newest { peer, number: told(&head.preview)? })
        };
        entries.into_iter().map(newest).collect()
    }

    async fn news(&self) -> Result<Vec<u32>> {
        // Whether the log-in still holds is read beside the log.
        let account = async { Ok(self.store.user(me()).await?) };
        let (account, named) = try_join(account, read_log(self.store)).await?;
        account.context("the account is not there")?;
        let news = read_messages(self.store, &named).await?;
        let conversations: Vec<ConversationId> = named.into_keys().collect();
        for page in conversations.chunks(ENTRIES_PAGE) {
            let rows = self.store.inbox_rows(me(), page.to_vec()).await?;
            let entries = self.entries(pages::entries(self.store, me(), rows).await?)?;
            ensure!(entries.len() == page.len(), "an entry of the inbox is missing");
        }
        Ok(news)
    }
}

impl Reads for Served<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async {
            let page = pages::inbox(self.store, me(), None, INBOX).await?;
            self.entries(page.entries)
        })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        Box::pin(async move {
            let conversation = before.pair().conversation;
            let peer = pages::find_peer(self.store, me(), conversation).await?;
            peer.context("not a member of his own conversation")?;
            read_older(self.store, before).await
        })
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(self.news())
    }
}

impl Reads for Bare<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn inbox(&self) -> Later<'_, Vec<Newest>> {
        Box::pin(async {
            let (rows, _) = self.store.inbox(me(), None, INBOX).await?;
            let newest = |row: &InboxRow| {
                let head = row.head().context("an entry without a head")?;
                Ok(Newest { peer: row.peer, number: told(&head.preview)? })
            };
            rows.iter().map(newest).collect()
        })
    }

    fn older(&self, before: Said) -> Later<'_, Vec<u32>> {
        Box::pin(read_older(self.store, before))
    }

    fn catch_up(&self) -> Later<'_, Vec<u32>> {
        Box::pin(async {
            let named = read_log(self.store).await?;
            read_messages(self.store, &named).await
        })
    }
}
