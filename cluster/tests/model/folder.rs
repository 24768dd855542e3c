//! An embedded store in a folder, and the ways in which its process ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use proptest::prelude::*;
use rally_cluster::store::embedded::{CommitFailed, Durability, EmbeddedStore, Options};
use tempfile::TempDir;

/// A small disk's page.
const PAGE: usize = 4096;

/// A store whose loop runs on a thread of its own, in a folder that goes with it.
pub struct Running {
    pub store: EmbeddedStore,
    thread: JoinHandle<Result<(), CommitFailed>>,
    dir: TempDir,
}

/// The files of a folder, by their path in it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What of the bytes that were being written is not on the disk after a power cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Where it begins, in 65,536ths of what was being written.
    from: u16,
    /// Whether it ends with the page: disks write pages in whatever order they like.
    one_page: bool,
}

impl Cut {
    pub fn any() -> impl Strategy<Value = Self> {
        (any::<u16>(), any::<bool>()).prop_map(|(from, one_page)| Self { from, one_page })
    }

    /// Takes from `after` what did not arrive, if it was being written at all.
    fn apply(&self, before: &[u8], after: &mut [u8]) {
        let (begin, end) = (written(before), written(after));
        let from = begin + end.saturating_sub(begin) * usize::from(self.from) / 65_536;
        let to = if self.one_page { (from / PAGE + 1) * PAGE } else { end };
        if from < end {
            after[from..to.min(end)].fill(0);
        }
    }
}

/// Tells where zeros begin that go on to the end, looking at whole pages first.
fn written(bytes: &[u8]) -> usize {
    let empty = bytes.rchunks(PAGE).take_while(|page| [0; PAGE].starts_with(page));
    let bytes = &bytes[..bytes.len() - empty.map(<[u8]>::len).sum::<usize>()];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

impl Running {
    pub fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(dir: TempDir) -> Self {
        let options = Options {
            durability: Durability::Os,
            group_interval_us: 0,
            queue_bytes: 1 << 20,
            cache_bytes: 1 << 20,
        };
        let (store, commit_loop) = EmbeddedStore::open(dir.path(), options).unwrap();
        Self { store, thread: thread::spawn(move || commit_loop.run()), dir }
    }

    /// Ends cleanly.
    pub fn stop(self) -> TempDir {
        self.store.close();
        self.thread.join().unwrap().unwrap();
        self.dir
    }

    /// Ends cleanly and opens again.
    pub fn restarted(self) -> Self {
        Self::open(self.stop())
    }

    /// Goes on with what the files hold at this moment: what a killed process leaves.
    pub fn killed(self) -> Self {
        let files = self.files();
        self.gone_on_with(&files)
    }

    /// Goes on with what a disk holds that did not write everything since `before`.
    pub fn power_cut(self, before: &Files, cut: &Cut) -> Self {
        let mut files = self.files();
        for (path, bytes) in &mut files {
            if path.extension().is_some_and(|extension| extension == "jnl") {
                cut.apply(before.get(path).map_or(&[], Vec::as_slice), bytes);
            }
        }
        self.gone_on_with(&files)
    }

    fn gone_on_with(self, files: &Files) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            write_file(&dir.path().join(path), bytes);
        }
        self.stop();
        Self::open(dir)
    }

    /// Reads every file.
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let name = entry.strip_prefix(self.dir.path()).unwrap().to_owned();
                    files.insert(name, fs::read(&entry).unwrap());
                }
            }
        }
        files
    }
}

/// Writes a file; holes stay holes, or each journal would cost 64 MiB.
fn write_file(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    for (nth, block) in bytes.chunks(PAGE).enumerate() {
        if block != &[0; PAGE][..block.len()] {
            file.seek(SeekFrom::Start((nth * PAGE) as u64)).unwrap();
            file.write_all(block).unwrap();
        }
    }
    file.set_len(bytes.len() as u64).unwrap();
}
