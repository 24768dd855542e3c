//! The embedded store against the suite, crashes and bad folders.

mod crash;
mod folder;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use futures_util::FutureExt as _;
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, MessageId, Ref};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::keys;
use super::memory::Bounds;
use super::{CommitFailed, Durability, EmbeddedStore, FEW, OpenError, Options, STAMPED_ALIKE};
use crate::intent::{Intent, Pair};
use crate::store::conformance::Fixture;
use crate::store::{Commit, MessageRow, Store as _, StoreError, UserRow};

/// The thread that writes.
type Loop = JoinHandle<Result<(), CommitFailed>>;

/// A store whose loop runs on a thread of its own, in a folder that goes with it.
struct Running {
    store: EmbeddedStore,
    thread: Loop,
    dir: TempDir,
    options: Options,
}

/// Tests write one thing at a time, and company never comes.
const ALONE: Options = Options {
    durability: Durability::Os,
    group_interval_us: 0,
    queue_bytes: 1 << 20,
    cache_bytes: 1 << 20,
};

impl Running {
    fn new(options: Options) -> Self {
        Self::open(tempfile::tempdir().unwrap(), options).unwrap()
    }

    fn open(dir: TempDir, options: Options) -> Result<Self, OpenError> {
        let (store, commit_loop) = EmbeddedStore::open(dir.path(), options)?;
        let thread = thread::spawn(move || commit_loop.run());
        Ok(Self { store, thread, dir, options })
    }

    /// Opens a folder that stays when the store goes.
    fn open_at(folder: &Path, options: Options) -> (EmbeddedStore, Loop) {
        let (store, commit_loop) = EmbeddedStore::open(folder, options).unwrap();
        (store, thread::spawn(move || commit_loop.run()))
    }

    /// Ends cleanly.
    fn stop(self) -> (TempDir, Options) {
        self.store.close();
        self.thread.join().unwrap().unwrap();
        (self.dir, self.options)
    }

    /// Ends cleanly and opens again.
    fn restart(self) -> Self {
        let (dir, options) = self.stop();
        Self::open(dir, options).unwrap()
    }

    /// Goes on with what the files hold at this moment: what a killed process leaves.
    fn crash(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.dir.path(), copy.path());
        let options = self.options;
        self.stop();
        Self::open(copy, options).unwrap()
    }
}

/// Copies a folder.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            write_file(&to, &fs::read(entry.path()).unwrap());
        }
    }
}

/// Writes a file; holes stay holes, or each journal would cost 64 MiB.
fn write_file(path: &Path, bytes: &[u8]) {
    const HOLE: [u8; 4096] = [0; 4096];
    let mut file = File::create(path).unwrap();
    for (nth, block) in bytes.chunks(HOLE.len()).enumerate() {
        if block != &HOLE[..block.len()] {
            file.seek(SeekFrom::Start((nth * HOLE.len()) as u64)).unwrap();
            file.write_all(block).unwrap();
        }
    }
    file.set_len(bytes.len() as u64).unwrap();
}

#[tokio::test]
async fn a_clean_stop_leaves_no_journal_to_read_and_loses_nothing() {
    let mut running = Running::new(ALONE);
    let users = |running: &Running| running.store.find_users("".into(), 100);
    for (life, name) in ["ana", "ben", "cid", "dan"].into_iter().enumerate() {
        let user = name.parse().unwrap();
        let (name, password) = (name.to_owned(), None);
        let row = UserRow { user, name, password, epoch: 0, hide_presence: false };
        assert!(running.store.create_user(row).await.unwrap());
        // A life that ends with a kill reads what the one before it left, and adds to it.
        running = if life == 2 { running.crash() } else { running };
        let (dir, options) = running.stop();
        for file in fs::read_dir(dir.path().join("format-1")).unwrap().map(Result::unwrap) {
            let journal = file.path().extension().is_some_and(|extension| extension == "jnl");
            assert!(!journal || file.metadata().unwrap().len() == 0, "{:?}", file.path());
        }
        running = Running::open(dir, options).unwrap();
        assert_eq!(users(&running).await.unwrap().len(), life + 1);
    }
    running.stop();
}

#[tokio::test]
async fn a_turn_by_hand_writes_all_that_waits_and_the_last_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut commits) = EmbeddedStore::open(dir.path(), ALONE).unwrap();
    let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
    let writes = (store.set_block(ana, ben, true), store.set_block(ben, ana, true));
    assert_eq!((commits.waiting(), store.is_blocked(ana, ben).await), (2, Ok(false)));
    assert_eq!(commits.turn(), Ok(true));
    assert_eq!((writes.0.await, writes.1.await, commits.waiting()), (Ok(()), Ok(()), 0));
    assert_eq!(store.is_blocked(ben, ana).await, Ok(true));
    store.close();
    assert_eq!(commits.turn(), Ok(false));
}

/// A row of 256 KiB.
fn large(nth: u64) -> UserRow {
    let (user, name) = (format!("user{nth}").parse().unwrap(), "n".repeat(256 << 10));
    UserRow { user, name, password: None, epoch: 0, hide_presence: false }
}

