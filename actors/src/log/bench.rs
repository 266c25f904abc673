//! What a disk gives the log: called by `tributary bench`, which prints the figures.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::segment::{SegmentLog, SegmentOptions};
use super::{Log, LogError, LogRecord};
use crate::disk::{Disk, RealDisk, write_all_at};
use crate::model::PartitionId;

/// Bytes of a record in the measurements: an event with a dozen properties.
pub const RECORD_BYTES: usize = 500;

/// Syncs of a bare file that are timed.
const SYNCS: usize = 500;

/// What was measured.
#[derive(Debug, Clone)]
pub struct AppendFigures {
    /// A write of 600 bytes and a sync on a bare file: what a single append cannot beat.
    pub sync_p50: Duration,
    /// The slowest of a hundred.
    pub sync_p99: Duration,
    /// The runs, as listed by [`append`].
    pub runs: Vec<AppendRun>,
}

/// One way of appending.
#[derive(Debug, Clone)]
pub struct AppendRun {
    /// Threads that append and wait for the answer, each.
    pub appenders: usize,
    /// Records in a group.
    pub group: usize,
    /// Records made durable per second.
    pub records_per_s: f64,
    /// Groups made durable per second.
    pub groups_per_s: f64,
    /// From append to answer.
    pub p50: Duration,
    /// The same, the slowest of a hundred.
    pub p99: Duration,
    /// Groups that shared a sync, on average.
    pub groups_per_sync: f64,
}

/// Measures appends to a new log in `dir` (which should be empty), each run for `run_for`: 1 and 64 appenders with single
/// records, 1, 8 and 64 with groups of 100.
pub fn append(dir: &Path, run_for: Duration) -> Result<AppendFigures, LogError> {
    let mut syncs = bare_syncs(dir).map_err(|error| LogError::io("timing syncs", error))?;
    let mut runs = Vec::new();
    for (at, (appenders, group)) in [(1, 1), (64, 1), (1, 100), (8, 100), (64, 100)]
        .into_iter()
        .enumerate()
    {
        let log = SegmentLog::open(&dir.join(at.to_string()), SegmentOptions::new(1))?;
        runs.push(run(log, appenders, group, run_for)?);
    }
    Ok(AppendFigures {
        sync_p50: quantile(&mut syncs, 0.50),
        sync_p99: quantile(&mut syncs, 0.99),
        runs,
    })
}

fn bare_syncs(dir: &Path) -> std::io::Result<Vec<Duration>> {
    RealDisk.create_dir(dir)?;
    let path = dir.join("bare");
    let file = RealDisk.create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for at in 0..SYNCS as u64 {
        let began = Instant::now();
        write_all_at(&*file, &[1; 600], at * 600)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    RealDisk.unlink(&path)?;
    Ok(times)
}

fn run(
    log: SegmentLog,
    appenders: usize,
    group: usize,
    run_for: Duration,
) -> Result<AppendRun, LogError> {
    let log = Arc::new(log);
    let began = Instant::now();
    let threads: Vec<_> = (0..appenders)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || appender(&*log, group, began + run_for))
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().expect("an appender does not panic")?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let counts = log.counts(PartitionId(0));
    Ok(AppendRun {
        appenders,
        group,
        records_per_s: counts.records as f64 / seconds,
        groups_per_s: counts.groups as f64 / seconds,
        p50: quantile(&mut times, 0.50),
        p99: quantile(&mut times, 0.99),
        groups_per_sync: counts.groups as f64 / counts.syncs.max(1) as f64,
    })
}

fn appender(log: &dyn Log, group: usize, until: Instant) -> Result<Vec<Duration>, LogError> {
    let payload = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let records = vec![LogRecord { schema: 1, payload }; group];
    let mut times = Vec::new();
    let (tell, told) = channel();
    while Instant::now() < until {
        let began = Instant::now();
        let tell = tell.clone();
        let answer = Box::new(move |done| {
            // The appender waits below.
            let _ = tell.send(done);
        });
        log.append(PartitionId(0), records.clone(), answer);
        told.recv().map_err(|_| LogError::Closed)??;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// The value that a share of the values does not exceed.
fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    times.get(at).copied().unwrap_or_default()
}
