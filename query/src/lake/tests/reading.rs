//! Positions, pruning, cancel, compaction.

use std::ops::ControlFlow;

use actors::history::{Columns, History, HistoryError, OwnedEvent, Wanted};
use actors::machine::RecordAt;
use actors::model::{IdentNo, Offset, Time};

use super::model::*;
use crate::lake::manifest::FileEntry;
use crate::lake::scan::parts;

#[test]
fn the_tail_is_seen_before_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    for n in 0..100 {
        frames.add(vec![event(n)]);
        follow(&lake, &frames);
    }
    let stats = lake.stats();
    assert_eq!((stats.position, stats.written), (Offset(100), Offset(0)));
    assert_eq!((stats.files, stats.tail_rows), (0, 100));
    assert!(
        lake.view().tail.len() < 10,
        "small batches are put together"
    );
    same(&lake, &frames, &all());
    let behind = lake.scan(
        &Wanted {
            until: Some(Offset(101)),
            ..Wanted::default()
        },
        &mut [],
    );
    assert!(
        matches!(behind, Err(HistoryError::Behind { .. })),
        "{behind:?}"
    );
}

#[test]
fn it_is_written_when_it_is_large_or_old() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    frames.add((0..10).map(event).collect());
    follow(&lake, &frames);
    lake.follow(&frames, NOW.plus_ms(299_999)).unwrap();
    assert_eq!(lake.stats().files, 0);
    lake.follow(&frames, NOW.plus_ms(300_000)).unwrap();
    assert_eq!(lake.stats().written, Offset(1));
    assert_eq!(lake.stats().tail_rows, 0);
    same(&lake, &frames, &all());
}

#[test]
fn a_scan_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    frames.add((0..500).map(event).collect());
    follow(&lake, &frames);
    lake.flush().unwrap();
    let mut count = 0;
    let seen = lake
        .scan(
            &all(),
            &mut [&mut |_| {
                count += 1;
                match count < 5 {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            }],
        )
        .unwrap();
    assert_eq!((count, seen.stopped), (5, true));
}

#[test]
fn a_month_that_is_over_becomes_one_file_and_a_fragment_one_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let mut config = config(folder.path());
    config.file_rows_max = 1 << 20;
    let lake = crate::lake::Lake::open(config, &frames).unwrap();
    // August, in ten pieces.
    for part in 0..10i64 {
        let events = (0..200).map(|n| {
            let time = Time(NOW.0 - 100 * DAY_MS + part * DAY_MS + n);
            OwnedEvent::new(
                IdentNo(mix(n as u64) as u32 % 50),
                RecordAt::default(),
                time,
                "viewed",
            )
        });
        frames.add(events.collect());
        follow(&lake, &frames);
        lake.flush().unwrap();
    }
    tend(&lake, NOW);
    let view = lake.view();
    assert_eq!(view.files.len(), 1);
    assert_eq!(view.files[0].entry.level, FileEntry::MONTH);
    let opened = view.files[0].open().unwrap();
    let groups = opened.meta.metadata().num_row_groups();
    assert!(groups > 30);
    same(&lake, &frames, &all());
    let one = Wanted {
        fragments: Some([IdentNo(7)].into()),
        columns: Columns::ALL,
        ..Wanted::default()
    };
    same(&lake, &frames, &one);
    assert!(
        parts(&view, &one, Offset(10)) <= 2,
        "one row group, or two where it begins in one"
    );
    assert_eq!(parts(&view, &all(), Offset(10)), groups);

    // Late events of the month stay beside it until they are worth it.
    let late = |n: i64| {
        OwnedEvent::new(
            IdentNo(3),
            RecordAt::default(),
            Time(NOW.0 - 95 * DAY_MS + n),
            "late",
        )
    };
    frames.add((0..20).map(late).collect());
    follow(&lake, &frames);
    lake.flush().unwrap();
    tend(&lake, NOW);
    assert_eq!(lake.stats().files, 2);
    frames.add((0..300).map(late).collect());
    follow(&lake, &frames);
    lake.flush().unwrap();
    tend(&lake, NOW);
    assert_eq!(lake.stats().files, 1);
    same(&lake, &frames, &all());
}

#[test]
fn times_at_the_ends_of_the_calendar_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let frames = Frames::default();
    let lake = open(folder.path(), &frames);
    let at = |time| OwnedEvent::new(IdentNo(1), RecordAt::default(), time, "odd");
    for _ in 0..4 {
        frames.add(vec![at(Time::MIN), at(Time(0)), at(NOW), at(Time::MAX)]);
        follow(&lake, &frames);
        lake.flush().unwrap();
    }
    tend(&lake, NOW);
    same(&lake, &frames, &all());
}
