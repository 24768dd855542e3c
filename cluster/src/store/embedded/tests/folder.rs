//! Folders that cannot be used: each is refused by name, and left as it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, MessageId, Ref, UserId};
use tempfile::TempDir;
use uuid::Uuid;

use super::{ALONE, EmbeddedStore, OpenError, Running, copy_folder, write_file};
use crate::intent::{Intent, Pair};
use crate::store::{MessageRow, Store, StoreError};

/// How many messages a story's folder holds.
const MESSAGES: u64 = 200;

fn pair() -> Pair {
    let name = |name: &str| name.parse::<UserId>().unwrap();
    Pair::direct(name("ana"), name("ben"))
}

fn refused(folder: &Path) -> OpenError {
    EmbeddedStore::open(folder, ALONE).err().expect("refused")
}

/// Every file of a folder with what is in it, but for what says who holds the folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.file_name().unwrap() != "lock" {
                let bytes = fs::read(&entry).unwrap();
                all.insert(entry, bytes);
            }
        }
    }
    all
}

/// Makes a folder with messages in it.
async fn folder() -> (TempDir, Vec<MessageRow>) {
    let (running, all) = filled().await;
    (running.stop().0, all)
}

/// The same as a kill leaves it.
async fn killed_folder() -> (TempDir, Vec<MessageRow>) {
    let (running, all) = filled().await;
    let copy = tempfile::tempdir().unwrap();
    copy_folder(running.dir.path(), copy.path());
    running.stop();
    (copy, all)
}

async fn filled() -> (Running, Vec<MessageRow>) {
    let running = Running::new(ALONE);
    let pair = pair();
    for nth in 0..MESSAGES {
        let text = format!("message {nth} {}", "and so on ".repeat(20));
        let r#ref = Ref::from(Uuid::from_u64_pair(1, nth));
        let stamp = Stamp { at: 1_790_000_000_000 + nth, n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        let intent = Intent::Send { id, r#ref, text, reply_to: None };
        let mut minted = 0;
        let commit = intent.commit(pair, || {
            minted += 1;
            ChangeId::of(Stamp { at: 1_790_000_000_000 + nth, n: minted }, 7)
        });
        running.store.commit(vec![commit]).await.unwrap();
    }
    let all = running.store.history(pair.conversation, None, 1000).await.unwrap();
    assert_eq!(all.len() as u64, MESSAGES);
    (running, all)
}

#[tokio::test]
async fn a_folder_in_use_names_who_uses_it() {
    let running = Running::new(ALONE);
    let error = refused(running.dir.path());
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    running.stop();
}

#[tokio::test]
async fn a_later_format_is_refused_and_left_alone() {
    let (dir, _) = folder().await;
    fs::rename(dir.path().join("format-1"), dir.path().join("format-2")).unwrap();
    let before = contents(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::OtherFormat { .. }), "{error}");
    assert!(contents(dir.path()) == before);
}

#[tokio::test]
async fn damage_is_an_error_and_never_another_text() {
    let (dir, all) = folder().await;
    look_at_damage(&dir, &all).await;
}

#[tokio::test]
async fn damage_to_what_only_the_journal_has_is_an_error_too() {
    let (dir, all) = killed_folder().await;
    look_at_damage(&dir, &all).await;
}

async fn look_at_damage(dir: &TempDir, all: &[MessageRow]) {
    let whole = contents(dir.path());
    let mut noticed = 0;
    for (path, bytes) in &whole {
        // Journals are made larger than what is in them.
        let Some(last) = last_written(bytes) else { continue };
        for at in [0, last / 5, last / 3, last / 2, last * 2 / 3, last * 9 / 10] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            write_file(path, &damaged);
            noticed += usize::from(notices(dir.path(), all, (path, &damaged)).await);
            // The engine may have made files of its own while it looked.
            fs::remove_dir_all(dir.path().join("format-1")).unwrap();
            for (path, bytes) in &whole {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                write_file(path, bytes);
            }
        }
    }
    assert!(noticed > 4, "only {noticed} of many were noticed");
}

/// Finds the last byte that is not zero, by blocks first.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const HOLE: [u8; 4096] = [0; 4096];
    let written = |(_, block): &(usize, &[u8])| *block != &HOLE[..block.len()];
    let blocks: Vec<_> = bytes.chunks(HOLE.len()).enumerate().filter(written).collect();
    let (nth, block) = blocks.last()?;
    Some(nth * HOLE.len() + block.iter().rposition(|byte| *byte != 0)?)
}

