//! The row store in memory, for the simulator and tests: the same frames give the same rows.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::expand::expand;
use super::{Committed, StoreError, UnitRow};
use crate::machine::{Rows, RowsError, Space};
use crate::model::{Offset, Unit};

/// All rows of the frames applied so far.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: BTreeMap<Vec<u8>, Bytes>,
    units: BTreeMap<Unit, UnitRow>,
    next: u64,
}

impl MemoryStore {
    /// Applies frames that follow the last applied one; all of them or none.
    pub fn apply(&mut self, frames: &[Committed]) -> Result<(), StoreError> {
        for (expected, frame) in (self.next..).zip(frames) {
            if frame.at.0 != expected {
                return Err(StoreError::Order {
                    expected: Offset(expected),
                    got: frame.at,
                });
            }
        }
        let expanded = expand(frames, &self.units)?;
        for (key, value) in expanded.rows {
            match value {
                Some(value) => self.rows.insert(key.to_vec(), value),
                None => self.rows.remove(&key[..]),
            };
        }
        self.units.extend(expanded.units);
        self.next += frames.len() as u64;
        Ok(())
    }

    /// The last applied frame.
    pub fn applied(&self) -> Option<Offset> {
        self.next.checked_sub(1).map(Offset)
    }

    /// What is remembered of each unit.
    pub fn units(&self) -> &BTreeMap<Unit, UnitRow> {
        &self.units
    }

    /// All rows: space, key, value, in order of the stored key.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], &Bytes)> {
        self.rows
            .iter()
            .map(|(key, value)| (Space(key[0]), &key[1..], value))
    }
}

impl Rows for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        let stored = [&[space.0], key].concat();
        Ok(self.rows.get(&stored).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.scan_from(space, prefix, prefix, each)
    }

    fn scan_from(
        &self,
        space: Space,
        prefix: &[u8],
        from: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let all = [&[space.0], prefix].concat();
        let first = [&[space.0], from.max(prefix)].concat();
        let rows = self
            .rows
            .range::<[u8], _>((Bound::Included(&first[..]), Bound::Unbounded));
        for (key, value) in rows.take_while(|(key, _)| key.starts_with(&all)) {
            if !each(&key[1..], value) {
                break;
            }
        }
        Ok(())
    }
}
