//! Reading rows as they were at one position, from any thread.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use fjall::Readable;

use super::chain::{MARK_KEY, Mark};
use super::error::guarded;
use super::rows::Inner;
use super::{RowForm, StoreError, UnitRow, unit_key};
use crate::machine::{Rows, RowsError, Space};
use crate::model::{Offset, Unit};

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Up,
    /// Largest key first.
    Down,
}

/// All rows at one position. Cheap to take and to clone; keep it for one answer, not for long: while it lives, no older
/// version of a row is dropped.
#[derive(Clone)]
pub struct Snapshot {
    store: Arc<Inner>,
    view: fjall::Snapshot,
    at: Option<Offset>,
}

impl Snapshot {
    pub(super) fn take(store: &Arc<Inner>) -> Result<Snapshot, StoreError> {
        let view = store.db.snapshot();
        let mark = guarded("read the position", || view.get(&store.spaces[0], MARK_KEY))?;
        let at = match mark {
            None => None,
            Some(bytes) => Mark::decode(&bytes)
                .ok_or_else(|| StoreError::Damaged("the position row has another form".into()))?
                .applied(),
        };
        Ok(Snapshot {
            store: Arc::clone(store),
            view,
            at,
        })
    }

    /// The last frame whose rows are in it; `None` before the first.
    pub fn at(&self) -> Option<Offset> {
        self.at
    }

    /// Rows whose key starts with `prefix`, from `from` on (included; a whole key within the space), one way or the
    /// other, until `each` answers `false`. For lists that page.
    pub fn scan_from(
        &self,
        space: Space,
        prefix: &[u8],
        from: Option<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let low = with_space(space, prefix);
        let high = after_prefix(&low);
        let from = from.map(|key| with_space(space, key));
        let (start, end) = match (direction, from) {
            (Direction::Up, Some(from)) => (Bound::Included(from.max(low)), upper(high)),
            (Direction::Down, Some(from)) => {
                let end = match &high {
                    Some(high) if from >= *high => Bound::Excluded(high.clone()),
                    _ => Bound::Included(from),
                };
                (Bound::Included(low), end)
            }
            (_, None) => (Bound::Included(low), upper(high)),
        };
        if is_empty(&start, &end) {
            return Ok(());
        }
        let keyspace = &self.store.spaces[space.keyspace()];
        let mut rows = self.view.range::<Vec<u8>, _>(keyspace, (start, end));
        loop {
            // Only fjall's part is guarded: a panic of `each` is the caller's own.
            let row = guarded("scan rows", || {
                let next = match direction {
                    Direction::Up => rows.next(),
                    Direction::Down => rows.next_back(),
                };
                next.map(fjall::Guard::into_inner).transpose()
            })
            .map_err(|error| self.store.report(error))?;
            match row {
                Some((key, value)) if each(&key[1..], &value) => {}
                _ => return Ok(()),
            }
        }
    }

    /// A unit's row.
    pub fn unit(&self, unit: Unit) -> Result<Option<UnitRow>, RowsError> {
        match self.get(Space::UNITS, &unit_key(unit))? {
            Some(bytes) => UnitRow::from_row(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// All rows of one keyspace as stored, for dump and check.
    pub(super) fn stored(&self, keyspace: usize) -> fjall::Iter {
        self.view.iter(&self.store.spaces[keyspace])
    }
}

impl Rows for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        let keyspace = &self.store.spaces[space.keyspace()];
        let value = with_key(space, key, |stored| {
            guarded("read a row", || self.view.get(keyspace, stored))
        });
        match value {
            Ok(value) => Ok(value.map(|value| Bytes::copy_from_slice(&value))),
            Err(error) => Err(self.store.report(error)),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        self.scan_from(space, prefix, None, Direction::Up, each)
    }

    fn scan_from(
        &self,
        space: Space,
        prefix: &[u8],
        from: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        Snapshot::scan_from(self, space, prefix, Some(from), Direction::Up, each)
    }
}

/// Calls `with` with the stored key, on the stack when it is short, as nearly all are.
fn with_key<T>(space: Space, key: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    const SHORT: usize = 63;
    if key.len() <= SHORT {
        let mut stored = [0; SHORT + 1];
        stored[0] = space.0;
        stored[1..=key.len()].copy_from_slice(key);
        with(&stored[..=key.len()])
    } else {
        with(&with_space(space, key))
    }
}

fn with_space(space: Space, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(space.0);
    stored.extend_from_slice(key);
    stored
}

/// The smallest key above all that start with `prefix`; `None` if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

fn upper(high: Option<Vec<u8>>) -> Bound<Vec<u8>> {
    high.map_or(Bound::Unbounded, Bound::Excluded)
}

fn is_empty(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start), Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}
