//! The log with its threads: reading while appending, slow disks, closing, locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use super::helpers::*;
use crate::disk::{FolderLock, SimDisk};
use crate::log::frame::RECORD_BYTES_MAX;
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::log::{Log, LogError, LogRecord};
use crate::model::Offset;

fn threaded(segment_bytes: u64, tail_bytes_max: usize) -> SegmentOptions {
    let mut options = SegmentOptions::new(1);
    options.segment_bytes = segment_bytes;
    options.tail_bytes_max = tail_bytes_max;
    options
}

fn append_and_wait(log: &SegmentLog, group: Vec<LogRecord>) -> Result<Offset, LogError> {
    let (tell, told) = channel();
    log.append(P, group, Box::new(move |answer| tell.send(answer).unwrap()));
    told.recv().unwrap()
}

#[test]
fn a_large_record_is_read_in_parts_once_it_has_left_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let options = || threaded(1 << 20, 1 << 20);
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    let large: Vec<u8> = (0..300_000u32).map(|at| (at * 7 / 3) as u8).collect();
    let small = group("small", 1, 100);
    append_and_wait(&log, small.clone()).unwrap();
    let at = append_and_wait(&log, vec![record(large.clone())]).unwrap();
    let behind = append_and_wait(&log, small).unwrap();
    assert!(log.parts(P, at).unwrap().is_none(), "it is in memory");
    drop(log);
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    for offset in [Offset(at.0 - 1), behind, Offset(behind.0 + 1)] {
        assert!(log.parts(P, offset).unwrap().is_none(), "{offset:?}");
    }
    let parts = log.parts(P, at).unwrap().unwrap();
    assert_eq!(parts.bytes(), large.len() as u64);
    for (from, to) in [(0, 0), (0, 1), (70_000, 140_001), (299_999, 300_000)] {
        let read = parts.read(from as u64..to as u64).unwrap();
        assert_eq!(read, large[from..to]);
    }
    assert!(parts.read(299_999..300_001).is_err());
}

/// Four appenders and three readers at once, on a real disk, over several segments.
#[test]
fn readers_follow_appenders() {
    const GROUPS: u64 = 150;
    for tail in [0, 2000, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(SegmentLog::open(folder.path(), threaded(9000, tail)).unwrap());
        let total = 4 * GROUPS * 3;
        let advanced = Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new()));
        let told = Arc::clone(&advanced);
        log.on_advance(Arc::new(move |partition, end| {
            assert_eq!(partition, P);
            *told.0.lock() = end.0;
            told.1.notify_all();
        }));
        std::thread::scope(|scope| {
            for appender in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    let mut last = None;
                    for at in 0..GROUPS {
                        let group = group(&format!("{appender}-{at}"), 3, 40);
                        let first = append_and_wait(log, group.clone()).unwrap();
                        assert!(last < Some(first), "offsets grow");
                        last = Some(first);
                        assert!(log.end(P).0 >= first.0 + 3, "visible once answered");
                        let read = log.read(P, first, 10_000).unwrap();
                        for (stored, expected) in read.iter().zip(&group) {
                            assert_eq!(stored.record, *expected);
                        }
                    }
                });
            }
            for reader in 0..3u64 {
                let (log, advanced) = (&log, &advanced);
                scope.spawn(move || {
                    let mut next = 0;
                    while next < total {
                        let mut end = advanced.0.lock();
                        while *end <= next {
                            advanced.1.wait(&mut end);
                        }
                        drop(end);
                        for stored in log.read(P, Offset(next), 100 << reader).unwrap() {
                            assert_eq!(stored.offset.0, next);
                            next += 1;
                        }
                    }
                });
            }
        });
        assert_eq!(log.end(P).0, total);
        log.close();
        assert!(matches!(
            append_and_wait(&log, group("late", 1, 1)),
            Err(LogError::Closed)
        ));
        let read = all(&log).unwrap();
        drop(log);
        let log = SegmentLog::open(folder.path(), threaded(9000, tail)).unwrap();
        assert_eq!(all(&log).unwrap(), read);
    }
}

