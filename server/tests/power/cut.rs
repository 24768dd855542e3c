//! What a disk holds after a power cut: what was synced, and of the rest what chance leaves.
//!
//! Goes by what the layer wrote down, and by no more than POSIX says. A sync of a file covers the
//! bytes and the length that it had; one of a folder, the names that stood in it. What came later
//! may be there or not, in any order, and by half: a write may have reached some sectors, and a
//! length its file before the bytes. What was done to the names of one file (given, taken away,
//! moved) was either done or not.

use std::collections::BTreeMap;
use std::fmt;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::record::{Act, Record};
use super::tree::{Names, Tree};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What of the unsynced survives, in quarters.
#[derive(Debug, Clone, Copy)]
pub struct Survives {
    /// Bytes: each write is there, torn, or not.
    pub bytes: u32,
    /// Names, and lengths.
    pub names: u32,
}

impl Survives {
    /// No cut at all.
    pub const ALL: Self = Self { bytes: 4, names: 4 };
    /// Nothing but what was synced.
    pub const NOTHING: Self = Self { bytes: 0, names: 0 };
}

impl fmt::Display for Survives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |quarters| quarters * 25;
        write!(f, "of bytes {} %, of names {} %", percent(self.bytes), percent(self.names))
    }
}

/// What a cut took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Taken {
    /// Writes and lengths that were not synced.
    unsynced: usize,
    /// Of these, those that are gone or torn.
    writes: usize,
    /// Names that are not what they had become.
    names: usize,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unsynced, writes, names } = self;
        write!(f, "{writes} of {unsynced} unsynced writes and {names} names taken")
    }
}

/// One cut, while it is made.
pub struct Cut<'a> {
    survives: Survives,
    chance: &'a mut StdRng,
    taken: Taken,
}

impl<'a> Cut<'a> {
    /// Makes one that goes by chance.
    pub fn new(survives: Survives, chance: &'a mut StdRng) -> Self {
        Self { survives, chance, taken: Taken::default() }
    }

    /// Gives what is left of what was there `before` and of what was done since, when names stood
    /// as they do `now`.
    pub fn leaves(mut self, before: &Tree, records: &[Record], now: &Tree) -> (Tree, Taken) {
        let files = self.files(before, records);
        let folders = self.folders(before, records, now);
        let mut left = Tree { root: before.root, folders, files };
        // What was made and never written to.
        for inode in left.folders.values().flat_map(Names::values) {
            if !left.folders.contains_key(inode) {
                left.files.entry(*inode).or_default();
            }
        }
        (left, self.taken)
    }

    fn files(&mut self, before: &Tree, records: &[Record]) -> BTreeMap<u64, Vec<u8>> {
        // How many records each file's sync covers: of two side by side, the later one's.
        let mut covered = BTreeMap::<u64, u64>::new();
        for Record { inode, act } in records {
            if let Act::Synced(began) = act {
                let most = covered.entry(*inode).or_default();
                *most = (*most).max(*began);
            }
        }
        let (mut files, mut lengths) = (before.files.clone(), BTreeMap::<u64, usize>::new());
        for (nth, Record { inode, act }) in records.iter().enumerate() {
            if matches!(act, Act::Synced(_) | Act::Listed { .. }) {
                continue;
            }
            let content = files.entry(*inode).or_default();
            let length = lengths.entry(*inode).or_insert(content.len());
            *length = act.length_after(*length);
            match covered.get(inode) {
                Some(most) if (nth as u64) < *most => act.apply(content),
                _ => self.apply_by_chance(act, content),
            }
        }
        for (inode, length) in lengths {
            let content = files.get_mut(&inode).expect("it has a length");
            if content.len() != length && self.is_lucky(self.survives.names) {
                content.resize(length, 0);
            }
        }
        files
    }

    fn apply_by_chance(&mut self, act: &Act, content: &mut Vec<u8>) {
        self.taken.unsynced += 1;
        if self.is_lucky(self.survives.bytes) {
            return act.apply(content);
        }
        self.taken.writes += 1;
        if let (Act::Write { at, bytes }, true) = (act, self.is_lucky(self.survives.bytes)) {
            for (at, bytes) in sectors(*at, bytes) {
                if self.chance.random() {
                    Act::Write { at, bytes: bytes.to_vec() }.apply(content);
                }
            }
        }
    }

