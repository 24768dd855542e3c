//! The engine's journals, looked at before the engine opens them.
//!
//! The engine takes what it cannot read in a journal for its end, and cuts the file there: one
//! wrong byte in the middle would take everything after it away, in silence. And a batch that
//! was being written when the power went may have lost a page, on which the engine gives up.
//! So this tells the two apart first. What a power cut leaves is cut off; it was acknowledged
//! to nobody. Everything else is damage, and stays as it is.
//!
//! Reads the journal format of fjall 3: batches of a start with a count, as many items, and an
//! end with a checksum; then zeros up to the end of the file. Knows nothing of rows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use super::Durability;

/// The first byte of each entry, and what an end ends with.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = *b"FJL\x03";

/// Looks at every journal of the engine's folder. Cuts off the end of the last one if it is
/// torn; says what is damaged, if anything is, and touches nothing then.
///
/// With [`Durability::Sync`] only one batch is ever on its way to the disk, so that a whole one
/// after what cannot be read means damage. With [`Durability::Os`] a power cut leaves that too.
pub(super) fn mend(folder: &Path, durability: Durability) -> io::Result<Result<(), String>> {
    let mut journals = journals(folder)?;
    let last = journals.pop();
    let sealed = journals.iter().map(|path| (path, true));
    for (path, sealed) in sealed.chain(last.iter().map(|path| (path, false))) {
        let bytes = fs::read(path)?;
        let end = whole(&bytes);
        let rest = without_zeros(&bytes[end..]);
        if rest.is_empty() {
            continue;
        }
        let goes_on = durability == Durability::Sync && has_batch(rest);
        if sealed || goes_on {
            let name = path.file_name().unwrap_or_default().display();
            return Ok(Err(format!("journal {name} cannot be read from byte {end} on")));
        }
        warn!(journal = %path.display(), byte = end, "journal torn, its end is cut off");
        let file = File::options().write(true).open(path)?;
        file.set_len(end as u64)?;
        file.sync_all()?;
    }
    Ok(Ok(()))
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

/// Tells where the whole batches at the beginning of a journal end.
fn whole(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(len) = batch(&bytes[end..]) {
        end += len;
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

/// Reads the batch at the beginning; gives its length if it is whole.
fn batch(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let [START] = take(&mut rest)? else { return None };
    let count = u32::from_le_bytes(take(&mut rest)?);
    let _sequence: [u8; 8] = take(&mut rest)?;
    let first = rest;
    for _ in 0..count {
        item(&mut rest)?;
    }
    let items = &first[..first.len() - rest.len()];
    let [END] = take(&mut rest)? else { return None };
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    let whole = take(&mut rest)? == MAGIC && checksum == xxh3_64(items);
    whole.then_some(bytes.len() - rest.len())
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