#[tokio::test]
async fn memory_that_became_a_file_is_freed_while_more_is_written() {
    let running = Running::new(ALONE);
    let rows = &running.store.0.rows;
    let first = std::sync::Arc::downgrade(&rows.all.tree.active_memtable());
    for nth in 0.. {
        if first.strong_count() == 0 {
            break;
        }
        assert!(running.store.create_user(large(nth)).await.unwrap());
    }
    let user = running.store.user("user0".parse().unwrap()).await.unwrap();
    assert_eq!(user.unwrap().name.len(), 256 << 10);
    running.stop();
}

/// Keeps the engine from writing files, as a long merge does, until the sender is dropped.
fn keep_busy(all: Keyspace) -> Sender<()> {
    let ((end, ended), (begin, begun)) = (channel(), channel());
    thread::spawn(move || {
        let _busy = all.tree.get_flush_lock();
        begin.send(()).unwrap();
        ended.recv().unwrap_err();
    });
    begun.recv().unwrap();
    end
}

#[tokio::test]
async fn an_engine_that_is_busy_for_thousands_of_groups_goes_on_afterwards() {
    let options = Options { durability: Durability::Sync, queue_bytes: 64 << 20, ..ALONE };
    let running = Running::new(options);
    let (store, all) = (&running.store, &running.store.0.rows.all);
    let (full, mut busy) = (Bounds::USUAL.full, Some(keep_busy(all.clone())));
    for nth in 0..(2 * full) >> 18 {
        store.create_user(large(nth)).await.unwrap();
    }
    let (ana, ben, began) = ("ana".parse().unwrap(), "ben".parse().unwrap(), Instant::now());
    for nth in 0.. {
        store.set_block(ana, ben, nth % 2 == 0).await.unwrap();
        if nth == 3_000 {
            busy = None;
        }
        let all_is_written = all.sealed_memtable_count() == 0;
        if busy.is_none() && all_is_written && all.tree.active_memtable().size() < full {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the engine does nothing more");
    }
    running.stop();
}

/// A store whose engine asks for files beyond 16 MiB, as all did that were made earlier.
fn made_earlier() -> TempDir {
    let (dir, _) = Running::new(ALONE).stop();
    let (path, elsewhere) = (dir.path().join("format-1"), tempfile::tempdir().unwrap());
    let moved = elsewhere.path().join("format-1");
    fs::rename(&path, &moved).unwrap();
    let open = |path: &Path, bytes| {
        let db = Database::builder(path).open().unwrap();
        let rows =
            db.keyspace("rows", || KeyspaceCreateOptions::default().max_memtable_size(bytes));
        (db, rows.unwrap())
    };
    let ((_now, rows), (before, asking)) = (open(&moved, u64::MAX), open(&path, 16 << 20));
    for row in rows.iter().map(|row| row.into_inner().unwrap()) {
        if *row.0 != *keys::meta("seals") {
            asking.insert(row.0, row.1).unwrap();
        }
    }
    before.persist(PersistMode::SyncAll).unwrap();
    dir
}

#[tokio::test]
async fn who_writes_waits_where_too_much_is_gathered_for_an_engine_that_is_busy() {
    let dirs = [(tempfile::tempdir().unwrap(), Bounds::USUAL), (made_earlier(), Bounds::EARLIER)];
    for (dir, bounds) in dirs {
        let running = Running::open(dir, ALONE).unwrap();
        let (store, all) = (&running.store, &running.store.0.rows.all);
        let busy = keep_busy(all.clone());
        let bytes = || all.tree.active_memtable().size();
        let write = async |nth: &mut u64| {
            *nth += 1;
            store.create_user(large(*nth)).await.unwrap()
        };
        let mut nth = 0;
        // What is sealed at first waits, and memory fills up again.
        while bytes() < bounds.most {
            assert!(write(&mut nth).await);
        }
        // One group is on its way to a full memory, perhaps; all else waits.
        let rest = async {
            for _ in 0..40 {
                assert!(write(&mut nth).await);
            }
        };
        let mut rest = Box::pin(rest);
        assert!(timeout(Duration::from_secs(2), &mut rest).await.is_err(), "{bounds:?}");
        assert!(bytes() < bounds.most + (1 << 20), "{bounds:?}: {}", bytes());
        drop(busy);
        rest.await;
        while bytes() >= bounds.full || all.sealed_memtable_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.stop();
    }
}

#[tokio::test]
async fn who_wrote_for_long_to_somebody_silent_keeps_no_thread_and_is_answered_right() {
    let running = Running::new(Options { queue_bytes: 16 << 20, ..ALONE });
    let store = &running.store;
    let (ana, ben) = ("ana".parse().unwrap(), "ben".parse().unwrap());
    let conversation = Pair::direct(ana, ben).conversation;
    let message = |nth: u64, pair: Pair| {
        let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(1, nth)), nth.to_string());
        let stamp = Stamp { at: 1_790_000_000_000 + nth, n: 0 };
        let id = MessageId::of(stamp, pair.actor, conversation, r#ref, &text);
        let mut n = 0;
        let commit = Intent::Send { id, r#ref, text, reply_to: None }.commit(pair, || {
            n += 1;
            ChangeId::of(Stamp { n, ..stamp }, 7)
        });
        (id, commit)
    };
    let (first, one) = message(0, Pair::direct(ben, ana));
    let (ids, mut commits): (Vec<MessageId>, Vec<Commit>) =
        (1..=FEW as u64 + 1).map(|nth| message(nth, Pair::direct(ana, ben))).unzip();
    commits.push(one);
    store.commit(commits).await.unwrap();

    let (rows, newest) =
        (&store.0.rows, |nth: usize| store.newest_for(conversation, ana, false, ids[nth]));
    assert_eq!(newest(9).now_or_never(), Some(Ok(Some(first))), "a few rows are looked at at once");
    let far = rows.newest_for(conversation, ana, false, ids[FEW], FEW);
    assert_eq!(far, Ok(None), "many are, elsewhere");
    assert_eq!(newest(FEW).await, Ok(Some(first)));
    assert_eq!(rows.unread(conversation, ana, Some(first), ids[FEW], 100, FEW), Ok(None));
    assert_eq!(store.unread(conversation, ana, Some(first), ids[FEW], 100).await, Ok(0));
    assert_eq!(store.unread(conversation, ana, None, ids[FEW], 1).now_or_never(), Some(Ok(1)));
    running.stop();
}

