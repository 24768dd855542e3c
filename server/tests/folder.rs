//! Data folders that cannot be used: the program says which folder, why and what to do, ends
//! with a code that is not 0, and leaves the folder as it was.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::client::{Client, new_ref};
use harness::small_disk::SmallDisk;
use harness::{Server, http};
use rally_schema::frame::{HistoryQuery, ServerFrame};

/// Exit code for settings that cannot be used, the folder among them.
const BAD_CONFIG: i32 = 78;

/// Exit code of a process whose store failed.
const STORE_FAILED: i32 = 74;

/// How a program ended that was to serve a folder.
#[derive(Debug)]
struct Refusal {
    code: Option<i32>,
    said: String,
}

impl Refusal {
    /// Checks what every refusal has: a code, no panic, and a line that names the folder; the
    /// last one, but that the engine's own threads may log what they found after it.
    fn names(&self, folder: &Path) -> &Self {
        assert_eq!(self.code, Some(BAD_CONFIG), "{self:?}");
        assert!(!self.said.contains("panicked"), "{self:?}");
        let mut lines = self.said.lines().filter(|line| line.starts_with("rally-server: "));
        let (Some(line), None) = (lines.next(), lines.next()) else { panic!("{self:?}") };
        assert!(line.contains(&*folder.to_string_lossy()), "{self:?}");
        self
    }

    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.said.contains(word), "{word:?}: {self:?}");
        }
    }
}

/// Starts a program that is expected to end by itself; gives what it said.
async fn refusal(mut program: Command, folder: &Path) -> Refusal {
    let mut child = program
        .args(["--demo", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = tokio::time::Instant::now() + harness::PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if tokio::time::Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it served {folder:?}: {:?}", child.wait_with_output());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    Refusal { code: output.status.code(), said }
}

/// Gives every file below a folder with what is in it; but for `lock`, which says who came last.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.file_name().is_some_and(|name| name != "lock") {
                let bytes = fs::read(&entry).unwrap();
                all.insert(entry, bytes);
            }
        }
    }
    all
}

/// Copies a folder with all that is below it, empty folders too.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

const TEXTS: usize = 40;

fn text(nth: usize) -> String {
    format!("message {nth} {}", "and so on ".repeat(20))
}

/// Has rafa write to roger, and the server die.
async fn killed_server() -> Server {
    let mut server = Server::start();
    let mut rafa = server.join("rafa").await;
    for nth in 0..TEXTS {
        rafa.say("roger", &text(nth)).await;
    }
    server.kill();
    server
}

#[tokio::test]
async fn a_folder_in_use_names_who_uses_it_and_he_goes_on() {
    let server = Server::start();
    let folder = server.data_dir();
    let refused = refusal(harness::program(), &folder).await;
    let by = format!("in use by process {}", server.pid());
    refused.names(&folder).says(&[&by, "stop that one, or name another folder"]);
    let mut rafa = server.join("rafa").await;
    rafa.say("roger", "still here").await;
}

#[tokio::test]
async fn what_is_no_folder_of_ours_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let thesis = place.path().join("thesis.txt");
    fs::write(&thesis, "forty years of work").unwrap();
    let before = contents(place.path());
    refusal(harness::program(), place.path())
        .await
        .names(place.path())
        .says(&["thesis.txt", "name another folder"]);
    refusal(harness::program(), &thesis).await.names(&thesis).says(&["is not a folder"]);
    assert_eq!(contents(place.path()), before);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing was left there");
}

#[tokio::test]
async fn a_folder_of_another_version_says_which_versions_and_stays() {
    let server = killed_server().await;
    let folder = server.data_dir();
    let ours = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    fs::rename(&ours, folder.join("format-7")).unwrap();
    let before = contents(&folder);
    refusal(harness::program(), &folder).await.names(&folder).says(&[
        "format 7",
        "reads format 1",
        "start the version that made it",
    ]);
    assert_eq!(contents(&folder), before);
}

