//! Frames become the row writes of one atomic batch: the last write of a key wins.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use fjall::Slice;
use foldhash::fast::RandomState;

use super::system::RowForm;
use super::{Committed, StoreError, UnitRow, chain, unit_key};
use crate::machine::Space;
use crate::model::Unit;

/// The writes of a run of frames, by stored key (space byte and key).
pub(super) struct Expanded {
    /// Last value of each key; `None` deletes.
    pub rows: HashMap<Slice, Option<Bytes>, RandomState>,
    /// Units that moved.
    pub units: BTreeMap<Unit, UnitRow>,
}

/// A stored key.
pub(super) fn stored_key(space: Space, key: &[u8], scratch: &mut Vec<u8>) -> Slice {
    scratch.clear();
    scratch.push(space.0);
    scratch.extend_from_slice(key);
    Slice::from(scratch.as_slice())
}

/// Turns frames into writes. `units` is what was remembered before.
pub(super) fn expand(
    frames: &[Committed],
    units: &BTreeMap<Unit, UnitRow>,
) -> Result<Expanded, StoreError> {
    let rows: usize = frames.iter().map(|frame| frame.inner.rows.len()).sum();
    let mut edit = Writing {
        rows: HashMap::with_capacity_and_hasher(rows, RandomState::default()),
        scratch: Vec::with_capacity(64),
    };
    let mut moved: BTreeMap<Unit, UnitRow> = BTreeMap::new();
    for frame in frames {
        let unit = frame.header.unit;
        let row = moved
            .entry(unit)
            .or_insert_with(|| units.get(&unit).cloned().unwrap_or_default());
        if !row.fold(frame)? {
            continue;
        }
        for write in &frame.inner.rows {
            if chain::reserved(write.space) {
                return Err(StoreError::Reserved(write.space.0));
            }
            edit.put(write.space, &write.key, write.value.clone());
        }
    }
    for (unit, row) in &moved {
        edit.put(Space::UNITS, &unit_key(*unit), Some(row.to_row()));
    }
    Ok(Expanded {
        rows: edit.rows,
        units: moved,
    })
}

struct Writing {
    rows: HashMap<Slice, Option<Bytes>, RandomState>,
    scratch: Vec<u8>,
}

impl Writing {
    fn put(&mut self, space: Space, key: &[u8], value: Option<Bytes>) {
        let stored = stored_key(space, key, &mut self.scratch);
        self.rows.insert(stored, value);
    }
}
