//! Parts of the product alone, in this process: what they could do if the rest cost nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load;
use super::table::Table;
use super::{BenchError, BenchOptions};

/// Appends to the segment log.
pub(super) fn log(dir: &Path, seconds: u32, table: &mut Table) -> Result<(), BenchError> {
    let run_for = Duration::from_secs(u64::from(seconds.clamp(1, 60)));
    let figures = actors::log::bench::append(&dir.join("log"), run_for)
        .map_err(|error| BenchError::Part(error.to_string()))?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    table.row("a bare write and sync, p50", ms(figures.sync_p50), "ms");
    table.row("a bare write and sync, p99", ms(figures.sync_p99), "ms");
    for run in &figures.runs {
        let what = format!("{} appenders, groups of {}", run.appenders, run.group);
        table.row(
            format!("{what}: durable"),
            run.records_per_s / 1e3,
            "k records/s",
        );
        table.row("  an append, p50", ms(run.p50), "ms");
        table.row("  an append, p99", ms(run.p99), "ms");
        table.row("  groups in a sync", run.groups_per_sync, "");
    }
    Ok(())
}

/// Taking requests apart and decoding events.
pub(super) fn decode(table: &mut Table) {
    /// A second or so.
    const BATCHES: usize = 2_000;
    let cost = ingest::bench::cost(BATCHES);
    table.row("bytes of an event", cost.event_bytes as f64, "B");
    for (what, ns) in [
        ("admit: taken apart and checked", cost.admit_ns),
        ("encode: the raw record written", cost.encode_ns),
        ("read: the raw record read", cost.read_ns),
        ("decode: an event of it", cost.decode_ns),
    ] {
        table.row(what, ns / 1e3, "us/event");
    }
}

/// Generating the load.
pub(super) fn generate(options: &BenchOptions, table: &mut Table) {
    let single = BenchOptions {
        connections: 1,
        ..options.clone()
    };
    let begun = Instant::now();
    let (mut events, mut bytes) = (0u64, 0u64);
    for mut stream in load::streams(&single, options.events, 0) {
        while let Some(batch) = stream.next_batch() {
            events += batch.messages.len() as u64;
            bytes += batch.body.len() as u64;
            stream.give_back(batch);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    table.row("events", events as f64, "");
    table.row(
        "bytes of an event",
        bytes as f64 / events.max(1) as f64,
        "B",
    );
    table.row(
        "generated on one core",
        events as f64 / seconds / 1e3,
        "k/s",
    );
}
