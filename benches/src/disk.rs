//! Where temporary data lies, and what one fsync costs there.
//!
//! Measured as the server writes: a small append, then `fdatasync`, one after the other.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use rustix::fs::fdatasync;

use crate::report::histogram;

/// Makes a folder for temporary data in `dir`, or where the system keeps such things; removed when
/// dropped.
pub fn folder(dir: Option<&PathBuf>) -> Result<tempfile::TempDir> {
    let dir = dir.cloned().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("rally-bench-").tempdir_in(&dir);
    made.with_context(|| format!("making a folder in {}", dir.display()))
}

/// Gives the bytes that the files of a folder take on the disk, sparse ones less than their length.
pub fn bytes_of(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // Blocks of 512 bytes, whatever the file system's own are.
        sum += if meta.is_dir() { bytes_of(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}

/// Appends, syncs, and gives the times in nanoseconds. The file is removed afterwards.
pub fn fsync_ns(folder: &Path, times: u32) -> Result<Histogram<u64>> {
    let path = folder.join("fsync-probe");
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("creating {}", path.display()))?;
    let mut spans = histogram();
    for _ in 0..times {
        let begun = Instant::now();
        file.write_all(&[b'x'; 300])?;
        fdatasync(&file)?;
        spans.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    std::fs::remove_file(&path)?;
    Ok(spans)
}
