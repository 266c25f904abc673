//! A unit's own rows that are not in the store yet: decided, or committed and on their way through the write-behind queue.
//!
//! A unit reads its [`View`]: the overlay over a snapshot. It drops a batch's rows once the snapshot it reads from has
//! passed that batch's frame. Keys of different units never meet, so what the snapshot has beyond that is never older.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::machine::{RowWrite, Rows, RowsError, Space};
use crate::model::Offset;

/// Rows written by batches that a snapshot may not have.
#[derive(Debug, Default)]
pub struct Overlay {
    /// By space, then key: the newest value and the batch that wrote it.
    spaces: BTreeMap<u8, BTreeMap<Bytes, Pending>>,
    /// Batches, oldest first.
    layers: VecDeque<Layer>,
}

#[derive(Debug)]
struct Pending {
    batch: u64,
    value: Option<Bytes>,
}

#[derive(Debug)]
struct Layer {
    batch: u64,
    at: Option<Offset>,
    keys: Vec<(u8, Bytes)>,
}

impl Overlay {
    /// Adds a decided batch. Batches come in order.
    pub fn push(&mut self, batch: u64, rows: &[RowWrite]) {
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let pending = Pending {
                batch,
                value: row.value.clone(),
            };
            self.spaces
                .entry(row.space.0)
                .or_default()
                .insert(row.key.clone(), pending);
            keys.push((row.space.0, row.key.clone()));
        }
        self.layers.push_back(Layer {
            batch,
            at: None,
            keys,
        });
    }

    /// The batch has been committed as the frame at `at`.
    pub fn committed(&mut self, batch: u64, at: Offset) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.batch == batch) {
            layer.at = Some(at);
        }
    }

    /// Drops the batches that a snapshot at `applied` has. From then on, only read through later snapshots than that.
    pub fn evict(&mut self, applied: Option<Offset>) {
        while let Some(layer) = self.layers.front()
            && layer.at.is_some()
            && layer.at <= applied
        {
            let layer = self.layers.pop_front().expect("there is a front");
            for (space, key) in layer.keys {
                let Some(rows) = self.spaces.get_mut(&space) else {
                    continue;
                };
                // A later batch may have written the key again; then it is that batch's to drop.
                if rows
                    .get(&key)
                    .is_some_and(|pending| pending.batch == layer.batch)
                {
                    rows.remove(&key);
                }
            }
        }
    }

    /// Batches that it holds.
    pub fn batches(&self) -> usize {
        self.layers.len()
    }

    /// Keys that it holds.
    pub fn rows(&self) -> usize {
        self.spaces.values().map(BTreeMap::len).sum()
    }

    /// The overlay over rows that are older.
    pub fn view<'a>(&'a self, below: &'a dyn Rows) -> View<'a> {
        View {
            overlay: self,
            below,
        }
    }

    fn find(&self, space: Space, key: &[u8]) -> Option<&Pending> {
        self.spaces.get(&space.0)?.get(key)
    }
}

/// Rows as the unit sees them.
#[derive(Clone, Copy)]
pub struct View<'a> {
    overlay: &'a Overlay,
    below: &'a dyn Rows,
}

impl Rows for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        match self.overlay.find(space, key) {
            Some(pending) => Ok(pending.value.clone()),
            None => self.below.get(space, key),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let Some(rows) = self.overlay.spaces.get(&space.0) else {
            return self.below.scan(space, prefix, each);
        };
        let mut above = rows
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut more = true;
        self.below.scan(space, prefix, &mut |key, value| {
            // Rows of the overlay that stand before this one.
            while let Some((new, pending)) = above.next_if(|(new, _)| new[..] < *key) {
                if let Some(value) = &pending.value {
                    more = each(new, value);
                    if !more {
                        return false;
                    }
                }
            }
            more = match above.next_if(|(new, _)| new[..] == *key) {
                Some((_, pending)) => pending.value.as_ref().is_none_or(|new| each(key, new)),
                None => each(key, value),
            };
            more
        })?;
        for (key, pending) in above {
            if !more {
                break;
            }
            if let Some(value) = &pending.value {
                more = each(key, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
