//! Power cuts, full disks, failing syncs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::helpers::*;
use crate::disk::SimDisk;
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::log::{Log, LogError, LogRecord};
use crate::model::Offset;
use crate::testkit::Random;

fn options(dice: &mut Random) -> SegmentOptions {
    let mut options = by_hand();
    options.segment_bytes = 600 + dice.below(4000);
    options.tail_bytes_max = dice.below(4000) as usize;
    options
}

/// Several appenders' groups arrive in some order between commits; then, or in the middle of a commit, it ends.
/// Returns the disk that is found.
fn live(
    disk: &SimDisk,
    dice: &mut Random,
    generation: u64,
    acked: &mut Vec<(u64, Vec<LogRecord>)>,
    offered: &mut Vec<Vec<LogRecord>>,
) -> SimDisk {
    let probe = disk.kill();
    drop(open(&probe, options(&mut Random::new(0))).unwrap());
    let opening = probe.stats().operations;
    let disk = disk.kill();
    // Sometimes while opening, mostly in the middle of appends; sometimes only the process dies.
    let cut = match dice.below(4) {
        0 => dice.below(opening + 1),
        _ => opening + dice.below(80),
    };
    match dice.below(3) {
        0 => disk.kill_before(cut),
        _ => disk.cut_before(cut, dice.below(u64::MAX)),
    }
    let log = open(&disk, options(dice)).unwrap();
    let answers = Arc::new(parking_lot::Mutex::new(Vec::new()));
    for step in 0..12 + dice.below(20) {
        for appender in 0..dice.below(4) {
            let name = format!("g{generation}s{step}a{appender}");
            let group = group(&name, 1 + dice.below(4) as usize, dice.below(400) as usize);
            offered.push(group.clone());
            let (answers, disk) = (Arc::clone(&answers), disk.clone());
            let kept = group.clone();
            log.append(
                P,
                group,
                Box::new(move |answer| {
                    // Only what was answered before the cut was seen by anybody.
                    if disk.found().is_none() {
                        answers.lock().push((answer.unwrap().0, kept));
                    }
                }),
            );
        }
        log.pump(P);
        if disk.found().is_some() {
            break;
        }
    }
    acked.extend(answers.lock().drain(..));
    disk.found()
        .unwrap_or_else(|| disk.power_cut(dice.below(u64::MAX)))
}

fn check_found(
    disk: &SimDisk,
    dice: &mut Random,
    acked: &[(u64, Vec<LogRecord>)],
    offered: &[Vec<LogRecord>],
    context: &str,
) {
    let log = open(disk, options(dice)).unwrap_or_else(|e| panic!("{context}: {e}"));
    let records = all(&log).unwrap_or_else(|e| panic!("{context}: {e}"));
    for (first, group) in acked {
        let first = *first as usize;
        let stored = records.get(first..first + group.len());
        assert_eq!(stored, Some(&group[..]), "{context}: acked at {first}");
    }
    let mut rest = &records[..];
    while let Some(record) = rest.first() {
        let group = offered.iter().find(|group| group[0] == *record);
        let group = group.unwrap_or_else(|| panic!("{context}: begins inside a group"));
        assert!(rest.starts_with(group), "{context}: half a group");
        rest = &rest[group.len()..];
    }
    // What was read once is there for ever: somebody may have acted on it.
    let later = disk.power_cut(dice.below(u64::MAX));
    let later = all(&open(&later, options(dice)).unwrap()).unwrap();
    assert_eq!(later, records, "{context}: read, then lost");
}

#[test]
fn four_thousand_power_cuts_and_kills_lose_nothing_acknowledged() {
    for seed in 0..1000 {
        let mut dice = Random::new(seed);
        let mut disk = SimDisk::new();
        let (mut acked, mut offered) = (Vec::new(), Vec::new());
        // Cut after cut on the same log, so that what one left is met by the next.
        for generation in 0..4 {
            disk = live(&disk, &mut dice, generation, &mut acked, &mut offered);
            let context = format!("seed {seed} generation {generation}");
            check_found(&disk.kill(), &mut dice, &acked, &offered, &context);
        }
    }
}