/// Opens a damaged folder and reads all of it: whether it says that something is wrong. What it
/// gives must be what was written, and a file on whose account it refuses must stay as it was.
async fn notices(folder: &Path, all: &[MessageRow], damaged: (&PathBuf, &[u8])) -> bool {
    let (store, commit_loop) = match EmbeddedStore::open(folder, ALONE) {
        Ok(opened) => opened,
        Err(error) => {
            let told = error.to_string();
            assert!(matches!(error, OpenError::Damaged { .. }), "{told}");
            assert!(told.contains(&folder.display().to_string()), "{told}");
            let (path, bytes) = damaged;
            assert!(fs::read(path).unwrap() == bytes, "{} was changed: {told}", path.display());
            return true;
        }
    };
    let thread = std::thread::spawn(move || commit_loop.run());
    let mut noticed = false;
    for row in all {
        match store.messages(row.conversation, vec![row.id]).await {
            Ok(rows) => {
                assert_eq!(rows, std::slice::from_ref(row), "a text changed, or is gone in silence")
            }
            Err(StoreError::Read(_) | StoreError::Damaged { .. }) => noticed = true,
            Err(other) => panic!("{other}"),
        }
    }
    store.close();
    drop(store);
    // A loop that cannot write to damaged files says so; that is an answer too.
    noticed | thread.join().unwrap().is_err()
}

/// Runs a command; tells whether it worked. Mounting needs root, which CI has.
fn run(command: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(command).args(arguments).output();
    ran.is_ok_and(|output| output.status.success())
}

/// A file system of its own, unmounted when dropped.
struct Mounted(TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", path]);
        if !mounted {
            eprintln!("not tried: a file system cannot be mounted here");
        }
        mounted.then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.path().to_str().unwrap()]);
    }
}

#[tokio::test]
async fn a_read_only_folder_is_refused_and_left_alone() {
    let Some(mounted) = Mounted::new("size=200m") else { return };
    let running = Running::open_at(mounted.path(), ALONE);
    running.0.close();
    running.1.join().unwrap().unwrap();
    drop(running.0);
    let path = mounted.path().to_str().unwrap();
    assert!(run("mount", &["-o", "remount,ro", path]));
    let before = contents(mounted.path());
    let error = refused(mounted.path());
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    assert!(contents(mounted.path()) == before);
    assert!(run("mount", &["-o", "remount,rw", path]));
}

#[tokio::test]
async fn a_full_disk_is_refused_and_its_store_left_alone() {
    let Some(mounted) = Mounted::new("size=80m") else { return };
    let (store, thread) = Running::open_at(mounted.path(), ALONE);
    store.close();
    thread.join().unwrap().unwrap();
    drop(store);
    let before = contents(mounted.path());
    let filler = mounted.path().join("lost+found");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    let error = refused(mounted.path());
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
    assert!(error.to_string().contains(mounted.path().to_str().unwrap()), "{error}");
    fs::remove_file(&filler).unwrap();
    assert!(contents(mounted.path()) == before);
    let (store, thread) = Running::open_at(mounted.path(), ALONE);
    store.close();
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_full_disk_is_no_place_for_a_new_store() {
    let Some(mounted) = Mounted::new("size=1m") else { return };
    let error = refused(mounted.path());
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
    let left: Vec<PathBuf> = contents(mounted.path()).into_keys().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_full_disk_ends_the_store_and_keeps_what_was_acknowledged() {
    let Some(mounted) = Mounted::new("size=80m") else { return };
    let (store, thread) = Running::open_at(mounted.path(), ALONE);
    let pair = pair();
    let mut acked = Vec::new();
    let error = loop {
        let nth = acked.len() as u64;
        // Nothing that compresses.
        let text: String = (0..2000).map(|_| Uuid::new_v4().to_string()).collect();
        let r#ref = Ref::from(Uuid::from_u64_pair(1, nth));
        let stamp = Stamp { at: 1_790_000_000_000 + nth, n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        let intent = Intent::Send { id, r#ref, text, reply_to: None };
        let commit = intent.commit(pair, || ChangeId::of(stamp, nth));
        match store.commit(vec![commit]).await {
            Ok(()) => acked.push(id),
            Err(error) => break error,
        }
        assert!(nth < 10_000, "80 MiB took more than they hold");
    };
    assert!(matches!(error, StoreError::Unknown(_)), "{error}");
    let failed = thread.join().unwrap().expect_err("the loop ends");
    assert!(failed.to_string().contains("is full"), "{failed}");
    drop(store);
    // More room, as the message asks for.
    let path = mounted.path().to_str().unwrap();
    assert!(run("mount", &["-o", "remount,size=400m", path]));
    let (store, thread) = Running::open_at(mounted.path(), ALONE);
    for id in &acked {
        let rows = store.messages(pair.conversation, vec![*id]).await.unwrap();
        assert_eq!(rows.len(), 1, "{id} was acknowledged");
    }
    store.close();
    thread.join().unwrap().unwrap();
}