    fn folders(&mut self, before: &Tree, records: &[Record], now: &Tree) -> BTreeMap<u64, Names> {
        let mut listed = BTreeMap::<u64, (u64, &str)>::new();
        for Record { inode, act } in records {
            if let Act::Listed { began, entries } = act
                && listed.get(inode).is_none_or(|(latest, _)| latest <= began)
            {
                listed.insert(*inode, (*began, entries));
            }
        }
        let mut folders = BTreeMap::new();
        let mut lucky = BTreeMap::<u64, bool>::new();
        for folder in before.folders.keys().chain(now.folders.keys()) {
            let durable = match listed.get(folder) {
                Some((_, entries)) => names(entries),
                None => before.folders.get(folder).cloned().unwrap_or_default(),
            };
            let (nothing, mut left) = (Names::new(), durable.clone());
            let became = now.folders.get(folder).unwrap_or(&nothing);
            for name in durable.keys().chain(became.keys()) {
                let (was, is) = (durable.get(name), became.get(name));
                let Some(inode) = is.or(was).filter(|_| was != is) else { continue };
                let quarters = self.survives.names;
                match *lucky.entry(*inode).or_insert_with(|| self.is_lucky(quarters)) {
                    false => self.taken.names += 1,
                    true => drop(match is {
                        Some(is) => left.insert(name.clone(), *is),
                        None => left.remove(name),
                    }),
                }
            }
            folders.insert(*folder, left);
        }
        folders
    }

    fn is_lucky(&mut self, quarters: u32) -> bool {
        self.chance.random_range(0..4) < quarters
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
        if let Self::Write { at, bytes } = self {
            let at = *at as usize;
            content[at..at + bytes.len()].copy_from_slice(bytes);
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const ROOT: u64 = 1;

    fn tree(files: &[(&str, u64, &str)]) -> Tree {
        let names = files.iter().map(|(name, inode, _)| ((*name).to_owned(), *inode));
        let files = files.iter().map(|(_, inode, bytes)| (*inode, bytes.as_bytes().to_vec()));
        let folders = [(ROOT, names.collect())].into();
        Tree { root: ROOT, folders, files: files.collect() }
    }

    fn left(survives: Survives, seed: u64, records: &[Record], now: &Tree) -> Tree {
        let before = tree(&[("old", 2, "was here")]);
        let mut chance = StdRng::seed_from_u64(seed);
        Cut::new(survives, &mut chance).leaves(&before, records, now).0
    }

    fn write(inode: u64, at: u64, bytes: &str) -> Record {
        Record { inode, act: Act::Write { at, bytes: bytes.as_bytes().to_vec() } }
    }

    #[test]
    fn only_what_a_sync_covers_is_sure() {
        let synced = |began| Record { inode: 2, act: Act::Synced(began) };
        let now = tree(&[("old", 2, "")]);
        // The second write came while the sync was under way.
        let records = [write(2, 0, "is"), write(2, 3, "gone"), synced(1)];
        let left = left(Survives::NOTHING, 1, &records, &now);
        assert_eq!(left, tree(&[("old", 2, "iss here")]));
    }

    #[test]
    fn a_file_is_there_once_its_folder_was_synced_and_what_is_in_it_once_it_was() {
        let listed = Act::Listed { began: 1, entries: "2 old\n3 new\n".into() };
        let now = tree(&[("old", 2, ""), ("new", 3, ""), ("newer", 4, "")]);
        let records = [write(3, 0, "lost"), Record { inode: ROOT, act: listed }];
        let left = left(Survives::NOTHING, 1, &records, &now);
        assert_eq!(left, tree(&[("old", 2, "was here"), ("new", 3, "")]));
    }

    #[test]
    fn what_was_moved_stands_at_one_place() {
        let now = tree(&[("moved", 2, "")]);
        let half = Survives { bytes: 2, names: 2 };
        let places = (0..64).map(|seed| left(half, seed, &[], &now));
        let (moved, stayed): (Vec<Tree>, _) =
            places.partition(|left| *left == tree(&[("moved", 2, "was here")]));
        assert!(!moved.is_empty() && !stayed.is_empty());
        assert!(stayed.iter().all(|left| *left == tree(&[("old", 2, "was here")])));
    }

    #[test]
    fn a_write_may_be_torn_between_sectors_only() {
        let records = [write(3, 100, &"x".repeat(SECTOR))];
        let now = tree(&[("old", 2, ""), ("new", 3, "")]);
        let half = Survives { bytes: 2, names: 4 };
        let torn = (0..64).map(|seed| left(half, seed, &records, &now).files[&3].clone());
        let written = |bytes: &Vec<u8>| bytes.iter().filter(|byte| **byte == b'x').count();
        let mut found: Vec<usize> = torn.map(|bytes| written(&bytes)).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [0, 100, SECTOR - 100, SECTOR]);
    }
}
