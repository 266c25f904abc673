//! Bits that flip, files that end early, files that are gone.

use std::path::Path;

use super::helpers::*;
use crate::disk::{Disk, SimDisk};
use crate::log::frame::{FRAME_HEAD, SEGMENT_HEAD};
use crate::log::segment::{SegmentLog, SegmentOptions, repair, verify};
use crate::log::{Log, LogError, LogRecord};
use crate::model::Offset;

/// Groups of one, three and two records, closed in order.
fn written(options: SegmentOptions) -> (SimDisk, Vec<LogRecord>) {
    let disk = SimDisk::new();
    let log = open(&disk, options).unwrap();
    let mut records = Vec::new();
    for (name, count) in [("a", 1), ("b", 3), ("c", 2)] {
        let group = group(name, count, 20);
        records.extend(group.clone());
        commit(&log, group).unwrap();
    }
    log.close();
    (disk, records)
}

/// Segments so small that each group begins a new one.
fn small_segments() -> SegmentOptions {
    let mut options = by_hand();
    options.segment_bytes = 60;
    options
}

fn reopened(disk: &SimDisk, options: SegmentOptions) -> Result<Vec<LogRecord>, LogError> {
    all(&open(disk, options)?)
}

fn refused_with_place(error: &LogError, file: &Path, context: &str) {
    match error {
        LogError::Corrupt {
            file: named, hint, ..
        } => {
            assert_eq!(named, &file.display().to_string(), "{context}");
            assert!(hint.contains("repair"), "{context}");
        }
        other => panic!("{context}: {other}"),
    }
}

#[test]
fn a_flipped_bit_is_never_passed_over() {
    for options in [by_hand(), small_segments()] {
        let (disk, records) = written(options.clone());
        for file in segments(&disk) {
            let newest = segments(&disk).last() == Some(&file);
            let length = bytes(&disk, &file);
            for byte in 0..length {
                let disk = disk.copy();
                assert!(disk.flip(&file, byte, 1 << (byte % 8)));
                let context = format!("{} byte {byte} of {length}", file.display());
                match reopened(&disk, options.clone()) {
                    Err(error) => refused_with_place(&error, &file, &context),
                    Ok(read) => {
                        let mark = byte + FRAME_HEAD as u64 >= length;
                        assert!(mark, "{context}: not noticed, newest {newest}");
                        assert_eq!(read, records, "{context}");
                    }
                }
                // The full scan must find at least what a reader would.
                let report = verify(&disk, Path::new(DIR)).unwrap().remove(0);
                let mark = byte + FRAME_HEAD as u64 >= length;
                assert_eq!(report.damage.is_none(), mark, "{context}: {report:?}");
            }
        }
    }
}

#[test]
fn damage_names_the_first_offset_that_is_lost_and_repair_cuts_there() {
    let (disk, records) = written(by_hand());
    let file = segments(&disk).remove(0);
    let length = bytes(&disk, &file);
    for byte in 0..length - FRAME_HEAD as u64 {
        let disk = disk.copy();
        disk.flip(&file, byte, 0x10);
        let Err(LogError::Corrupt {
            offset, byte: at, ..
        }) = open(&disk, by_hand())
        else {
            panic!("byte {byte}: not refused");
        };
        assert!(at <= byte, "{at} {byte}");
        let repaired = repair(&disk, Path::new(DIR), P).unwrap();
        let head = byte < SEGMENT_HEAD as u64;
        assert!(head || repaired.end <= offset, "whole groups only");
        assert!(!head || repaired.dropped == 0, "the head is made anew");
        assert_eq!(repaired.dropped, 6 - repaired.end.0);
        assert_eq!(repaired.kept.len(), usize::from(!head));
        let log = open(&disk, by_hand()).unwrap();
        let mut read = all(&log).unwrap();
        assert_eq!(read, records[..repaired.end.0 as usize], "byte {byte}");
        let more = group("d", 2, 5);
        assert_eq!(commit(&log, more.clone()).unwrap(), repaired.end);
        log.close();
        drop(log);
        read.extend(more);
        assert_eq!(reopened(&disk, by_hand()).unwrap(), read);
    }
}

#[test]
fn damage_in_an_older_segment_is_met_by_the_reader_and_repaired() {
    let (disk, records) = written(small_segments());
    let files = segments(&disk);
    assert_eq!(files.len(), 3, "one per group");
    disk.flip(&files[1], 100, 1);
    // Unread, an older segment is not scanned at open: the seal says where it ends.
    let log = open(&disk, small_segments()).unwrap();
    assert_eq!(
        log.read_one(P, Offset(0)).unwrap().unwrap().record,
        records[0]
    );
    let error = all(&log).unwrap_err();
    refused_with_place(&error, &files[1], "read");
    assert_eq!(
        log.read_one(P, Offset(4)).unwrap().unwrap().record,
        records[4]
    );
    drop(log);
    let repaired = repair(&disk, Path::new(DIR), P).unwrap();
    assert_eq!((repaired.end, repaired.dropped), (Offset(1), 5));
    assert_eq!(reopened(&disk, small_segments()).unwrap(), records[..1]);
    assert!(
        repair(&disk, Path::new(DIR), P).unwrap().kept.is_empty(),
        "whole now"
    );
}

