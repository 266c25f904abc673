//! Logs without threads on simulated disks, and what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, SimDisk};
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::log::{Log, LogError, LogRecord};
use crate::model::{Offset, PartitionId};

pub(super) const P: PartitionId = PartitionId(0);
pub(super) const DIR: &str = "/data/raw";

/// What the log answered: for each group its records and the answer.
pub(super) type Answers = Arc<Mutex<Vec<(Vec<LogRecord>, Result<Offset, LogError>)>>>;

pub(super) fn by_hand() -> SegmentOptions {
    let mut options = SegmentOptions::new(1);
    options.threads = false;
    options.on_fatal = Arc::new(|error| panic!("fatal: {error}"));
    options
}

pub(super) fn open(disk: &SimDisk, options: SegmentOptions) -> Result<SegmentLog, LogError> {
    SegmentLog::open_on(Arc::new(disk.clone()), Path::new(DIR), options)
}

pub(super) fn record(text: impl Into<Vec<u8>>) -> LogRecord {
    LogRecord {
        schema: 7,
        payload: text.into().into(),
    }
}

/// A group whose records say who they are and fill some bytes.
pub(super) fn group(name: &str, records: usize, bytes: usize) -> Vec<LogRecord> {
    (0..records)
        .map(|at| {
            let mut text = format!("{name}/{at} ").into_bytes();
            text.resize(text.len() + bytes, b'.');
            record(text)
        })
        .collect()
}

pub(super) fn append(log: &SegmentLog, group: Vec<LogRecord>, answers: &Answers) {
    let (answers, kept) = (Arc::clone(answers), group.clone());
    log.append(
        P,
        group,
        Box::new(move |answer| answers.lock().push((kept, answer))),
    );
}

/// Appends a group, commits it and returns its first offset.
pub(super) fn commit(log: &SegmentLog, group: Vec<LogRecord>) -> Result<Offset, LogError> {
    let answers = Answers::default();
    append(log, group, &answers);
    while log.pump(P) {}
    let (_, answer) = answers.lock().pop().expect("the log answers");
    answer
}

/// Everything that the log holds, in order, read in pieces.
pub(super) fn all(log: &SegmentLog) -> Result<Vec<LogRecord>, LogError> {
    let mut records = Vec::new();
    let mut next = log.start(P);
    loop {
        let piece = log.read(P, next, 300)?;
        if piece.is_empty() {
            assert_eq!(next, log.end(P), "a read stops only at the end");
            return Ok(records);
        }
        for stored in piece {
            assert_eq!(stored.offset, next, "offsets have no gaps");
            next.0 += 1;
            records.push(stored.record);
        }
    }
}

/// The log is the groups one after the other, each whole, with everything acknowledged at its offset.
pub(super) fn check_acked(records: &[LogRecord], answers: &Answers, context: &str) {
    for (group, answer) in &*answers.lock() {
        if let Ok(Offset(first)) = answer {
            let first = *first as usize;
            let stored = records.get(first..first + group.len());
            assert_eq!(stored, Some(&group[..]), "{context}: acked at {first}");
        }
    }
}

pub(super) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files = disk.files();
    files.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    files
}

pub(super) fn bytes(disk: &SimDisk, path: &Path) -> u64 {
    disk.open(path).unwrap().bytes().unwrap()
}