/// From every offset: at least one record, no more than asked for, the right ones.
fn check_reads(
    log: &SegmentLog,
    records: &[LogRecord],
    bytes_max: usize,
) -> Result<(), TestCaseError> {
    for from in 0..=records.len() {
        let read = log.read(P, Offset(from as u64), bytes_max).unwrap();
        prop_assert_eq!(read.is_empty(), from == records.len());
        let mut bytes = 0;
        for (stored, expected) in read.iter().zip(&records[from..]) {
            prop_assert_eq!(&stored.record, expected);
            bytes += stored.record.payload.len();
        }
        prop_assert!(read.len() <= 1 || bytes <= bytes_max);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testkit::seeds(64, 5_000).count() as u32, ..ProptestConfig::default() })]

    #[test]
    fn any_groups_read_back_from_anywhere(
        groups in prop::collection::vec(prop::collection::vec(0usize..900, 1..6), 1..30),
        segment_bytes in 100u64..5000,
        tail in 0usize..5000,
        bytes_max in 0usize..3000,
    ) {
        let disk = SimDisk::new();
        let mut options = by_hand();
        options.segment_bytes = segment_bytes;
        options.tail_bytes_max = tail;
        let log = open(&disk, options.clone()).unwrap();
        let mut records = Vec::new();
        for sizes in &groups {
            let group: Vec<_> = sizes.iter().map(|size| record(vec![*size as u8; *size])).collect();
            let first = commit(&log, group.clone()).unwrap();
            prop_assert_eq!(first, Offset(records.len() as u64));
            records.extend(group);
        }
        check_reads(&log, &records, bytes_max)?;
        log.close();
        drop(log);
        check_reads(&open(&disk, options).unwrap(), &records, bytes_max)?;
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for room in [0, 1, 27, 28, 60, 300, 511, 900] {
        let disk = SimDisk::new();
        let mut options = by_hand();
        options.segment_bytes = 700;
        options.tail_bytes_max = 0;
        let log = open(&disk, options.clone()).unwrap();
        let answers = Answers::default();
        append(&log, group("before", 3, 100), &answers);
        log.pump(P);
        disk.full_at(Some(disk.used() + room));
        let mut refused = 0;
        for at in 0..12 {
            match commit(&log, group(&format!("full{at}"), 2, 90)) {
                Ok(first) => answers
                    .lock()
                    .push((group(&format!("full{at}"), 2, 90), Ok(first))),
                Err(LogError::Full) => {
                    refused += 1;
                    assert!(
                        log.no_room() >= 180,
                        "it says for how much there was no room"
                    );
                }
                Err(other) => panic!("{other}"),
            }
            check_acked(&all(&log).unwrap(), &answers, "reads go on");
        }
        assert!(refused > 0);
        // Several that share a write, of which the first would fit.
        disk.full_at(Some(disk.used() + 500));
        let together = Answers::default();
        for at in 0..9 {
            append(&log, group(&format!("together{at}"), 1, 100), &together);
        }
        log.pump(P);
        assert!(together.lock().iter().all(|(_, answer)| answer.is_err()));
        // A refused group does not come back, whatever a power cut keeps.
        for seed in 0..200 {
            let found = disk.power_cut(seed);
            let records = all(&open(&found, options.clone()).unwrap()).unwrap();
            check_acked(&records, &answers, "cut while full");
            let acked: usize = answers.lock().iter().map(|(group, _)| group.len()).sum();
            assert_eq!(records.len(), acked, "room {room} seed {seed}");
        }
        disk.full_at(None);
        append(&log, group("after", 20, 100), &answers);
        append(&log, group("last", 2, 100), &answers);
        while log.pump(P) {}
        check_acked(&all(&log).unwrap(), &answers, "after");
        log.close();
        drop(log);
        let records = all(&open(&disk, options).unwrap()).unwrap();
        check_acked(&records, &answers, "reopened");
        let acked: usize = answers.lock().iter().map(|(group, _)| group.len()).sum();
        assert_eq!(records.len(), acked, "nothing else");
    }
}

#[test]
fn row_7_a_failed_sync_stops_the_log_and_loses_nothing_acknowledged() {
    for after in 0..12 {
        let disk = SimDisk::new();
        let fatal = Arc::new(AtomicUsize::new(0));
        let mut options = by_hand();
        options.segment_bytes = 500;
        let seen = Arc::clone(&fatal);
        options.on_fatal = Arc::new(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        let log = open(&disk, options.clone()).unwrap();
        disk.fail_sync(after);
        let answers = Answers::default();
        for at in 0..12 {
            append(&log, group(&format!("{at}"), 2, 80), &answers);
            log.pump(P);
        }
        assert_eq!(fatal.load(Ordering::SeqCst), 1, "once, on sync {after}");
        let refused = answers.lock().iter().filter(|(_, a)| a.is_err()).count();
        assert!(refused > 0, "the rest is refused, not retried");
        check_acked(&all(&log).unwrap(), &answers, "reads go on");
        for seed in 0..20 {
            let found = disk.power_cut(seed);
            let records = all(&open(&found, by_hand()).unwrap()).unwrap();
            check_acked(&records, &answers, "after the failed sync");
        }
    }
}
