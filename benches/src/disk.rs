//! What one fsync costs on the disk where the data lies.
//!
//! Measured as the server writes: a small append, then `fdatasync`, one after the other.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use rustix::fs::fdatasync;

use crate::report::histogram;

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