#[test]
fn cut_at_every_byte_of_the_last_group_loses_only_that() {
    let (disk, records) = written(by_hand());
    let file = segments(&disk).remove(0);
    // Group c and the closing mark.
    let tail: usize = records[4..]
        .iter()
        .map(|r| r.payload.len() + FRAME_HEAD)
        .sum();
    let length = bytes(&disk, &file);
    let begins = length - (FRAME_HEAD + tail) as u64;
    for at in begins..=length {
        let disk = disk.copy();
        disk.cut_file(&file, at);
        let whole = if at >= length - FRAME_HEAD as u64 {
            6
        } else {
            4
        };
        let log = open(&disk, by_hand()).unwrap();
        assert_eq!(
            all(&log).unwrap(),
            records[..whole],
            "cut at {at} of {length}"
        );
        let more = group("d", 1, 9);
        assert_eq!(commit(&log, more.clone()).unwrap(), Offset(whole as u64));
        log.close();
        drop(log);
        let mut expected = records[..whole].to_vec();
        expected.extend(more);
        assert_eq!(reopened(&disk, by_hand()).unwrap(), expected, "cut at {at}");
    }
}

#[test]
fn a_missing_segment_is_refused() {
    for gone in 0..3 {
        let (disk, _) = written(small_segments());
        let files = segments(&disk);
        disk.unlink(&files[gone]).unwrap();
        let error = open(&disk, small_segments()).err();
        assert!(
            matches!(error, Some(LogError::Corrupt { .. })),
            "segment {gone} gone: {error:?}"
        );
        let reported = verify(&disk, Path::new(DIR)).unwrap().remove(0);
        assert!(reported.damage.is_some(), "segment {gone} gone");
        let repaired = repair(&disk, Path::new(DIR), P).unwrap();
        assert_eq!(repaired.end.0, [0, 1, 4][gone], "segment {gone} gone");
        let log = open(&disk, small_segments()).unwrap();
        assert_eq!(log.end(P), repaired.end);
        assert_eq!(all(&log).unwrap().len() as u64, repaired.end.0);
    }
}

#[test]
fn all_segments_gone_is_no_new_log() {
    let (disk, _) = written(by_hand());
    disk.unlink(&segments(&disk)[0]).unwrap();
    assert!(matches!(
        open(&disk, by_hand()),
        Err(LogError::Corrupt { .. })
    ));
}

#[test]
fn a_log_shorter_than_a_checkpoint_is_refused() {
    let (disk, _) = written(by_hand());
    let log = open(&disk, by_hand()).unwrap();
    log.require(P, Offset(6)).unwrap();
    let error = log.require(P, Offset(7)).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Corrupt {
                offset: Offset(6),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_damaged_manifest_or_index_is_noticed() {
    let (disk, records) = written(small_segments());
    for file in disk.files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for byte in 0..bytes(&disk, &file) {
            let disk = disk.copy();
            disk.flip(&file, byte, 4);
            if name == "manifest" {
                let refusal = open(&disk, small_segments()).err().unwrap();
                assert!(matches!(refusal, LogError::Corrupt { .. }), "byte {byte}");
                repair(&disk, Path::new(DIR), P).unwrap();
            } else if !name.ends_with(".idx") {
                continue;
            }
            assert_eq!(
                reopened(&disk, small_segments()).unwrap(),
                records,
                "{name} {byte}"
            );
        }
    }
}

#[test]
fn a_partition_refused_leaves_the_others_working() {
    let disk = SimDisk::new();
    let options = || {
        let mut options = by_hand();
        options.partitions = 2;
        options
    };
    let log = open(&disk, options()).unwrap();
    commit(&log, group("a", 2, 9)).unwrap();
    drop(log);
    disk.flip(&segments(&disk)[0], 70, 1);
    assert!(open(&disk, options()).is_err());
    let log = SegmentLog::open_what_is_whole(
        std::sync::Arc::new(disk.clone()),
        Path::new(DIR),
        options(),
    )
    .unwrap();
    assert_eq!(log.refused().len(), 1);
    assert!(matches!(
        log.read(P, Offset(0), 1),
        Err(LogError::Corrupt { .. })
    ));
    assert!(matches!(
        commit(&log, group("b", 1, 1)),
        Err(LogError::Corrupt { .. })
    ));
    let other = crate::model::PartitionId(1);
    let (tell, told) = std::sync::mpsc::channel();
    log.append(
        other,
        group("b", 1, 1),
        Box::new(move |a| tell.send(a).unwrap()),
    );
    log.pump(other);
    assert_eq!(told.recv().unwrap().unwrap(), Offset(0));
    drop(log);
    // Fewer partitions than there are would forget records.
    assert!(matches!(
        open(&disk, by_hand()),
        Err(LogError::Corrupt { .. })
    ));
}
