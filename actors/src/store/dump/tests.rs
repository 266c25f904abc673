use super::*;
use crate::machine::Rows;
use crate::store::rows::tests::{all_rows, committed, put, small};

fn dumped(folder: &Path) -> (RowStore, Vec<u8>, u64) {
    let (store, _) = RowStore::open(&folder.join("rows"), &small()).unwrap();
    for at in 0..50u64 {
        let rows = (0..40)
            .map(|n| put(((n % 7) << 5) + 0x20, &[n, at as u8], &[n; 100]))
            .collect();
        store.apply(&[committed(at, at + 1, rows)]).unwrap();
    }
    let mut bytes = Vec::new();
    let snapshot = store.snapshot().unwrap();
    let count = snapshot.dump(&mut bytes).unwrap();
    (store, bytes, count)
}

#[test]
fn a_dump_loads_into_an_equal_store_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, bytes, count) = dumped(folder.path());
    assert_eq!(count, 2_001, "rows and the unit's");
    let path = folder.path().join("again");
    let (loaded, at) = RowStore::load(&path, &small(), &mut &bytes[..]).unwrap();
    assert_eq!(at, Some(Offset(49)));
    assert_eq!(
        all_rows(&loaded.snapshot().unwrap()),
        all_rows(&store.snapshot().unwrap())
    );
    let next = [committed(50, 51, vec![put(0x20, b"new", b"row")])];
    loaded.apply(&next).unwrap();
    store.apply(&next).unwrap();
    loaded.sync().unwrap();
    drop(loaded);
    let (loaded, at) = RowStore::open(&path, &small()).unwrap();
    assert_eq!(at, Some(Offset(50)));
    assert_eq!(
        all_rows(&loaded.snapshot().unwrap()),
        all_rows(&store.snapshot().unwrap())
    );
    assert!(
        loaded
            .snapshot()
            .unwrap()
            .get(Space(0x20), b"new")
            .unwrap()
            .is_some()
    );
}

#[test]
fn an_empty_store_dumps_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = RowStore::open(&folder.path().join("rows"), &small()).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(store.snapshot().unwrap().dump(&mut bytes).unwrap(), 0);
    let path = folder.path().join("again");
    let (_, at) = RowStore::load(&path, &small(), &mut &bytes[..]).unwrap();
    assert_eq!(at, None);
    let again = RowStore::load(&folder.path().join("rows2"), &small(), &mut &b"TRB"[..]);
    assert!(matches!(again, Err(DumpError::Damaged(_))));
}

#[test]
fn a_flipped_or_missing_byte_of_a_dump_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bytes, _) = dumped(folder.path());
    for step in 0..40 {
        let at = bytes.len() * step / 40;
        let mut bad = bytes.clone();
        if step % 2 == 0 {
            bad[at] ^= 1;
        } else {
            bad.truncate(at);
        }
        let path = folder.path().join(format!("bad{step}"));
        let loaded = RowStore::load(&path, &small(), &mut &bad[..]);
        assert!(matches!(loaded, Err(DumpError::Damaged(_))), "byte {at}");
    }
}
