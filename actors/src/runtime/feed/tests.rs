use std::path::Path;
use std::sync::mpsc::channel;

use super::*;
use crate::log::LogRecord;
use crate::log::segment::{SegmentLog, SegmentOptions};
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
    // Small enough for a seal between two frames, and nothing is in memory.
    options.segment_bytes = 600_000;
    options.tail_bytes_max = 0;
    Arc::new(SegmentLog::open(folder, options).unwrap())
}

/// Small frames and large ones, of which one is damaged on the disk.
#[test]
fn records_are_looked_up_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Arc::new(TestSealer::new(1));
    let log = open(folder.path());
    let sizes = [(3, 40), (300, 700), (2, 40), (500, 600), (4, 40)];
    let frames = sizes.map(|(records, bytes)| append(&log, frame(records, bytes, &sealer)));
    drop(log);
    let log = open(folder.path());
    let large = frames.map(|offset| log.parts(RESULTS, offset).unwrap().is_some());
    assert_eq!(large, [false, true, false, true, false]);
    let feeds = Feeds::new(log.clone(), log, sealer, 4);
    let mut places = Vec::new();
    for (offset, (records, _)) in frames.into_iter().zip(sizes) {
        let position = Position {
            partition: RESULTS,
            offset,
        };
        places.extend((0..records).rev().map(|index| RecordAt { position, index }));
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
    let nowhere = RecordAt {
        index: 3,
        ..places[0]
    };
    let nowhere = RecordAt {
        position: Position {
            partition: RESULTS,
            offset: frames[0],
        },
        ..nowhere
    };
    let error = feeds.look_up(&[nowhere], &mut |_, _| panic!("found"));
    assert_eq!(error.unwrap_err().code(), "result_frame");
}
