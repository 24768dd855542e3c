//! The engine's journals, looked at before the engine opens them.
//!
//! The engine takes what it cannot read in a journal for its end, and cuts the file there: one
//! wrong byte in the middle would take everything after it away, in silence. And a batch that
//! was being written when the power went may have lost a page, on which the engine gives up.
//! So this tells the two apart first. A batch that is not whole at the very end was not
//! synced, and acknowledged to nobody: it is cut off. Anything else is damage, and stays.
//!
//! Who does not sync ([`Durability::Os`](super::Durability)) may find after a power cut that a
//! later batch arrived and an earlier one did not: damage too, and people have to decide.
//!
//! Reads the journal format of fjall 3: batches of a start with a count, as many items, and an
//! end with a checksum; then zeros up to the end of the file. Knows nothing of rows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

/// The first byte of each entry, and what an end ends with.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = *b"FJL\x03";

/// Looks at every journal of the engine's folder. Cuts off the end of the last one if it is
/// torn. What is damaged is an error of the kind `InvalidData`, and nothing is touched then.
pub(super) fn mend(folder: &Path) -> io::Result<()> {
    let mut journals = journals(folder)?;
    let last = journals.pop();
    let mut number = 0;
    let sealed = journals.iter().map(|path| (path, true));
    for (path, sealed) in sealed.chain(last.iter().map(|path| (path, false))) {
        let bytes = fs::read(path)?;
        let end = whole(&bytes, &mut number);
        let rest = without_zeros(&bytes[end..]);
        if rest.is_empty() {
            continue;
        }
        if sealed || has_batch(rest) {
            let name = path.file_name().unwrap_or_default().display();
            let what = format!("{name} goes on after byte {end}, from where it cannot be read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        warn!(journal = %path.display(), byte = end, "journal torn, its end is cut off");
        cut(path, end as u64)?;
    }
    Ok(())
}

/// Empties every journal. Only right while nothing is written, and all is in its final files.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    for path in journals(folder)? {
        cut(&path, 0)?;
    }
    Ok(())
}

/// Cuts a journal off, durably. The engine finds its numbers by the file, so that one has to stay.
fn cut(path: &Path, len: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Finds the journals, in the order in which they were written.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
        match (number, path.extension()) {
            (Some(number), Some(extension)) if extension == "jnl" => found.push((number, path)),
            _ => {}
        }
    }
    found.sort_unstable_by_key(|(number, _): &(u64, PathBuf)| *number);
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Tells where the whole batches at the beginning of a journal end. Their numbers, which the
/// checksum does not cover, never fall below `number`, the last one so far.
fn whole(bytes: &[u8], number: &mut u64) -> usize {
    let mut end = 0;
    while let Some(batch) = batch(&bytes[end..]).filter(|batch| batch.number >= *number) {
        end += batch.len;
        *number = batch.number;
    }
    end
}

/// Leaves out the zeros at the end, whole pages first: a journal is mostly empty.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const EMPTY: [u8; 4096] = [0; 4096];
    let empty = bytes.rchunks(EMPTY.len()).take_while(|page| EMPTY.starts_with(page));
    let bytes = &bytes[..bytes.len() - empty.map(<[u8]>::len).sum::<usize>()];
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)]
}

/// Tells whether a whole batch stands anywhere in there.
fn has_batch(bytes: &[u8]) -> bool {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == START);
    starts.map(|(at, _)| at).any(|at| batch(&bytes[at..]).is_some())
}

/// A batch that is whole.
struct Batch {
    len: usize,
    number: u64,
}

/// Reads the batch at the beginning, if there is a whole one.
fn batch(bytes: &[u8]) -> Option<Batch> {
    let mut rest = bytes;
    let [START] = take(&mut rest)? else { return None };
    let count = u32::from_le_bytes(take(&mut rest)?);
    let number = u64::from_le_bytes(take(&mut rest)?);
    let first = rest;
    for _ in 0..count {
        item(&mut rest)?;
    }
    let items = &first[..first.len() - rest.len()];
    let [END] = take(&mut rest)? else { return None };
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    let whole = take(&mut rest)? == MAGIC && checksum == xxh3_64(items);
    whole.then_some(Batch { len: bytes.len() - rest.len(), number })
}

