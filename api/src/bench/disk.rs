//! How long the disk takes to make a small write durable.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::table::Times;

/// Enough for a p99.
const SYNCS: usize = 400;
/// A group of a few events.
const WRITE_BYTES: usize = 4_096;

/// Sync times of a disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syncs {
    /// The median in milliseconds.
    pub p50_ms: f64,
    /// The slowest of a hundred in milliseconds.
    pub p99_ms: f64,
}

/// Appends and syncs a file in `dir`, as a log does.
pub(super) fn syncs(dir: &Path) -> std::io::Result<Syncs> {
    let path = dir.join("syncs");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    let bytes = [0x5a; WRITE_BYTES];
    let mut times = Times::default();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(Syncs {
        p50_ms: times.ms(0.50),
        p99_ms: times.ms(0.99),
    })
}
