use proptest::prelude::*;

use super::*;
use crate::store::MemoryStore;
use crate::store::rows::tests::{committed, put, remove};

/// What a unit does, in any order: write rows in a batch, commit the oldest decided one, have the store catch up.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, u8, Option<u8>)>),
    Commit,
    Apply,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (
        0u8..3,
        0u8..12,
        proptest::option::weighted(0.7, any::<u8>()),
    );
    let step = prop_oneof![
        3 => proptest::collection::vec(row, 0..6).prop_map(Step::Write),
        2 => Just(Step::Commit),
        1 => Just(Step::Apply),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// However far the commits and the store lag behind, a unit reads its own rows as if there were only one map.
    #[test]
    fn a_view_equals_one_map(steps in steps()) {
        let mut model: BTreeMap<(u8, Vec<u8>), u8> = BTreeMap::new();
        let mut overlay = Overlay::default();
        let mut store = MemoryStore::default();
        let mut decided: VecDeque<(u64, Vec<RowWrite>)> = VecDeque::new();
        let mut logged = VecDeque::new();
        let (mut batch, mut end) = (0, 0);
        for step in steps {
            match step {
                Step::Write(rows) => {
                    batch += 1;
                    let mut writes = Vec::new();
                    for (space, key, value) in rows {
                        // Keys of one and two bytes, so that some are prefixes of others.
                        let key = if key < 4 { vec![key] } else { vec![key % 4, key] };
                        let space = 0x20 + space;
                        match value {
                            Some(value) => {
                                model.insert((space, key.clone()), value);
                                writes.push(put(space, &key, &[value]));
                            }
                            None => {
                                model.remove(&(space, key.clone()));
                                writes.push(remove(space, &key));
                            }
                        }
                    }
                    overlay.push(batch, crate::result::Inner::of(&writes));
                    decided.push_back((batch, writes));
                }
                Step::Commit => {
                    if let Some((batch, rows)) = decided.pop_front() {
                        overlay.committed(batch, Offset(end));
                        logged.push_back(committed(end, batch, rows));
                        end += 1;
                    }
                }
                Step::Apply => {
                    store.apply(logged.make_contiguous()).unwrap();
                    logged.clear();
                    overlay.evict(store.applied());
                }
            }
            let view = overlay.view(&store);
            for space in 0x20..0x23 {
                for prefix in [&[][..], &[1], &[2, 6]] {
                    let mut seen = Vec::new();
                    view.scan(Space(space), prefix, &mut |key, value| {
                        seen.push((key.to_vec(), value[0]));
                        true
                    }).unwrap();
                    let wanted: Vec<_> = model
                        .iter()
                        .filter(|((at, key), _)| *at == space && key.starts_with(prefix))
                        .map(|((_, key), value)| (key.clone(), *value))
                        .collect();
                    prop_assert_eq!(&seen, &wanted);
                    for stop in 0..wanted.len() {
                        let mut seen = 0;
                        view.scan(Space(space), prefix, &mut |_, _| { seen += 1; seen <= stop }).unwrap();
                        prop_assert_eq!(seen, stop + 1);
                    }
                    for (key, value) in wanted {
                        let got = view.get(Space(space), &key).unwrap().unwrap();
                        prop_assert_eq!(&got[..], &[value]);
                    }
                }
            }
        }
        while let Some((batch, rows)) = decided.pop_front() {
            overlay.committed(batch, Offset(end));
            logged.push_back(committed(end, batch, rows));
            end += 1;
        }
        store.apply(logged.make_contiguous()).unwrap();
        overlay.evict(store.applied());
        prop_assert_eq!((overlay.rows(), overlay.batches()), (0, 0));
    }
}