/// Tells whether this process may do everything, whatever a file's rights say.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_says_so_and_stays() {
    let server = killed_server().await;
    let cannot_be_written = async |folder: &Path| {
        let before = contents(folder);
        refusal(harness::program(), folder)
            .await
            .names(folder)
            .says(&["cannot be written", "write access"]);
        assert_eq!(contents(folder), before);
    };
    let source = server.data_dir();
    if let Some(disk) = SmallDisk::mount("64m") {
        let folder = disk.path().join("data");
        copy(&source, &folder);
        disk.only_read();
        cannot_be_written(&folder).await;
    } else if is_root() {
        println!("not tested here: it takes the right to mount a disk, or fewer rights");
    } else {
        let allow = |mode| fs::set_permissions(&source, fs::Permissions::from_mode(mode)).unwrap();
        allow(0o500);
        cannot_be_written(&source).await;
        allow(0o700);
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_what_was_acknowledged_is_there_once_it_has_room() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let mut server =
        Server::on(disk.path(), &["--rate-sends-per-second=100000", "--rate-sends-burst=100000"]);
    let folder = server.data_dir();
    let mut rafa = server.join("rafa").await;
    let kept = rafa.say("roger", "kept").await;
    let filler = disk.fill();
    // The store notices at one of the next commits, and the process ends rather than lie.
    let mut acked = vec![kept];
    loop {
        let draft = rafa.draft("roger", &"x".repeat(8_000));
        if rafa.try_tell(draft.clone()).await.is_err() {
            break;
        }
        match answer_to(&mut rafa, draft.r#ref).await {
            Some(id) => acked.push(id),
            None => break,
        }
    }
    assert_eq!(server.wait().await, Some(STORE_FAILED));
    server.assert_no_panic();
    let said = server.log().join("\n");
    assert!(said.contains("store") && said.contains("space"), "{said}");

    let before = contents(&folder);
    refusal(harness::program(), &folder)
        .await
        .names(&folder)
        .says(&["is full", "free some space and start again"]);
    assert_eq!(contents(&folder), before);

    fs::remove_file(filler).unwrap();
    server.restart();
    let mut roger = server.join("roger").await;
    let history = roger.whole_history(roger.chat("rafa")).await;
    for id in acked {
        assert!(history.iter().any(|message| message.id == id), "{id} was acknowledged");
    }
}

/// Waits for what becomes of a send: its id, or `None` when the connection ends or it is refused.
async fn answer_to(
    client: &mut Client,
    r#ref: rally_schema::Ref,
) -> Option<rally_schema::MessageId> {
    loop {
        match client.next().await? {
            ServerFrame::Ack(ack) if ack.r#ref == r#ref => return Some(ack.id),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => return None,
            _ => {}
        }
    }
}

/// One kind of damage to a file's bytes.
type Damage = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Damage); 3] = [
    ("a bit in the middle", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    }),
    ("a bit at the beginning", |bytes| bytes[0] ^= 0x01),
    ("half of it gone", |bytes| bytes.truncate(bytes.len() / 2)),
];

#[tokio::test]
async fn a_damaged_folder_is_refused_and_left_as_it_is_or_gives_only_what_was_written() {
    let server = killed_server().await;
    let source = server.data_dir();
    let place = tempfile::tempdir().unwrap();
    copy(&source, &place.path().join("data"));
    let whole = Server::on(place.path(), &[]);
    gives_only_what_was_written(whole, "nothing", Path::new("whole")).await;
    let mut refusals = 0;
    for (file, bytes) in contents(&source) {
        let name = file.strip_prefix(&source).unwrap();
        for (kind, damage) in DAMAGES.iter().filter(|_| !bytes.is_empty()) {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("data");
            copy(&source, &folder);
            let mut damaged = bytes.clone();
            damage(&mut damaged);
            fs::write(folder.join(name), damaged).unwrap();
            let before = contents(&folder);
            println!("{kind}: {}", name.display());
            match Server::try_on(place.path(), &[]) {
                Ok(served) => gives_only_what_was_written(served, kind, name).await,
                Err((code, said)) => {
                    let refused = Refusal { code, said: said.join("\n") };
                    refused.names(&folder).says(&["is damaged", "restore a backup"]);
                    assert_eq!(contents(&folder), before, "{kind}: {}", name.display());
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 0, "no damage was seen");
}

/// Reads the conversation: each message as it was written, or an error that says that it cannot
/// be read. The end of a journal may be missing: a power cut looks the same.
async fn gives_only_what_was_written(server: Server, kind: &str, name: &Path) {
    let token = http::ask(
        server.address,
        "POST",
        "/api/login",
        None,
        Some(serde_json::json!({"user": "roger", "password": "rally-demo", "bearer": true})),
    )
    .await;
    if token.status >= 500 {
        return;
    }
    let mut roger = server.join("roger").await;
    let (r#ref, conversation) = (new_ref(), roger.chat("rafa"));
    roger.tell(HistoryQuery { r#ref, conversation, before: None, limit: Some(100) }).await;
    let page = roger
        .wait_for("a page or an error", |frame| match frame {
            ServerFrame::History(page) if page.r#ref == Some(r#ref) => Some(Ok(page.clone())),
            ServerFrame::Error(error) if error.r#ref == Some(r#ref) => Some(Err(error.code)),
            _ => None,
        })
        .await;
    let place = name.display();
    if let Ok(page) = page {
        let count = page.messages.len();
        for (nth, message) in page.messages.iter().rev().enumerate() {
            assert_eq!(message.text, text(nth), "{kind}: {place}");
        }
        let journal = name.extension().is_some_and(|ending| ending == "jnl");
        assert!(journal || count == TEXTS, "{kind}: {place}: {count} messages are left");
    }
    server.assert_no_panic();
}
