//! A place on the layer, over many lives of the process that writes there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::cut::{Cut, Survives, Taken};
use super::record::Record;
use super::tree::Tree;

/// A folder whose power can be cut.
pub struct Disk {
    dir: TempDir,
    /// How it was when this life began: all of that is durable.
    before: Tree,
    /// Every file and folder of it, open, so that its inode number does not come to mean another one.
    _held: Vec<File>,
    chance: StdRng,
}

impl Disk {
    /// Makes an empty place.
    pub fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let (before, chance) = (Tree::default(), StdRng::seed_from_u64(seed));
        let mut disk = Self { dir, before, _held: Vec::new(), chance };
        disk.begin();
        disk
    }

    /// The place, with all links resolved.
    pub fn home(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("home")
    }

    /// Where the layer writes what it sees.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Draws a number below `end`.
    pub fn draw(&mut self, end: u32) -> u32 {
        self.chance.random_range(0..end)
    }

    /// Leaves what a power cut leaves, now that the process has ended. Its next life begins there.
    pub fn cut(&mut self, survives: Survives) -> Taken {
        let now = Tree::read(&self.home(), |_| Vec::new());
        let (left, taken) = self.left(&now, survives);
        fs::remove_dir_all(self.home()).unwrap();
        left.write(&self.home());
        self.begin();
        taken
    }

    /// Ends the test unless the layer has seen all that the process did, now that it has ended.
    pub fn assert_all_was_seen(&mut self) {
        let now = Tree::read(&self.home(), content);
        let (seen, _) = self.left(&now, Survives::ALL);
        assert!(now.files.values().any(|bytes| !bytes.is_empty()), "something was written");
        for (inode, bytes) in &now.files {
            let name = now.folders.values().flatten().find(|(_, named)| *named == inode);
            assert!(seen.files[inode] == *bytes, "the layer has not seen all of {name:?}");
        }
    }

    fn left(&mut self, now: &Tree, survives: Survives) -> (Tree, Taken) {
        let log = fs::read(self.log()).unwrap_or_default();
        let mut rest = log.as_slice();
        let records: Vec<Record> = std::iter::from_fn(|| Record::take(&mut rest)).collect();
        Cut::new(survives, &mut self.chance).leaves(&self.before, &records, now)
    }

    fn begin(&mut self) {
        let _ = fs::remove_file(self.log());
        let mut held = Vec::new();
        self.before = Tree::read(&self.home(), |path| {
            held.push(File::open(path).unwrap());
            content(path)
        });
        self._held = held;
    }
}

/// Reads a file; a folder has no bytes.
fn content(path: &Path) -> Vec<u8> {
    if path.is_dir() { Vec::new() } else { fs::read(path).unwrap() }
}
