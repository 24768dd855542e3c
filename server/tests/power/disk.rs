//! What a disk holds after a power cut: what was synced, and of the rest what chance leaves.
//!
//! Goes by what [`rally-power`](layer/src/lib.rs) wrote down, and by no more than POSIX says.
//! A sync of a file covers the bytes and the length that it had; one of a folder the names that
//! stood in it. What came later may be there or not, in any order, and by half: a write may have
//! reached some sectors, and a length its file before the bytes. A name that was given, taken away
//! or moved is either as it was or as it became.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::record::{Act, Record};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// What is written to a file as a page; pages of zeros are left out, or each journal cost 64 MiB.
const PAGE: usize = 4_096;

/// Names in a folder, and what they stand for.
type Names = BTreeMap<String, u64>;

/// Everything below a place, by inode.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tree {
    root: u64,
    folders: BTreeMap<u64, Names>,
    files: BTreeMap<u64, Vec<u8>>,
}

/// A place on the layer, over many lives of the process that writes there.
pub struct Disk {
    dir: TempDir,
    /// How it was when this life began: all of that is durable.
    before: Tree,
    /// Every file of it, open, so that its inode number does not come to mean another one.
    _held: Vec<File>,
    chance: StdRng,
}

/// What of the unsynced survives a cut, in quarters.
#[derive(Debug, Clone, Copy)]
pub struct Survives {
    /// Bytes: each write is there, torn, or not.
    pub bytes: u32,
    /// Names, and lengths.
    pub names: u32,
}

/// What a cut took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Taken {
    /// Writes and lengths that were not synced.
    unsynced: usize,
    /// Of these, those that are gone or torn.
    pub writes: usize,
    /// Names that are not what they had become.
    pub names: usize,
}

impl fmt::Display for Survives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |quarters| quarters * 25;
        write!(f, "of bytes {} %, of names {} %", percent(self.bytes), percent(self.names))
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unsynced, writes, names } = self;
        write!(f, "{writes} of {unsynced} unsynced writes and {names} names taken")
    }
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
        self.dir.path().join("home").canonicalize().unwrap()
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
        let now = Tree::read(&self.home(), |_| Vec::new()).unwrap();
        let records = self.records();
        let mut cut = Cut { survives, chance: &mut self.chance, taken: Taken::default() };
        let left = self.before.after(&records, &now, &mut cut);
        let taken = cut.taken;
        fs::remove_dir_all(self.home()).unwrap();
        left.write(left.root, &self.dir.path().join("home"));
        self.begin();
        taken
    }

    /// Ends the test unless the layer has seen all that the process did, now that it has ended.
    pub fn assert_all_was_seen(&mut self) {
        let mut read = |path: &Path| fs::read(path).unwrap();
        let now = Tree::read(&self.home(), &mut read).unwrap();
        let survives = Survives { bytes: 4, names: 4 };
        let records = self.records();
        let mut cut = Cut { survives, chance: &mut self.chance, taken: Taken::default() };
        let seen = self.before.after(&records, &now, &mut cut);
        assert!(now.files.values().any(|bytes| !bytes.is_empty()), "something was written");
        for (inode, bytes) in &now.files {
            assert!(seen.files[inode] == *bytes, "not all was seen of {:?}", now.name(*inode));
        }
    }

    fn begin(&mut self) {
        let _ = fs::remove_file(self.log());
        let mut held = Vec::new();
        self.before = Tree::read(&self.home(), |path| {
            held.push(File::open(path).unwrap());
            fs::read(path).unwrap()
        })
        .unwrap();
        self._held = held;
    }

    fn records(&self) -> Vec<Record> {
        let log = fs::read(self.log()).unwrap_or_default();
        let mut rest = log.as_slice();
        std::iter::from_fn(|| Record::take(&mut rest)).collect()
    }
}

/// One cut, while it is made.
struct Cut<'a> {
    survives: Survives,
    chance: &'a mut StdRng,
    taken: Taken,
}

impl Cut<'_> {
    fn is_lucky(&mut self, quarters: u32) -> bool {
        self.chance.random_range(0..4) < quarters
    }
}