#[tokio::test]
async fn twins_that_were_removed_and_messages_of_one_stamp_keep_no_thread() {
    let running = Running::new(Options { queue_bytes: 16 << 20, ..ALONE });
    let store = &running.store;
    let pair = Pair::direct("ana".parse().unwrap(), "ben".parse().unwrap());
    let message = |at: u64, nth: u64| {
        let (r#ref, text) = (Ref::from(Uuid::from_u64_pair(2, nth)), nth.to_string());
        let stamp = Stamp { at, n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        let mut n = 0;
        let mut change = || {
            n += 1;
            ChangeId::of(Stamp { n, ..stamp }, 7)
        };
        let send = Intent::Send { id, r#ref, text, reply_to: None }.commit(pair, &mut change);
        (id, send, Intent::Remove { id }.commit(pair, &mut change))
    };
    let (at, many) = (1_790_000_000_000, FEW as u64 + 100);
    let (first, one, _) = message(at, 0);
    let mut commits = vec![one];
    for nth in 1..=many {
        let (_, send, remove) = message(at + nth, nth);
        commits.extend([send, remove]);
    }
    let later = at + many + 1;
    commits.extend((1..=20).map(|nth| message(later, many + nth).1));
    store.commit(commits).await.unwrap();

    let ids = |rows: Result<Vec<MessageRow>, StoreError>| -> Vec<MessageId> {
        rows.unwrap().iter().map(|row| row.id).collect()
    };
    let newest = store.history(pair.conversation, None, 10).now_or_never();
    assert_eq!(ids(newest.expect("a page is read at once")).len(), 10);
    let rows = &store.0.rows;
    let far = rows.history(pair.conversation, None, 50, FEW);
    assert_eq!(far, Ok(None), "many rows are passed over elsewhere");
    let all = ids(store.history(pair.conversation, None, 50).await);
    assert_eq!((all.len(), all.last()), (21, Some(&first)));
    let alike = Stamp { at: later, n: 0 };
    let far = rows.stamped(pair.conversation, alike, STAMPED_ALIKE);
    assert_eq!(far, Ok(None), "so are many of one stamp");
    assert_eq!(ids(store.stamped(pair.conversation, alike).await).len(), 20);
    let alone = store.stamped(pair.conversation, Stamp { at, n: 0 }).now_or_never();
    assert_eq!(ids(alone.expect("one is read at once")), [first]);
    running.stop();
}

/// Reopens as after a kill.
struct Killed(Running);

impl Fixture for Killed {
    type Store = EmbeddedStore;

    async fn empty() -> Self {
        Self(Running::new(ALONE))
    }

    fn store(&self) -> &EmbeddedStore {
        &self.0.store
    }

    async fn reopened(self) -> Self {
        Self(self.0.crash())
    }
}

/// Stops cleanly and reopens, gathers and syncs.
struct Stopped(Running);

impl Fixture for Stopped {
    type Store = EmbeddedStore;

    async fn empty() -> Self {
        let options = Options { durability: Durability::Sync, group_interval_us: 200, ..ALONE };
        Self(Running::new(options))
    }

    fn store(&self) -> &EmbeddedStore {
        &self.0.store
    }

    async fn reopened(self) -> Self {
        Self(self.0.restart())
    }
}

mod after_a_kill {
    store_conformance!(super::Killed);
}

mod after_a_clean_stop {
    store_conformance!(super::Stopped);
}
