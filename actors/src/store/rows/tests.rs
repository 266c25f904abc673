use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::machine::RowWrite;
use crate::model::{PartitionId, Time};
use crate::result::{Header, Inner as Part, Slice};
use crate::store::{Direction, MemoryStore};

/// All rows by space and key.
pub(crate) type State = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// Small sizes, so that tests flush and rotate.
pub(crate) fn small() -> StoreConfig {
    StoreConfig {
        cache_bytes: 8 << 20,
        memtable_bytes: 1 << 20,
        ..StoreConfig::default()
    }
}

pub(crate) fn put(space: u8, key: &[u8], value: &[u8]) -> RowWrite {
    RowWrite {
        space: Space(space),
        key: Bytes::copy_from_slice(key),
        value: Some(Bytes::copy_from_slice(value)),
    }
}

pub(crate) fn remove(space: u8, key: &[u8]) -> RowWrite {
    RowWrite {
        space: Space(space),
        key: Bytes::copy_from_slice(key),
        value: None,
    }
}

/// The frame at `at`, batch `batch` of identity, that writes `rows`.
pub(crate) fn committed(at: u64, batch: u64, rows: Vec<RowWrite>) -> Committed {
    frame(
        at,
        batch,
        Part {
            rows,
            ..Part::default()
        },
    )
}

pub(crate) fn frame(at: u64, batch: u64, inner: Part) -> Committed {
    Committed {
        at: Offset(at),
        header: Header {
            unit: Unit::IDENTITY,
            epoch: 1,
            batch,
            logic: 1,
            retried: vec![],
            now: Time(1_000 + at as i64),
            slices: vec![Slice {
                partition: PartitionId(1),
                from: Offset(at * 10),
                to: Offset(at * 10 + 10),
            }],
        },
        inner: Arc::new(inner),
        sent: vec![(Unit::member(PartitionId(0)), batch * 3)],
    }
}

pub(crate) fn all_rows(rows: &dyn Rows) -> State {
    let mut all = BTreeMap::new();
    for space in (0..=255).filter(|space| !chain::reserved(Space(*space))) {
        rows.scan(Space(space), b"", &mut |key, value| {
            all.insert((space, key.to_vec()), value.to_vec());
            true
        })
        .unwrap();
    }
    all
}

/// Copies a store as a power cut that keeps all written bytes would leave it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn rows_and_position_survive_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let (store, applied) = RowStore::open(&path, &small()).unwrap();
    assert_eq!(applied, None);
    let frames = [
        committed(0, 1, vec![put(0x20, b"a", b"1"), put(0xe0, b"a", b"2")]),
        committed(1, 2, vec![put(0x20, b"a", b"3"), put(0x40, b"b", b"4")]),
        committed(2, 3, vec![remove(0x40, b"b")]),
    ];
    store.apply(&frames[..1]).unwrap();
    let before = store.snapshot().unwrap();
    assert_eq!(
        store.apply(&frames[1..]).unwrap(),
        3,
        "two rows and the unit's"
    );
    assert_eq!(before.at(), Some(Offset(0)));
    assert_eq!(before.get(Space(0x20), b"a").unwrap().unwrap(), "1");
    drop(before);
    store.sync().unwrap();
    drop(store);

    let (store, applied) = RowStore::open(&path, &small()).unwrap();
    assert_eq!(applied, Some(Offset(2)));
    let now = store.snapshot().unwrap();
    assert_eq!(now.get(Space(0x20), b"a").unwrap().unwrap(), "3");
    assert_eq!(now.get(Space(0xe0), b"a").unwrap().unwrap(), "2");
    assert_eq!(now.get(Space(0x40), b"b").unwrap(), None);
    let unit = now.unit(Unit::IDENTITY).unwrap().unwrap();
    assert_eq!((unit.batch, unit.now), (3, Time(1_002)));
    assert_eq!(unit.consumed[&PartitionId(1)], Offset(30));
    assert_eq!(unit.sent[&Unit::member(PartitionId(0))], 9);
    assert_eq!(store.units()[&Unit::IDENTITY], unit);
}

#[test]
fn frames_out_of_order_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    store
        .apply(&[committed(0, 1, vec![put(0x20, b"a", b"1")])])
        .unwrap();
    let before = all_rows(&store.snapshot().unwrap());
    let mut older = committed(1, 2, vec![put(0x20, b"a", b"zombie")]);
    older.header.epoch = 0;
    let mut read_twice = committed(1, 2, vec![]);
    read_twice.header.slices[0].from = Offset(5);
    for (bad, code) in [
        (vec![committed(2, 2, vec![])], "store_order"),
        (vec![committed(0, 1, vec![])], "store_order"),
        (vec![committed(1, 3, vec![])], "store_order"),
        (
            vec![committed(1, 2, vec![]), committed(2, 4, vec![])],
            "store_order",
        ),
        (vec![read_twice], "store_order"),
        (
            vec![committed(1, 2, vec![put(0x3f, b"x", b"")])],
            "store_reserved",
        ),
    ] {
        let error = store.apply(&bad).unwrap_err();
        assert_eq!(crate::model::Fault::code(&error), code, "{error}");
        assert_eq!(all_rows(&store.snapshot().unwrap()), before);
        assert_eq!(store.applied(), Some(Offset(0)));
    }
    store.apply(&[older]).unwrap();
    assert_eq!(
        all_rows(&store.snapshot().unwrap()),
        before,
        "an earlier epoch counts for nothing"
    );
    assert_eq!(store.applied(), Some(Offset(1)));
    store
        .apply(&[{
            let mut next = committed(2, 2, vec![]);
            next.header.slices[0].from = Offset(10);
            next
        }])
        .unwrap();
}

