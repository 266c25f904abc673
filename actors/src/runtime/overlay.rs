//! Rows that are decided and perhaps not yet in the store: the next batch must see them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::machine::{RowWrite, Rows, RowsError, Space};

/// Space byte and key, as they sort in the store.
type Key = SmallVec<[u8; 48]>;

/// Rows over the store, by the batch that wrote them last.
#[derive(Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<Key, (u64, Option<Bytes>)>,
    /// Keys by batch, oldest first, so that eviction looks only at what it may remove.
    batches: VecDeque<(u64, Vec<Key>)>,
}

/// The overlay over rows underneath.
pub struct Over<'a> {
    overlay: &'a Overlay,
    under: &'a dyn Rows,
}

impl Overlay {
    /// Adds a batch's writes. Batches come in rising order.
    pub fn insert(&mut self, batch: u64, rows: &[RowWrite]) {
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let key = key(row.space, &row.key);
            self.rows.insert(key.clone(), (batch, row.value.clone()));
            keys.push(key);
        }
        self.batches.push_back((batch, keys));
    }

    /// Forgets rows that `batch` or an earlier one wrote last: the store has them.
    pub fn evict(&mut self, batch: u64) {
        while let Some((oldest, _)) = self.batches.front()
            && *oldest <= batch
        {
            let (oldest, keys) = self.batches.pop_front().expect("just seen");
            for key in keys {
                if self.rows.get(&key).is_some_and(|(last, _)| *last == oldest) {
                    self.rows.remove(&key);
                }
            }
        }
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no rows are held.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The overlay over `under`.
    pub fn over<'a>(&'a self, under: &'a dyn Rows) -> Over<'a> {
        Over {
            overlay: self,
            under,
        }
    }
}

impl Rows for Over<'_> {
    fn get(&self, space: Space, row: &[u8]) -> Result<Option<Bytes>, RowsError> {
        match self.overlay.rows.get(&key(space, row)) {
            Some((_, value)) => Ok(value.clone()),
            None => self.under.get(space, row),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let start = key(space, prefix);
        let mut newer = self
            .overlay
            .rows
            .range::<Key, _>((Bound::Included(&start), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&start))
            .map(|(key, (_, value))| (&key[1..], value))
            .peekable();
        let mut going = true;
        self.under.scan(space, prefix, &mut |row, value| {
            while going && let Some((key, newer_value)) = newer.next_if(|(key, _)| *key < row) {
                if let Some(newer_value) = newer_value {
                    going = each(key, newer_value);
                }
            }
            if !going {
                return false;
            }
            going = match newer.next_if(|(key, _)| *key == row) {
                Some((_, None)) => true,
                Some((key, Some(newer_value))) => each(key, newer_value),
                None => each(row, value),
            };
            going
        })?;
        for (key, value) in newer {
            if let Some(value) = value {
                going = going && each(key, value);
            }
            if !going {
                break;
            }
        }
        Ok(())
    }
}

fn key(space: Space, row: &[u8]) -> Key {
    let mut key = Key::with_capacity(row.len() + 1);
    key.push(space.0);
    key.extend_from_slice(row);
    key
}
