//! Parts of the product alone, in this process: what they could do if the rest cost nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use actors::model::{BrandId, IdSpace, SourceId, Time};
use bytes::Bytes;
use ingest::{OrderDefaults, Protocol, Request, SourceInfo, admit};

use crate::demo::batch::Form;

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

/// Taking requests apart and decoding their events, on one core.
pub(super) fn decode(options: &BenchOptions, table: &mut Table) {
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(1),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    };
    let single = BenchOptions {
        connections: 1,
        ..options.clone()
    };
    let (mut events, mut rejected) = (0u64, 0u64);
    let (mut admitting, mut decoding) = (Duration::ZERO, Duration::ZERO);
    for mut stream in load::streams(&single, options.events, 0) {
        while let Some(batch) = stream.next_batch() {
            let form = Form::of(batch.source);
            let protocol = match form {
                Form::Segment => Protocol::Segment,
                Form::Scan => Protocol::Scan,
                Form::Own => Protocol::Own,
            };
            let request = Request {
                path: form.path(),
                headers: &[],
                received: Time(batch.messages[0].sent_ms),
                query: "",
                nonce: 1,
                body: Bytes::from(batch.body),
            };
            let begun = Instant::now();
            let records =
                admit(protocol, &source, request).map_or_else(|_| Vec::new(), |a| a.records);
            admitting += begun.elapsed();
            let begun = Instant::now();
            let good = records
                .iter()
                .map(ingest::decode)
                .filter(Result::is_ok)
                .count() as u64;
            decoding += begun.elapsed();
            events += batch.messages.len() as u64;
            rejected += batch.messages.len() as u64 - good;
        }
    }
    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / events.max(1) as f64;
    table.row("events", events as f64, "");
    table.row("rejected", rejected as f64, "");
    table.row(
        "admitted: taken apart and checked",
        per_event(admitting),
        "us/event",
    );
    table.row("decoded", per_event(decoding), "us/event");
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

/// The identity machine over members with three identifiers each.
pub(super) fn identity(dir: &Path, members: u32, table: &mut Table) -> Result<(), BenchError> {
    let dir = dir.join("identity");
    std::fs::create_dir_all(&dir).map_err(BenchError::io("making the folder"))?;
    let figures = cdp::identity::bench::run(members, &dir).map_err(BenchError::Part)?;
    table.row("identifiers", figures.identifiers as f64, "");
    table.row("new members", figures.new_members_per_s / 1e3, "k/s");
    table.row("  longest batch of 2,048", figures.longest_batch_ms, "ms");
    let known = figures.known_events_per_s / 1e3;
    table.row("events of known members", known, "k/s");
    let resolves = figures.resolves_per_s / 1e3;
    table.goal("owners of identifiers found", resolves, "k/s", ">= 500");
    table.row("memory of an identifier", figures.bytes_per_identifier, "B");
    let (seconds, bytes) = figures.checkpoint;
    table.row("first checkpoint", seconds * 1e3, "ms");
    table.row("  written", bytes as f64 / 1e6, "MB");
    table.row("files opened and checked", figures.open_s * 1e3, "ms");
    Ok(())
}

/// The profile machine with rows in memory.
pub(super) fn profile(events: u64, table: &mut Table) {
    /// All events are made before the first is applied: some hundreds of megabytes.
    const EVENTS_MAX: u64 = 300_000;
    let report = cdp::profile::bench::bench(events.min(EVENTS_MAX) as usize);
    table.row("events", report.events as f64, "");
    table.row("applied", report.apply_ns / 1e3, "us/event");
    table.row(
        "  of it, read from its bytes",
        report.decode_ns / 1e3,
        "us/event",
    );
    table.row("changed rows written", report.encode_ns / 1e3, "us/event");
    table.row("rows read", report.reads, "/event");
    table.row("rows written", report.rows, "/event");
    table.row("bytes of rows written", report.row_bytes, "B/event");
    table.row("a member's facts", report.cell_bytes, "B");
    table.row("a timeline row", report.timeline_bytes, "B");
}

/// The lake over events of its own making.
pub(super) fn lake(
    options: &BenchOptions,
    dir: &Path,
    table: &mut Table,
) -> Result<(), BenchError> {
    use query::lake::{Packing, bench};
    let figures = bench::run(
        &dir.join("lake"),
        options.events,
        options.people,
        Packing::Zstd,
    )
    .map_err(|error| BenchError::Part(error.to_string()))?;
    table.row("events", figures.events as f64, "");
    table.row(
        "followed and written, one core",
        figures.written_per_s / 1e3,
        "k/s",
    );
    table.row("  bytes of an event on disk", figures.bytes_per_event, "B");
    table.row("  files", figures.files.0 as f64, "");
    table.row("merged, one core", figures.merged_per_s / 1e3, "k rows/s");
    let merged = figures.merged_bytes_per_event;
    table.row("  bytes of an event on disk", merged, "B");
    table.row("  files", figures.files.1 as f64, "");
    for (what, threads, rate, _) in &figures.scans {
        let goal = match threads {
            2 => ">= 2, then 5",
            _ => "",
        };
        table.goal(
            format!("{what}, {threads} threads"),
            rate / 1e6,
            "M/s",
            goal,
        );
    }
    let (median, longest) = figures.one_fragment_ms;
    table.row("events of one fragment, p50", median, "ms");
    table.row("  longest of 200", longest, "ms");
    Ok(())
}