#[test]
fn scans_page_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let rows = (0..20u8).map(|n| put(0x20, &[7, n], &[n])).collect();
    store.apply(&[committed(0, 1, rows)]).unwrap();
    let rows = vec![
        put(0x20, &[6], b""),
        put(0x20, &[8], b""),
        put(0x21, &[7, 3], b""),
        put(0x20, &[255, 255], b""),
    ];
    store.apply(&[committed(1, 2, rows)]).unwrap();
    let snapshot = store.snapshot().unwrap();
    let page = |prefix: &[u8], from: Option<&[u8]>, direction, limit| -> Vec<u8> {
        let mut seen = Vec::new();
        snapshot
            .scan_from(Space(0x20), prefix, from, direction, &mut |key, _| {
                seen.push(*key.last().unwrap());
                seen.len() < limit
            })
            .unwrap();
        seen
    };
    assert_eq!(page(&[7], None, Direction::Up, 3), [0, 1, 2]);
    assert_eq!(page(&[7], Some(&[7, 18]), Direction::Up, 9), [18, 19]);
    assert_eq!(page(&[7], None, Direction::Down, 3), [19, 18, 17]);
    assert_eq!(page(&[7], Some(&[7, 1]), Direction::Down, 9), [1, 0]);
    assert_eq!(
        page(&[7], Some(&[9]), Direction::Down, 2),
        [19, 18],
        "from beyond the prefix"
    );
    assert_eq!(
        page(&[7], Some(&[6]), Direction::Up, 1),
        [0],
        "from before the prefix"
    );
    assert_eq!(page(&[7], Some(&[6]), Direction::Down, 1), Vec::<u8>::new());
    assert_eq!(page(&[7], Some(&[8]), Direction::Up, 1), Vec::<u8>::new());
    assert_eq!(page(&[255], None, Direction::Up, 9), [255]);
    assert_eq!(page(&[], None, Direction::Down, 2), [255, 8]);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let first = RowStore::open(&path, &small()).unwrap();
    let second = RowStore::open(&path, &small());
    assert!(matches!(second, Err(StoreError::Locked(_))));
    drop(first);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testkit::seeds(12, 500).count() as u32, ..ProptestConfig::default() })]

    /// Whatever runs the frames are applied in, with copies taken as after kill −9 and reopened: the rows are those of
    /// the memory store at the position the store says.
    #[test]
    fn the_store_equals_the_memory_store(
        batches in proptest::collection::vec(
            proptest::collection::vec((0u8..8, 0u8..30, proptest::option::weighted(0.8, 0u8..255)), 0..20),
            1..12,
        ),
        runs in proptest::collection::vec(1usize..4, 12),
        reopen in 0usize..12,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("rows");
        let frames: Vec<Committed> = batches
            .iter()
            .enumerate()
            .map(|(at, rows)| {
                let rows = rows
                    .iter()
                    .map(|(space, key, value)| match value {
                        Some(value) => put(space << 5, &[*key], &[*value; 100]),
                        None => remove(space << 5, &[*key]),
                    })
                    .collect();
                committed(at as u64, at as u64 + 1, rows)
            })
            .collect();
        // Space 0 is the units' own here.
        let frames: Vec<Committed> = frames
            .into_iter()
            .map(|mut frame| {
                let mut inner = (*frame.inner).clone();
                inner.rows.retain(|row| row.space != Space(0));
                frame.inner = Arc::new(inner);
                frame
            })
            .collect();
        let (mut store, _) = RowStore::open(&path, &small()).unwrap();
        let mut model = MemoryStore::default();
        let mut at = 0;
        for (round, run) in runs.iter().enumerate() {
            let next = (at + run).min(frames.len());
            store.apply(&frames[at..next]).unwrap();
            model.apply(&frames[at..next]).unwrap();
            at = next;
            if round == reopen {
                store.sync().unwrap();
                let cut = folder.path().join("cut");
                copy(&path, &cut);
                drop(store);
                path = cut;
                let (again, applied) = RowStore::open(&path, &small()).unwrap();
                prop_assert_eq!(applied, model.applied());
                store = again;
            }
            prop_assert_eq!(all_rows(&store.snapshot().unwrap()), all_rows(&model));
        }
    }
}

