use std::sync::atomic::AtomicU64;

use super::*;
use crate::machine::{Rows, Space};
use crate::store::rows::tests::{all_rows, committed, copy, put, small};
use crate::store::{MemoryStore, RowStore};

const PATIENCE: Duration = Duration::from_secs(30);

fn frames(count: u64) -> Vec<Committed> {
    (0..count)
        .map(|at| committed(at, at + 1, vec![put(0x20, &[at as u8], &at.to_le_bytes())]))
        .collect()
}

#[test]
fn frames_become_visible_in_order_and_durable_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let (store, _) = RowStore::open(&path, &small()).unwrap();
    let behind = WriteBehind::start(store.clone(), WriteBehindConfig::default()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    behind.applied().on_move(move |at| {
        let _ = tell.send(at);
    });
    let mut model = MemoryStore::default();
    for frame in frames(500) {
        model.apply(std::slice::from_ref(&frame)).unwrap();
        behind.push(frame).unwrap();
    }
    assert!(behind.applied().wait(Offset(499), PATIENCE));
    // Listeners hear of a move a moment after those who wait for it.
    let mut heard = Offset(0);
    while heard < Offset(499) {
        let next = told.recv_timeout(PATIENCE).expect("every move is told");
        assert!(heard <= next);
        heard = next;
    }
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.at(), Some(Offset(499)));
    assert_eq!(all_rows(&snapshot), all_rows(&model));
    assert!(!behind.applied().wait(Offset(500), Duration::ZERO));
    behind.checkpoint();
    assert!(behind.durable().wait(Offset(499), PATIENCE));
    drop((behind, snapshot, store));
    let (_, applied) = RowStore::open(&path, &small()).unwrap();
    assert_eq!(applied, Some(Offset(499)));
}

#[test]
fn frames_are_merged_while_the_store_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let config = WriteBehindConfig {
        linger: Duration::from_millis(50),
        ..WriteBehindConfig::default()
    };
    let behind = WriteBehind::start(store, config).unwrap();
    for at in 0..200 {
        let rows = vec![put(0x20, b"the same", &[at as u8])];
        behind.push(committed(at, at + 1, rows)).unwrap();
    }
    assert!(behind.applied().wait(Offset(199), PATIENCE));
    assert!(
        behind.rows_written() < 200,
        "{} rows",
        behind.rows_written()
    );
}

#[test]
fn the_queue_is_bounded_and_a_huge_frame_still_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let config = WriteBehindConfig {
        queue_bytes_max: 3_000,
        batch_bytes_max: 1_000,
        linger: Duration::ZERO,
        ..WriteBehindConfig::default()
    };
    let behind = WriteBehind::start(store, config).unwrap();
    for at in 0..100u64 {
        let value = vec![1; if at % 10 == 0 { 10_000 } else { 100 }];
        behind
            .push(committed(at, at + 1, vec![put(0x20, &[1], &value)]))
            .unwrap();
        assert!(behind.queued_bytes() <= 12_000);
    }
    assert!(behind.applied().wait(Offset(99), PATIENCE));
}

#[test]
fn a_gap_is_refused_and_a_failed_write_stops_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let behind = WriteBehind::start(store, WriteBehindConfig::default()).unwrap();
    assert!(matches!(
        behind.push(committed(1, 1, vec![])),
        Err(StoreError::Order { .. })
    ));
    // The right place in the log, but not the unit's next batch.
    behind.push(committed(0, 5, vec![])).unwrap();
    let mut next = 1;
    let stopped = loop {
        match behind.push(committed(
            next,
            next + 1,
            vec![put(0x20, b"k", &[0; 1 << 20])],
        )) {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, StoreError::Unit { .. }), "{stopped}");
    assert_eq!(behind.applied().get(), None);
    assert!(behind.failure().is_some());
}

#[test]
fn what_a_checkpoint_covers_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let (store, _) = RowStore::open(&path, &small()).unwrap();
    let behind = WriteBehind::start(store.clone(), WriteBehindConfig::default()).unwrap();
    let all = frames(100);
    let mut model = MemoryStore::default();
    for frame in &all[..60] {
        behind.push(frame.clone()).unwrap();
    }
    behind.checkpoint();
    assert!(behind.durable().wait(Offset(59), PATIENCE));
    for frame in &all[60..] {
        behind.push(frame.clone()).unwrap();
    }
    assert!(behind.applied().wait(Offset(99), PATIENCE));
    let cut = folder.path().join("cut");
    copy(&path, &cut);
    let (again, applied) = RowStore::open(&cut, &small()).unwrap();
    let kept = applied.map_or(0, |at| at.0 as usize + 1);
    assert!(kept >= 60, "{kept} frames");
    model.apply(&all[..kept]).unwrap();
    assert_eq!(all_rows(&again.snapshot().unwrap()), all_rows(&model));
    again.apply(&all[kept..]).unwrap();
    let value = again.snapshot().unwrap().get(Space(0x20), &[99]).unwrap();
    assert_eq!(value.as_deref(), Some(&99u64.to_le_bytes()[..]));
}

/// Fault row 8: the writer waits before the disk is full, because fjall does not survive that.
#[test]
fn the_reserve_is_kept_free() {
    const MB: u64 = 1 << 20;
    for (free, size, wanted) in [
        (300 * MB, 100_000 * MB, true),
        (255 * MB, 100_000 * MB, false),
        (10 * MB, 64 * MB, true),
        (3 * MB, 64 * MB, false),
        (0, 0, true),
    ] {
        assert_eq!(enough(free, size, 256 * MB), wanted, "{free} of {size}");
    }
    let DiskSpace { free, size } = space(&std::env::temp_dir()).unwrap();
    assert!(free <= size && size > 0);
}

#[test]
fn a_watcher_has_heard_of_every_frame_behind_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let behind = WriteBehind::start(store, WriteBehindConfig::default()).unwrap();
    let heard = Arc::new(AtomicU64::new(0));
    let watcher = {
        let heard = Arc::clone(&heard);
        move |frames: &[Committed]| {
            for frame in frames {
                assert_eq!(heard.fetch_add(1, Ordering::SeqCst), frame.at.0);
            }
        }
    };
    behind.watch(Box::new(watcher));
    behind.watch(Box::new(|_| ()));
    behind.applied().on_move({
        let heard = Arc::clone(&heard);
        move |at| assert!(heard.load(Ordering::SeqCst) > at.0)
    });
    for frame in frames(200) {
        behind.push(frame).unwrap();
    }
    assert!(behind.applied().wait(Offset(199), PATIENCE));
    assert_eq!(heard.load(Ordering::SeqCst), 200);
}
