//! Prints what the disk gives the log: `cargo run --release -p actors --example log_bench -- <empty folder>`.

use std::path::PathBuf;
use std::time::Duration;

use actors::log::bench::{RECORD_BYTES, append};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let given = std::env::args().nth(1).map(PathBuf::from);
    let figures = append(
        &given.unwrap_or(folder.path().to_path_buf()),
        Duration::from_secs(3),
    )?;
    println!(
        "bare sync: p50 {:?}, p99 {:?}; records of {RECORD_BYTES} bytes",
        figures.sync_p50, figures.sync_p99
    );
    for run in figures.runs {
        println!(
            "{:3} appenders, groups of {:3}: {:9.0} records/s, {:7.0} groups/s, p50 {:?}, p99 {:?}, {:.1} groups per sync",
            run.appenders,
            run.group,
            run.records_per_s,
            run.groups_per_s,
            run.p50,
            run.p99,
            run.groups_per_sync
        );
    }
    Ok(())
}