/// Skips an item of a batch.
fn item(rest: &mut &[u8]) -> Option<()> {
    match take(rest)? {
        [ITEM] => {
            let _kind_and_compression: [u8; 2] = take(rest)?;
            let _keyspace: [u8; 8] = take(rest)?;
            let key = u16::from_le_bytes(take(rest)?);
            let _value: [u8; 4] = take(rest)?;
            let stored = u32::from_le_bytes(take(rest)?);
            *rest = rest.get(usize::from(key) + stored as usize..)?;
        }
        [CLEAR] => {
            let _keyspace: [u8; 8] = take(rest)?;
        }
        _ => return None,
    }
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};
    use tempfile::TempDir;

    use super::*;

    /// How many batches a journal holds, beside those of the engine itself.
    const BATCHES: usize = 4;

    /// Makes a journal with the engine; gives its bytes.
    fn written() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        for nth in 0..BATCHES {
            let mut batch = db.batch().durability(Some(PersistMode::Buffer));
            batch.insert(&rows, [1, nth as u8], "short");
            batch.insert(&rows, [2, nth as u8], "so long that the engine packs it ".repeat(200));
            batch.remove(&rows, [3, nth as u8]);
            batch.commit().unwrap();
        }
        let [journal] = &journals(dir.path()).unwrap()[..] else { panic!("one journal") };
        fs::read(journal).unwrap()
    }

    /// Where each batch ends.
    fn ends(bytes: &[u8]) -> Vec<usize> {
        let next = |end: &usize| batch(&bytes[*end..]).map(|batch| end + batch.len);
        std::iter::successors(Some(0), next).skip(1).collect()
    }

    /// Puts journals of these bytes into a folder of their own.
    fn folder(journals: &[&[u8]]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (nth, bytes) in journals.iter().enumerate() {
            fs::write(dir.path().join(format!("{nth}.jnl")), bytes).unwrap();
        }
        dir
    }

    fn read(dir: &TempDir, nth: usize) -> Vec<u8> {
        fs::read(dir.path().join(format!("{nth}.jnl"))).unwrap()
    }

    #[test]
    fn what_the_engine_writes_is_whole_and_left_alone() {
        let bytes = written();
        let used = without_zeros(&bytes);
        assert!(ends(&bytes).len() >= BATCHES);
        assert_eq!(ends(&bytes).last(), Some(&used.len()));
        let (finished, last) = bytes.split_at(ends(used)[2]);
        let dir = folder(&[finished, last]);
        mend(dir.path()).unwrap();
        assert!(read(&dir, 0) == finished && read(&dir, 1) == last);
    }

    #[test]
    fn a_batch_that_did_not_arrive_whole_is_cut_off() {
        let bytes = written();
        let used = without_zeros(&bytes);
        let ends = ends(used);
        let before = ends[ends.len() - 2];
        for cut in before..used.len() {
            // Not all of it, and then not some page of it.
            let mut torn = used.to_vec();
            torn[cut..].fill(0);
            let mut holed = used.to_vec();
            holed[cut..used.len().min(cut + 512)].fill(0);
            for torn in [torn, holed] {
                let dir = folder(&[&torn]);
                mend(dir.path()).unwrap();
                let left = read(&dir, 0);
                // A hole may fall where zeros were.
                assert!(torn == used || without_zeros(&left) == &used[..before], "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_wrong_byte_before_a_whole_batch_is_damage_and_left_alone() {
        let bytes = written();
        let used = without_zeros(&bytes);
        let ends = ends(used);
        for at in 0..ends[ends.len() - 2] {
            let mut damaged = used.to_vec();
            damaged[at] ^= 0x55;
            let dir = folder(&[&damaged]);
            let error = mend(dir.path()).unwrap_err().to_string();
            assert!(error.starts_with("0.jnl goes on after byte "), "{error}");
            assert!(read(&dir, 0) == damaged);
        }
    }

    #[test]
    fn a_wrong_byte_in_a_journal_that_was_finished_is_damage() {
        let bytes = written();
        let used = without_zeros(&bytes);
        let (finished, last) = used.split_at(ends(used)[2]);
        for at in 0..finished.len() {
            let mut damaged = finished.to_vec();
            damaged[at] ^= 0x55;
            let dir = folder(&[&damaged, last]);
            mend(dir.path()).unwrap_err();
            assert!(read(&dir, 0) == damaged);
        }
    }
}