impl Tree {
    fn read(root: &Path, mut content: impl FnMut(&Path) -> Vec<u8>) -> io::Result<Self> {
        let mut tree = Self { root: fs::metadata(root)?.ino(), ..Self::default() };
        let mut folders = vec![(tree.root, root.to_owned())];
        while let Some((inode, path)) = folders.pop() {
            let mut names = Names::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                names.insert(entry.file_name().into_string().unwrap(), entry.ino());
                match entry.file_type()?.is_dir() {
                    true => folders.push((entry.ino(), entry.path())),
                    false => drop(tree.files.insert(entry.ino(), content(&entry.path()))),
                }
            }
            tree.folders.insert(inode, names);
        }
        Ok(tree)
    }

    /// Writes what is below a folder.
    fn write(&self, folder: u64, path: &Path) {
        fs::create_dir(path).unwrap();
        for (name, inode) in &self.folders[&folder] {
            let path = path.join(name);
            match self.files.get(inode) {
                Some(bytes) => write_file(&path, bytes),
                None => self.write(*inode, &path),
            }
        }
    }

    fn name(&self, inode: u64) -> Option<&String> {
        let mut names = self.folders.values().flatten();
        names.find_map(|(name, it)| (*it == inode).then_some(name))
    }

    /// What a cut leaves of this and of what was done since, when all stood as `now`.
    fn after(&self, records: &[Record], now: &Self, cut: &mut Cut<'_>) -> Self {
        // Of syncs of one file that ran side by side, the one that began last covers most.
        let mut synced = BTreeMap::<u64, u64>::new();
        let mut listed = BTreeMap::<u64, (u64, Names)>::new();
        for Record { inode, act } in records {
            match act {
                Act::Synced(began) => {
                    let latest = synced.entry(*inode).or_default();
                    *latest = (*latest).max(*began);
                }
                Act::Listed { began, entries } => {
                    if listed.get(inode).is_none_or(|(latest, _)| latest <= began) {
                        listed.insert(*inode, (*began, names(entries)));
                    }
                }
                Act::Write { .. } | Act::Resize(_) => {}
            }
        }
        let mut left = Self { root: self.root, ..Self::default() };
        left.files = self.files_after(records, &synced, cut);
        // What became of one file's names is there, or none of it.
        let mut lucky = BTreeMap::<u64, bool>::new();
        for folder in self.folders.keys().chain(now.folders.keys()) {
            let nothing = Names::new();
            let of = |tree: &Self| tree.folders.get(folder).cloned();
            let durable = listed.get(folder).map(|(_, names)| names.clone());
            let durable = durable.or_else(|| of(self)).unwrap_or_default();
            let became = now.folders.get(folder).unwrap_or(&nothing);
            let mut names = durable.clone();
            for name in durable.keys().chain(became.keys()) {
                let (was, is) = (durable.get(name), became.get(name));
                let Some(inode) = is.or(was).filter(|_| was != is) else { continue };
                let quarters = cut.survives.names;
                let lucky = *lucky.entry(*inode).or_insert_with(|| cut.is_lucky(quarters));
                match is {
                    _ if !lucky => cut.taken.names += 1,
                    Some(is) => drop(names.insert(name.clone(), *is)),
                    None => drop(names.remove(name)),
                }
            }
            left.folders.insert(*folder, names);
        }
        // A file that was made and never written to; a folder that is gone is one all the same.
        for inode in left.folders.values().flat_map(Names::values) {
            if !left.folders.contains_key(inode) {
                left.files.entry(*inode).or_default();
            }
        }
        left
    }

    fn files_after(
        &self,
        records: &[Record],
        synced: &BTreeMap<u64, u64>,
        cut: &mut Cut<'_>,
    ) -> BTreeMap<u64, Vec<u8>> {
        let mut files = self.files.clone();
        let mut lengths = BTreeMap::<u64, usize>::new();
        for (nth, Record { inode, act }) in records.iter().enumerate() {
            if matches!(act, Act::Synced(_) | Act::Listed { .. }) {
                continue;
            }
            let content = files.entry(*inode).or_default();
            let length = lengths.entry(*inode).or_insert(content.len());
            *length = act.length_after(*length);
            if synced.get(inode).is_some_and(|began| (nth as u64) < *began) {
                act.apply(content);
                continue;
            }
            cut.taken.unsynced += 1;
            if cut.is_lucky(cut.survives.bytes) {
                act.apply(content);
                continue;
            }
            cut.taken.writes += 1;
            if let (Act::Write { at, bytes }, true) = (act, cut.is_lucky(cut.survives.bytes)) {
                for (at, bytes) in sectors(*at, bytes) {
                    if cut.chance.random() {
                        Act::Write { at, bytes: bytes.to_vec() }.apply(content);
                    }
                }
            }
        }
        for (inode, length) in lengths {
            let content = files.get_mut(&inode).expect("it has a length");
            if content.len() != length && cut.is_lucky(cut.survives.names) {
                content.resize(length, 0);
            }
        }
        files
    }
}

impl Act {
    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Write { at, bytes } => before.max(*at as usize + bytes.len()),
            Self::Resize(len) => *len as usize,
            Self::Synced(_) | Self::Listed { .. } => before,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        content.resize(self.length_after(content.len()), 0);
        match self {
            Self::Write { at, bytes } => {
                let at = *at as usize;
                content[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Resize(_) | Self::Synced(_) | Self::Listed { .. } => {}
        }
    }
}

/// Takes a write apart where sectors begin.
fn sectors(mut at: u64, mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let len = bytes.len().min(SECTOR - at as usize % SECTOR);
        let (sector, rest) = bytes.split_at(len);
        let begun = at;
        (at, bytes) = (at + len as u64, rest);
        (len > 0).then_some((begun, sector))
    })
}

/// Reads a folder's entries as the layer wrote them.
fn names(entries: &str) -> Names {
    let entry = |line: &str| {
        let (inode, name) = line.split_once(' ').expect("inode and name");
        (name.to_owned(), inode.parse().expect("an inode"))
    };
    entries.lines().map(entry).collect()
}

fn write_file(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    for (nth, page) in bytes.chunks(PAGE).enumerate() {
        if *page != [0; PAGE][..page.len()] {
            file.seek(SeekFrom::Start((nth * PAGE) as u64)).unwrap();
            file.write_all(page).unwrap();
        }
    }
    file.set_len(bytes.len() as u64).unwrap();
}
