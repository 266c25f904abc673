use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use bytes::Bytes;

use super::*;
use crate::log::LogRecord;
use crate::log::segment::{SegmentLog, SegmentOptions};
use crate::machine::Personal;
use crate::model::{IdentNo, Time};
use crate::result::SCHEMA;
use crate::result::frames::frame;
use crate::seal::TestSealer;

fn append(log: &SegmentLog, payload: Vec<u8>) -> Offset {
    let (tell, told) = channel();
    let record = LogRecord {
        schema: SCHEMA,
        payload: payload.into(),
    };
    let done = Box::new(move |answer| tell.send(answer).unwrap());
    log.append(RESULTS, vec![record], done);
    told.recv().unwrap().unwrap()
}

fn open(folder: &Path) -> Arc<SegmentLog> {
    let mut options = SegmentOptions::new(1);
    // Small enough for several segments, and nothing is in memory.
    options.segment_bytes = 200_000;
    options.tail_bytes_max = 0;
    Arc::new(SegmentLog::open(folder, options).unwrap())
}

fn at(offset: Offset, index: u32) -> RecordAt {
    let position = Position {
        partition: RESULTS,
        offset,
    };
    RecordAt { position, index }
}

/// Files of segments, the first one first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = walk(folder);
    found.retain(|path| path.extension().is_some_and(|it| it == "seg"));
    found.sort();
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn records_are_looked_up_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Arc::new(TestSealer::new(1));
    let log = open(folder.path());
    let sizes = [(3, 40), (300, 700), (2, 40), (500, 600), (4, 40)];
    let frames = sizes.map(|(records, bytes)| append(&log, frame(records, bytes, &sealer)));
    drop(log);
    assert!(segments(folder.path()).len() > 1);
    let log = open(folder.path());
    let large = frames.map(|offset| log.parts(RESULTS, offset).unwrap().is_some());
    assert_eq!(large, [false, true, false, true, false]);
    let feeds = Feeds::new(log.clone(), log, sealer, 4);
    let mut places = Vec::new();
    for (offset, (records, _)) in frames.into_iter().zip(sizes) {
        places.extend((0..records).rev().map(|index| at(offset, index)));
    }
    // In no order, and some twice.
    places.extend_from_within(5..40);
    let turn = places.len() / 2;
    places.rotate_left(turn);
    let mut found = vec![None; places.len()];
    feeds
        .look_up(&places, &mut |number, record| found[number] = Some(record))
        .unwrap();
    for (place, found) in places.iter().zip(found) {
        let expected = feeds.record(Unit::member(PartitionId(0)), *place).unwrap();
        assert_eq!(found, Some(expected), "{place:?}");
    }
    for nowhere in [at(frames[0], 3), at(frames[1], 300)] {
        let error = feeds.look_up(&[nowhere], &mut |_, _| panic!("found"));
        assert_eq!(error.unwrap_err().code(), "result_frame");
    }
}

#[test]
fn a_damaged_record_of_a_large_frame_is_told_and_its_neighbours_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Arc::new(TestSealer::new(1));
    let log = open(folder.path());
    let offset = append(&log, frame(300, 700, &sealer));
    // In a segment of its own: the newest one is looked at when the log is opened.
    append(&log, frame(300, 700, &sealer));
    drop(log);
    let path = segments(folder.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let words = b"open 7 open 7 ";
    let place = bytes.windows(words.len()).position(|it| it == words);
    bytes[place.unwrap()] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let log = open(folder.path());
    let feeds = Feeds::new(log.clone(), log, sealer, 4);
    let look = |index| feeds.look_up(&[at(offset, index)], &mut |_, _| {});
    look(6).unwrap();
    assert_eq!(look(7).unwrap_err().code(), "log_corrupt");
    look(8).unwrap();
}

#[test]
fn who_is_erased_is_erased_in_a_frame_that_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Arc::new(TestSealer::new(1));
    let log = open(folder.path());
    let offset = append(&log, frame(300, 700, &sealer));
    drop(log);
    let log = open(folder.path());
    let feeds = Feeds::new(log.clone(), log, sealer.clone(), 4);
    let look = || {
        let mut found = None;
        let each = &mut |_, record: Record| found = Some(record.personal);
        feeds.look_up(&[at(offset, 7)], each).unwrap();
        found.unwrap()
    };
    assert!(matches!(look(), Personal::Open(_)));
    sealer.erase_fragments(&[IdentNo(7)]);
    assert_eq!(look(), Personal::Erased);
}

/// What comes of a batch has to fit into one record of the result log, however much has piled up.
#[test]
fn a_batch_of_large_records_is_a_small_one() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Arc::new(TestSealer::new(1));
    let raw = SegmentLog::open(folder.path(), SegmentOptions::new(2)).unwrap();
    let size = 300_000;
    let (tell, told) = channel();
    for partition in [0, 1].map(PartitionId) {
        for _ in 0..20 {
            let record = raw::RawRecord {
                schema: 7,
                envelope: Bytes::from(vec![3; size]),
                personal: Bytes::new(),
            };
            let record = record.seal(Time(0), &*sealer).unwrap();
            let tell = tell.clone();
            let done = Box::new(move |answer| tell.send(answer).unwrap());
            raw.append(partition, vec![record], done);
        }
    }
    (0..40).for_each(|_| {
        told.recv().unwrap().unwrap();
    });
    let raw = Arc::new(raw);
    let feeds = Feeds::new(raw.clone(), raw, sealer, 4);
    let (mut consumed, mut batches) = (BTreeMap::new(), Vec::new());
    loop {
        let batch = feeds.next(Unit::IDENTITY, &consumed, 2_048).unwrap();
        let Some(last) = batch.slices.last() else {
            break;
        };
        let again = feeds.again(Unit::IDENTITY, &batch.slices).unwrap();
        let places = |batch: &Batch| -> Vec<_> {
            let inputs = batch.inputs.iter();
            inputs.map(|input| input.record.at).collect()
        };
        assert_eq!(places(&again), places(&batch));
        let bytes: usize = batch.inputs.iter().map(|it| it.record.bytes()).sum();
        assert!(bytes < BATCH_BYTES + size, "{bytes} bytes at {last:?}");
        batches.push(batch.inputs.len());
        consumed.extend(batch.slices.iter().map(|it| (it.partition, it.to)));
    }
    assert_eq!(batches, [14, 14, 12], "full ones, in order");
}
