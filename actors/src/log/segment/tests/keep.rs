//! The archive, and trimming.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::helpers::*;
use crate::disk::{Disk, SimDisk};
use crate::log::archive::{ArchiveStore, ObjectArchive};
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::log::{Log, LogError, LogRecord};
use crate::model::Offset;

/// An archive in memory that can damage what it takes.
#[derive(Default)]
struct Shelf {
    blobs: Mutex<BTreeMap<String, Bytes>>,
    spoil: Mutex<bool>,
    /// Whose power is cut together with this one's.
    beside: Mutex<Option<SimDisk>>,
}

impl ArchiveStore for Shelf {
    fn put(&self, name: &str, content: Bytes) -> io::Result<()> {
        let mut content = content.to_vec();
        if *self.spoil.lock() {
            content[40] ^= 1;
        }
        self.blobs.lock().insert(name.to_owned(), content.into());
        Ok(())
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let blobs = self.blobs.lock();
        let blob = blobs.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(blob.slice(range.start as usize..range.end as usize))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let cut = self.beside.lock().as_ref().and_then(SimDisk::found);
        if cut.is_none() {
            self.blobs.lock().remove(name);
        }
        Ok(())
    }
}

fn with_archive(store: Arc<dyn ArchiveStore>) -> SegmentOptions {
    let mut options = by_hand();
    options.segment_bytes = 300;
    options.tail_bytes_max = 0;
    options.archive = Some(store);
    options
}

fn fill(log: &SegmentLog) -> Vec<LogRecord> {
    let mut records = Vec::new();
    for at in 0..10 {
        let group = group(&format!("{at}"), 2, 120);
        records.extend(group.clone());
        commit(log, group).unwrap();
    }
    records
}

#[test]
fn archived_segments_are_read_as_if_they_were_here() {
    let folder = tempfile::tempdir().unwrap();
    let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let store = Arc::new(ObjectArchive::new(Arc::new(local), "raw").unwrap());
    let disk = SimDisk::new();
    let log = open(&disk, with_archive(store.clone())).unwrap();
    let records = fill(&log);
    let before = segments(&disk).len();
    assert_eq!(before, 10);
    let done = log.archive(P, 2).unwrap();
    assert_eq!((done.copied, done.removed), (9, 7));
    assert_eq!(segments(&disk).len(), 3, "two kept and the newest");
    assert!(
        folder
            .path()
            .join("raw/0/00000000000000000000.seg")
            .exists()
    );
    assert_eq!(all(&log).unwrap(), records);
    let again = log.archive(P, 0).unwrap();
    assert_eq!((again.copied, again.removed), (0, 2));
    log.close();
    drop(log);
    // With and without the index files, which are a cache.
    for file in [None, Some(".idx")] {
        if let Some(ending) = file {
            for path in disk.files() {
                if path.to_string_lossy().ends_with(ending) {
                    disk.unlink(&path).unwrap();
                }
            }
        }
        let log = open(&disk, with_archive(store.clone())).unwrap();
        assert_eq!(log.start(P), Offset(0));
        assert_eq!(all(&log).unwrap(), records);
        assert_eq!(
            log.read_one(P, Offset(5)).unwrap().unwrap().record,
            records[5]
        );
    }
    let mut without = with_archive(store);
    without.archive = None;
    let log = open(&disk, without).unwrap();
    assert!(
        matches!(all(&log), Err(LogError::Io { .. })),
        "it says what is missing"
    );
    assert_eq!(
        log.read_one(P, Offset(19)).unwrap().unwrap().record,
        records[19]
    );
}

#[test]
fn a_copy_that_is_not_the_same_keeps_the_file_here() {
    let shelf = Arc::new(Shelf::default());
    let disk = SimDisk::new();
    let log = open(&disk, with_archive(shelf.clone())).unwrap();
    let records = fill(&log);
    *shelf.spoil.lock() = true;
    assert!(log.archive(P, 0).is_err());
    assert_eq!(segments(&disk).len(), 10, "nothing is removed");
    *shelf.spoil.lock() = false;
    assert_eq!(log.archive(P, 0).unwrap().copied, 9);
    assert_eq!(all(&log).unwrap(), records);
}

#[test]
fn a_power_cut_while_archiving_or_trimming_loses_nothing() {
    for at in 0..60 {
        for seed in 0..5 {
            let shelf = Arc::new(Shelf::default());
            let disk = SimDisk::new();
            let log = open(&disk, with_archive(shelf.clone())).unwrap();
            let records = fill(&log);
            *shelf.beside.lock() = Some(disk.clone());
            disk.cut_before(disk.stats().operations + at, seed);
            log.archive(P, 1).unwrap();
            let trimmed = log.trim(P, Offset(5)).unwrap();
            assert_eq!(trimmed, Offset(4));
            let found = disk.found().unwrap_or_else(|| disk.power_cut(seed));
            let log = open(&found, with_archive(shelf)).unwrap();
            let start = log.start(P).0;
            assert!(
                start == 0 || start == 4,
                "operation {at} seed {seed}: {start}"
            );
            // The archive forgets what is trimmed only after the log has.
            assert_eq!(
                all(&log).unwrap(),
                records[start as usize..],
                "operation {at}"
            );
        }
    }
}

#[test]
fn what_is_trimmed_is_gone_and_the_rest_stays() {
    let shelf = Arc::new(Shelf::default());
    let disk = SimDisk::new();
    let log = open(&disk, with_archive(shelf.clone())).unwrap();
    let records = fill(&log);
    assert_eq!(
        log.trim(P, Offset(1)).unwrap(),
        Offset(0),
        "whole segments only"
    );
    log.archive(P, 3).unwrap();
    assert_eq!(log.trim(P, Offset(9)).unwrap(), Offset(8));
    assert!(matches!(
        log.read(P, Offset(7), 1),
        Err(LogError::Trimmed {
            first: Offset(8),
            ..
        })
    ));
    assert_eq!(all(&log).unwrap(), records[8..]);
    assert_eq!(shelf.blobs.lock().len(), 5, "the archive forgets too");
    log.trim(P, Offset(1000)).unwrap();
    assert_eq!(
        log.start(P),
        Offset(18),
        "never the segment that is written to"
    );
    drop(log);
    let log = open(&disk, with_archive(shelf)).unwrap();
    assert_eq!(all(&log).unwrap(), records[18..]);
    log.require(P, Offset(18)).unwrap();
    assert!(matches!(
        log.require(P, Offset(3)),
        Err(LogError::Trimmed { .. })
    ));
}

#[test]
fn what_caches_need_stays_here_and_nobody_elses_blob_is_overwritten() {
    let shelf = Arc::new(Shelf::default());
    let disk = SimDisk::new();
    let log = open(&disk, with_archive(shelf.clone())).unwrap();
    let records = fill(&log);
    let done = log.archive_below(P, 0, Offset(5)).unwrap();
    // Two records a segment: those that end at 2 and 4 are below.
    assert_eq!((done.copied, done.removed), (9, 2));
    assert_eq!(all(&log).unwrap(), records);
    let done = log.archive_below(P, 3, Offset(u64::MAX)).unwrap();
    assert_eq!((done.copied, done.removed), (0, 4));
    // A restored copy with the same archive: same names, other bytes.
    let other = SimDisk::new();
    let copy = open(&other, with_archive(shelf.clone())).unwrap();
    let foreign = group("f", 2, 120);
    commit(&copy, foreign).unwrap();
    fill(&copy);
    let error = copy.archive(P, 0).unwrap_err();
    assert!(error.to_string().contains("archive"), "{error}");
    assert_eq!(all(&log).unwrap(), records, "the original is as it was");
}