#[test]
fn groups_that_arrive_during_a_sync_share_the_next() {
    let disk = SimDisk::new();
    let log = open(&disk, threaded(1 << 20, 1 << 20)).unwrap();
    disk.hold_syncs();
    let answers = Answers::default();
    append(&log, group("first", 1, 10), &answers);
    disk.wait_for_held_sync();
    for at in 0..50 {
        append(&log, group(&format!("{at}"), 2, 10), &answers);
    }
    assert_eq!(log.waiting(P).0, 50, "they wait while the disk is slow");
    assert!(
        answers.lock().is_empty(),
        "nothing is answered before it is synced"
    );
    assert_eq!(log.end(P), Offset(0), "nor visible");
    disk.let_syncs(1);
    disk.wait_for_held_sync();
    disk.free_syncs();
    log.close();
    assert_eq!(answers.lock().len(), 51);
    assert_eq!(log.counts(P).syncs, 2, "fifty shared one sync");
    check_acked(&all(&log).unwrap(), &answers, "all");
}

#[test]
fn closing_and_dropping_commit_what_waits() {
    let disk = SimDisk::new();
    let answers = Answers::default();
    let log = open(&disk, threaded(500, 100)).unwrap();
    for at in 0..40 {
        append(&log, group(&format!("{at}"), 1, 30), &answers);
    }
    drop(log);
    assert_eq!(answers.lock().len(), 40);
    let found = disk.power_cut(1);
    let log = open(&found, by_hand()).unwrap();
    check_acked(&all(&log).unwrap(), &answers, "after drop");
    assert_eq!(log.end(P), Offset(40));
}

#[test]
fn an_empty_group_answers_when_all_before_it_is_durable() {
    let disk = SimDisk::new();
    let log = open(&disk, by_hand()).unwrap();
    let answers = Answers::default();
    append(&log, group("a", 2, 1), &answers);
    append(&log, Vec::new(), &answers);
    log.pump(P);
    let offsets: Vec<_> = answers
        .lock()
        .iter()
        .map(|(_, a)| a.clone().unwrap())
        .collect();
    assert_eq!(offsets, [Offset(0), Offset(2)]);
}

#[test]
fn what_is_too_large_is_refused_and_the_largest_is_not() {
    let disk = SimDisk::new();
    let mut options = by_hand();
    options.tail_bytes_max = 0;
    let log = open(&disk, options).unwrap();
    let error = commit(&log, vec![record(vec![0; RECORD_BYTES_MAX + 1])]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { .. }));
    let error = commit(&log, vec![record(vec![0; RECORD_BYTES_MAX]); 5]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { .. }), "the group");
    let largest = record(vec![9; RECORD_BYTES_MAX]);
    assert_eq!(commit(&log, vec![largest.clone()]).unwrap(), Offset(0));
    assert_eq!(log.read_one(P, Offset(0)).unwrap().unwrap().record, largest);
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let disk = SimDisk::new();
    let log = open(&disk, by_hand()).unwrap();
    log.on_advance(Arc::new(|_, _| panic!("listener")));
    let heard = Arc::new(AtomicU64::new(0));
    let listener = Arc::clone(&heard);
    log.on_advance(Arc::new(move |_, end| {
        listener.store(end.0, Ordering::SeqCst)
    }));
    log.append(P, group("a", 1, 1), Box::new(|_| panic!("answer")));
    log.pump(P);
    commit(&log, group("b", 1, 1)).unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 2);
}

#[test]
fn a_second_user_of_the_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), SegmentOptions::new(1)).unwrap();
    let second = SegmentLog::open(folder.path(), SegmentOptions::new(1)).err();
    assert!(matches!(second, Some(LogError::Locked(_))));
    drop(log);
    SegmentLog::open(folder.path(), SegmentOptions::new(1)).unwrap();
    let data = folder.path().join("data");
    let held = FolderLock::take(&data).unwrap();
    assert!(matches!(FolderLock::take(&data), Err(LogError::Locked(_))));
    drop(held);
    FolderLock::take(&data).unwrap();
}

#[test]
fn an_unknown_partition_is_an_error() {
    let disk = SimDisk::new();
    let log = open(&disk, by_hand()).unwrap();
    let nine = crate::model::PartitionId(9);
    assert!(log.read(nine, Offset(0), 1).is_err());
    assert!(!log.pump(nine));
}
