//! A unit's own rows that are not in the store yet: decided, or committed and on their way through the write-behind queue.
//!
//! A unit reads its [`View`]: the overlay over a snapshot. It drops a batch's rows once the snapshot it reads from has
//! passed that batch's frame. Keys of different units never meet, so what the snapshot has beyond that is never older.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;

use crate::machine::{RowWrite, Rows, RowsError, Space};
use crate::model::Offset;
use crate::result::Inner;

/// Rows written by batches that a snapshot may not have.
///
/// It holds the batches' own rows and an index of the newest write of each key: no row is copied. Most rows are asked for
/// by key or never; a prefix sorts the rows of its space, once for each batch.
#[derive(Default)]
pub struct Overlay {
    /// The newest write of each key.
    newest: HashTable<Place>,
    /// Batches, oldest first.
    layers: VecDeque<Layer>,
    /// Number of the oldest layer.
    first: u64,
    hasher: RandomState,
}

/// Where a row stands: its layer's number and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    layer: u64,
    row: u32,
}

struct Layer {
    batch: u64,
    at: Option<Offset>,
    inner: Arc<Inner>,
    /// Rows of a space in order of their keys, the last write of each; made when a prefix of that space is asked for.
    sorted: [OnceCell<Box<[u32]>>; 256],
}

impl Layer {
    fn sorted(&self, space: Space) -> &[u32] {
        self.sorted[usize::from(space.0)].get_or_init(|| {
            let rows = &self.inner.rows;
            let of_space = (0u32..).zip(rows).filter(|(_, row)| row.space == space);
            let last: BTreeMap<&[u8], u32> = of_space.map(|(at, row)| (&row.key[..], at)).collect();
            last.into_values().collect()
        })
    }

    /// Rows whose keys start with a prefix.
    fn under<'a>(&'a self, space: Space, prefix: &'a [u8]) -> impl Iterator<Item = &'a RowWrite> {
        let sorted = self.sorted(space);
        let rows = &self.inner.rows;
        let from = sorted.partition_point(|at| &rows[*at as usize].key[..] < prefix);
        let behind = sorted[from..].iter().map(|at| &rows[*at as usize]);
        behind.take_while(move |row| row.key.starts_with(prefix))
    }
}

impl Overlay {
    /// Adds a decided batch. Batches come in order.
    pub fn push(&mut self, batch: u64, inner: Arc<Inner>) {
        let layer = self.first + self.layers.len() as u64;
        self.layers.push_back(Layer {
            batch,
            at: None,
            inner,
            sorted: [const { OnceCell::new() }; 256],
        });
        let (layers, first, hasher) = (&self.layers, self.first, &self.hasher);
        let rows = &layers[layers.len() - 1].inner.rows;
        self.newest.reserve(rows.len(), |place| {
            hash(hasher, row_at(layers, first, *place))
        });
        for (at, row) in (0u32..).zip(rows) {
            let place = Place { layer, row: at };
            let known = self.newest.entry(
                hash(hasher, row),
                |known| same(row_at(layers, first, *known), row.space, &row.key),
                |known| hash(hasher, row_at(layers, first, *known)),
            );
            match known {
                hashbrown::hash_table::Entry::Occupied(mut known) => *known.get_mut() = place,
                hashbrown::hash_table::Entry::Vacant(free) => {
                    free.insert(place);
                }
            }
        }
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
            for (at, row) in (0u32..).zip(&layer.inner.rows) {
                // A later write of the key has taken the place over; then it is that batch's to drop.
                let place = Place {
                    layer: self.first,
                    row: at,
                };
                let known = self
                    .newest
                    .find_entry(hash(&self.hasher, row), |known| *known == place);
                if let Ok(known) = known {
                    known.remove();
                }
            }
            self.layers.pop_front();
            self.first += 1;
        }
    }

    /// Batches that it holds.
    pub fn batches(&self) -> usize {
        self.layers.len()
    }

    /// Keys that it holds.
    pub fn rows(&self) -> usize {
        self.newest.len()
    }

    /// The overlay over rows that are older.
    pub fn view<'a>(&'a self, below: &'a dyn Rows) -> View<'a> {
        View {
            overlay: self,
            below,
        }
    }

    /// The newest write of a key, if a batch here wrote it.
    fn find(&self, space: Space, key: &[u8]) -> Option<&RowWrite> {
        let (layers, first) = (&self.layers, self.first);
        let found = self
            .newest
            .find(hash_of(&self.hasher, space, key), |known| {
                same(row_at(layers, first, *known), space, key)
            });
        found.map(|place| row_at(layers, first, *place))
    }

    /// The newest writes of keys that start with a prefix, in order.
    fn under<'a>(&'a self, space: Space, prefix: &'a [u8]) -> BTreeMap<&'a [u8], &'a RowWrite> {
        let layers = self.layers.iter();
        let rows = layers.flat_map(|layer| layer.under(space, prefix));
        rows.map(|row| (&row.key[..], row)).collect()
    }
}

fn row_at(layers: &VecDeque<Layer>, first: u64, place: Place) -> &RowWrite {
    let layer = &layers[(place.layer - first) as usize];
    &layer.inner.rows[place.row as usize]
}

fn same(row: &RowWrite, space: Space, key: &[u8]) -> bool {
    row.space == space && row.key[..] == *key
}

fn hash(hasher: &RandomState, row: &RowWrite) -> u64 {
    hash_of(hasher, row.space, &row.key)
}

fn hash_of(hasher: &RandomState, space: Space, key: &[u8]) -> u64 {
    hasher.hash_one((space.0, key))
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
            Some(row) => Ok(row.value.clone()),
            None => self.below.get(space, key),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), RowsError> {
        let above = self.overlay.under(space, prefix);
        if above.is_empty() {
            return self.below.scan(space, prefix, each);
        }
        let mut above = above.into_iter().peekable();
        let mut more = true;
        self.below.scan(space, prefix, &mut |key, value| {
            // Rows of the overlay that stand before this one.
            while let Some((new, row)) = above.next_if(|(new, _)| *new < key) {
                if let Some(value) = &row.value {
                    more = each(new, value);
                    if !more {
                        return false;
                    }
                }
            }
            more = match above.next_if(|(new, _)| *new == key) {
                Some((_, row)) => row.value.as_ref().is_none_or(|new| each(key, new)),
                None => each(key, value),
            };
            more
        })?;
        for (key, row) in above {
            if !more {
                break;
            }
            if let Some(value) = &row.value {
                more = each(key, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