/// Fills a store whose journal holds many batches and whose keyspaces were flushed at different times.
fn filled(path: &Path) -> Vec<State> {
    let (store, _) = RowStore::open(path, &small()).unwrap();
    let mut model = MemoryStore::default();
    let mut states = vec![all_rows(&model)];
    for at in 0..40u64 {
        let mut rows = vec![put(0x20, &at.to_be_bytes(), &[at as u8; 2000])];
        if at % 3 == 0 {
            rows.push(put(0x40, &[at as u8 % 5], &[at as u8; 300]));
        }
        let frame = [committed(at, at + 1, rows)];
        store.apply(&frame).unwrap();
        model.apply(&frame).unwrap();
        states.push(all_rows(&model));
        if at == 20 {
            // One keyspace in a synced table, the others in the journal only.
            store.inner.spaces[1].rotate_memtable_and_wait().unwrap();
        }
    }
    store.sync().unwrap();
    states
}

/// A version of fjall that calls its journal otherwise would be slower, and nothing else would say so.
#[test]
fn the_journal_is_there_to_be_flushed_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let (store, _) = RowStore::open(&path, &small()).unwrap();
    let frame = committed(0, 1, vec![put(0x20, b"key", b"value")]);
    store.apply(&[frame]).unwrap();
    assert!(store.flush_ahead().unwrap() > 0);
}

#[test]
fn a_damaged_journal_is_found_or_leaves_an_earlier_whole_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let states = filled(&path);
    let journal = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .unwrap();
    let written = fs::read(&journal).unwrap();
    let used = written.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (mut damaged, mut earlier) = (0, 0);
    for step in 0..60 {
        let at = used * step / 60;
        let cut = folder.path().join("cut");
        copy(&path, &cut);
        let target = cut.join(journal.file_name().unwrap());
        let mut bytes = written[..used].to_vec();
        if step % 3 == 2 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << (step % 8);
        }
        fs::write(&target, bytes).unwrap();
        match RowStore::open(&cut, &small()) {
            Err(StoreError::Damaged(_)) => damaged += 1,
            Err(other) => panic!("byte {at}: {other}"),
            Ok((store, applied)) => {
                let frames = applied.map_or(0, |at| at.0 as usize + 1);
                assert!(
                    all_rows(&store.snapshot().unwrap()) == states[frames],
                    "byte {at}"
                );
                earlier += usize::from(frames < states.len() - 1);
            }
        }
        fs::remove_dir_all(&cut).unwrap();
    }
    println!("{damaged} refused, {earlier} opened earlier");
    assert!(damaged > 0 && earlier > 0);
}

#[test]
fn a_damaged_table_is_found_by_the_check_and_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let states = filled(&path);
    let (store, _) = RowStore::open(&path, &small()).unwrap();
    for space in &store.inner.spaces {
        space.rotate_memtable_and_wait().unwrap();
    }
    let whole = store.check().unwrap();
    assert_eq!(whole.rows as usize, states.last().unwrap().len());
    drop(store);

    let mut tables = Vec::new();
    fn walk(path: &Path, tables: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, tables);
            } else if path.parent().unwrap().ends_with("tables") {
                tables.push(path);
            }
        }
    }
    walk(&path, &mut tables);
    tables.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let table = tables.last().unwrap();
    let bytes = fs::read(table).unwrap();
    let mut found = 0;
    for step in 0..40 {
        let mut bad = bytes.clone();
        bad[bytes.len() * step / 40] ^= 0x10;
        fs::write(table, bad).unwrap();
        match RowStore::open(&path, &small()) {
            Err(StoreError::Damaged(_)) => found += 1,
            Err(other) => panic!("{other}"),
            Ok((store, _)) => match store.check() {
                Err(StoreError::Damaged(_)) => found += 1,
                Err(other) => panic!("{other}"),
                // A flip in bytes that carry no row (filters, padding): every row reads as it was.
                Ok(checked) => {
                    assert_eq!(checked.rows, whole.rows);
                    assert!(all_rows(&store.snapshot().unwrap()) == *states.last().unwrap());
                }
            },
        }
    }
    assert!(found > 20, "{found} of 40 found");

    fs::write(table, b"").unwrap();
    let opened = RowStore::open_or_set_aside(&path, &small()).unwrap();
    assert_eq!(opened.applied, None);
    let (aside, damage) = opened.set_aside.unwrap();
    assert!(aside.is_dir() && matches!(damage, StoreError::Damaged(_)));
    assert_eq!(all_rows(&opened.store.snapshot().unwrap()), BTreeMap::new());
}

#[test]
fn links_are_dropped_once_their_rows_are_in_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    for at in 0..30u64 {
        store
            .apply(&[committed(at, at + 1, vec![put(0x20, b"k", b"v")])])
            .unwrap();
        if at % 10 == 5 {
            store.inner.spaces[1].rotate_memtable_and_wait().unwrap();
        }
    }
    let view = store.inner.db.snapshot();
    let links = view
        .prefix(&store.inner.spaces[1], chain::link_prefix(1))
        .count();
    assert!(links <= 6, "{links} links");
    assert_eq!(
        view.prefix(&store.inner.spaces[0], chain::link_prefix(0))
            .count(),
        30
    );
}
